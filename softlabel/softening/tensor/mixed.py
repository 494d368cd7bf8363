"""The mixed superpixels of many images, and the box of each, in plain tensor code."""

from __future__ import annotations

import torch
from torch import Tensor


def number_mixed(index: Tensor, ignored: int, superpixels: Tensor, count: int) -> Tensor:
    """Number of the mixed superpixel that every pixel lies in, −1 in others: int32 (B, Z, Y, X).

    Parameters
    ----------
    index, ignored, superpixels
        As for :func:`find_band`.
    count : int
        More than every superpixel's id.
    """
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


def boxes(
    pixels: Tensor, region: Tensor, n_regions: int, shape: torch.Size
) -> tuple[Tensor, Tensor, Tensor]:
    """Bounding boxes of every region, and the image that it lies in.

    Parameters
    ----------
    pixels : tensor of int64, shape (P,)
        Flat in the batch.
    region : tensor of int32, shape (P,)
    n_regions : int
    shape : torch.Size
        B, Z, Y, X.

    Returns
    -------
    lower, upper : tensor of int32, shape (R, 3)
        Upper end exclusive.
    image : tensor of int32, shape (R,)
    """
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
    image = torch.zeros(n_regions, dtype=torch.int32, device=pixels.device)
    image.scatter_reduce_(0, where, rest.to(torch.int32), "amax")
    return torch.stack(lower[::-1], 1), torch.stack(upper[::-1], 1), image
