"""A cached case as the dense arrays that training libraries take, each with a channel axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.cache import CachedCase, StoredArray
from softlabel.errors import CacheError
from softlabel.softmaps import class_index_map, ignored_index, index_dtype
from softlabel.types import Array, ClassTable

ARRAYS = ("image", "label", "soft", "superpixels")
"""What :func:`dense_array` makes."""

NO_SUPERPIXEL = -1


@dataclass(frozen=True)
class Classes:
    """How the labels of a cache are numbered.

    Attributes
    ----------
    table : ClassTable
    ignore : int or None
        Label value of pixels that were not annotated.
    """

    table: ClassTable
    ignore: int | None

    @property
    def ignore_index(self) -> int:
        """Class index that stands for an ignored pixel: 255, of 255 classes and more 65535."""
        return ignored_index(index_dtype(len(self.table)))


def dense_array(case: CachedCase, name: str, classes: Classes) -> Array:
    """One array of a case.

    Parameters
    ----------
    case : CachedCase
    name : {"image", "label", "soft", "superpixels"}
    classes : Classes
        Of the cache.

    Returns
    -------
    ndarray
        ``image``: float32 (C, *spatial). ``label``: class indices, not label values, uint8 or
        int32 (1, *spatial), :attr:`Classes.ignore_index` where ignored. ``soft``: float32
        (K, *spatial), 0 where ignored. ``superpixels``: int32 (1, *spatial), −1 where there is
        none.

    Raises
    ------
    CacheError
        When the file is damaged, or has no such array.
    """
    if name == "label":
        return _label(case, classes)[None]
    if name == "superpixels":
        return np.asarray(_superpixels(case)[...], np.int32)[None]
    stored = case.image if name == "image" else case.soft
    return np.asarray(stored[...], np.float32)


def affine_of(case: CachedCase) -> npt.NDArray[np.float64]:
    """Array indices to millimetres, (4, 4): the scanner's, or that of the spacing alone.

    A missing spacing counts as 1 mm, and so does that of a third axis which an image lacks.
    """
    if case.affine is not None:
        return np.array(case.affine, np.float64)
    spacing = case.spacing_mm or (1.0,) * len(case.shape)
    return np.diag([*spacing, *[1.0] * (4 - len(spacing))])


def _label(case: CachedCase, classes: Classes) -> Array:
    try:
        index = class_index_map(case.labels[...], classes.table, classes.ignore)
    except ValueError as error:
        raise CacheError(f"{case.path}: {error}") from error
    return index if index.dtype == np.uint8 else index.astype(np.int32)  # torch knows no uint16


def _superpixels(case: CachedCase) -> StoredArray:
    if case.superpixels is None:
        raise CacheError(
            f"{case.place} holds no superpixels, as its method needs none; leave the key "
            "superpixels out."
        )
    return case.superpixels
