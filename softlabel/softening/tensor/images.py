"""The superpixel method as tensor code: many images of one shape at once, on any torch device.

The results are those of :mod:`softlabel.softening.superpixel`, byte for byte, so that a cache does
not depend on the machine that made it. Soft maps stay sparse: only the band
comes back from the device. :func:`soften_batch` keeps them there, for training without a cache.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softlabel.device import (
    DoesNotFit,
    failing_makes_unusable,
    memory_budget,
    on_borrowed_stream,
    streams_of,
)
from softlabel.distance.boundary import BOUNDARIES
from softlabel.softening.superpixel import SuperpixelOptions, metric_of
from softlabel.softening.tensor.band import Band, find_band
from softlabel.softening.tensor.values import fill_values
from softlabel.softmaps.class_index import ignored_index, index_dtype
from softlabel.softmaps.maps import Regions, SoftMaps
from softlabel.types import Array, ClassTable

LARGEST_BATCH = 2**31 - 1
"""Pixels of a batch: torch finds the non-zero elements of no larger tensor on CUDA."""

SHARE_PIXELS = 1 << 23
"""Pixels of a share: of many images, some are computed while others are copied."""

BAND_BYTES = 64
"""Bytes of working memory a pixel while the mixed superpixels are found."""


# --- in and out -----------------------------------------------------------------------------------


def soften_images(
    indices: Sequence[Array],
    table: ClassTable,
    superpixels: Sequence[Array],
    spacing: tuple[float, ...],
    scale: float,
    options: SuperpixelOptions,
    device: torch.device,
    *,
    memory: int | None = None,
    kernels: bool | None = None,
) -> list[SoftMaps]:
    """Soften images of one shape on a device (see ``soften_by_superpixels`` for one on the CPU).

    Parameters
    ----------
    indices : sequence of ndarray of uint8 or uint16, shape (*spatial)
        Class indices of each image, all of one shape and type.
    table : ClassTable
    superpixels : sequence of ndarray of int32, shape (*spatial)
    spacing, scale
        As in :class:`softlabel.softening.inputs.MethodInput`.
    options : SuperpixelOptions
    device : torch.device
    memory : int, optional
        Bytes that it may take; default: :func:`softlabel.device.memory_budget`.
    kernels : bool, optional
        Use the Triton kernels; default: where they work (:func:`kernels_work`).

    Returns
    -------
    list of SoftMaps
        Their arrays are parts of those of the whole batch; from a CUDA device these lie in
        page-locked memory, so let go of them when they are written.

    Raises
    ------
    DeviceUnusable
        When the device fails, or its memory is too small for one image (``DoesNotFit``).
    """
    with failing_makes_unusable(device):
        if kernels is None:
            kernels = kernels_work(device)
        at_a_time = min(shares_at_a_time(device), len(indices))
        budget = (memory_budget(device) if memory is None else memory) // at_a_time
        size = indices[0].size
        length = min(images_at_once(size, budget), max(1, SHARE_PIXELS // size))
        work = _Work(table, spacing, scale, options, device, budget, kernels)
        shares = [
            (indices[first : first + length], superpixels[first : first + length])
            for first in range(0, len(indices), length)
        ]
        if len(shares) == 1 or at_a_time == 1:
            return [maps for share in shares for maps in _soften_share(work, *share)]
        with ThreadPoolExecutor(at_a_time) as pool:
            done = pool.map(partial(_on_own_stream, work), shares)
            return [maps for share in done for maps in share]


@dataclass(frozen=True)
class _Work:
    """What all shares of some images have in common."""

    table: ClassTable
    spacing: tuple[float, ...]
    scale: float
    options: SuperpixelOptions
    device: torch.device
    budget: int
    kernels: bool


def shares_at_a_time(device: torch.device) -> int:
    """Shares of many images that are worked on together: one computes while others are copied."""
    return 3 if device.type == "cuda" else 1


def _soften_share(
    work: _Work, indices: Sequence[Array], superpixels: Sequence[Array]
) -> list[SoftMaps]:
    """Soften as many images as are in the device's memory together."""
    table, options, device = work.table, work.options, work.device
    largest = max(int(_wrapped(ids).max()) for ids in superpixels)
    ids = _to_device(superpixels, torch.int16 if largest < 2**15 else torch.int32, device)
    band = find_band(
        _to_device(indices, tensor_index_dtype(len(table)), device),
        ignored_index(indices[0].dtype), len(table), ids, max(0, largest) + 1,
        options.min_minority, work.kernels,
    )  # fmt: skip
    metric = metric_of(indices[0].ndim, work.spacing, options)
    boundary = BOUNDARIES[options.boundary]
    fill_values(band, boundary, metric, work.scale, work.budget, work.kernels, options.conversion)
    return soft_maps_of(band, indices, table)


