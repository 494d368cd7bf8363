"""How uncertain soft labels are."""

from __future__ import annotations

import numpy as np

from softlabel.types import Array


def entropy_bits(soft: Array) -> Array:
    """Entropy over the classes, in bits, of soft labels divided by their sum.

    Parameters
    ----------
    soft : ndarray, shape (K, ...)

    Returns
    -------
    ndarray of float32, shape (...)
        0 where one class has all, and where all are 0 (ignored pixels).

    Examples
    --------
    >>> entropy_bits(np.array([[1.0, 0.5, 0.25, 0.0], [0.0, 0.5, 0.25, 0.0]])).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    total = soft.sum(axis=0)
    share = soft / np.where(total > 0, total, 1)
    bits = share * np.log2(np.where(share > 0, share, 1))
    return np.abs(bits.sum(axis=0)).astype(np.float32)
