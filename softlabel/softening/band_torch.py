"""The band of many images on a device: their mixed superpixels, with room for the soft values.

In the order of :class:`softlabel.softmaps.SoftMaps`. :mod:`softlabel.softening.band_values`
computes the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softlabel.distance_torch import kernels_run_on
from softlabel.types import Array


@dataclass(frozen=True, eq=False)
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


def find_band(
    index: Tensor, ignored: int, n_classes: int, superpixels: Tensor, min_minority: float = 0.0,
    kernels: bool | None = None,
) -> Band:  # fmt: skip
    """Find the mixed superpixels; the values are not filled yet.

    Parameters
    ----------
    index : tensor of uint8 or int32, shape (B, Z, Y, X)
    ignored : int
    n_classes : int
    superpixels : tensor of integers, shape (B, Z, Y, X)
        Ids from 0 in every image; negative where there is none.
    min_minority : float
    kernels : bool, optional
        Use the Triton kernels; default: where they run.

    Returns
    -------
    Band
    """
    number_mixed, boxes = _steps(kernels_run_on(index.device) if kernels is None else kernels)
    count = max(0, int(superpixels.max())) + 1
    region_of = number_mixed(index, ignored, superpixels, count)
    pixels = torch.nonzero(region_of.view(-1) >= 0).squeeze(1)
    region = region_of.view(-1)[pixels]
    n_regions = int(region_of.max()) + 1
    lower, upper, image = boxes(pixels, region, n_regions, index.shape)
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


def _steps(kernels: bool) -> tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, ...]]]:
    """``number_mixed`` and ``boxes``: plain tensor code, or kernels."""
    if not kernels:
        return number_mixed, boxes
    from softlabel.softening import band_triton

    return band_triton.number_mixed, band_triton.boxes


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
    image : tensor of int64, shape (R,)
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
    image = torch.zeros(n_regions, dtype=torch.int64, device=pixels.device)
    image.scatter_reduce_(0, where, rest, "amax")
    return torch.stack(lower[::-1], 1), torch.stack(upper[::-1], 1), image


def _host_boxes(boxes: Tensor) -> Array:
    return np.ascontiguousarray(boxes.cpu().numpy(), dtype=np.int32)
