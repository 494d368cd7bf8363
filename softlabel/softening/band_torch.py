"""The band of many images on a device: mixed superpixels, and the soft values in them.

:func:`find_band` finds the mixed superpixels of a batch, in the order of
:class:`softlabel.softmaps.SoftMaps`; :func:`fill_values` computes their values, as many classes,
images and slices at a time as the memory allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softlabel.device import DoesNotFit
from softlabel.distance import ROUNDING, Boundary, Metric
from softlabel.distance_torch import (
    Costs,
    Pairs,
    costs_within,
    sides,
    squared_distances,
    targets,
)
from softlabel.types import Array

MAP_BYTES = {False: 12, True: 48}
"""Bytes of working memory a pixel of a map, in planes and in volumes."""

PAIR_BYTES = 128
"""Bytes of working memory a (pixel, class) pair."""

SMALL_MAP = 1 << 22
"""Pixels up to which classes share their maps whatever their boxes are."""


@dataclass(frozen=True)
class Band:
    """The mixed superpixels of a batch of images, and the values in them.

    Attributes
    ----------
    index : tensor of uint8 or int32, shape (B, Z, Y, X)
        Class indices; ``ignored`` where ignored.
    ignored : int
    n_classes : int
    pixels : tensor of int64, shape (P,)
        Known pixels of the regions, flat in the batch, region after region.
    start : ndarray of int64, shape (R + 1,)
        Region ``r`` is ``pixels[start[r]:start[r + 1]]``; regions ascend by image and superpixel.
    image : ndarray of int64, shape (R,)
        The image of each region.
    lower, upper : ndarray of int32, shape (R, 3)
    block_region, block_class : ndarray of int32, shape (N,)
    block_start : ndarray of int64, shape (N + 1,)
    values : tensor of float32
        As in :class:`softlabel.softmaps.SoftMaps`, for all images one after the other.
    """

    index: Tensor
    ignored: int
    n_classes: int
    pixels: Tensor
    start: Array
    image: Array
    lower: Array
    upper: Array
    block_region: Array
    block_class: Array
    block_start: Array
    values: Tensor


# --- mixed superpixels ----------------------------------------------------------------------------


def find_band(
    index: Tensor, ignored: int, n_classes: int, superpixels: Tensor, min_minority: float = 0.0
) -> Band:
    """Find the mixed superpixels; the values are not filled yet.

    Parameters
    ----------
    index : tensor of uint8 or int32, shape (B, Z, Y, X)
    ignored : int
    n_classes : int
    superpixels : tensor of integers, shape (B, Z, Y, X)
        Ids from 0 in every image; negative where there is none.
    min_minority : float

    Returns
    -------
    Band
    """
    count = max(0, int(superpixels.max())) + 1
    region_of = _number_mixed(index, ignored, superpixels, count)
    pixels = torch.nonzero(region_of.view(-1) >= 0).squeeze(1)
    region = region_of.view(-1)[pixels]
    n_regions = int(region_of.max()) + 1
    lower, upper, image = _boxes(pixels, region, n_regions, index.shape)
    classes = index.view(-1)[pixels].to(torch.int64)
    known = torch.nonzero(classes != ignored).squeeze(1)
    pixels, region, classes = pixels[known], region[known], classes[known]
    region, order = torch.sort(region, stable=True)
    pixels, classes = pixels[order], classes[order]
    counts = torch.bincount(region * n_classes + classes, minlength=n_regions * n_classes)
    counts = counts.view(n_regions, n_classes)
    size = counts.sum(1)
    if min_minority > 0 and n_regions:
        minority = (size - counts.amax(1)).cpu().numpy()
        kept = torch.from_numpy(minority >= min_minority * size.cpu().numpy()).to(index.device)
        pixels = pixels[kept[region]]
        counts, size, lower, upper, image = (t[kept] for t in (counts, size, lower, upper, image))
    blocks = torch.nonzero(counts).cpu().numpy().astype(np.int32)
    sizes = size.cpu().numpy()
    block_sizes = sizes[blocks[:, 0]]
    block_start = np.concatenate([[0], np.cumsum(block_sizes)]).astype(np.int64)
    return Band(
        index, ignored, n_classes, pixels, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        image.cpu().numpy(), _host_boxes(lower), _host_boxes(upper),
        np.ascontiguousarray(blocks[:, 0]), np.ascontiguousarray(blocks[:, 1]), block_start,
        torch.empty(int(block_start[-1]), dtype=torch.float32, device=index.device),
    )  # fmt: skip


def _number_mixed(index: Tensor, ignored: int, superpixels: Tensor, count: int) -> Tensor:
    """Number of the mixed superpixel that every pixel lies in, −1 in others: int32 (B, Z, Y, X)."""
    device, none = index.device, len(index) * count
    first = torch.arange(len(index), device=device).view(-1, 1, 1, 1) * count
    slot = torch.where(superpixels < 0, none, superpixels.to(torch.int64) + first)
    of_known = torch.where(index == ignored, none, slot).view(-1)
    classes = index.view(-1).to(torch.int32)
    least = torch.full((none + 1,), ignored, dtype=torch.int32, device=device)
    most = torch.full((none + 1,), -1, dtype=torch.int32, device=device)
    least.scatter_reduce_(0, of_known, classes, "amin")
    most.scatter_reduce_(0, of_known, classes, "amax")
    mixed = least < most
    mixed[none] = False
    number = torch.cumsum(mixed, 0, dtype=torch.int32) - 1
    return torch.where(mixed, number, -1)[slot]


def _boxes(
    pixels: Tensor, region: Tensor, n_regions: int, shape: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Bounding boxes (R, 3), upper end exclusive, and the image (R,) of every region."""
    where = region.to(torch.int64)
    lower, upper = [], []
    rest = pixels
    for length in (shape[3], shape[2], shape[1]):
        at = (rest % length).to(torch.int32)
        rest = rest // length
        low = torch.full((n_regions,), 2**31 - 1, dtype=torch.int32, device=pixels.device)
        high = torch.zeros(n_regions, dtype=torch.int32, device=pixels.device)
        lower.append(low.scatter_reduce_(0, where, at, "amin"))
        upper.append(high.scatter_reduce_(0, where, at + 1, "amax"))
    image = torch.zeros(n_regions, dtype=torch.int64, device=pixels.device)
    image.scatter_reduce_(0, where, rest, "amax")
    return torch.stack(lower[::-1], 1), torch.stack(upper[::-1], 1), image


