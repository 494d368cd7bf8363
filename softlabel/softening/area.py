"""Shares of the classes in the voxels of a coarser grid (as in SoftSeg, Gros et al. 2021).

    q_c = mean of y_c over the footprint of the new voxel

A label map that is made smaller by the nearest voxel loses what is thinner than the new voxels, and
where a boundary runs through one. Its share tells both.

Both grids cover the same field of view, edge to edge: of n voxels along an axis m are made, and the
new voxel i lies on the old ones from i · n/m to (i + 1) · n/m, parts of voxels included. Known
voxels only are averaged, so that Σ_c q_c = 1. A new voxel is ignored where less than half of it is
known.

This is no entry of :data:`softlabel.softening.METHODS`, since those keep the grid of the image.

Six voxels of which two are made::

    y_1   0     0     1    1    1    0
    q_1        1/3             2/3
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from softlabel.softening.windows import class_boxes
from softlabel.softmaps.class_index import class_index_map, ignored_index
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, ClassTable, class_table

KNOWN_SHARE = 0.5
"""Share of a new voxel that has to be known."""

Weights = list[npt.NDArray[np.float64]]
"""For each axis how much of each old voxel (columns) lies in each new one (rows)."""


def soften_by_area(
    labels: Array,
    shape: tuple[int, ...],
    classes: ClassTable | Mapping[int, str] | Iterable[int],
    *,
    ignore: int | None = None,
) -> SoftMaps:
    """Soft maps of a label map on a coarser grid.

    Parameters
    ----------
    labels : ndarray of an integer type, shape (*spatial)
    shape : tuple of int
        Voxels to make along each axis, at most as many as there are.
    classes : ClassTable, {value: name}, or values
    ignore : int, optional
        Label value of voxels that were not annotated.

    Returns
    -------
    SoftMaps
        On the coarser grid. The hard label of a voxel is the class with the largest share, the
        first of equals.

    Raises
    ------
    ValueError
        For a shape of other axes or of more voxels, and labels outside the classes.

    Examples
    --------
    >>> maps = soften_by_area(np.array([0, 0, 1, 1, 1, 0]), (2,), (0, 1))
    >>> maps.dense().round(3).tolist()
    [[0.666..., 0.333...], [0.333..., 0.666...]]
    >>> maps.index
    array([0, 1], dtype=uint8)
    """
    fits = len(shape) == labels.ndim and all(np.less_equal(1, shape))
    if not fits or any(np.greater(shape, labels.shape)):
        raise ValueError(
            f"shape must have 1 to as many voxels along each axis as the labels, {labels.shape}; "
            f"got {shape}."
        )
    table = class_table(classes)
    fine = class_index_map(labels, table, ignore)
    ignored = ignored_index(fine.dtype)
    weights = [footprints(n, m) for n, m in zip(labels.shape, shape, strict=True)]
    whole = tuple(slice(0, n) for n in labels.shape)
    known = _areas(fine != ignored, whole, weights)[1]
    index = np.full(shape, ignored, fine.dtype)
    largest = np.zeros(shape)
    for k, box, area in _class_areas(fine, len(table), weights):
        wins = area > largest[box]
        index[box][wins] = k
        largest[box][wins] = area[wins]
    index[known < KNOWN_SHARE * fine.size] = ignored
    shares = (
        (k, box, area / np.maximum(known[box], 1))
        for k, box, area in _class_areas(fine, len(table), weights)
    )
    return from_class_maps(index, table, shares)


def footprints(n: int, m: int) -> npt.NDArray[np.float64]:
    """How much of each of n old voxels lies in each of m new ones, shape (m, n).

    In units of 1/m old voxels, in which every edge is a whole number and a new voxel has n, so
    that areas are exact and equal shares are equal.

    Examples
    --------
    >>> footprints(3, 2)
    array([[2., 1., 0.],
           [0., 1., 2.]])
    """
    new, old = np.arange(m)[:, None] * n, np.arange(n) * m
    overlap = np.minimum(new + n, old + m) - np.maximum(new, old)
    return overlap.clip(0).astype(np.float64)


def _class_areas(
    fine: Array, n_classes: int, weights: Weights
) -> Iterator[tuple[int, tuple[slice, ...], npt.NDArray[np.float64]]]:
    """The area of each class in each new voxel, in the box that the class reaches."""
    for k, box in class_boxes(fine, n_classes):
        yield k, *_areas(fine[box] == k, box, weights)


def _areas(
    mask: Array, box: tuple[slice, ...], weights: Weights
) -> tuple[tuple[slice, ...], npt.NDArray[np.float64]]:
    """How much of each new voxel is True, in the box of those that ``box`` reaches."""
    area = mask.astype(np.float64)
    reached = []
    for axis, (matrix, side) in enumerate(zip(weights, box, strict=True)):
        rows = np.flatnonzero(matrix[:, side].any(axis=1))
        reached.append(slice(int(rows[0]), int(rows[-1]) + 1))
        part = matrix[reached[-1], side]
        area = np.moveaxis(np.tensordot(part, area, (1, axis)), 0, axis)
    return tuple(reached), area
