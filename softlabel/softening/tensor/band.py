"""The band of many images on a device: their mixed superpixels, with room for the soft values.

In the order of :class:`softlabel.softmaps.maps.SoftMaps`. :mod:`softlabel.softening.tensor.values`
computes the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softlabel.softening.tensor import mixed
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
        As in :class:`softlabel.softmaps.maps.SoftMaps`, for all images one after the other.
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
    index: Tensor,
    ignored: int,
    n_classes: int,
    superpixels: Tensor,
    count: int,
    min_minority: float = 0.0,
    kernels: bool = False,
) -> Band:
    """Find the mixed superpixels; the values are not filled yet.

    Parameters
    ----------
    index : tensor of uint8 or int32, shape (B, Z, Y, X)
    ignored : int
    n_classes : int
    superpixels : tensor of integers, shape (B, Z, Y, X)
        Ids from 0 in every image; negative where there is none.
    count : int
        More than every id.
    min_minority : float
    kernels : bool
        Use the Triton kernels.

    Returns
    -------
    Band
    """
    number_mixed, boxes = _steps(kernels)
    region_of = number_mixed(index, ignored, superpixels, count).reshape(-1)
    pixels = torch.nonzero(region_of >= 0).squeeze(1)
    region = region_of[pixels]
    n_regions = int(region.max()) + 1 if len(pixels) else 0
    lower, upper, image = boxes(pixels, region, n_regions, index.shape)
    classes = index.view(-1)[pixels].to(torch.int32)
    # what is ignored is sorted behind everything else, where it is easily left off
    region = torch.where(classes == ignored, n_regions, region)
    counts = _counts(region, classes.clamp_(max=n_classes - 1), n_regions, n_classes)
    size = counts.sum(1, dtype=torch.int32)
    region, order = torch.sort(region, stable=True)
    pixels = pixels[order]
    kept = None
    if min_minority > 0 and n_regions:
        minority, sizes = torch.stack([size - counts.amax(1), size]).cpu().numpy()
        kept = torch.from_numpy(minority >= min_minority * sizes).to(index.device)
        pixels = pixels[: int(sizes.sum())]
        pixels = pixels[kept[region[: len(pixels)]]]
        counts, size, lower, upper, image = (t[kept] for t in (counts, size, lower, upper, image))
    table = torch.cat([size[:, None], image[:, None], lower, upper], 1).cpu().numpy()
    blocks = torch.nonzero(counts).to(torch.int32).cpu().numpy()
    start = _starts(table[:, 0])
    block_start = _starts(table[blocks[:, 0], 0])
    return Band(
        index, ignored, n_classes, pixels[: start[-1]], start, table[:, 1].astype(np.int64),
        np.ascontiguousarray(table[:, 2:5]), np.ascontiguousarray(table[:, 5:8]),
        np.ascontiguousarray(blocks[:, 0]), np.ascontiguousarray(blocks[:, 1]), block_start,
        torch.empty(int(block_start[-1]), dtype=torch.float32, device=index.device),
    )  # fmt: skip


def _counts(region: Tensor, classes: Tensor, n_regions: int, n_classes: int) -> Tensor:
    """Pixels of each class in each region, those of region ``n_regions`` left out: int32 (R, K)."""
    counts = torch.zeros((n_regions + 1) * n_classes, dtype=torch.int32, device=region.device)
    slot = region.to(torch.int64) * n_classes + classes
    counts.scatter_add_(0, slot, torch.ones_like(classes))
    return counts.view(n_regions + 1, n_classes)[:n_regions]


def _starts(sizes: Array) -> Array:
    """Where pieces of some sizes begin, and the last one ends: int64, one more."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _steps(kernels: bool) -> tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, ...]]]:
    """``number_mixed`` and ``boxes``: plain tensor code, or Triton kernels."""
    if not kernels:
        return mixed.number_mixed, mixed.boxes
    from softlabel.softening.tensor import triton_mixed

    return triton_mixed.number_mixed, triton_mixed.boxes
