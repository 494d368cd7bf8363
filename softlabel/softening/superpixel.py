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
from typing import NamedTuple, Protocol

import numpy as np

from softlabel.coerce import make_plain
from softlabel.distance.blocks import Blocks, Measured
from softlabel.distance.boundary import BOUNDARIES, ROUNDING, Metric
from softlabel.distance.measure import measure_blocks
from softlabel.kernels import kernel
from softlabel.softening.conversion import CONVERSIONS, EQ1, check_conversion
from softlabel.softening.inputs import MethodInput
from softlabel.softening.mixed import mixed_superpixels
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, coarsest_axis

CONVERSION_TEXT = {
    "help": "What a signed distance d becomes: Eq. 1, the normal distribution function of d/scale, "
    "or the logistic one.",
    "choices": tuple(CONVERSIONS),
}
"""Metadata of the field of every method that has it."""


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
    conversion : {"eq1", "probit", "logistic"}
        What a distance becomes (:data:`softlabel.softening.conversion.CONVERSIONS`).
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
    conversion: str = field(default=EQ1, metadata=CONVERSION_TEXT)

    def __post_init__(self) -> None:
        make_plain(self)
        check_boundary(self.boundary)
        check_conversion(self.conversion)
        if not 0 <= self.min_minority <= 1:
            raise ValueError(f"min_minority must lie in 0..1; got {self.min_minority}.")


def soften_by_superpixels(given: MethodInput, options: SuperpixelOptions) -> SoftMaps:
    """Soften a map of class indices inside its mixed superpixels.

    Parameters
    ----------
    given : MethodInput
        With superpixels.
    options : SuperpixelOptions

    Returns
    -------
    SoftMaps
        Whose regions are the mixed superpixels.
    """
    index, table, superpixels = given.index, given.table, given.superpixels
    assert superpixels is not None
    pad = 3 - index.ndim
    volume = np.ascontiguousarray(index).reshape((1,) * pad + index.shape)
    ids = np.ascontiguousarray(superpixels).reshape(volume.shape)
    ignored = ignored_index(index.dtype)
    mixed = mixed_superpixels(volume, ignored, len(table), ids, options.min_minority)
    regions = mixed.regions
    sizes = np.diff(regions.start)[mixed.block_region]
    block_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    values = np.empty(int(block_start[-1]), np.float32)
    boundary = BOUNDARIES[options.boundary]
    metric = metric_of(index.ndim, given.spacing, options)
    limits = metric.diagonals(regions.lower, regions.upper) * (1 + ROUNDING)
    blocks = Blocks(
        volume, ignored, regions.pixels, regions.start, regions.lower, regions.upper, limits,
        mixed.block_region, mixed.block_class,
    )  # fmt: skip
    for measured in measure_blocks(blocks, boundary, metric):
        soften_measured(
            blocks, measured, given.scale, options.conversion, block_start[measured.blocks], values
        )
    return SoftMaps(
        index, table, 1.0, 0.0, regions, mixed.block_region, mixed.block_class,
        block_start, values,
    )  # fmt: skip


class DistanceRules(Protocol):
    """Options of a method that measures distances to boundaries."""

    @property
    def boundary(self) -> str:
        """A name in :data:`~softlabel.distance.boundary.BOUNDARIES`."""

    @property
    def in_plane(self) -> bool:
        """Whether distances stay within slices."""

    @property
    def slice_axis(self) -> int | None:
        """Axis across the slices."""


