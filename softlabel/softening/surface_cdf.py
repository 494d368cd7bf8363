"""Layers whose boundaries have a Gaussian place along each A-scan.

    q_k(r) = Φ((r − b_k) / σ) − Φ((r − b_{k+1}) / σ)

r is the row of a pixel's centre, b_k the boundary above layer k in its A-scan (b_0 = −∞, the last
one ∞), σ the standard deviation of the place that annotators give a boundary, Φ the normal
distribution function. Σ_k q_k = 1.

The classes of the table, in its order, are the layers from the top down. A boundary lies half way
between the last pixel of the layers above it and the first of those below. A layer that an A-scan
lacks has both of its boundaries in one place, and is 0 there. One class may lie *over* the layers,
as fluid does: its pixels stay hard and say nothing about boundaries. More than six σ from a
boundary pixels are hard.

One A-scan, two layers, σ = 1::

    y_1   0      0      0      1      1      1
    q_1   0.006  0.067  0.309  0.691  0.933  0.994
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from softlabel.coerce import make_plain
from softlabel.softening.inputs import MethodInput
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, ClassTable

REACH = 6.0
"""Standard deviations beyond which Φ is taken as 0 or 1; it is 1e-9 there."""

MOST_DISORDERED = 0.1
"""Share of the A-scans with a layer in which it may lie above another one that belongs above it, as
after a slip of the hand. A class such as fluid does so nearly wherever it is."""


@dataclass(frozen=True)
class SurfaceCDFOptions:
    """Options of the method.

    Attributes
    ----------
    surface_sigma : float
        σ, in pixels along the A-scan, or in the unit of the spacing.
    over : int or None
        Label value of a class that lies over the layers.
    depth_axis : int
        Spatial axis along the A-scans.
    """

    surface_sigma: float = field(
        default=2.0,
        metadata={"help": "Standard deviation of a boundary's place along the A-scan."},
    )
    over: int | None = field(
        default=None,
        metadata={"help": "Label value of a class that lies over the layers, such as fluid."},
    )
    depth_axis: int = field(default=0, metadata={"help": "Spatial axis along the A-scans."})

    def __post_init__(self) -> None:
        make_plain(self)
        if not 0 < self.surface_sigma < np.inf:
            raise ValueError(f"surface_sigma must be positive; got {self.surface_sigma}.")
        if not 0 <= self.depth_axis <= 2:
            raise ValueError(f"depth_axis must be 0, 1 or 2; got {self.depth_axis}.")


def soften_by_surface_cdf(given: MethodInput, options: SurfaceCDFOptions) -> SoftMaps:
    """Soften layers along their A-scans.

    Parameters
    ----------
    given : MethodInput
    options : SurfaceCDFOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a value other than 0 and 1.

    Raises
    ------
    ValueError
        When the classes are no layers in the order of the table, or there is no such axis.
    """
    axis = options.depth_axis
    if axis >= given.index.ndim:
        raise ValueError(f"depth_axis is {axis} and the label map has {given.index.ndim} axes.")
    over = _over(given.table, options.over)
    layers = [k for k in range(len(given.table)) if k != over]
    free = (given.index == over) if over is not None else np.zeros(given.index.shape, np.bool_)
    rank = _ranks(given.index, layers, free)
    bounds = _boundaries(np.moveaxis(rank, axis, 0), len(layers), given.table, layers)
    maps = _class_maps(bounds, layers, free, axis, options.surface_sigma / given.spacing[axis],
                       given.index)  # fmt: skip
    return from_class_maps(given.index, given.table, maps)


def _over(table: ClassTable, value: int | None) -> int | None:
    if value is not None and value not in table.values:
        raise ValueError(
            f"over is {value}, which is no class; there are {', '.join(map(str, table.values))}."
        )
    return None if value is None else table.values.index(value)


def _ranks(index: Array, layers: list[int], free: Array) -> npt.NDArray[np.int16]:
    """Number of the layer from the top; −1 where a pixel says nothing about layers."""
    place = np.full(int(np.iinfo(index.dtype).max) + 1, -1, np.int16)
    place[layers] = np.arange(len(layers))
    place[ignored_index(index.dtype)] = -1
    return np.where(free, np.int16(-1), place[index])


def _boundaries(
    rank: npt.NDArray[np.int16], n_layers: int, table: ClassTable, layers: list[int]
) -> npt.NDArray[np.float64]:
    """Row of every boundary in every A-scan, shape (layers − 1, *columns); the axis 0 is depth.

    −∞ where all of an A-scan lies below a boundary, ∞ where all of it lies above.
    """
    row = np.arange(len(rank), dtype=np.float64).reshape((-1,) + (1,) * (rank.ndim - 1))
    bounds = np.empty((max(n_layers - 1, 0), *rank.shape[1:]))
    for k in range(1, n_layers):
        last = np.where((rank >= 0) & (rank < k), row, -np.inf).max(axis=0)
        first = np.where(rank >= k, row, np.inf).min(axis=0)
        here = (rank == k).any(axis=0)
        disordered = float((last > first)[here].mean()) if here.any() else 0.0
        if disordered > MOST_DISORDERED:
            above, below = (table.values[layers[n]] for n in (k - 1, k))
            raise ValueError(
                f"in {disordered:.0%} of the A-scans with the class {below} it lies above classes "
                f"up to {above}, so that they are no layers in the order of their values; name a "
                "class that lies over the layers as over, give another depth_axis, or take another "
                "method."
            )
        with np.errstate(invalid="ignore"):  # an A-scan without a known pixel
            bounds[k - 1] = (last + first) / 2
    return np.nan_to_num(bounds, nan=np.inf, posinf=np.inf, neginf=-np.inf)


def _class_maps(
    bounds: npt.NDArray[np.float64],
    layers: list[int],
    free: Array,
    axis: int,
    sigma_px: float,
    index: Array,
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    """The map of each layer; its upper boundary is the lower one of the layer before."""
    whole = tuple(slice(0, n) for n in index.shape)
    below = np.ones(index.shape)
    for number, k in enumerate(layers):
        above = below
        if number < len(bounds):
            below = np.moveaxis(_share_below(bounds[number], index.shape[axis], sigma_px), 0, axis)
        else:
            below = np.zeros(index.shape)
        yield k, whole, np.where(free, index == k, above - below)


def _share_below(
    bound: npt.NDArray[np.float64], n_rows: int, sigma_px: float
) -> npt.NDArray[np.float64]:
    """Φ((r − b) / σ) in every row of every A-scan."""
    from scipy.special import ndtr

    row = np.arange(n_rows).reshape((-1,) + (1,) * bound.ndim)
    z = (row - bound) / sigma_px
    return np.where(z > REACH, 1.0, np.where(z < -REACH, 0.0, ndtr(z)))
