"""Superpixel-guided label softening (Li et al., MICCAI 2020).

In every superpixel that the boundary of a class crosses, the hard label of that class becomes

    q_c = ½ (d_c / (scale + |d_c|) + 1)                                        (Eq. 1)

with d_c the signed distance to the boundary, positive inside. Everywhere else it stays hard. The
image decides how far the softening reaches, since its superpixels follow its edges: where image
and annotation agree, superpixels are not crossed and the label stays hard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from softlabel.distance import (
    BOUNDARIES,
    FIRST_RADIUS,
    ROUNDING,
    Boundary,
    Box,
    Metric,
    box_around,
    squared_distances,
)
from softlabel.softening.mixed import mixed_superpixels
from softlabel.softmaps import Regions, SoftMaps, ignored_index
from softlabel.types import Array, ClassTable


@dataclass(frozen=True)
class SuperpixelOptions:
    """Options of the method.

    Attributes
    ----------
    boundary : {"inner", "outer", "edge", "symmetric"}
        Where the boundary of a class lies (:data:`softlabel.distance.BOUNDARIES`).
    min_minority : float, 0 to 1
        Share of a superpixel's known pixels that must lie outside its largest class, below which
        it does not count as mixed. 0 is the paper.
    in_plane : bool
        Measure distances and look for faces within slices only.
    slice_axis : int or None
        Axis across the slices; None takes the axis of the coarsest spacing, the last of equals.
    """

    boundary: str = "inner"
    min_minority: float = 0.0
    in_plane: bool = False
    slice_axis: int | None = None

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise ValueError(
                f"boundary must be one of {', '.join(BOUNDARIES)}; got {self.boundary!r}."
            )
        if not 0 <= self.min_minority <= 1:
            raise ValueError(f"min_minority must lie in 0..1; got {self.min_minority}.")


def soften_by_superpixels(
    index: Array,
    table: ClassTable,
    superpixels: Array,
    spacing: tuple[float, ...],
    scale: float,
    options: SuperpixelOptions,
) -> SoftMaps:
    """Soften a map of class indices inside its mixed superpixels.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (*spatial), 1 to 3 axes
        From :func:`softlabel.softmaps.class_index_map`.
    table : ClassTable
    superpixels : ndarray of int32, shape (*spatial)
        Ids from 0; −1 where there is none.
    spacing : tuple of float
        Distance between pixels along each axis; 1 for pixel units.
    scale : float
        Distance at which a soft label is ¾ (¼ outside).
    options : SuperpixelOptions

    Returns
    -------
    SoftMaps
        Whose regions are the mixed superpixels.
    """
    pad = 3 - index.ndim
    volume = np.ascontiguousarray(index).reshape((1,) * pad + index.shape)
    ignored = ignored_index(index.dtype)
    regions, block_region, block_class = mixed_superpixels(
        volume, ignored, len(table), superpixels.reshape(volume.shape), options.min_minority
    )
    sizes = np.diff(regions.start)[block_region]
    block_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    values = np.empty(int(block_start[-1]), np.float32)
    boundary = BOUNDARIES[options.boundary]
    metric = _metric(index.ndim, spacing, boundary, options)
    work = _Work(volume, ignored, regions, metric, scale)
    for class_index in np.unique(block_class):
        blocks = np.flatnonzero(block_class == class_index)
        _soften_class(
            work, int(class_index), boundary, block_region[blocks], block_start[blocks], values
        )
    return SoftMaps(index, table, 1.0, 0.0, regions, block_region, block_class, block_start, values)


def coarsest_axis(spacing: tuple[float, ...]) -> int:
    """Axis across the slices of a volume: the coarsest one, the last of equals.

    Examples
    --------
    >>> coarsest_axis((0.958, 0.958, 3.0)), coarsest_axis((1, 1, 1))
    (2, 2)
    """
    return max(range(len(spacing)), key=lambda axis: (spacing[axis], axis))


@dataclass(frozen=True)
class _Work:
    """What every class of one image shares."""

    index: Array
    ignored: int
    regions: Regions
    metric: Metric
    scale: float


def _metric(
    ndim: int, spacing: tuple[float, ...], boundary: Boundary, options: SuperpixelOptions
) -> Metric:
    pad = 3 - ndim
    active = [False] * pad + [True] * ndim
    if options.in_plane:
        axis = coarsest_axis(spacing) if options.slice_axis is None else options.slice_axis
        if not 0 <= axis < ndim:
            raise ValueError(f"slice_axis must lie in 0..{ndim - 1}; got {axis}.")
        active[pad + axis] = False
    padded = (1.0,) * pad + tuple(spacing)
    return Metric(padded, tuple(active), boundary.to_face)  # type: ignore[arg-type]


def _soften_class(
    work: _Work,
    class_index: int,
    boundary: Boundary,
    block_region: Array,
    block_start: Array,
    values: Array,
) -> None:
    """Fill the values of one class, widening the search until every block is settled."""
    finest = min(s for s, on in zip(work.metric.spacing, work.metric.active, strict=True) if on)
    limits = work.metric.diagonals(
        work.regions.lower[block_region], work.regions.upper[block_region]
    ) * (1 + ROUNDING)
    radius = FIRST_RADIUS * finest
    todo = np.arange(len(block_region))
    while len(todo):
        reach = min(radius, float(limits[todo].max()))
        fields, box = _fields(work, class_index, boundary, block_region[todo], reach)
        settled = np.empty(len(todo), np.bool_)
        _fill_values(
            work.index, class_index, fields[0], fields[1], np.array(box.lower),
            work.regions.pixels, work.regions.start, block_region[todo], block_start[todo],
            limits[todo] ** 2, np.float64(reach) ** 2, work.scale, values, settled,
        )  # fmt: skip
        todo = todo[~settled]
        radius *= 2


def _fields(
    work: _Work, class_index: int, boundary: Boundary, block_region: Array, reach: float
) -> tuple[tuple[Array, Array], Box]:
    """Squared distances of the pixels inside and outside of a class, and the box they lie in."""
    costs = tuple(work.metric.costs(axis, reach) for axis in range(3))
    lower, upper = work.regions.lower[block_region], work.regions.upper[block_region]
    box = box_around(lower, upper, [len(c) - 1 for c in costs], work.index.shape)
    wanted = np.zeros((2, *box.shape), np.uint8)
    _mark_wanted(
        work.index, class_index, np.array(box.lower), work.regions.pixels, work.regions.start,
        block_region, wanted,
    )  # fmt: skip
    part = work.index[tuple(slice(lo, u) for lo, u in zip(box.lower, box.upper, strict=True))]
    once = boundary.shared and not (part == work.ignored).any()
    if once:
        wanted[0] |= wanted[1]
    inside, outside = (
        squared_distances(
            work.index, work.ignored, class_index, targets, box, costs,  # type: ignore[arg-type]
            work.metric.active, wanted[side],
        )
        if not (once and side == 1) else None
        for side, targets in enumerate((boundary.inside, boundary.outside))
    )  # fmt: skip
    assert inside is not None
    return (inside, inside if outside is None else outside), box


@njit(cache=True, nogil=True)
def _mark_wanted(index, c, low, pixels, start, block_region, wanted):  # type: ignore[no-untyped-def]
    flat = index.ravel()
    ny, nx = index.shape[1], index.shape[2]
    for r in block_region:
        for i in range(start[r], start[r + 1]):
            rest = pixels[i] // nx
            x = pixels[i] - rest * nx
            z = rest // ny
            y = rest - z * ny
            side = 0 if flat[pixels[i]] == c else 1
            wanted[side, z - low[0], y - low[1], x - low[2]] = 1


@njit(cache=True, nogil=True)
def _fill_values(  # type: ignore[no-untyped-def]
    index, c, inside, outside, low, pixels, start, block_region, block_start, limits, reached,
    scale, values, settled,
):  # fmt: skip
    flat = index.ravel()
    ny, nx = index.shape[1], index.shape[2]
    for b in range(len(block_region)):
        first = start[block_region[b]]
        complete = True
        for i in range(first, start[block_region[b] + 1]):
            rest = pixels[i] // nx
            x = pixels[i] - rest * nx
            z = rest // ny
            y = rest - z * ny
            own = flat[pixels[i]] == c
            field = inside if own else outside
            square = np.float64(field[z - low[0], y - low[1], x - low[2]])
            if square > reached and reached < limits[b]:
                complete = False
                break
            if square > limits[b]:
                value = 1.0 if own else 0.0
            else:
                distance = np.sqrt(square)
                value = distance / (scale + distance)
                value = 0.5 * (value + 1.0) if own else 0.5 * (1.0 - value)
            values[block_start[b] + i - first] = value
        settled[b] = complete