def check_boundary(boundary: str) -> None:
    """Refuse an unknown convention of where boundaries lie by a ValueError."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary must be one of {', '.join(BOUNDARIES)}; got {boundary!r}.")


def metric_of(ndim: int, spacing: tuple[float, ...], options: DistanceRules) -> Metric:
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


def soften_measured(
    blocks: Blocks,
    measured: Measured,
    scale: float,
    conversion: str,
    value_start: Array,
    values: Array,
) -> None:
    """Fill the values of the blocks that have been measured: soft up to the limits, else hard.

    Parameters
    ----------
    blocks : Blocks
    measured : Measured
    scale : float
    conversion : str
    value_start : ndarray of int64, shape (N,)
        Where the values of each measured block begin.
    values : ndarray of float32
        Written to.
    """
    region = blocks.region[measured.blocks]
    limits = blocks.limits[region] ** 2 * measured.factor
    own = Own(
        blocks.index.reshape(-1), blocks.class_index[measured.blocks].astype(blocks.index.dtype),
        blocks.pixels, blocks.start[region], blocks.start[region + 1],
    )  # fmt: skip
    convert = CONVERSIONS[conversion]
    if measured.squared.dtype != np.float64:
        distance = np.sqrt(np.arange(int(limits.max()) + 1) / measured.factor)
        inside, outside = convert(distance, scale), convert(-distance, scale)
        table = np.array([np.append(outside, 0.0), np.append(inside, 1.0)], np.float32)
        _look_up_values(own, measured.squared, measured.start, limits, table, value_start, values)
    elif conversion == EQ1:
        _fill_values(own, measured.squared, measured.start, limits, scale, value_start, values)
    else:
        squared, mine = measured.squared, np.empty(len(measured.squared), np.bool_)
        _mark_own(own, measured.start, mine)
        distance = np.sqrt(squared)
        soft = convert(np.where(mine, distance, -distance), scale)
        sizes = np.diff(measured.start)
        soft = np.where(squared <= np.repeat(limits, sizes), soft, mine)
        values[np.arange(len(squared)) + np.repeat(value_start - measured.start[:-1], sizes)] = soft


class Own(NamedTuple):
    """What tells the pixels of a block's class from others.

    Attributes
    ----------
    flat : ndarray of uint8 or uint16
        Class indices of the image.
    class_index : ndarray of the same type, shape (N,)
        Of each block.
    pixels : ndarray of int32 or int64
    first, last : ndarray of int64, shape (N,)
        Block ``b`` has ``pixels[first[b]:last[b]]``.
    """

    flat: Array
    class_index: Array
    pixels: Array
    first: Array
    last: Array


@kernel
def _mark_own(own: Own, start: Array, mine: Array) -> None:
    """Which pixels of the blocks are of the block's class."""
    for b in range(len(start) - 1):
        for i in range(start[b + 1] - start[b]):
            mine[start[b] + i] = own.flat[own.pixels[own.first[b] + i]] == own.class_index[b]


@kernel
def _fill_values(
    own: Own, squared: Array, start: Array, limits: Array, scale: float, value_start: Array,
    values: Array,
) -> None:  # fmt: skip
    flat, pixels = own.flat, own.pixels
    for b in range(len(limits)):
        first, class_index = own.first[b], own.class_index[b]
        for i in range(own.last[b] - first):
            mine = flat[pixels[first + i]] == class_index
            square = squared[start[b] + i]
            if square <= limits[b]:
                distance = np.sqrt(square)
                signed = distance if mine else -distance
                value = np.float32(0.5 * (signed / (scale + distance) + 1.0))
            else:
                value = np.float32(1.0 if mine else 0.0)
            values[value_start[b] + i] = value


@kernel
def _look_up_values(
    own: Own, squared: Array, start: Array, limits: Array, table: Array, value_start: Array,
    values: Array,
) -> None:  # fmt: skip
    """As :func:`_fill_values`, for whole numbers, without a branch.

    The table has the values outside and inside of the class by the square, and last the hard ones.
    """
    flat, pixels, entries = own.flat, own.pixels, table.reshape(-1)
    length = np.uint64(table.shape[1])
    for b in range(len(limits)):
        first, class_index = np.uint64(own.first[b]), own.class_index[b]
        source, to, limit = np.uint64(start[b]), np.uint64(value_start[b]), limits[b]
        for i in range(np.uint64(own.last[b]) - first):
            square = squared[source + i]
            entry = np.uint64(square) if square <= limit else length - np.uint64(1)
            mine = flat[np.uint64(pixels[first + i])] == class_index
            values[to + i] = entries[entry + (length if mine else np.uint64(0))]
