"""Soft labels on the wire: hard labels, and only those values that are not hard.

A dense map of a B-scan, (10, 496, 768) float32, is 15 MB, of which some 6 % differ from the hard
label. :class:`CompactCase` keeps these *entries* row by row, so that a crop is cut without
unpacking; :func:`read_compact` makes one from the cache. The training device expands
them (:meth:`softlabel_train.data.Batch.expand`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softlabel.cache import CachedCase, StoredArray
from softlabel.errors import CacheError
from softlabel.kernels import kernel
from softlabel.softmaps import class_index_map, ignored_index
from softlabel.types import Array, ClassTable

SLAB_BYTES = 4 << 20
"""Dense soft maps are read in slabs of about this size, which stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class CompactCase:
    """A case, or a patch of one, with its soft labels as sparse entries.

    Attributes
    ----------
    image : ndarray, shape (C, *spatial)
        In the type of the cache.
    index : ndarray of uint8 or uint16, shape (*spatial)
        Class indices; the largest value of the type where ignored.
    n_classes : int
    on, off : float
        Soft label of a pixel without entries in its own class and in all others. Ignored pixels
        are 0 and have no entries.
    row_start : ndarray of int64, shape (K · rows + 1,)
        Entries of class k in row r (all spatial axes but the last, flattened) are
        ``row_start[k · rows + r] : row_start[k · rows + r + 1]``.
    column : ndarray of uint16 or int32
        Position of each entry along the last axis.
    values : ndarray of float32
    """

    image: Array
    index: Array
    n_classes: int
    on: float
    off: float
    row_start: npt.NDArray[np.int64]
    column: Array
    values: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes that this object holds."""
        arrays = (self.image, self.index, self.row_start, self.column, self.values)
        return sum(a.nbytes for a in arrays)

    def dense(self) -> npt.NDArray[np.float32]:
        """The dense soft maps, shape (K, *spatial)."""
        soft = np.full((self.n_classes, *self.index.shape), self.off, np.float32)
        ignored = self.index == ignored_index(self.index.dtype)
        for k in range(self.n_classes):
            soft[k][self.index == k] = self.on
        soft[:, ignored] = 0
        flat, values = self.entries()
        soft.reshape(-1)[flat] = values
        return soft

    def entries(
        self,
        start: Sequence[int] | None = None,
        shape: Sequence[int] | None = None,
        flip: Sequence[bool] | None = None,
    ) -> tuple[Array, npt.NDArray[np.float32]]:
        """The entries of a patch, which may reach over the border.

        Parameters
        ----------
        start, shape : sequence of int, optional
            First pixel (negative before the border) and size of the patch; default all of it.
        flip : sequence of bool, optional
            Axes of the patch that are mirrored afterwards.

        Returns
        -------
        flat : ndarray of int32 or int64
            Positions in the flattened (C order) dense patch (K, *shape).
        values : ndarray of float32
        """
        ndim = self.index.ndim
        start = [0] * ndim if start is None else start
        shape = self.index.shape if shape is None else shape
        flip = [False] * ndim if flip is None else flip
        pad = 3 - ndim
        size = self.n_classes * math.prod(shape)
        flat = np.empty(len(self.values), np.int32 if size < 2**31 else np.int64)
        values = np.empty(len(self.values), np.float32)
        n = _cut(
            self.row_start, self.column, self.values, self.n_classes,
            np.array([1] * pad + list(self.index.shape), np.int64),
            np.array([0] * pad + list(start), np.int64),
            np.array([1] * pad + list(shape), np.int64),
            np.array([False] * pad + [bool(f) for f in flip]),
            flat, values,
        )  # fmt: skip
        return flat[:n], values[:n]


def read_compact(
    case: CachedCase,
    classes: ClassTable,
    ignore: int | None,
    where: tuple[slice, ...] | None = None,
    rater: str | None = None,
) -> CompactCase:
    """Read a case, or the patch ``where`` of it, out of the cache.

    Parameters
    ----------
    case : CachedCase
    classes : ClassTable
    ignore : int or None
    where : tuple of slice, optional
    rater : str, optional
        Name of a label map, whose hard labels then take the place of the soft ones too.

    Raises
    ------
    CacheError
        When the file is damaged, has no such label map, or its labels are not in the class table.
    """
    where = where or (slice(None),) * case.labels.ndim
    labels = (case.labels if rater is None else _map_of(case, rater))[where]
    try:
        index = class_index_map(labels, classes, ignore)
    except ValueError as error:
        raise CacheError(f"{case.path}: {error}") from error
    if rater is not None:
        starts = len(classes) * math.prod(index.shape[:-1]) + 1
        return CompactCase(
            case.image[(slice(None), *where)], index, len(classes), 1.0, 0.0,
            np.zeros(starts, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32),
        )  # fmt: skip
    stored = case.soft
    off = stored.fillvalue
    rows = [s.indices(n)[:2] for s, n in zip(where, case.labels.shape, strict=True)]
    on = None
    pieces: list[tuple[Array, Array, Array]] = []
    for low, high in _slabs(stored, rows[0], index.shape):
        part = index[low - rows[0][0] : high - rows[0][0]]
        soft = _read_into_scratch(
            stored, (slice(None), slice(low, high), *where[1:]), (len(classes), *part.shape)
        )
        if on is None:
            on = _own_value(soft, part, off)
        pieces.append(_scan_slab(soft, part, on, off))
    row_start, column, values = _joined(pieces, len(classes))
    return CompactCase(
        case.image[(slice(None), *where)], index, len(classes), 1.0 if on is None else on, off,
        row_start, column, values,
    )  # fmt: skip


def _map_of(case: CachedCase, rater: str) -> StoredArray:
    maps = case.label_maps
    if rater not in maps:
        raise CacheError(
            f"{case.path} has no label map of the rater {rater} (it has "
            f"{', '.join(maps) or 'none'}); run `softlabel generate` again."
        )
    return maps[rater]


_SCRATCH = threading.local()


def _read_into_scratch(
    stored: StoredArray, key: tuple[slice, ...], shape: tuple[int, ...]
) -> Array:
    """Read into memory that is used again: fresh pages cost as much as decompression."""
    size = math.prod(shape)
    memory = getattr(_SCRATCH, "memory", None)
    if memory is None or memory.size < size:
        memory = _SCRATCH.memory = np.empty(size, np.float32)
    soft = memory[:size].reshape(shape)
    if size:
        stored.read_into(soft, key)
    return soft


def _slabs(
    stored: StoredArray, rows: tuple[int, int], shape: tuple[int, ...]
) -> Iterator[tuple[int, int]]:
    """Rows (low, high) of the first spatial axis to read at once; no chunk is decoded twice."""
    chunk = (stored.chunks or stored.shape)[1]
    row_bytes = 4 * stored.shape[0] * math.prod(shape[1:])
    step = chunk * max(1, SLAB_BYTES // max(1, chunk * row_bytes))
    low, end = rows
    while low < end:
        high = min(low - low % chunk + step, end)
        yield low, high
        low = high


def _own_value(soft: Array, index: Array, off: float) -> float:
    """The value of a hard pixel in its own class: 1, except under label smoothing."""
    if off == 0:
        return 1.0
    known = index != ignored_index(index.dtype)
    if not known.any():
        return 1.0
    own = np.take_along_axis(soft, np.where(known, index, 0)[None].astype(np.intp), 0)[0][known]
    found, counts = np.unique(own, return_counts=True)
    return float(found[counts.argmax()])


def _scan_slab(soft: Array, index: Array, on: float, off: float) -> tuple[Array, Array, Array]:
    n_classes, last = soft.shape[0], index.shape[-1] if index.size else 0
    rows = index.size // last if last else 0
    row_start = np.zeros((n_classes, rows + 1), np.int64)
    # Pages that no entry is written to are never touched, so the worst case costs nothing.
    column = np.empty(soft.size, np.uint16 if last <= 2**16 else np.int32)
    values = np.empty(soft.size, np.float32)
    n = 0
    if soft.size:
        n = _scan(
            np.ascontiguousarray(soft).reshape(n_classes, rows, last), index.reshape(rows, last),
            np.arange(n_classes, dtype=index.dtype), ignored_index(index.dtype), np.float32(on),
            np.float32(off), row_start, column, values,
        )  # fmt: skip
    return row_start, column[:n].copy(), values[:n].copy()


def _joined(
    pieces: list[tuple[Array, Array, Array]], n_classes: int
) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.float32]]:
    """Entries of all slabs, sorted by class first."""
    if not pieces:
        return np.zeros(1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32)
    counts = [np.diff(start, axis=1) for start, _, _ in pieces]
    row_start = np.concatenate([[0], np.cumsum(np.concatenate(counts, axis=1))])
    if len(pieces) == 1:
        return row_start, pieces[0][1], pieces[0][2]
    order = [(p, k) for k in range(n_classes) for p in range(len(pieces))]
    spans = [slice(int(pieces[p][0][k, 0]), int(pieces[p][0][k, -1])) for p, k in order]
    column = np.concatenate([pieces[p][1][s] for (p, _), s in zip(order, spans, strict=True)])
    values = np.concatenate([pieces[p][2][s] for (p, _), s in zip(order, spans, strict=True)])
    return row_start, column, values


_BLOCK = 64


@kernel
def _scan(
    soft: Array, index: Array, numbers: Array, ignored: int, on: np.float32, off: np.float32,
    row_start: Array, column: Array, values: Array,
) -> int:  # fmt: skip
    """Collect the values that differ from the hard label; most blocks are compared at once.

    The comparison is a loop without branches, which compiles to vector instructions as long as the
    class number compared is of the type of ``index``.
    """
    n_classes, rows, last = soft.shape
    n = 0
    for k in range(n_classes):
        row_start[k, 0] = n
        own = numbers[k]
        for r in range(rows):
            for first in range(0, last, _BLOCK):
                line = soft[k, r, first : min(first + _BLOCK, last)]
                part = index[r, first : min(first + _BLOCK, last)]
                differs = np.int32(0)
                for x in range(len(line)):
                    differs |= np.int32(line[x] != (on if part[x] == own else off))
                if differs == 0:
                    continue
                for x in range(len(line)):
                    if part[x] != ignored and line[x] != (on if part[x] == own else off):
                        column[n] = first + x
                        values[n] = line[x]
                        n += 1
            row_start[k, r + 1] = n
    return n


@kernel
def _cut(
    row_start: Array, column: Array, values: Array, n_classes: int, shape: Array, start: Array,
    size: Array, flip: Array, out_flat: Array, out_values: Array,
) -> int:  # fmt: skip
    """Entries of a window (start, size) as flat positions in it, mirrored where ``flip``."""
    rows = shape[0] * shape[1]
    n = 0
    for k in range(n_classes):
        for z in range(max(0, start[0]), min(shape[0], start[0] + size[0])):
            z_out = z - start[0]
            if flip[0]:
                z_out = size[0] - 1 - z_out
            for y in range(max(0, start[1]), min(shape[1], start[1] + size[1])):
                y_out = y - start[1]
                if flip[1]:
                    y_out = size[1] - 1 - y_out
                base = ((k * size[0] + z_out) * size[1] + y_out) * size[2]
                row = k * rows + z * shape[1] + y
                for e in range(row_start[row], row_start[row + 1]):
                    x_out = column[e] - start[2]
                    if 0 <= x_out < size[2]:
                        if flip[2]:
                            x_out = size[2] - 1 - x_out
                        out_flat[n] = base + x_out
                        out_values[n] = values[e]
                        n += 1
    return n


def nth_position(values: Array, value: int, n: int) -> int:
    """Position, in the flattened array, of the n-th element that equals a value; n from 0.

    Examples
    --------
    >>> nth_position(np.array([[0, 1, 1], [0, 0, 1]], np.uint8), 1, 2)
    5

    Raises
    ------
    IndexError
        When there are not so many.
    """
    position = _nth_position(values.reshape(-1), values.dtype.type(value), n)
    if position < 0:
        raise IndexError(f"Fewer than {n + 1} elements are {value}.")
    return int(position)


@kernel
def _nth_position(flat: Array, value: Any, n: int) -> int:
    """Blocks are counted without branches, and only the one that holds the element is searched."""
    size = 4096
    for first in range(0, len(flat), size):
        block = flat[first : min(first + size, len(flat))]
        count = 0
        for x in range(len(block)):
            count += int(block[x] == value)
        if count > n:
            for x in range(len(block)):
                if block[x] == value:
                    if n == 0:
                        return first + x
                    n -= 1
        n -= count
    return -1


def window(
    array: Array, start: Sequence[int], shape: Sequence[int], fill: Any, flip: Sequence[bool]
) -> Array:
    """A patch of the trailing axes of ``array`` that may reach over its border.

    Parameters
    ----------
    array : ndarray, shape (…, *spatial)
    start, shape : sequence of int
        First pixel (negative before the border) and size along each spatial axis.
    fill : scalar or "edge"
        What stands beyond the border: a value, or the nearest pixel.
    flip : sequence of bool
        Axes of the patch that are mirrored afterwards.
    """
    lead = array.ndim - len(shape)
    spatial = array.shape[lead:]
    low = [min(max(0, s), n) for n, s in zip(spatial, start, strict=True)]
    high = [max(a, min(n, s + m)) for n, s, m, a in zip(spatial, start, shape, low, strict=True)]
    where: tuple[Any, ...] = (..., *(slice(a, b) for a, b in zip(low, high, strict=True)))
    inside = array[where]
    before = [min(a - s, m) for a, s, m in zip(low, start, shape, strict=True)]
    after = [m - p - n for m, p, n in zip(shape, before, inside.shape[lead:], strict=True)]
    if any(before) or any(after):
        pads = [(0, 0)] * lead + list(zip(before, after, strict=True))
        if isinstance(fill, str):
            inside = np.pad(inside, pads, mode="edge")
        else:
            inside = np.pad(inside, pads, constant_values=fill)
    axes = tuple(lead + a for a, f in enumerate(flip) if f)
    return np.ascontiguousarray(np.flip(inside, axes) if axes else inside)
