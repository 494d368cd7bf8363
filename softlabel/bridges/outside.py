"""Soft maps written such that the zeros which a transform pads with mean background.

Transforms that turn, move or enlarge an image pad every channel with one number, usually 0. Of a
soft map that would be a pixel of no class at all. The map is therefore *swapped* before such
transforms and swapped back after them: the background's channel holds 1 − q. Interpolation is
linear, so that inside of the image swapping twice changes nothing, and what was padded with 0
comes back as 1 in the background's channel.
"""

from __future__ import annotations

from typing import Any


def swap_background(soft: Any, background: int = 0) -> Any:
    """Write 1 − q in place of q into one channel of a copy; doing it twice changes nothing.

    Parameters
    ----------
    soft : ndarray or Tensor, shape (K, *spatial)
    background : int
        Index of the class.

    Returns
    -------
    as ``soft``

    Raises
    ------
    IndexError
        When there is no such class.

    Examples
    --------
    >>> import numpy as np
    >>> soft = np.array([[0.75, 0.25], [0.25, 0.75]])
    >>> padded = np.pad(swap_background(soft), ((0, 0), (0, 1)))
    >>> swap_background(padded).tolist()
    [[0.75, 0.25, 1.0], [0.25, 0.75, 0.0]]
    """
    if not 0 <= background < len(soft):
        raise IndexError(
            f"There is no class {background}, the background, in a soft map of {len(soft)} "
            f"classes; expected 0 to {len(soft) - 1}."
        )
    swapped = soft.clone() if hasattr(soft, "clone") else soft.copy()
    swapped[background] = 1 - swapped[background]
    return swapped


def swap_ids(ids: Any) -> Any:
    """Write −1 − id in place of ids, so that 0 stands for no superpixel; twice changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> swap_ids(np.array([-1, 0, 7])).tolist()
    [0, -1, -8]
    """
    return -1 - ids
