"""Sparse soft maps from maps that a method computes densely, one class at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.maps import Regions, SoftMaps, hard_maps
from softlabel.types import Array, ClassTable

TILE_EDGE = {1: 256, 2: 32, 3: 12}
"""Edge of the grid tiles that hold the values of methods without superpixels, by dimension."""


def from_class_maps(
    index: Array,
    table: ClassTable,
    maps: Iterable[tuple[int, tuple[slice, ...], Array]],
    on: float = 1.0,
    off: float = 0.0,
) -> SoftMaps:
    """Keep the soft tiles of maps that a method computes densely, one class at a time.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (*spatial)
        As in :class:`SoftMaps`.
    table : ClassTable
    maps : iterable of (class index, box, values)
        ``values`` (float, the shape of the box) of one class inside ``box``; outside of it the
        class is hard. Consumed one by one, so that only one of them need be in memory.
    on, off : float

    Returns
    -------
    SoftMaps
        Whose regions are the tiles of a regular grid in which some class is not hard. A tile has
        blocks for these classes and for those that it holds pixels of, so that every pixel's own
        class has a block: dividing by the sum over the classes can change it.
    """
    edge = TILE_EDGE[index.ndim]
    ignored = ignored_index(index.dtype)
    blocks: list[tuple[int, int, Array]] = []
    counts = [math.ceil(n / edge) for n in index.shape]
    for class_index, box, values in maps:
        values = values.astype(np.float32)
        local = index[box]
        hard = np.where(local == class_index, np.float32(on), np.float32(off))
        soft = (values != hard) & (local != ignored)
        values = np.where(soft, values, hard)
        origin = [s.start for s in box]
        for tile in _tiles_of(soft, origin, edge, counts):
            where = _tile_slices(tile, counts, edge, index.shape)
            block = np.where(index[where] == class_index, np.float32(on), np.float32(off))
            inner = tuple(
                slice(max(w.start, o), min(w.stop, o + n))
                for w, o, n in zip(where, origin, values.shape, strict=True)
            )
            block[tuple(slice(i.start - w.start, i.stop - w.start)
                        for i, w in zip(inner, where, strict=True))] = (
                values[tuple(slice(i.start - o, i.stop - o)
                             for i, o in zip(inner, origin, strict=True))]
            )  # fmt: skip
            blocks.append((tile, class_index, block[index[where] != ignored]))
    return _assemble(index, table, on, off, blocks, counts, edge)


def _assemble(
    index: Array,
    table: ClassTable,
    on: float,
    off: float,
    blocks: list[tuple[int, int, Array]],
    counts: list[int],
    edge: int,
) -> SoftMaps:
    if not blocks:
        return hard_maps(index, table, on, off)
    blocks += _hard_blocks(index, on, off, blocks, counts, edge)
    blocks.sort(key=lambda block: block[:2])
    tiles = sorted({tile for tile, _, _ in blocks})
    flat = np.arange(index.size, dtype=_flat_dtype(index.size)).reshape(index.shape)
    ignored = ignored_index(index.dtype)
    pad = 3 - index.ndim
    pixels, lower, upper = [], [], []
    for tile in tiles:
        where = _tile_slices(tile, counts, edge, index.shape)
        pixels.append(flat[where][index[where] != ignored])
        lower.append([0] * pad + [s.start for s in where])
        upper.append([1] * pad + [s.stop for s in where])
    regions = Regions(
        np.concatenate(pixels),
        np.cumsum([0, *(len(p) for p in pixels)], dtype=np.int64),
        np.array(lower, np.int32),
        np.array(upper, np.int32),
    )
    return SoftMaps(
        index,
        table,
        on,
        off,
        regions,
        np.searchsorted(tiles, [tile for tile, _, _ in blocks]).astype(np.int32),
        np.array([k for _, k, _ in blocks], np.int32),
        np.cumsum([0, *(len(v) for _, _, v in blocks)], dtype=np.int64),
        np.concatenate([v for _, _, v in blocks]),
    )


def _hard_blocks(
    index: Array,
    on: float,
    off: float,
    blocks: list[tuple[int, int, Array]],
    counts: list[int],
    edge: int,
) -> list[tuple[int, int, Array]]:
    """Blocks of the classes that a tile holds pixels of and that are hard in all of it."""
    soft: dict[int, set[int]] = {}
    for tile, class_index, _ in blocks:
        soft.setdefault(tile, set()).add(class_index)
    ignored = ignored_index(index.dtype)
    hard = []
    for tile, classes in soft.items():
        local = index[_tile_slices(tile, counts, edge, index.shape)]
        local = local[local != ignored]
        for class_index in set(np.unique(local).tolist()) - classes:
            values = np.where(local == class_index, np.float32(on), np.float32(off))
            hard.append((tile, class_index, values))
    return hard


def _tiles_of(soft: Array, origin: list[int], edge: int, counts: list[int]) -> list[int]:
    """Flat numbers of the grid tiles that hold a True pixel of ``soft``."""
    positions = np.nonzero(soft)
    tile = np.zeros(len(positions[0]), np.int64)
    for axis, count in enumerate(counts):
        tile = tile * count + (positions[axis] + origin[axis]) // edge
    return [int(t) for t in np.unique(tile)]


def _tile_slices(
    tile: int, counts: list[int], edge: int, shape: tuple[int, ...]
) -> tuple[slice, ...]:
    corner = np.unravel_index(tile, counts)
    return tuple(
        slice(int(c) * edge, min((int(c) + 1) * edge, n))
        for c, n in zip(corner, shape, strict=True)
    )


def _flat_dtype(size: int) -> type[np.signedinteger[Any]]:
    return np.int32 if size < 2**31 else np.int64
