"""Triton kernels that find the mixed superpixels of many images and the box of each."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from softlabel.softening.tensor.triton_distance import coordinates, on_device

PIXELS_A_PROGRAM = 1024


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
    """Least and largest class in each superpixel of each image: one program a `BLOCK` of pixels."""
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
    """The number of each pixel's superpixel; -1 where it has none."""
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
    """Box and image of each region, from its pixels: one program a `BLOCK` of them."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < n_pixels
    pixel = tl.load(pixels + at, mask=real, other=0).to(tl.int32)
    box = tl.load(region + at, mask=real, other=0).to(tl.int64)
    number, z, y, x = coordinates(pixel, depth, height, width)
    _lower(lower + 3 * box, z, real)
    _lower(lower + 3 * box + 1, y, real)
    _lower(lower + 3 * box + 2, x, real)
    _raise(upper + 3 * box, z + 1, real)
    _raise(upper + 3 * box + 1, y + 1, real)
    _raise(upper + 3 * box + 2, x + 1, real)
    _raise(image + box, number, real)


def number_mixed(index: Tensor, ignored: int, superpixels: Tensor, count: int) -> Tensor:
    """As :func:`softlabel.softening.tensor.mixed.number_mixed`."""
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
    """As :func:`softlabel.softening.tensor.mixed.boxes`."""
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
