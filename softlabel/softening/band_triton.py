"""Triton kernels for the band of many images, where CUDA and Triton are there.

Never required: the results are those of :mod:`softlabel.softening.band_torch` and
:mod:`softlabel.softening.band_values`, to the bit. Kernels find the least and largest class of
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

from softlabel.distance_torch import offset_dtype, sides
from softlabel.distance_triton import ROWS_A_STEP, nearest, on_device, row_offsets, table_of
from softlabel.softening.band_tiles import Tile
from softlabel.softening.band_values import Work, blocks_on_device, cut, shares
from softlabel.types import Array

PIXELS_A_PROGRAM = 1024
PAIRS_A_PROGRAM = 256


# --- mixed superpixels ----------------------------------------------------------------------------


@triton.jit
def _lower(cell, value, wanted):  # type: ignore[no-untyped-def]
    """``cell = min(cell, value)``; what was read may be old, then it is only done in vain."""
    known = tl.load(cell, mask=wanted, other=0)
    tl.atomic_min(cell, value, mask=wanted & (value < known), sem="relaxed")


@triton.jit
def _raise(cell, value, wanted):  # type: ignore[no-untyped-def]
    """``cell = max(cell, value)``."""
    known = tl.load(cell, mask=wanted, other=0)
    tl.atomic_max(cell, value, mask=wanted & (value > known), sem="relaxed")


@triton.jit(do_not_specialize=["n_pixels", "image_pixels", "count", "ignored"])
def _class_range_kernel(  # type: ignore[no-untyped-def]
    index, superpixels, least, most, n_pixels, image_pixels, count, ignored, BLOCK: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < n_pixels
    here = tl.load(index + at, mask=real, other=ignored).to(tl.int32)
    superpixel = tl.load(superpixels + at, mask=real, other=0)
    wanted = real & (here != ignored) & (superpixel >= 0)
    slot = (at.to(tl.int32) // image_pixels).to(tl.int64) * count + superpixel
    _lower(least + slot, here, wanted)
    _raise(most + slot, here, wanted)


@triton.jit(do_not_specialize=["n_pixels", "image_pixels", "count"])
def _number_kernel(  # type: ignore[no-untyped-def]
    superpixels, number, out, n_pixels, image_pixels, count, BLOCK: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < n_pixels
    superpixel = tl.load(superpixels + at, mask=real, other=0)
    slot = (at.to(tl.int32) // image_pixels).to(tl.int64) * count + superpixel
    found = tl.load(number + slot, mask=real & (superpixel >= 0), other=-1)
    tl.store(out + at, found, mask=real)


@triton.jit(do_not_specialize=["n_pixels", "depth", "height", "width"])
def _box_kernel(  # type: ignore[no-untyped-def]
    pixels, region, lower, upper, image, n_pixels, depth, height, width, BLOCK: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < n_pixels
    pixel = tl.load(pixels + at, mask=real, other=0).to(tl.int32)
    box = tl.load(region + at, mask=real, other=0).to(tl.int64)
    x, rest = pixel % width, pixel // width
    y, rest = rest % height, rest // height
    z, number = rest % depth, rest // depth
    _lower(lower + 3 * box, z, real)
    _lower(lower + 3 * box + 1, y, real)
    _lower(lower + 3 * box + 2, x, real)
    _raise(upper + 3 * box, z + 1, real)
    _raise(upper + 3 * box + 1, y + 1, real)
    _raise(upper + 3 * box + 2, x + 1, real)
    _raise(image + box, number, real)


def number_mixed(index: Tensor, ignored: int, superpixels: Tensor, count: int) -> Tensor:
    """As :func:`softlabel.softening.band_torch.number_mixed`."""
    device, slots = index.device, len(index) * count
    least = torch.full((slots,), ignored, dtype=torch.int32, device=device)
    most = torch.full((slots,), -1, dtype=torch.int32, device=device)
    out = torch.empty(index.shape, dtype=torch.int32, device=device)
    grid = (triton.cdiv(index.numel(), PIXELS_A_PROGRAM),)
    ids = superpixels.contiguous()
    with on_device(device):
        _class_range_kernel[grid](
            index.contiguous(), ids, least, most, index.numel(), index[0].numel(), count, ignored,
            BLOCK=PIXELS_A_PROGRAM,
        )  # fmt: skip
        mixed = least < most
        number = torch.where(mixed, torch.cumsum(mixed, 0, dtype=torch.int32) - 1, -1)
        _number_kernel[grid](
            ids, number, out, index.numel(), index[0].numel(), count, BLOCK=PIXELS_A_PROGRAM
        )
    return out


def boxes(
    pixels: Tensor, region: Tensor, n_regions: int, shape: torch.Size
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`softlabel.softening.band_torch.boxes`."""
    device = pixels.device
    lower = torch.full((n_regions, 3), 2**31 - 1, dtype=torch.int32, device=device)
    upper = torch.zeros((n_regions, 3), dtype=torch.int32, device=device)
    image = torch.zeros(n_regions, dtype=torch.int32, device=device)
    if len(pixels):
        with on_device(device):
            _box_kernel[(triton.cdiv(len(pixels), PIXELS_A_PROGRAM),)](
                pixels, region, lower, upper, image, len(pixels), *shape[1:],
                BLOCK=PIXELS_A_PROGRAM,
            )  # fmt: skip
    return lower, upper, image


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
