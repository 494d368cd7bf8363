"""The soft values of a band: as many classes, images and slices at a time as the memory allows.

A value belongs to a *block*, the pixels of one mixed superpixel for one class. Every (pixel, class)
pair is located in the distance maps of its tile, its squared distance is searched there, and Eq. 1
makes the value of it. Triton does all of that in one kernel, plain tensor code step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softlabel.distance import ROUNDING, Boundary, Metric
from softlabel.distance_torch import (
    Costs,
    Pairs,
    costs_within,
    search_among,
    sides,
    targets,
)
from softlabel.softening.band_tiles import Tile, plan_tiles, search_axis
from softlabel.softening.band_torch import Band
from softlabel.types import Array

MAP_BYTES = {False: 12, True: 48}
"""Bytes of working memory a pixel of a map, in planes and in volumes."""

PAIR_BYTES = 128
"""Bytes of working memory a (pixel, class) pair."""

LONGEST_ROW = 1 << 14
"""Longer rows are not for the Triton kernels: one of their programs holds a whole row."""


def fill_values(
    band: Band, boundary: Boundary, metric: Metric, scale: float, budget: int,
    kernels: bool = False,
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
    kernels : bool
        Use the Triton kernels.
    """
    if not len(band.block_region):
        return
    _, z, y, x = band.index.shape
    limits = metric.diagonals(band.lower, band.upper) * (1 + ROUNDING)
    costs = costs_within(metric, float(limits.max()), (z, y, x))
    limit = costs.limits(limits)[band.block_region]
    work = Work(
        band, boundary, metric, costs, limit,
        formula_of(costs, limit, scale, band.index.device), budget // 4 // PAIR_BYTES,
    )  # fmt: skip
    volume = search_axis((z, y, x), costs) == 0
    image = band.image[band.block_region]
    for tile in plan_tiles(band, costs, budget // 4 // MAP_BYTES[volume]):
        chosen = np.isin(band.block_class, tile.classes)
        chosen &= (image >= tile.images.start) & (image < tile.images.stop)
        if not chosen.any():
            continue
        if kernels and x <= LONGEST_ROW:
            from softlabel.softening import band_triton

            band_triton.fill_tile(work, tile, np.flatnonzero(chosen))
        else:
            _fill_tile(work, tile, np.flatnonzero(chosen))


@dataclass(frozen=True, eq=False)
class Formula:
    """Eq. 1 for squared distances on a device.

    Attributes
    ----------
    scale : float
    levels : tensor of float32, shape (2, n), or None
        In pixel units its values, that NumPy made so that no device can round differently: for
        each squared distance outside of the class, then inside.
    """

    scale: float
    levels: Tensor | None

    def __call__(self, squared: Tensor, inside: bool) -> Tensor:
        """Soft values (float32); those of squared distances beyond all limits mean nothing."""
        if self.levels is not None:
            last = self.levels.shape[1] - 1
            return self.levels[int(inside)][squared.to(torch.int64).clamp_(max=last)]
        distance = torch.sqrt(squared)
        signed = distance if inside else -distance
        return (0.5 * (signed / (self.scale + distance) + 1.0)).to(torch.float32)


def formula_of(costs: Costs, limit: Array, scale: float, device: torch.device) -> Formula:
    """Eq. 1 for squared distances up to the largest of some limits."""
    if not costs.integer:
        return Formula(scale, None)
    distance = np.sqrt(np.arange(int(limit.max()) + 1, dtype=np.float64) / costs.factor)
    values = [0.5 * (d / (scale + distance) + 1.0) for d in (-distance, distance)]
    return Formula(scale, torch.from_numpy(np.array(values, np.float32)).to(device))


@dataclass(frozen=True, eq=False)
class Work:
    """What all tiles of a band share.

    Attributes
    ----------
    band : Band
    boundary : Boundary
    metric : Metric
    costs : Costs
    limit : ndarray, shape (N,)
        Squared distance up to which the pixels of each block are soft.
    formula : Formula
    pairs_at_once : int
    """

    band: Band
    boundary: Boundary
    metric: Metric
    costs: Costs
    limit: Array
    formula: Formula
    pairs_at_once: int


@dataclass(frozen=True, eq=False)
class Blocks:
    """Some blocks of a band, on the device.

    The entries of all of them, one after the other, are numbered from 0.

    Attributes
    ----------
    size : ndarray of int64, shape (N,)
    to_pixel, to_value : tensor of int64, shape (N,)
        What must be added to an entry's number to get its place in ``band.pixels`` and in
        ``band.values``.
    rank : tensor of int64, shape (N,)
        Position of the block's class among those of the tile.
    limit : tensor of ``costs.dtype``, shape (N,)
    """

    size: Array
    to_pixel: Tensor
    to_value: Tensor
    rank: Tensor
    limit: Tensor


def blocks_on_device(work: Work, tile: Tile, numbers: Array) -> Blocks:
    """The blocks of some numbers, in a tile that has all their classes."""
    band, device = work.band, work.band.index.device
    size = np.diff(band.block_start)[numbers]
    first = np.cumsum(size) - size
    rank = np.searchsorted(tile.classes, band.block_class[numbers])
    return Blocks(
        size,
        *(
            torch.from_numpy(part).to(device)
            for part in (
                band.start[band.block_region[numbers]] - first, band.block_start[numbers] - first,
                rank, work.limit[numbers],
            )
        ),
    )  # fmt: skip


def shares(blocks: Blocks, at_once: int) -> Iterator[tuple[int, Tensor]]:
    """First entry, and the block (int64) of each entry, of a bounded number at a time."""
    past = np.cumsum(blocks.size)
    total = int(past[-1])
    for first in range(0, total, max(1, at_once)):
        last = min(first + max(1, at_once), total)
        counts = np.clip(past, first, last) - np.clip(past - blocks.size, first, last)
        on_device = torch.from_numpy(counts).to(blocks.rank.device)
        yield first, torch.repeat_interleave(on_device, output_size=last - first)


def cut(band: Band, tile: Tile) -> Tensor:
    """Class indices of the images and the box of a tile."""
    box = tuple(slice(lo, u) for lo, u in zip(tile.lower, tile.upper, strict=True))
    return band.index[(tile.images, *box)]


# --- plain tensor code ----------------------------------------------------------------------------


def _fill_tile(work: Work, tile: Tile, numbers: Array) -> None:
    """Compute the values of some blocks, first of their pixels inside the class, then of others."""
    band = work.band
    index = cut(band, tile)
    classes = torch.from_numpy(tile.classes).to(index.device)
    blocks = blocks_on_device(work, tile, numbers)
    for inside, kind in sides(work.boundary):
        target = targets(index, band.ignored, classes, kind, work.metric.active)
        search = search_among(target.reshape(-1, *tile.shape), work.costs)
        for first, block in shares(blocks, work.pairs_at_once):
            entry = torch.arange(first, first + len(block), device=index.device)
            pixel = band.pixels[entry + blocks.to_pixel[block]]
            own = band.index.view(-1)[pixel].to(torch.int64) == classes[blocks.rank[block]]
            side = own if inside else ~own
            chosen = torch.nonzero(side & _in_core(band, tile, pixel)).squeeze(1)
            block, out = block[chosen], (entry + blocks.to_value[block])[chosen]
            pairs = _located(band, tile, pixel[chosen], blocks.rank[block], blocks.limit[block])
            squared = search(pairs)
            soft = work.formula(squared, inside)
            hard = torch.full_like(soft, 1.0 if inside else 0.0)
            band.values[out] = torch.where(squared > pairs.limit, hard, soft)


def _in_core(band: Band, tile: Tile, pixel: Tensor) -> Tensor:
    """Whether pixels are to be settled in a tile."""
    if tile.core is None:
        return torch.ones_like(pixel, dtype=torch.bool)
    axis, first, past = tile.core
    _, depth, height, width = band.index.shape
    row = pixel // width
    along = row % height if axis == 1 else row // height % depth
    return (along >= first) & (along < past)


def _located(band: Band, tile: Tile, pixel: Tensor, rank: Tensor, limit: Tensor) -> Pairs:
    """Where pixels lie in the maps (K, B, Z, Y, X) of a tile."""
    _, depth, height, width = band.index.shape
    row = pixel // width
    plane = row // height
    image = plane // depth
    at = plane - image * depth, row - plane * height, pixel - row * width
    z, y, x = (c - low for c, low in zip(at, tile.lower, strict=True))
    place = rank * (tile.images.stop - tile.images.start) + (image - tile.images.start)
    for length, along in zip(tile.shape, (z, y, x), strict=True):
        place = place * length + along
    return Pairs(place, (z.to(torch.int32), y.to(torch.int32)), limit)
