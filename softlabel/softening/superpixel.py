"""Superpixel-guided label softening (Li et al., MICCAI 2020).

In every superpixel that the boundary of a class crosses, the hard label of that class becomes

    q_c = ½ (d_c / (scale + |d_c|) + 1)                                        (Eq. 1)

with d_c the signed distance to the boundary, positive inside. Everywhere else it stays hard. The
image decides how far the softening reaches, since its superpixels follow its edges: where image
and annotation agree, superpixels are not crossed and the label stays hard.

A pixel whose boundary is further away than the diagonal of its superpixel's bounding box stays hard
as well. Without ignored pixels there is none, since the boundary crosses the superpixel; with them,
what is left of a class in it may face its boundary only beyond the ignored ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from softlabel.coerce import make_plain
from softlabel.distance.boundary import BOUNDARIES, ROUNDING, Boundary, Metric
from softlabel.distance.search import Scratch, Search, search_levels
from softlabel.kernels import kernel
from softlabel.softening.mixed import Mixed, mixed_superpixels
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, ClassTable, coarsest_axis


@dataclass(frozen=True)
class SuperpixelOptions:
    """Options of the method.

    Attributes
    ----------
    boundary : {"inner", "outer", "edge", "symmetric"}
        Where the boundary of a class lies (:data:`softlabel.distance.boundary.BOUNDARIES`).
    min_minority : float, 0 to 1
        Share of a superpixel's known pixels that must lie outside its largest class, below which
        it does not count as mixed. 0 is the paper.
    in_plane : bool
        Measure distances and look for faces within slices only. A 2D image is its own slice,
        unless ``slice_axis`` cuts it into rows or columns.
    slice_axis : int or None
        Axis across the slices; None takes the axis of the coarsest spacing, the last of equals.
    """

    boundary: str = "inner"
    min_minority: float = field(
        default=0.0,
        metadata={
            "help": "Share of a superpixel outside its largest class (0 to 1), below which it "
            "stays hard."
        },
    )
    in_plane: bool = field(default=False, metadata={"help": "Distances within slices only."})
    slice_axis: int | None = None

    def __post_init__(self) -> None:
        make_plain(self)
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
        From :func:`softlabel.softmaps.class_index.class_index_map`.
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
    ids = np.ascontiguousarray(superpixels).reshape(volume.shape)
    ignored = ignored_index(index.dtype)
    mixed = mixed_superpixels(volume, ignored, len(table), ids, options.min_minority)
    sizes = np.diff(mixed.regions.start)[mixed.block_region]
    block_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    values = np.empty(int(block_start[-1]), np.float32)
    boundary = BOUNDARIES[options.boundary]
    metric = metric_of(index.ndim, spacing, options)
    work = _Work(volume, ignored, ids, mixed, metric, scale, Scratch())
    for class_index in np.unique(mixed.block_class):
        blocks = np.flatnonzero(mixed.block_class == class_index)
        _soften_class(work, int(class_index), boundary, blocks, block_start[blocks], values)
    return SoftMaps(
        index, table, 1.0, 0.0, mixed.regions, mixed.block_region, mixed.block_class,
        block_start, values,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Work:
    """What every class of one image shares."""

    index: Array
    ignored: int
    superpixels: Array
    mixed: Mixed
    metric: Metric
    scale: float
    scratch: Scratch


def metric_of(ndim: int, spacing: tuple[float, ...], options: SuperpixelOptions) -> Metric:
    """How the options measure distances on an image of ``ndim`` axes."""
    pad = 3 - ndim
    active = [False] * pad + [True] * ndim
    whole_image_is_the_plane = ndim == 2 and options.slice_axis is None
    if options.in_plane and not whole_image_is_the_plane:
        if ndim < 2:
            raise ValueError("in_plane needs 2 or 3 spatial axes; got 1, leave it out.")
        axis = coarsest_axis(spacing) if options.slice_axis is None else options.slice_axis
        if not 0 <= axis < ndim:
            raise ValueError(f"slice_axis must lie in 0..{ndim - 1}; got {axis}.")
        active[pad + axis] = False
    padded = (1.0,) * pad + tuple(spacing)
    to_face = BOUNDARIES[options.boundary].to_face
    return Metric(padded, tuple(active), to_face)  # type: ignore[arg-type]


def _soften_class(
    work: _Work,
    class_index: int,
    boundary: Boundary,
    blocks: Array,
    block_start: Array,
    values: Array,
) -> None:
    """Fill the values of one class."""
    regions = work.mixed.regions
    block_region = work.mixed.block_region[blocks]
    lower, upper = regions.lower[block_region], regions.upper[block_region]
    limits = work.metric.diagonals(lower, upper) * (1 + ROUNDING)
    reach = np.full(int(work.superpixels.max()) + 2, -1.0)
    reach[work.mixed.ids[block_region] + 1] = limits
    search = Search(
        work.index, work.ignored, work.superpixels, class_index, reach,
        tuple(int(n) for n in lower.min(axis=0)),  # type: ignore[arg-type]
        tuple(int(n) for n in upper.max(axis=0)),  # type: ignore[arg-type]
        work.scratch,
    )  # fmt: skip
    levels, squared = search_levels(search, boundary, work.metric)
    distance = np.sqrt(squared)
    inside = 0.5 * (distance / (work.scale + distance) + 1.0)
    outside = 0.5 * (-distance / (work.scale + distance) + 1.0)
    _fill_values(
        work.index, class_index, levels, np.array(search.lower), regions.pixels, regions.start,
        block_region, block_start, limits**2, squared, inside.astype(np.float32),
        outside.astype(np.float32), values,
    )  # fmt: skip


@kernel
def _fill_values(  # type: ignore[no-untyped-def]
    index, c, levels, low, pixels, start, block_region, block_start, limits, squared, inside,
    outside, values,
):  # fmt: skip
    flat = index.ravel()
    ny, nx = index.shape[1], index.shape[2]
    for b in range(len(block_region)):
        first = start[block_region[b]]
        for i in range(first, start[block_region[b] + 1]):
            rest = pixels[i] // nx
            x = pixels[i] - rest * nx
            z = rest // ny
            y = rest - z * ny
            own = flat[pixels[i]] == c
            level = levels[z - low[0], y - low[1], x - low[2]]
            if level < 0 or squared[level] > limits[b]:
                value = np.float32(1) if own else np.float32(0)
            else:
                value = inside[level] if own else outside[level]
            values[block_start[b] + i - first] = value
