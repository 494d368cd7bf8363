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
    index, pixels, block, to_pixel, to_value, block_rank, block_limit, classes, offsets,
    squares, dz, dy, base, far, formula, scale, values,
    n_pairs, first_entry, depth, height, width, first_image, n_classes, n_images,
    low_z, low_y, low_x, tile_depth, tile_height, tile_width, core_axis, core_first, core_past,
    n_rows, none, n_levels,
    INTEGER: tl.constexpr, BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = pair < n_pairs
    entry = pair + first_entry
    of = tl.load(block + pair, mask=real, other=0)
    pixel = tl.load(pixels + entry + tl.load(to_pixel + of), mask=real, other=0).to(tl.int32)
    x, rest = pixel % width, pixel // width
    y, rest = rest % height, rest // height
    z, image = rest % depth, rest // depth
    along = tl.where(core_axis == 0, z, y)
    real = real & (along >= core_first) & (along < core_past)
    rank = tl.load(block_rank + of)
    inside = tl.load(index + pixel, mask=real, other=0).to(tl.int32) == tl.load(classes + rank)
    z, y, x = z - low_z, y - low_y, x - low_x
    place = tl.where(inside, n_classes, 0) + rank.to(tl.int64)
    place = (place * n_images + (image - first_image)) * tile_depth + z
    place = (place * tile_height + y) * tile_width + x
    limit = tl.load(block_limit + of)
    squared = nearest(
        offsets, squares, dz, dy, base, far, place, z, y, real, limit,
        n_rows, tile_depth, tile_height, tile_width, none, BLOCK, STEP,
    )  # fmt: skip
    if INTEGER:
        level = tl.minimum(squared, n_levels - 1) + tl.where(inside, n_levels, 0)
        soft = tl.load(formula + level)
    else:
        distance = tl.sqrt(squared)
        signed = tl.where(inside, distance, -distance)
        soft = (0.5 * (signed / (tl.load(scale) + distance) + 1.0)).to(tl.float32)
    hard = inside.to(tl.float32)
    to = entry + tl.load(to_value + of)
    tl.store(values + to, tl.where(squared > limit, hard, soft), mask=real)


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
