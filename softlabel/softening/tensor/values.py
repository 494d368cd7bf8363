"""The soft values of a band: as many classes, images and slices at a time as the memory allows.

A value belongs to a *block*, the pixels of one mixed superpixel for one class. Every (pixel, class)
pair is located in the distance maps of its tile, its squared distance is searched there, and Eq. 1
makes the value of it. Triton does all of that in one kernel, plain tensor code step by step.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from softlabel.distance.boundary import ROUNDING, Boundary, Metric
from softlabel.softening.conversion import EQ1
from softlabel.softening.tensor.band import Band
from softlabel.softening.tensor.distance import (
    Pairs,
    costs_within,
    search_among,
    sides,
    targets,
)
from softlabel.softening.tensor.tiles import Tile, plan_tiles, search_axis
from softlabel.softening.tensor.work import Work, blocks_on_device, cut, formula_of, shares
from softlabel.types import Array

MAP_BYTES = {False: 12, True: 48}
"""Bytes of working memory a pixel of a map, in planes and in volumes."""

PAIR_BYTES = 128
"""Bytes of working memory a (pixel, class) pair."""

LONGEST_ROW = 1 << 14
"""Longer rows are not for the Triton kernels: one of their programs holds a whole row."""


def fill_values(
    band: Band, boundary: Boundary, metric: Metric, scale: float, budget: int,
    kernels: bool = False, conversion: str = EQ1,
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
    conversion : str
        A name in :data:`softlabel.softening.conversion.CONVERSIONS`.
    """
    if not len(band.block_region):
        return
    _, z, y, x = band.index.shape
    limits = metric.diagonals(band.lower, band.upper) * (1 + ROUNDING)
    costs = costs_within(metric, float(limits.max()), (z, y, x))
    limit = costs.limits(limits)[band.block_region]
    work = Work(
        band, boundary, metric, costs, limit,
        formula_of(costs, limit, scale, band.index.device, conversion), budget // 4 // PAIR_BYTES,
    )  # fmt: skip
    volume = search_axis((z, y, x), costs) == 0
    image = band.image[band.block_region]
    for tile in plan_tiles(band, costs, budget // 4 // MAP_BYTES[volume]):
        chosen = np.isin(band.block_class, tile.classes)
        chosen &= (image >= tile.images.start) & (image < tile.images.stop)
        if not chosen.any():
            continue
        if kernels and x <= LONGEST_ROW:
            from softlabel.softening.tensor import triton_values

            triton_values.fill_tile(work, tile, np.flatnonzero(chosen))
        else:
            _fill_tile(work, tile, np.flatnonzero(chosen))


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
