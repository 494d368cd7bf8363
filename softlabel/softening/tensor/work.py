"""What the tiles of a band share: blocks on the device, and soft labels of squared distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softlabel.device import DeviceUnusable
from softlabel.distance.boundary import Boundary, Metric
from softlabel.softening.conversion import CONVERSIONS, EQ1
from softlabel.softening.tensor.band import Band
from softlabel.softening.tensor.distance import (
    Costs,
)
from softlabel.softening.tensor.tiles import Tile
from softlabel.types import Array


@dataclass(frozen=True, eq=False)
class Formula:
    """Soft labels of squared distances on a device: any conversion in pixel units, else Eq. 1.

    Attributes
    ----------
    scale : float
    levels : tensor of float32, shape (2, n), or None
        In pixel units its values, that NumPy made so that no device can round differently: for
        each squared distance outside of the class, then inside.
    """

    scale: float
    levels: Tensor | None

    def __call__(self, squared: Tensor, inside: bool) -> Tensor:
        """Soft values (float32); those of squared distances beyond all limits mean nothing."""
        if self.levels is not None:
            last = self.levels.shape[1] - 1
            return self.levels[int(inside)][squared.to(torch.int64).clamp_(max=last)]
        distance = torch.sqrt(squared)
        signed = distance if inside else -distance
        return (0.5 * (signed / (self.scale + distance) + 1.0)).to(torch.float32)


def formula_of(
    costs: Costs, limit: Array, scale: float, device: torch.device, conversion: str = EQ1
) -> Formula:
    """Soft labels of squared distances up to the largest of some limits.

    Raises
    ------
    DeviceUnusable
        For a conversion other than Eq. 1 of distances in mm: devices round it differently.
    """
    if not costs.integer:
        if conversion != EQ1:
            raise DeviceUnusable(
                f"it has no code for the conversion {conversion} of such distances"
            )
        return Formula(scale, None)
    distance = np.sqrt(np.arange(int(limit.max()) + 1, dtype=np.float64) / costs.factor)
    values = [CONVERSIONS[conversion](d, scale) for d in (-distance, distance)]
    return Formula(scale, torch.from_numpy(np.array(values, np.float32)).to(device))


@dataclass(frozen=True, eq=False)
class Work:
    """What all tiles of a band share.

    Attributes
    ----------
    band : Band
    boundary : Boundary
    metric : Metric
    costs : Costs
    limit : ndarray, shape (N,)
        Squared distance up to which the pixels of each block are soft.
    formula : Formula
    pairs_at_once : int
    """

    band: Band
    boundary: Boundary
    metric: Metric
    costs: Costs
    limit: Array
    formula: Formula
    pairs_at_once: int


@dataclass(frozen=True, eq=False)
class Blocks:
    """Some blocks of a band, on the device.

    The entries of all of them, one after the other, are numbered from 0.

    Attributes
    ----------
    size : ndarray of int64, shape (N,)
    to_pixel, to_value : tensor of int64, shape (N,)
        What must be added to an entry's number to get its place in ``band.pixels`` and in
        ``band.values``.
    rank : tensor of int64, shape (N,)
        Position of the block's class among those of the tile.
    limit : tensor of ``costs.dtype``, shape (N,)
    """

    size: Array
    to_pixel: Tensor
    to_value: Tensor
    rank: Tensor
    limit: Tensor


def blocks_on_device(work: Work, tile: Tile, numbers: Array) -> Blocks:
    """The blocks of some numbers, in a tile that has all their classes."""
    band, device = work.band, work.band.index.device
    size = np.diff(band.block_start)[numbers]
    first = np.cumsum(size) - size
    rank = np.searchsorted(tile.classes, band.block_class[numbers])
    return Blocks(
        size,
        *(
            torch.from_numpy(part).to(device)
            for part in (
                band.start[band.block_region[numbers]] - first, band.block_start[numbers] - first,
                rank, work.limit[numbers],
            )
        ),
    )  # fmt: skip


def shares(blocks: Blocks, at_once: int) -> Iterator[tuple[int, Tensor]]:
    """First entry, and the block (int64) of each entry, of a bounded number at a time."""
    past = np.cumsum(blocks.size)
    total = int(past[-1])
    for first in range(0, total, max(1, at_once)):
        last = min(first + max(1, at_once), total)
        counts = np.clip(past, first, last) - np.clip(past - blocks.size, first, last)
        on_device = torch.from_numpy(counts).to(blocks.rank.device)
        yield first, torch.repeat_interleave(on_device, output_size=last - first)


def cut(band: Band, tile: Tile) -> Tensor:
    """Class indices of the images and the box of a tile."""
    box = tuple(slice(lo, u) for lo, u in zip(tile.lower, tile.upper, strict=True))
    return band.index[(tile.images, *box)]
