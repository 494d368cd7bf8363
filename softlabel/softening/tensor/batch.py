"""Soft labels on the fly: a batch that is softened where it is, for training without a cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from softlabel.device import (
    DoesNotFit,
    failing_makes_unusable,
    memory_budget,
)
from softlabel.distance.boundary import BOUNDARIES
from softlabel.softening.request import SoftenRequest
from softlabel.softening.superpixel import metric_of
from softlabel.softening.tensor.band import Band, find_band
from softlabel.softening.tensor.images import images_at_once, kernels_work, tensor_index_dtype
from softlabel.softening.tensor.values import fill_values
from softlabel.softmaps.class_index import ignored_index, index_dtype
from softlabel.types import ClassTable

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
    conversion: str = "eq1",
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
    spacing, boundary, scale, normalize, ignore, min_minority, in_plane, slice_axis, conversion
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
    request = SoftenRequest(
        "superpixel", classes, spacing, boundary, scale, normalize, ignore,
        method_options={
            "min_minority": min_minority, "in_plane": in_plane, "slice_axis": slice_axis,
            "conversion": conversion,
        },
    )  # fmt: skip
    spatial = tuple(labels.shape[1:])
    width = request.width(len(spatial))
    metric = metric_of(len(spatial), request.step(len(spatial)), request.options)
    table = request.table([])
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
        fill_values(band, BOUNDARIES[boundary], metric, width, budget, kernels, conversion)
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
    ignored = ignored_index(index_dtype(len(table)))
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
    return torch.where(skipped, ignored, position).to(tensor_index_dtype(len(table))), ignored


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
