"""Which class a pixel is of, given where the boundary was drawn and what the pixel looks like.

    q_c ∝ Φ(d_c / s) · Π_channels N(I; mean_c, v)^(1/τ)              near boundaries
    q_c = y_c                                                        elsewhere

d_c is the signed distance to the nearest face of the drawn boundary of c, s (``boundary_sd``) the
standard deviation of the place where annotators draw it, Φ the normal distribution function: the
prior. I is the image, smoothed a little (``image_sigma``), mean_c the local mean of class c and v
the local noise (:mod:`softlabel.softening.appearance`). τ (``temper``) is the number of pixels that
say together what one would say alone if noise were independent. Where classes look alike the prior
is left; where they differ, a pixel that was drawn as one and looks like the other becomes
uncertain. Σ_c q_c = 1.

* A class further than REACH · s away has no share.
* Where the drawn class would not be the most probable one it gets KEPT, the others the rest in
  proportion, unless ``allow_flips``.
* Where it has HARD or more, the pixel stays hard.
* Ignored pixels, and those outside of the mask, say nothing; the latter stay hard.

The image has its say through intensities alone; superpixels have none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from softlabel.coerce import make_plain
from softlabel.distance.boundary import BOUNDARIES, Metric
from softlabel.distance.measure import measure_blocks
from softlabel.kernels import inner_kernel, kernel
from softlabel.softening.appearance import Slab, looks_of, slabs_of, smoothed
from softlabel.softening.inputs import MethodInput
from softlabel.softening.superpixel import metric_of, soften_measured
from softlabel.softening.tiles import Tiles, maps_of_tiles, tiles_within
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.from_dense import TILE_EDGE
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array

BOUNDARY_SD, WINDOW = 1.5, 6.0
"""Defaults, in pixels of the finest spacing."""

REACH = 4.0
"""Standard deviations from a boundary beyond which labels are hard."""

KEPT = 0.51
"""What the drawn class keeps where another one is more probable."""

HARD = 0.995
"""What the drawn class has at least where a pixel stays hard."""


@dataclass(frozen=True)
class PosteriorOptions:
    """Options of the method.

    Attributes
    ----------
    boundary_sd : float or None
        s, in pixels or, when soften is given a spacing, in its unit. None is 1.5 pixels, with a
        spacing 1.5 times its smallest value.
    temper : float, 1 or more
        τ.
    window : float or None
        How far the window of local means reaches to each side, in the same unit. None is 6 pixels.
    image_sigma : float
        The image is smoothed by a Gaussian of so many pixels of the finest spacing first.
    allow_flips : bool
        Let another class than the drawn one become the most probable.
    in_plane, slice_axis
        As in :class:`softlabel.softening.superpixel.SuperpixelOptions`; windows and smoothing
        stay within the slices too.
    """

    boundary_sd: float | None = field(
        default=None,
        metadata={"help": "Standard deviation of the place where annotators draw a boundary. "
                  "Default: 1.5 pixels of the finest spacing."},
    )  # fmt: skip
    temper: float = field(
        default=2.0,
        metadata={"help": "Pixels that say together what one would say if noise were independent."},
    )
    window: float | None = field(
        default=None,
        metadata={"help": "Reach of the window of local intensities. Default: 6 pixels of the "
                  "finest spacing."},
    )  # fmt: skip
    image_sigma: float = field(
        default=0.5,
        metadata={"help": "Smoothing of the image before its intensities are compared, in pixels; "
                  "about 1 for speckle."},
    )  # fmt: skip
    allow_flips: bool = field(
        default=False,
        metadata={"help": "Let another class than the annotated one become the most probable."},
    )
    in_plane: bool = field(default=False, metadata={"help": "Distances within slices only."})
    slice_axis: int | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("boundary_sd", "window"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"{name} must be a positive number; got {value}.")
        if not 0 <= self.image_sigma < np.inf:
            raise ValueError(f"image_sigma must not be negative; got {self.image_sigma}.")
        if not 1 <= self.temper < np.inf:
            raise ValueError(f"temper must be 1 or more; got {self.temper}.")

    @property
    def boundary(self) -> str:
        """Distances run to faces, so that both sides of a boundary are treated alike."""
        return "edge"


def soften_by_posterior(given: MethodInput, options: PosteriorOptions) -> SoftMaps:
    """Soften a map of class indices by where boundaries were drawn and how its pixels look.

    Parameters
    ----------
    given : MethodInput
        With its image; with a mask where only a part of the image counts.
    options : PosteriorOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a soft value.
    """
    assert given.image is not None
    index, table = given.index, given.table
    shape = (1,) * (3 - index.ndim) + index.shape
    volume = np.ascontiguousarray(index).reshape(shape)
    image = given.image.reshape(-1, *shape)
    usable = volume != ignored_index(index.dtype)
    if given.mask is not None:
        usable &= given.mask.reshape(shape)
    finest = min(given.spacing)
    sd = BOUNDARY_SD * finest if options.boundary_sd is None else options.boundary_sd
    window = WINDOW * finest if options.window is None else options.window
    metric = metric_of(index.ndim, given.spacing, options)
    tiles = tiles_within(volume, len(table), TILE_EDGE[index.ndim], metric, REACH * sd)
    values = _priors(tiles, metric, sd)
    image = smoothed(image, usable, _sigma(metric, options.image_sigma))
    looks = looks_of(volume, len(table), image, usable)
    soft = np.zeros(len(tiles.blocks.region), np.bool_)
    for slab in slabs_of(tiles, values, image, usable, looks, _radius(metric, window, shape)):
        given_tiles = _tiles_of(tiles, slab)
        _weigh(
            given_tiles, volume.reshape(-1), usable.reshape(-1), slab.image.reshape(len(image), -1),
            slab.noise.reshape(len(image), -1), slab.first * volume[0].size, slab.mean,
            options.temper, options.allow_flips, values[slab.values], soft[slab.blocks],
        )  # fmt: skip
    return maps_of_tiles(index, table, tiles, values, soft)


def _priors(tiles: Tiles, metric: Metric, sd: float) -> Array:
    """Φ(d_c / s) of each pixel of each block; 0 or 1 further away."""
    start = tiles.value_start
    values = np.empty(int(start[-1]), np.float32)
    for measured in measure_blocks(tiles.blocks, BOUNDARIES["edge"], metric):
        soften_measured(tiles.blocks, measured, sd, "probit", start[measured.blocks], values)
    return values


def _sigma(metric: Metric, sigma: float) -> tuple[float, float, float]:
    """Standard deviation of the smoothing along each axis, in its pixels."""
    axes = zip(metric.spacing, metric.active, strict=True)
    z, y, x = (sigma * metric.finest / step if active else 0.0 for step, active in axes)
    return z, y, x


def _radius(metric: Metric, window: float, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Pixels that the window reaches along each axis."""
    axes = zip(metric.spacing, metric.active, shape, strict=True)
    reach = [int(min(window // step, n - 1)) if active else 0 for step, active, n in axes]
    return reach[0], reach[1], reach[2]


class SlabTiles(NamedTuple):
    """Tiles of a slab.

    Attributes
    ----------
    pixels : ndarray of int32 or int64
        Flat indices of the volume, tile after tile.
    start : ndarray of int64, shape (R + 1,)
        Where the pixels of each tile begin.
    block_start : ndarray of int64, shape (R + 1,)
        Where the blocks of each tile begin.
    class_index : ndarray of int32, shape (B,)
        Of each block.
    """

    pixels: Array
    start: Array
    block_start: Array
    class_index: Array


def _tiles_of(tiles: Tiles, slab: Slab) -> SlabTiles:
    blocks, regions = tiles.blocks, slab.regions
    start = blocks.start[regions.start : regions.stop + 1]
    region = blocks.region[slab.blocks]
    block_start = np.searchsorted(region, np.arange(regions.start, regions.stop + 1))
    return SlabTiles(
        blocks.pixels[start[0] : start[-1]], start - start[0], block_start,
        blocks.class_index[slab.blocks],
    )  # fmt: skip


@kernel
def _weigh(
    tiles: SlabTiles, flat: Array, usable: Array, image: Array, noise: Array, first: int,
    mean: Array, temper: float, allow_flips: bool, values: Array, soft: Array,
) -> None:  # fmt: skip
    """Turn the priors of a slab into posteriors, and mark the blocks that hold a soft value."""
    weight = np.empty(len(soft) + 1)
    begin = 0
    for r in range(len(tiles.start) - 1):
        b0, n_blocks = tiles.block_start[r], tiles.block_start[r + 1] - tiles.block_start[r]
        n = tiles.start[r + 1] - tiles.start[r]
        for i in range(n):
            p = tiles.pixels[tiles.start[r] + i]
            own, possible = -1, 0
            for b in range(n_blocks):
                if tiles.class_index[b0 + b] == flat[p]:
                    own = b
                if values[begin + b * n + i] > 0:
                    possible += 1
            if usable[p] and possible > 1:
                _likelihoods(
                    values, mean, image, noise, p - first, begin + i, n, n_blocks, temper, weight
                )
                _share(weight, n_blocks, own, allow_flips)
            else:
                for b in range(n_blocks):
                    weight[b] = 1.0 if b == own else 0.0
            for b in range(n_blocks):
                values[begin + b * n + i] = weight[b]
                if weight[b] != (1.0 if b == own else 0.0):
                    soft[b0 + b] = True
        begin += n * n_blocks


@inner_kernel
def _likelihoods(
    values: Array, mean: Array, image: Array, noise: Array, at: int, entry: int, step: int,
    n_blocks: int, temper: float, weight: Array,
) -> None:  # fmt: skip
    """Logarithm of prior times tempered likelihood of each class at a pixel."""
    for b in range(n_blocks):
        prior = values[entry + b * step]
        if prior == 0:
            weight[b] = -np.inf
            continue
        total = math.log(prior)
        for c in range(len(image)):
            away = image[c, at] - mean[c, entry + b * step]
            total -= away * away / (2.0 * noise[c, at] * temper)
        weight[b] = total


@inner_kernel
def _share(weight: Array, n_blocks: int, own: int, allow_flips: bool) -> None:
    """Posteriors that sum to 1, by the rules for the drawn class."""
    largest, total = 0, 0.0
    for b in range(n_blocks):
        if weight[b] > weight[largest]:
            largest = b
    top = weight[largest]
    for b in range(n_blocks):
        weight[b] = math.exp(weight[b] - top) if weight[b] > -np.inf else 0.0
        total += weight[b]
    for b in range(n_blocks):
        weight[b] /= total
    if weight[own] >= HARD:
        for b in range(n_blocks):
            weight[b] = 1.0 if b == own else 0.0
    elif weight[own] < weight[largest] and not allow_flips:
        factor = (1.0 - KEPT) / (1.0 - weight[own])
        for b in range(n_blocks):
            weight[b] = KEPT if b == own else weight[b] * factor
