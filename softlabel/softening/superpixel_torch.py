"""The superpixel method as tensor code: many images of one shape at once, on any torch device.

The results are those of :mod:`softlabel.softening.superpixel`, byte for byte, so that a cache does
not depend on the machine that made it. Soft maps stay sparse: only the band
comes back from the device. :func:`soften_batch` keeps them there, for training without a cache.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from softlabel.distance import BOUNDARIES
from softlabel.softening import class_table
from softlabel.softening.band_torch import Band, find_band
from softlabel.softening.band_values import fill_values
from softlabel.softening.normalize import NORMALIZATIONS
from softlabel.softening.superpixel import SuperpixelOptions, metric_of
from softlabel.softmaps import Regions, SoftMaps, ignored_index
from softlabel.types import Array, ClassTable, spacing_in_order

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
    spacing, scale, options
        As for :func:`softlabel.softening.superpixel.soften_by_superpixels`.
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
        _to_device(indices, _index_dtype(len(table)), device), ignored_index(indices[0].dtype),
        len(table), ids, max(0, largest) + 1, options.min_minority, work.kernels,
    )  # fmt: skip
    metric = metric_of(indices[0].ndim, work.spacing, options)
    boundary = BOUNDARIES[options.boundary]
    fill_values(band, boundary, metric, work.scale, work.budget, work.kernels)
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


def _index_dtype(n_classes: int) -> torch.dtype:
    """Type of class indices on a device: torch computes little with uint16."""
    return torch.uint8 if n_classes < 255 else torch.int32


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


# --- on the fly -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SoftBatch:
    """Soft labels of a batch that stay on the device of its labels.

    Attributes
    ----------
    classes : tuple of int
        Label values along the class axis.
    spatial : tuple of int
        Spatial shape.
    band : Band
    """

    classes: tuple[int, ...]
    spatial: tuple[int, ...]
    band: Band

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense tensor, (B, K, *spatial)."""
        return (len(self.band.index), len(self.classes), *self.spatial)

    @property
    def class_index(self) -> Tensor:
        """Class index of every pixel, −1 where ignored: int64 (B, *spatial)."""
        index = self.band.index.to(torch.int64)
        return torch.where(index == self.band.ignored, -1, index).view(-1, *self.spatial)

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The soft labels, shape (B, K, *spatial); ignored pixels are 0 in every class."""
        band = self.band
        n_images, n_classes = self.shape[:2]
        index = band.index.reshape(n_images, 1, -1)
        size = index.shape[2]
        out = torch.zeros((n_images, n_classes, size), dtype=dtype, device=index.device)
        known = (index != band.ignored).to(dtype)
        out.scatter_(1, index.to(torch.int64).clamp_(max=n_classes - 1), known)
        if len(band.block_region):
            block, position = _entries(band)
            image = torch.from_numpy(band.image[band.block_region]).to(index.device)
            classes = torch.from_numpy(band.block_class.astype(np.int64)).to(index.device)
            shift = (image * (n_classes - 1) + classes) * size
            out.view(-1)[band.pixels[position] + shift[block]] = band.values.to(dtype)
        return out.view(self.shape)


def soften_batch(
    labels: Tensor,
    superpixels: Tensor,
    classes: ClassTable | Mapping[int, str] | Iterable[int],
    *,
    spacing: tuple[float, ...] | None = None,
    boundary: str = "inner",
    scale: float | None = None,
    normalize: str = "none",
    ignore: int | None = None,
    min_minority: float = 0.0,
    in_plane: bool = False,
    slice_axis: int | None = None,
    memory: int | None = None,
) -> SoftBatch:
    """Soften a batch of label maps where they are: soft labels on the fly, without a cache.

    For training loops: augment image, labels and superpixels alike (nearest neighbour for the
    last two), then call this on the device. The values are those of :func:`softlabel.soften`.
    Leave it outside of what ``torch.compile`` compiles: its shapes depend on the data.

    Parameters
    ----------
    labels : tensor of integers, shape (B, *spatial), 1 to 3 spatial axes
    superpixels : tensor of integers, shape (B, *spatial), on the same device
        Ids from 0 in each image, negative where there is none (those pixels stay hard).
    classes : ClassTable, {value: name}, or values
        Classes along axis 1 of the result.
    spacing, boundary, scale, normalize, ignore, min_minority, in_plane, slice_axis
        As for :func:`softlabel.soften` (method ``superpixel``).
    memory : int, optional
        Bytes of working memory; default: half of what is free on the device.

    Returns
    -------
    SoftBatch
        ``dense()`` is the float tensor (B, K, *spatial).

    Raises
    ------
    ValueError
        For shapes or devices that differ, labels outside the classes, or options that cannot be.
    DeviceUnusable
        When the device fails, or its memory is too small (``DoesNotFit``).

    Examples
    --------
    >>> import torch, softlabel
    >>> labels = torch.tensor([[1, 1, 1, 0, 0]])
    >>> soft = softlabel.soften_batch(labels, torch.zeros_like(labels), classes=(0, 1))
    >>> soft.dense()[0, 1].tolist()
    [0.833..., 0.75, 0.5, 0.25, 0.166...]
    """
    _check_batch(labels, superpixels)
    if normalize not in NORMALIZATIONS:
        raise ValueError(
            f"normalize must be one of {', '.join(NORMALIZATIONS)}; got {normalize!r}."
        )
    spatial = tuple(labels.shape[1:])
    step = spacing_in_order(spacing, len(spatial))
    width = min(step) if scale is None else float(scale)
    if not 0 < width < np.inf:
        raise ValueError(f"scale must be a positive number; got {scale}.")
    options = SuperpixelOptions(boundary, min_minority, in_plane, slice_axis)
    metric = metric_of(len(spatial), step, options)
    table = class_table(classes)
    device = labels.device
    padded = (len(labels), *(1,) * (3 - len(spatial)), *spatial)
    with failing_makes_unusable(device):
        kernels = kernels_work(device)
        budget = memory_budget(device) if memory is None else memory
        if device.type != "cpu" or memory is not None:  # the host's memory is not as scarce
            _check_memory(labels, budget)
        index, ignored = _class_indices(labels, table, ignore)
        ids, count = _dense_ids(superpixels)
        band = find_band(
            index.view(padded), ignored, len(table), ids.reshape(padded), count, min_minority,
            kernels,
        )  # fmt: skip
        fill_values(band, BOUNDARIES[boundary], metric, width, budget, kernels)
        if normalize == "sum":
            band = replace(band, values=_divided_by_sum(band))
    return SoftBatch(table.values, spatial, band)


def _check_memory(labels: Tensor, budget: int) -> None:
    most = images_at_once(labels[0].numel(), budget)
    if len(labels) > most:
        raise DoesNotFit(
            f"a batch of {len(labels)} images of {labels[0].numel()} pixels is too large for "
            f"{budget / 2**20:.0f} MiB of the device's memory; {most} fit"
        )


def _check_batch(labels: Tensor, superpixels: Tensor) -> None:
    for name, given in (("labels", labels), ("superpixels", superpixels)):
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            raise ValueError(f"{name} must be integers; got {given.dtype}.")
    if not 2 <= labels.ndim <= 4 or labels.numel() == 0:
        raise ValueError(
            f"labels must have shape (B, *spatial) with 1 to 3 spatial axes and at least one "
            f"pixel; got {tuple(labels.shape)}."
        )
    if labels.shape != superpixels.shape or labels.device != superpixels.device:
        raise ValueError(
            "superpixels must have the shape and the device of labels, "
            f"{tuple(labels.shape)} on {labels.device}; got {tuple(superpixels.shape)} on "
            f"{superpixels.device}."
        )


def _dense_ids(superpixels: Tensor) -> tuple[Tensor, int]:
    """Ids that are not much larger than the number of pixels, and a number above them all."""
    largest = int(superpixels.max())
    if largest < 2 * superpixels[0].numel():
        return superpixels, max(0, largest) + 1
    values, ids = torch.unique(superpixels, return_inverse=True)
    return torch.where(superpixels < 0, -1, ids), len(values)


def _class_indices(labels: Tensor, table: ClassTable, ignore: int | None) -> tuple[Tensor, int]:
    """Class indices of a batch, and the index of ignored pixels."""
    ignored = ignored_index(np.uint8 if len(table) < 255 else np.uint16)
    values = torch.tensor(table.values, dtype=torch.int64, device=labels.device)
    wide = labels.to(torch.int64).contiguous()
    position = torch.searchsorted(values, wide).clamp_(max=len(table) - 1)
    known = values[position] == wide
    skipped = torch.zeros_like(known) if ignore is None else wide == ignore
    strange = ~(known | skipped)
    if bool(strange.any()):
        found = torch.unique(wide[strange])[:10].tolist()
        raise ValueError(
            f"The labels hold {found}, which are not among the classes "
            f"{list(table.values)[:20]}; give classes= that name them, or ignore=."
        )
    return torch.where(skipped, ignored, position).to(_index_dtype(len(table))), ignored


def _entries(band: Band) -> tuple[Tensor, Tensor]:
    """Block, and position in ``pixels``, of every value of a band: int64 (E,)."""
    device = band.index.device
    sizes = np.diff(band.block_start)
    block = torch.repeat_interleave(
        torch.from_numpy(sizes).to(device), output_size=int(band.block_start[-1])
    )
    shift = torch.from_numpy(band.start[band.block_region] - band.block_start[:-1]).to(device)
    return block, torch.arange(len(block), device=device) + shift[block]


def _divided_by_sum(band: Band) -> Tensor:
    """Values divided by their sum over the classes, summed in the order of the classes."""
    if not len(band.block_region):
        return band.values
    block, position = _entries(band)
    first = np.searchsorted(band.block_region, band.block_region)
    rank = torch.from_numpy(np.arange(len(first)) - first).to(block.device)[block]
    total = torch.zeros(len(band.pixels), dtype=torch.float64, device=block.device)
    for number in range(int(rank.max()) + 1):
        of_rank = torch.nonzero(rank == number).squeeze(1)
        total[position[of_rank]] += band.values[of_rank].to(torch.float64)
    sums = total[position]
    divided = (band.values.to(torch.float64) / sums).to(torch.float32)
    return torch.where(sums > 0, divided, band.values)
