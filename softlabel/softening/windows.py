"""Linear filters of the one-hot maps, class by class, each in its own box.

A filter whose weights are not negative and sum to 1 turns y_c into q_c = F y_c, with Σ_c q_c = 1.
Beside ignored pixels it becomes a normalised convolution, (F y_c) / (F known), so that neither are
they counted as something nor does q sum to less than 1 beside them. They are 0 in every class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from softlabel.softmaps.class_index import ignored_index
from softlabel.types import Array

Filter = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""A filter of an array of any shape, which repeats the border value outward."""


def filtered_classes(
    index: Array, n_classes: int, reach: Sequence[int], smooth: Filter
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    """Filter the one-hot map of each class around its pixels.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (*spatial)
    n_classes : int
    reach : sequence of int
        Pixels that the filter reaches along each axis.
    smooth : callable
        The filter.

    Yields
    ------
    class_index : int
    box : tuple of slice
        Outside of it the class is 0.
    values : ndarray of float64, the shape of the box
    """
    known = index != ignored_index(index.dtype)
    all_known = bool(known.all())
    for k, box in class_boxes(index, n_classes):
        core = widen(box, reach, index.shape)
        halo = widen(core, reach, index.shape)
        filtered = smooth((index[halo] == k).astype(np.float64))
        if not all_known:
            weight = smooth(known[halo].astype(np.float64))
            filtered = np.divide(filtered, weight, out=np.zeros_like(filtered), where=known[halo])
        inner = tuple(
            slice(c.start - h.start, c.stop - h.start) for c, h in zip(core, halo, strict=True)
        )
        yield k, core, filtered[inner]


def class_boxes(index: Array, n_classes: int) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Index and bounding box of each class that has pixels."""
    from scipy import ndimage

    known = index != ignored_index(index.dtype)
    numbered = np.where(known, index.astype(np.int32) + 1, 0)
    for k, box in enumerate(ndimage.find_objects(numbered, max_label=n_classes)):
        if box is not None:
            yield k, box


def widen(
    box: tuple[slice, ...], reach: Sequence[int], shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """A box and what lies within ``reach`` pixels of it along each axis, inside of the image."""
    return tuple(
        slice(max(0, s.start - r), min(n, s.stop + r))
        for s, r, n in zip(box, reach, shape, strict=True)
    )
