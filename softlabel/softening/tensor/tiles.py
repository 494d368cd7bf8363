"""How the maps of a band's classes are cut so that they fit into a device's memory.

By classes first, then by images, and a map that is too large by itself into slabs along the axis
of the search, each with all that its distances reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from softlabel.device import DoesNotFit
from softlabel.softening.tensor.band import Band
from softlabel.softening.tensor.distance import Costs
from softlabel.types import Array

SMALL_MAP = 1 << 22
"""Pixels up to which classes share their maps whatever their boxes are."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Part of the work whose maps are in memory at once.

    Attributes
    ----------
    classes : ndarray of int64
    images : slice
    lower, upper : tuple of int
        Box of the maps.
    core : (axis, first, past-last) or None
        Pairs are settled in this part of the box only; None is all of it.
    """

    classes: Array
    images: slice
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    core: tuple[int, int, int] | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Z, Y, X of a map."""
        z, y, x = (u - lo for lo, u in zip(self.lower, self.upper, strict=True))
        return z, y, x


def plan_tiles(band: Band, costs: Costs, pixels_at_once: int) -> list[Tile]:
    """Cut the work into classes, images and slabs so that maps stay within a number of pixels.

    Raises
    ------
    DoesNotFit
        When one row (slice) with all that its distances reach is larger already.
    """
    tiles = []
    for classes, lower, upper in _share_maps(band, costs, pixels_at_once):
        n_images = len(band.index)
        pixels = int(np.prod(upper - lower))
        images = max(1, min(n_images, pixels_at_once // (pixels * len(classes))))
        for first in range(0, n_images, images):
            span = slice(first, min(first + images, n_images))
            if pixels <= pixels_at_once:
                tiles.append(
                    Tile(classes, span, tuple(lower.tolist()), tuple(upper.tolist()), None)
                )
            else:
                tiles.extend(_slabs(classes, span, lower, upper, costs, pixels_at_once))
    return tiles


def _share_maps(
    band: Band, costs: Costs, pixels_at_once: int
) -> Iterator[tuple[Array, Array, Array]]:
    """Groups of classes with the box of all their pairs and what these reach."""
    margin = np.array([costs.reach(axis) + 2 for axis in range(3)])
    shape = np.array(band.index.shape[1:])
    classes = np.flatnonzero(np.bincount(band.block_class))
    lower = np.maximum(band.lower.min(axis=0) - margin, 0)
    upper = np.minimum(band.upper.max(axis=0) + margin, shape)
    together = int(np.prod(upper - lower)) * len(classes)
    if together <= SMALL_MAP and together * len(band.index) <= pixels_at_once:
        yield classes, lower, upper
        return
    group: list[int] = []
    low = high = np.zeros(3, np.int64)
    single = 0
    for k, lowest, highest in zip(*class_boxes(band), strict=True):
        lower, upper = np.maximum(lowest - margin, 0), np.minimum(highest + margin, shape)
        size = int(np.prod(upper - lower))
        both_low = np.minimum(low, lower) if group else lower
        both_high = np.maximum(high, upper) if group else upper
        together = int(np.prod(both_high - both_low)) * (len(group) + 1)
        fits = together * len(band.index) <= pixels_at_once
        if group and not (fits and together <= max(2 * (single + size), SMALL_MAP)):
            yield np.array(group), low, high
            group, single, both_low, both_high = [], 0, lower, upper
        group.append(int(k))
        low, high, single = both_low, both_high, single + size
    if group:
        yield np.array(group), low, high


def _slabs(
    classes: Array, images: slice, lower: Array, upper: Array, costs: Costs, pixels_at_once: int
) -> Iterator[Tile]:
    """Slabs of one map along the axis that pairs are searched along last."""
    if len(classes) > 1:
        for k in classes:
            yield from _slabs(np.array([k]), images, lower, upper, costs, pixels_at_once)
        return
    axis = search_axis(upper - lower, costs)
    halo = costs.reach(axis) + 1
    row = int(np.prod(upper - lower)) // int(upper[axis] - lower[axis])
    depth = pixels_at_once // row - 2 * halo
    if depth < 1:
        raise DoesNotFit(
            f"one {'row' if axis == 1 else 'slice'} of the maps with all that its distances reach "
            f"has {row * (2 * halo + 1)} pixels, the device's memory is enough for "
            f"{pixels_at_once}"
        )
    for first in range(int(lower[axis]), int(upper[axis]), depth):
        last = min(first + depth, int(upper[axis]))
        low, high = lower.copy(), upper.copy()
        low[axis] = max(first - halo, int(lower[axis]))
        high[axis] = min(last + halo, int(upper[axis]))
        yield Tile(classes, images, tuple(low.tolist()), tuple(high.tolist()), (axis, first, last))


def search_axis(shape: Array | Sequence[int], costs: Costs) -> int:
    """Axis along which pairs are searched one by one: z in volumes, else y."""
    return 0 if shape[0] > 1 and costs.reach(0) > 0 else 1


def class_boxes(band: Band) -> tuple[Array, Array, Array]:
    """Classes of a band, ascending, with the box of all regions that each is in: int64 (K, 3)."""
    order = np.argsort(band.block_class, kind="stable")
    classes, first = np.unique(band.block_class[order], return_index=True)
    regions = band.block_region[order]
    lower = np.minimum.reduceat(band.lower[regions], first, axis=0)
    upper = np.maximum.reduceat(band.upper[regions], first, axis=0)
    return classes, lower.astype(np.int64), upper.astype(np.int64)
