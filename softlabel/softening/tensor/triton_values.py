"""Triton kernels for the band of many images, where CUDA and Triton are there.

Never required: the results are those of :mod:`softlabel.softening.tensor.band` and
:mod:`softlabel.softening.tensor.values`, to the bit. Kernels find the least and largest class of
every superpixel, number the mixed ones, find the box of each and compute the values, without the
many large tensors between that plain tensor code needs.

What is smallest and largest is found with atomic operations, whose outcome does not depend on
their order. Most pixels change nothing and only look: thousands of them share one address.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from softlabel.softening.tensor.distance import offset_dtype, sides
from softlabel.softening.tensor.tiles import Tile
from softlabel.softening.tensor.triton_distance import (
    ROWS_A_STEP,
    coordinates,
    nearest,
    on_device,
    row_offsets,
    table_of,
)
from softlabel.softening.tensor.work import Work, blocks_on_device, cut, shares
from softlabel.types import Array

PAIRS_A_PROGRAM = 256


# --- values ---------------------------------------------------------------------------------------


@triton.jit(
    do_not_specialize=[
        "n_pairs", "first_entry", "depth", "height", "width", "first_image", "n_classes",
        "n_images", "low_z", "low_y", "low_x", "tile_depth", "tile_height", "tile_width",
        "core_axis", "core_first", "core_past", "n_rows", "none", "n_levels",
    ]
)  # fmt: skip
def _value_kernel(  # type: ignore[no-untyped-def]
    # the images' class indices, and the band: pixels of all blocks, one after the other
    index, pixels,
    # each pair's block, and of each block: what leads from pairs to pixels and to values, the
    # position of its class in the tile, the limit; the tile's classes
    block, to_pixel, to_value, block_rank, block_limit, classes,
    # row offsets of the tile, and the rows around a pixel: see triton_distance.nearest
    offsets, squares, dz, dy, base, far,
    # Eq. 1, and where to put what it gives
    formula, scale, values,
    n_pairs, first_entry,
    depth, height, width, first_image, n_classes, n_images,
    low_z, low_y, low_x, tile_depth, tile_height, tile_width, core_axis, core_first, core_past,
    n_rows, none, n_levels,
    INTEGER: tl.constexpr, BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Soft values of pairs of a pixel and a class: one program a `BLOCK` of pairs.

    ::

        pair   0 1 2 3 4 | 5 6 7 8 9 | …       a program takes one part
        block  0 0 0 1 1 | 1 1 2 2 2 | …       a superpixel and a class in it
        pixel  7 8 9 7 8 | 9 20 ..             the superpixel's, once more for every class
    """
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = pair < n_pairs
    entry = pair + first_entry
    of = tl.load(block + pair, mask=real, other=0)
    rank, limit = tl.load(block_rank + of), tl.load(block_limit + of)
    pixel = tl.load(pixels + entry + tl.load(to_pixel + of), mask=real, other=0).to(tl.int32)
    image, z, y, x = coordinates(pixel, depth, height, width)
    along = tl.where(core_axis == 0, z, y)
    real = real & (along >= core_first) & (along < core_past)
    inside = tl.load(index + pixel, mask=real, other=0).to(tl.int32) == tl.load(classes + rank)
    z, y, x = z - low_z, y - low_y, x - low_x
    # in the maps of row offsets: (2, n_classes, n_images, tile_depth, tile_height, tile_width)
    place = tl.where(inside, n_classes, 0) + rank.to(tl.int64)
    place = (place * n_images + (image - first_image)) * tile_depth + z
    place = (place * tile_height + y) * tile_width + x
    squared = nearest(
        offsets, squares, dz, dy, base, far, place, z, y, real, limit,
        n_rows, tile_depth, tile_height, tile_width, none, BLOCK, STEP,
    )  # fmt: skip
    soft = _soft_value(squared, inside, formula, scale, n_levels, INTEGER)
    to = entry + tl.load(to_value + of)
    tl.store(values + to, tl.where(squared > limit, inside.to(tl.float32), soft), mask=real)


@triton.jit
def _soft_value(  # type: ignore[no-untyped-def]
    squared, inside, formula, scale, n_levels, INTEGER: tl.constexpr
):
    """Eq. 1 of squared distances: looked up where they are integers, else computed."""
    if INTEGER:
        level = tl.minimum(squared, n_levels - 1) + tl.where(inside, n_levels, 0)
        soft = tl.load(formula + level)
    else:
        distance = tl.sqrt(squared)
        signed = tl.where(inside, distance, -distance)
        soft = (0.5 * (signed / (tl.load(scale) + distance) + 1.0)).to(tl.float32)
    return soft


def fill_tile(work: Work, tile: Tile, numbers: Array) -> None:
    """Compute the values of some blocks of a band.

    Parameters
    ----------
    work : Work
    tile : Tile
    numbers : ndarray of int64
        Of the blocks.
    """
    band, device = work.band, work.band.index.device
    blocks = blocks_on_device(work, tile, numbers)
    classes = torch.from_numpy(tile.classes.astype(np.int32)).to(device)
    offsets = _row_offsets(work, tile, classes)
    rows = table_of(work.costs, device)
    levels = work.formula.levels
    scale = torch.full((1,), work.formula.scale, dtype=torch.float64, device=device)
    n_images = tile.images.stop - tile.images.start
    core = tile.core or (1, 0, band.index.shape[2])
    for first, block in shares(blocks, work.pairs_at_once):
        with on_device(device):
            _value_kernel[(triton.cdiv(len(block), PAIRS_A_PROGRAM),)](
                band.index, band.pixels, block, blocks.to_pixel, blocks.to_value, blocks.rank,
                blocks.limit, classes, offsets, rows.squares, rows.dz, rows.dy, rows.base,
                rows.far, scale if levels is None else levels, scale, band.values,
                len(block), first, *band.index.shape[1:], tile.images.start, len(classes),
                n_images, *tile.lower, *tile.shape, *core,
                rows.n_rows, work.costs.reach(2) + 1, 0 if levels is None else levels.shape[1],
                INTEGER=levels is not None, BLOCK=PAIRS_A_PROGRAM, STEP=ROWS_A_STEP,
                enable_fp_fusion=False,
            )  # fmt: skip


def _row_offsets(work: Work, tile: Tile, classes: Tensor) -> Tensor:
    """Row offsets of a tile, for pixels outside of each class and inside: (2, K, B, Z, Y, X)."""
    index, reach = cut(work.band, tile).contiguous(), work.costs.reach(2)
    out = torch.empty(
        (2, len(classes), *index.shape), dtype=offset_dtype(reach), device=index.device
    )
    for inside, kind in sides(work.boundary):
        row_offsets(
            index, work.band.ignored, classes, kind, work.metric.active, reach, out[int(inside)]
        )
    return out