def _on_own_stream(work: _Work, share: tuple[Sequence[Array], Sequence[Array]]) -> list[SoftMaps]:
    """Soften a share on a stream that no other thread uses."""
    with on_borrowed_stream(_streams(work.device)):
        return _soften_share(work, *share)


@lru_cache
def _streams(device: torch.device) -> SimpleQueue[Any]:
    return streams_of(device, shares_at_a_time(device))


@lru_cache
def kernels_work(device: torch.device) -> bool:
    """Whether Triton's kernels run on a device and give the bytes of the plain tensor code.

    Tried once in a process, on a small image: Triton may be there without a compiler for the part
    of it that is made on the machine. A RuntimeWarning tells when they are left out.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    plain = _trial(device, kernels=False)
    try:
        if torch.equal(plain, _trial(device, kernels=True)):
            return True
        reason = "they give other values"
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    warnings.warn(
        f"Triton's kernels are left out on {device} ({reason}); plain tensor code gives the same "
        "in more time.",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def _trial(device: torch.device, kernels: bool) -> Tensor:
    """The values of a small image with two classes, an ignored pixel and one superpixel."""
    index = torch.zeros((1, 1, 5, 7), dtype=torch.uint8, device=device)
    index[0, 0, 1:4, 2:5] = 1
    index[0, 0, 0, 0] = 255
    band = find_band(index, 255, 2, torch.zeros_like(index), 1, kernels=kernels)
    metric = metric_of(2, (1.0, 1.0), SuperpixelOptions())
    fill_values(band, BOUNDARIES["inner"], metric, 1.0, 1 << 24, kernels)
    return band.values


def images_at_once(pixels: int, budget: int) -> int:
    """Number of images of a size that are treated together within a budget of bytes.

    Raises
    ------
    DoesNotFit
        When not even one fits.
    """
    count = min(budget // 2 // (BAND_BYTES * pixels), LARGEST_BATCH // pixels)
    if count < 1:
        raise DoesNotFit(
            f"an image of {pixels} pixels needs {2 * BAND_BYTES * pixels / 2**20:.0f} MiB of the "
            f"device's memory, {budget / 2**20:.0f} MiB may be taken"
        )
    return int(count)


def soft_maps_of(band: Band, indices: Sequence[Array], table: ClassTable) -> list[SoftMaps]:
    """Bring a band to the host, as the soft maps of each image.

    Parameters
    ----------
    band : Band
    indices : sequence of ndarray
        Class indices of each image, which are on the host already.
    table : ClassTable
    """
    size = band.index[0].numel()
    local = band.pixels % size if len(indices) > 1 else band.pixels
    pixels = _to_host(local.to(torch.int32 if size < 2**31 else torch.int64))
    values = _to_host(band.values)
    if band.values.is_cuda:
        torch.cuda.current_stream(band.values.device).synchronize()
    regions = np.searchsorted(band.image, np.arange(len(indices) + 1))
    blocks = np.searchsorted(band.block_region, regions)
    maps = []
    for number, index in enumerate(indices):
        r, s = regions[number], regions[number + 1]
        b, c = blocks[number], blocks[number + 1]
        start = band.start[r : s + 1] - band.start[r]
        block_start = band.block_start[b : c + 1] - band.block_start[b]
        maps.append(
            SoftMaps(
                index, table, 1.0, 0.0,
                Regions(
                    pixels[band.start[r] : band.start[s]], start, band.lower[r:s], band.upper[r:s]
                ),
                (band.block_region[b:c] - r).astype(np.int32), band.block_class[b:c],
                block_start, values[band.block_start[b] : band.block_start[c]],
            )
        )  # fmt: skip
    return maps


def tensor_index_dtype(n_classes: int) -> torch.dtype:
    """Type of class indices on a device: torch computes little with uint16."""
    return torch.uint8 if index_dtype(n_classes) == np.uint8 else torch.int32


def _to_device(arrays: Sequence[Array], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Stack arrays into (B, Z, Y, X) on a device, through page-locked memory for CUDA.

    torch copies and converts on all cores, which NumPy does not: with one the bus would wait.
    """
    shape = arrays[0].shape
    stack = torch.empty(
        (len(arrays), *shape), dtype=dtype, device="cpu", pin_memory=device.type == "cuda"
    )
    for target, array in zip(stack, arrays, strict=True):
        target.copy_(_wrapped(array))
    padded = (1,) * (3 - len(shape)) + shape
    return stack.to(device, non_blocking=True).view(len(arrays), *padded)


def _wrapped(array: Array) -> Tensor:
    """The array as a tensor, without a copy where torch can do without."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _to_host(values: Tensor) -> Array:
    """Start copying to the host; finished after the device was synchronised."""
    if not values.is_cuda:
        return np.asarray(values.cpu().numpy())
    host = torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=True)
    return np.asarray(host.copy_(values, non_blocking=True).numpy())
