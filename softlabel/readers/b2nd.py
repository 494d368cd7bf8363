"""Blosc2 arrays in files (``.b2nd``), in which nnU-Net keeps what it has preprocessed.

Needs the package ``blosc2``. A file is taken as the bytes of one array
(:func:`blosc2.ndarray_from_cframe`): :func:`blosc2.open` can also follow links to other places and
run expressions that a file stores, and its earlier versions did so unasked.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError, missing_extra
from softlabel.files.regular import open_regular
from softlabel.readers.safety import check_promise, reading
from softlabel.types import Array

ENDING = ".b2nd"

PLAIN = "b2nd"
"""The only metadata of an array that is no expression, link or proxy."""


def read_b2nd(path: Path) -> Array:
    """Read a ``.b2nd`` file.

    Returns
    -------
    ndarray of a number type

    Raises
    ------
    CaseError
        When it is damaged, holds no numbers, or promises more than fits into memory.
    MissingExtraError
        When blosc2 is not installed.
    """
    try:
        import blosc2
    except ImportError as error:
        raise missing_extra(f"{path} is a Blosc2 array, which", "blosc2", "nnunet") from error
    with reading(path, "a Blosc2 array"):
        with open_regular(path) as file:
            stored = blosc2.ndarray_from_cframe(file.read())
        if set(stored.schunk.meta) != {PLAIN}:
            raise CaseError(
                f"{path} refers to other arrays ({', '.join(stored.schunk.meta)}); expected one "
                "that holds its values. Save the values."
            )
        if stored.dtype.kind not in "biuf":
            raise CaseError(
                f"{path} holds values of type {stored.dtype}; expected numbers. Preprocess the "
                "data set again."
            )
        # A chunk of one repeated value takes 32 bytes, however large it is.
        size = path.stat().st_size
        check_promise(path, stored.shape, stored.dtype.itemsize, size, max_ratio=math.inf)
        return np.asarray(stored[...])