def _host_boxes(boxes: Tensor) -> Array:
    return np.ascontiguousarray(boxes.cpu().numpy(), dtype=np.int32)


# --- tiles ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    """Part of the work whose maps are in memory at once.

    Attributes
    ----------
    classes : ndarray of int64
    images : slice
    lower, upper : tuple of int
        Box of the maps.
    core : (axis, first, past-last) or None
        Pairs are settled in this part of the box only; None is all of it.
    """

    classes: Array
    images: slice
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    core: tuple[int, int, int] | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Z, Y, X of a map."""
        z, y, x = (u - lo for lo, u in zip(self.lower, self.upper, strict=True))
        return z, y, x


def plan_tiles(band: Band, costs: Costs, pixels_at_once: int) -> list[Tile]:
    """Cut the work into classes, images and slabs so that maps stay within a number of pixels.

    Raises
    ------
    DoesNotFit
        When one row (slice) with all that its distances reach is larger already.
    """
    tiles = []
    for classes, lower, upper in _share_maps(band, costs, pixels_at_once):
        n_images = len(band.index)
        pixels = int(np.prod(upper - lower))
        images = max(1, min(n_images, pixels_at_once // (pixels * len(classes))))
        for first in range(0, n_images, images):
            span = slice(first, min(first + images, n_images))
            if pixels <= pixels_at_once:
                tiles.append(Tile(classes, span, tuple(lower), tuple(upper), None))
            else:
                tiles.extend(_slabs(classes, span, lower, upper, costs, pixels_at_once))
    return tiles


def _share_maps(
    band: Band, costs: Costs, pixels_at_once: int
) -> Iterator[tuple[Array, Array, Array]]:
    """Groups of classes with the box of all their pairs and what these reach."""
    margin = np.array([costs.reach(axis) + 2 for axis in range(3)])
    shape = np.array(band.index.shape[1:])
    group: list[int] = []
    low = high = np.zeros(3, np.int64)
    single = 0
    for k in np.unique(band.block_class):
        regions = band.block_region[band.block_class == k]
        lower = np.maximum(band.lower[regions].min(axis=0) - margin, 0).astype(np.int64)
        upper = np.minimum(band.upper[regions].max(axis=0) + margin, shape).astype(np.int64)
        size = int(np.prod(upper - lower))
        both_low = np.minimum(low, lower) if group else lower
        both_high = np.maximum(high, upper) if group else upper
        together = int(np.prod(both_high - both_low)) * (len(group) + 1)
        fits = together * len(band.index) <= pixels_at_once
        if group and not (fits and together <= max(2 * (single + size), SMALL_MAP)):
            yield np.array(group), low, high
            group, single, both_low, both_high = [], 0, lower, upper
        group.append(int(k))
        low, high, single = both_low, both_high, single + size
    if group:
        yield np.array(group), low, high


def _slabs(
    classes: Array, images: slice, lower: Array, upper: Array, costs: Costs, pixels_at_once: int
) -> Iterator[Tile]:
    """Slabs of one map along the axis that pairs are searched along last."""
    if len(classes) > 1:
        for k in classes:
            yield from _slabs(np.array([k]), images, lower, upper, costs, pixels_at_once)
        return
    axis = search_axis(upper - lower, costs)
    halo = costs.reach(axis) + 1
    row = int(np.prod(upper - lower)) // int(upper[axis] - lower[axis])
    depth = pixels_at_once // row - 2 * halo
    if depth < 1:
        raise DoesNotFit(
            f"one {'row' if axis == 1 else 'slice'} of the maps with all that its distances reach "
            f"has {row * (2 * halo + 1)} pixels, the device's memory is enough for "
            f"{pixels_at_once}"
        )
    for first in range(int(lower[axis]), int(upper[axis]), depth):
        last = min(first + depth, int(upper[axis]))
        low, high = lower.copy(), upper.copy()
        low[axis] = max(first - halo, int(lower[axis]))
        high[axis] = min(last + halo, int(upper[axis]))
        yield Tile(classes, images, tuple(low), tuple(high), (axis, first, last))


def search_axis(shape: Array | Sequence[int], costs: Costs) -> int:
    """Axis along which pairs are searched one by one: z in volumes, else y."""
    return 0 if shape[0] > 1 and costs.reach(0) > 0 else 1


# --- values ---------------------------------------------------------------------------------------


def fill_values(
    band: Band, boundary: Boundary, metric: Metric, scale: float, budget: int,
    kernels: bool | None = None,
) -> None:  # fmt: skip
    """Compute the values of a band.

    Parameters
    ----------
    band : Band
    boundary : Boundary
    metric : Metric
    scale : float
    budget : int
        Bytes of working memory.
    kernels : bool, optional
        As in :func:`softlabel.distance_torch.squared_distances`.
    """
    if not len(band.block_region):
        return
    device = band.index.device
    _, z, y, x = band.index.shape
    limits = metric.diagonals(band.lower, band.upper) * (1 + ROUNDING)
    costs = costs_within(metric, float(limits.max()), (z, y, x))
    block_limit = costs.limits(limits)[band.block_region]
    work = _Work(
        band, boundary, metric, costs, torch.from_numpy(block_limit).to(device),
        _values_of(costs, block_limit, scale, device), budget // 4 // PAIR_BYTES, kernels,
    )  # fmt: skip
    volume = search_axis((z, y, x), costs) == 0
    image = band.image[band.block_region]
    for tile in plan_tiles(band, costs, budget // 4 // MAP_BYTES[volume]):
        chosen = np.isin(band.block_class, tile.classes)
        chosen &= (image >= tile.images.start) & (image < tile.images.stop)
        if chosen.any():
            _fill_tile(work, tile, np.flatnonzero(chosen))


@dataclass(frozen=True)
class _Work:
    """What all tiles of a band share."""

    band: Band
    boundary: Boundary
    metric: Metric
    costs: Costs
    block_limit: Tensor
    q: Callable[[Tensor, bool], Tensor]
    pairs_at_once: int
    kernels: bool | None


def _fill_tile(work: _Work, tile: Tile, blocks: Array) -> None:
    """Compute the values of some blocks, first of their pixels inside the class, then of others."""
    band = work.band
    box = tuple(slice(lo, u) for lo, u in zip(tile.lower, tile.upper, strict=True))
    index = band.index[(tile.images, *box)]
    classes = torch.from_numpy(tile.classes).to(index.device)
    for inside, kind in sides(work.boundary):
        target = targets(index, band.ignored, classes, kind, work.metric.active)
        target = target.reshape(-1, *tile.shape)
        for pairs in _pairs_of(band, blocks, tile, work.pairs_at_once):
            side = torch.nonzero(pairs.own == inside).squeeze(1)
            limit = work.block_limit[pairs.block[side]]
            z, y = (c[side] for c in pairs.coordinates)
            waiting = Pairs(pairs.place[side], (z, y), limit)
            squared = squared_distances(target, waiting, work.costs, kernels=work.kernels)
            soft = work.q(squared, inside)
            hard = torch.full_like(soft, 1.0 if inside else 0.0)
            band.values[pairs.out[side]] = torch.where(squared > limit, hard, soft)


@dataclass(frozen=True)
class _TilePairs:
    """Pairs of a tile: place and coordinates in its maps, block, position of the value."""

    place: Tensor
    coordinates: tuple[Tensor, Tensor]
    block: Tensor
    out: Tensor
    own: Tensor


def _pairs_of(band: Band, blocks: Array, tile: Tile, at_once: int) -> Iterator[_TilePairs]:
    """The pairs of some blocks, a bounded number at a time."""
    sizes = np.diff(band.block_start)[blocks]
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    device = band.index.device
    to_out = torch.from_numpy(band.block_start[blocks] - (ends - sizes)).to(device)
    to_pixel = torch.from_numpy(band.start[band.block_region[blocks]] - (ends - sizes)).to(device)
    numbers = torch.from_numpy(blocks).to(device)
    rank = torch.from_numpy(np.searchsorted(tile.classes, band.block_class[blocks])).to(device)
    at_once = max(1, at_once)
    for first in range(0, total, at_once):
        last = min(first + at_once, total)
        share = np.clip(ends, first, last) - np.clip(ends - sizes, first, last)
        block = torch.repeat_interleave(
            torch.from_numpy(share).to(device), output_size=last - first
        )
        entry = torch.arange(first, last, device=device)
        pixel = band.pixels[entry + to_pixel[block]]
        out = entry + to_out[block]
        yield from _located(band, tile, pixel, out, block, numbers, rank)


def _located(
    band: Band, tile: Tile, pixel: Tensor, out: Tensor, block: Tensor, numbers: Tensor, rank: Tensor
) -> Iterator[_TilePairs]:
    """Pairs with their place in the maps of a tile; those outside of its core left out."""
    _, depth, height, width = band.index.shape
    x = pixel % width
    rest = pixel // width
    y = rest % height
    rest = rest // height
    z, image = rest % depth, rest // depth
    if tile.core is not None:
        axis, first, last = tile.core
        along = z if axis == 0 else y
        inside = torch.nonzero((along >= first) & (along < last)).squeeze(1)
        if not len(inside):
            return
        pixel, out, block, x, y, z, image = (t[inside] for t in (pixel, out, block, x, y, z, image))
    own_class = torch.from_numpy(tile.classes).to(pixel.device)[rank[block]]
    own = band.index.view(-1)[pixel].to(torch.int64) == own_class
    z, y, x = (c - lo for c, lo in zip((z, y, x), tile.lower, strict=True))
    n_images = tile.images.stop - tile.images.start
    place = rank[block] * n_images + (image - tile.images.start)
    for length, at in zip(tile.shape, (z, y, x), strict=True):
        place = place * length + at
    yield _TilePairs(place, (z.to(torch.int32), y.to(torch.int32)), numbers[block], out, own)


def _values_of(
    costs: Costs, limits: Array, scale: float, device: torch.device
) -> Callable[[Tensor, bool], Tensor]:
    """Eq. 1 for squared distances on the device: (squared, inside) -> float32.

    In pixel units it is a table that NumPy made, so that no device can round differently. Values
    of squared distances beyond the limits mean nothing.
    """

    def formula(squared: Tensor, inside: bool) -> Tensor:
        distance = torch.sqrt(squared)
        signed = distance if inside else -distance
        return (0.5 * (signed / (scale + distance) + 1.0)).to(torch.float32)

    if not costs.integer:
        return formula
    distance = np.sqrt(np.arange(int(limits.max()) + 1, dtype=np.float64) / costs.factor)
    tables = {
        inside: torch.from_numpy((0.5 * (signed / (scale + distance) + 1.0)).astype(np.float32)).to(
            device
        )
        for inside, signed in ((True, distance), (False, -distance))
    }
    return lambda squared, inside: tables[inside][
        squared.to(torch.int64).clamp_(max=len(distance) - 1)
    ]
