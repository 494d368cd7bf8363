"""Exact distances to class boundaries, only where they are asked for.

The distance of a pixel to the boundary of a class is the smallest distance to a set of *target*
pixels; which pixels these are is what the four boundary conventions differ in
(:data:`BOUNDARIES`). Distances are measured between pixel centres, or to the near face of the
target.

The search goes outward, offset by offset in ascending order of distance, for 64 pixels of a row
at a time: the targets are bit planes, and a pixel is settled at the first offset at which its bit
appears. Rows are dilated along x beforehand, so that an offset (Δz, Δy, ±Δx) costs one OR of
words, and eight or more rows are treated together. A tile stops as soon as all of its wanted
pixels are settled; in the narrow band that label softening needs, that is after few offsets.
Offsets come in shells of growing radius; the next shell only looks at what the last one left.

One dimension, targets T, three pixels in a row::

    offset 0   . . . T . . . .
    offset ±1  . . T T T . . .
    offset ±2  . T T T T T . .     a pixel's distance is the offset of its first T
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from softlabel.distance.boundary import (
    IN_FACING,
    IN_SHELL,
    OUT_FACING,
    Boundary,
    Metric,
)
from softlabel.distance.shells import Shell, half_ball, shell, shell_radius
from softlabel.kernels import kernel
from softlabel.types import Array

ROWS = 16
"""Rows that are searched together: a multiple of the words of a vector register."""

MOST_OFFSETS = 1_000_000
"""Largest shell; pixels beyond it, which only huge superpixels have, are searched axis by axis."""

PLANE_BYTES = 1 << 26
"""Memory for the dilated bit planes of a search; larger boxes are searched in slabs."""

UNSETTLED = -1


class Scratch:
    """Memory that searches of one image use again, since fresh pages cost more than the work."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array with undefined content, valid until the same name is taken again."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = np.empty(size, dtype)
            self._buffers[name] = buffer
        return buffer[:size].reshape(shape)


@dataclass(frozen=True, eq=False)
class Search:
    """Pixels of one image that wait for their distance to the boundary of one class.

    Attributes
    ----------
    index : ndarray of uint8 or uint16, shape (Z, Y, X)
        Class indices of the whole image.
    ignored : int
        Index that marks ignored pixels.
    superpixels : ndarray of int32, shape (Z, Y, X)
    class_index : int
    limits : ndarray of float64, shape (M + 1,)
        For superpixel ``s``, ``limits[s + 1]`` is the distance up to which its pixels are
        searched; negative when they are not wanted.
    lower, upper : tuple of int
        Box that holds all wanted pixels.
    scratch : Scratch
        Memory to work in.
    """

    index: Array
    ignored: int
    superpixels: Array
    class_index: int
    limits: Array
    lower: tuple[int, int, int]
    upper: tuple[int, int, int]
    scratch: Scratch = field(default_factory=Scratch)


_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT_OF = np.zeros(64, np.int64)
for _bit in range(64):
    _BIT_OF[((0x03F79D71B4CB0A89 << _bit) & 0xFFFFFFFFFFFFFFFF) >> 58] = _bit


def search_levels(
    search: Search, boundary: Boundary, metric: Metric
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Level of every wanted pixel of a search, for its side of the boundary.

    Parameters
    ----------
    search : Search
    boundary : Boundary
    metric : Metric

    Returns
    -------
    levels : ndarray of int32, the shape of the box
        Number of the level, :data:`UNSETTLED` where there is no target within the limit;
        undefined at pixels that are not wanted. Valid until the next search with the same
        scratch memory.
    squared : ndarray of float64, shape (L,)
        Squared distance of each level.
    """
    shape = tuple(u - lo for lo, u in zip(search.lower, search.upper, strict=True))
    levels = search.scratch.take("levels", shape, np.int32)
    levels.fill(UNSETTLED)
    box = np.array([search.lower, search.upper], np.int64)
    planes = _pack_planes(search, metric)
    limit = float(search.limits.max())
    squared: list[Array] = []
    for number in itertools.count():
        if number:
            _drop_reached(
                planes.wanted, planes.origin, search.superpixels, search.limits,
                shell_radius(metric, number - 1),
            )  # fmt: skip
        if half_ball(metric, min(limit, shell_radius(metric, number))) > MOST_OFFSETS:
            squared.append(_search_far(search, planes, boundary, metric, squared, levels))
            break
        offsets = shell(metric, number)
        squared.append(offsets.squared)
        left = np.array([[np.iinfo(np.int64).max] * 3, [0] * 3], np.int64)
        near = offsets.within(limit)
        for slab in _slabs(box, near, planes.wanted.shape[0]):
            _search_slab(search, planes, boundary, metric, near, slab, levels, left)
        if left[1, 0] == 0 or shell_radius(metric, number) >= limit:
            break
        box = left
    return levels, np.concatenate(squared)


@dataclass(frozen=True, eq=False)
class BitPlanes:
    """64 pixels of a row in a word, bit 0 first: arrays of uint64, shape (words, Z, Y).

    Attributes
    ----------
    members, known, exists, wanted : ndarray
        Pixels of the class, pixels that are not ignored, pixels of the image, and pixels that
        wait for their distance (cleared as they get it).
    origin : ndarray of int64, shape (3,)
        Pixel of the first bit of the first word.
    """

    members: Array
    known: Array
    exists: Array
    wanted: Array
    origin: Array


def _pack_planes(search: Search, metric: Metric) -> BitPlanes:
    """Pack the box of a search and all that its pixels can reach."""
    limit = float(search.limits.max())
    margin = [len(metric.squares(axis, limit)) for axis in range(3)]
    low = np.array([max(0, lo - m) for lo, m in zip(search.lower, margin, strict=True)])
    high = np.array([
        min(n, u + m) for u, m, n in zip(search.upper, margin, search.index.shape, strict=True)
    ])  # fmt: skip
    words = -(-int(high[2] - low[2]) // 64)
    planes = np.zeros((4, words, *(high - low)[:2]), np.uint64)
    part = tuple(slice(lo, u) for lo, u in zip(low, high, strict=True))
    core = np.array([search.lower, search.upper]) - low
    _pack(
        search.index[part], search.ignored, search.superpixels[part], search.class_index,
        search.limits >= 0, core, *planes,
    )  # fmt: skip
    members, known, exists, wanted = planes
    return BitPlanes(members, known, exists, wanted, low)


def _slabs(box: Array, offsets: Shell, words: int) -> list[Array]:
    """Cut a box along z so that the bit planes of a search stay within PLANE_BYTES."""
    halo = [r + 1 for r in offsets.reach]
    rows = int(box[1, 1] - box[0, 1]) + 2 * halo[1] + ROWS
    slice_bytes = 8 * words * rows * (offsets.reach[2] + 6)
    depth = max(1, PLANE_BYTES // slice_bytes - 2 * halo[0])
    slabs = []
    for z in range(int(box[0, 0]), int(box[1, 0]), depth):
        slab = box.copy()
        slab[0, 0], slab[1, 0] = z, min(z + depth, int(box[1, 0]))
        slabs.append(slab)
    return slabs


def _search_slab(
    search: Search,
    planes: BitPlanes,
    boundary: Boundary,
    metric: Metric,
    offsets: Shell,
    core: Array,
    levels: Array,
    left: Array,
) -> None:
    """Settle what a shell can settle in a slab; widen the box ``left`` around the rest."""
    halo = np.array(offsets.reach[:2]) + 1  # one more than it reaches, for neighbours of targets
    first = core[0, :2] - halo - planes.origin[:2]
    shape = core[1, :2] - core[0, :2] + 2 * halo + [0, ROWS]
    members, known, exists, wanted = (
        _window(plane, first, shape)
        for plane in (planes.members, planes.known, planes.exists, planes.wanted)
    )
    active = np.array(metric.active)
    targets = [
        _targets(members, known, exists, kind, active)
        for kind in (boundary.inside, boundary.outside)
    ]
    if np.array_equal(targets[0], targets[1]):
        sides = [(targets[0], wanted)]
    else:
        sides = [(targets[0], wanted & members), (targets[1], wanted & ~members)]
    row, plane_size = int(shape[1]), members.size
    for target, todo in sides:
        layers = (offsets.reach[2] + 1, *target.shape)
        dilated = search.scratch.take("dilated", layers, np.uint64)
        _dilate(target, dilated.reshape(layers[0], layers[1], -1))
        busy = np.zeros(members.size, np.uint8)
        _mark_busy(dilated[-1], busy)
        _settle(
            dilated.reshape(-1), busy, todo, planes.wanted, first,
            offsets.offsets @ np.array([row, 1, 0]),
            offsets.offsets @ np.array([row, 1, plane_size]),
            offsets.start, offsets.first_level, halo, planes.origin, np.array(search.lower),
            levels, left,
        )  # fmt: skip


def _search_far(
    search: Search,
    planes: BitPlanes,
    boundary: Boundary,
    metric: Metric,
    squared: list[Array],
    levels: Array,
) -> npt.NDArray[np.float64]:
    """Settle all waiting pixels by one pass along each axis; returns the levels that it adds.

    Memory and time follow the voxels of the box, and not the cube of the distance.
    """
    first_level = sum(len(s) for s in squared)
    squares = [metric.squares(axis, float(search.limits.max())) for axis in range(3)]
    columns = min(64 * len(planes.known), search.index.shape[2] - int(planes.origin[2]))
    found: list[tuple[Array, Array]] = []
    for kind, side in (
        (boundary.inside, planes.members),
        (boundary.outside, ~planes.members),
    ):
        waiting = _unpacked(planes.wanted & side, columns)
        if not waiting.any():
            continue
        active = np.array(metric.active)
        targets = _targets(planes.members, planes.known, planes.exists, kind, active)
        field = np.where(_unpacked(targets, columns), 0.0, np.inf)
        for axis in (2, 1, 0):
            lines = np.moveaxis(field, axis, 2)
            _nearest_along(lines.copy(), squares[axis], lines)
        found.append((np.argwhere(waiting), field[waiting]))
    where = np.concatenate([w for w, _ in found] or [np.zeros((0, 3), np.int64)])
    values = np.concatenate([v for _, v in found] or [np.zeros(0)])
    reached = np.isfinite(values)
    added, number = np.unique(values[reached], return_inverse=True)
    at = where[reached] + planes.origin - np.array(search.lower)
    levels[tuple(at.T)] = first_level + number
    return added


def _unpacked(plane: Array, columns: int) -> npt.NDArray[np.bool_]:
    """A bit plane as truth values, shape (Z, Y, X)."""
    words = np.ascontiguousarray(np.moveaxis(plane, 0, 2)).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8), axis=2, bitorder="little")
    return bits[:, :, :columns].astype(np.bool_)


@kernel
def _nearest_along(source, squares, out):  # type: ignore[no-untyped-def]
    """Least sum of a value and the squared distance to it, along the last axis."""
    depth, rows, columns = source.shape
    for z in range(depth):
        for y in range(rows):
            line = source[z, y]
            for x in range(columns):
                best = line[x]
                for k in range(1, min(len(squares), columns)):
                    if squares[k] >= best:
                        break
                    if x >= k:
                        best = min(best, line[x - k] + squares[k])
                    if x + k < columns:
                        best = min(best, line[x + k] + squares[k])
                out[z, y, x] = best


def _window(plane: Array, first: Array, shape: Array) -> Array:
    """Slices and rows of a plane from ``first`` on, zero where it has none."""
    out = np.zeros((len(plane), *shape), np.uint64)
    low = np.maximum(first, 0)
    high = np.minimum(first + shape, plane.shape[1:])
    if (low < high).all():
        to, end = low - first, high - first
        out[:, to[0] : end[0], to[1] : end[1]] = plane[:, low[0] : high[0], low[1] : high[1]]
    return out


@kernel
def _pack(  # type: ignore[no-untyped-def]
    index, ignored, superpixels, c, flags, core, members, known, exists, wanted
):
    one = np.uint64(1)
    depth, rows, columns = index.shape
    for z in range(depth):
        for y in range(rows):
            in_core = core[0, 0] <= z < core[1, 0] and core[0, 1] <= y < core[1, 1]
            for w in range(len(members)):
                word_members, word_known = np.uint64(0), np.uint64(0)
                word_exists, word_wanted = np.uint64(0), np.uint64(0)
                bit = one
                for x in range(64 * w, min(64 * w + 64, columns)):
                    k = index[z, y, x]
                    word_exists |= bit
                    if k != ignored:
                        word_known |= bit
                        if k == c:
                            word_members |= bit
                        if in_core and flags[superpixels[z, y, x] + 1]:
                            word_wanted |= bit
                    bit <<= one
                members[w, z, y], known[w, z, y] = word_members, word_known
                exists[w, z, y], wanted[w, z, y] = word_exists, word_wanted


@kernel
def _drop_reached(wanted, origin, superpixels, limits, radius):  # type: ignore[no-untyped-def]
    """Give up pixels whose limit lies within the radius that has been searched."""
    words, depth, rows = wanted.shape
    for w in range(words):
        for z in range(depth):
            for y in range(rows):
                bits = wanted[w, z, y]
                while bits != 0:
                    lowest = bits & (~bits + np.uint64(1))
                    bits ^= lowest
                    x = 64 * w + _BIT_OF[(lowest * _DE_BRUIJN) >> np.uint64(58)]
                    s = superpixels[z + origin[0], y + origin[1], x + origin[2]]
                    if limits[s + 1] <= radius:
                        wanted[w, z, y] ^= lowest


def _targets(members: Array, known: Array, exists: Array, kind: int, active: Array) -> Array:
    """Bit plane of the targets of one kind."""
    result = np.empty_like(members)
    _mark_targets(members, known, exists, kind, active, result)
    return result


@kernel
def _mark_targets(members, known, exists, kind, active, result):  # type: ignore[no-untyped-def]
    words, depth, rows = members.shape
    one, last = np.uint64(1), np.uint64(63)
    in_class = kind in (IN_SHELL, IN_FACING)
    own = members if in_class else known & ~members
    if kind in (IN_FACING, OUT_FACING):
        other = known & ~members if in_class else members
    else:
        other = exists & ~own
    for w in range(words):
        for z in range(depth):
            for y in range(rows):
                near = np.uint64(0)
                if own[w, z, y] == 0:
                    result[w, z, y] = near
                    continue
                if active[2]:
                    word = other[w, z, y]
                    near |= (word << one) | (word >> one)
                    if w > 0:
                        near |= other[w - 1, z, y] >> last
                    if w + 1 < words:
                        near |= other[w + 1, z, y] << last
                if active[1]:
                    if y > 0:
                        near |= other[w, z, y - 1]
                    if y + 1 < rows:
                        near |= other[w, z, y + 1]
                if active[0]:
                    if z > 0:
                        near |= other[w, z - 1, y]
                    if z + 1 < depth:
                        near |= other[w, z + 1, y]
                result[w, z, y] = own[w, z, y] & near


@kernel
def _dilate(plane, planes):  # type: ignore[no-untyped-def]
    """Fill plane j with the pixels that have a target at most j pixels away along x."""
    layers, words, size = planes.shape
    planes[0] = plane.reshape(words, size)
    one, last = np.uint64(1), np.uint64(63)
    nothing = np.zeros(size, np.uint64)
    for j in range(1, layers):
        for w in range(words):
            here, out = planes[j - 1, w], planes[j, w]
            before = planes[j - 1, w - 1] if w > 0 else nothing
            after = planes[j - 1, w + 1] if w + 1 < words else nothing
            for i in range(size):
                word = here[i] | (here[i] << one) | (here[i] >> one)
                out[i] = word | (before[i] >> last) | (after[i] << last)


@kernel
def _mark_busy(plane, busy):  # type: ignore[no-untyped-def]
    """Whether any of the ROWS rows from here on has a bit: flat, for words, slices and rows."""
    words, depth, rows = plane.shape
    for line in range(words * depth):
        flat = plane.reshape(-1)[line * rows : (line + 1) * rows]
        empty = ROWS
        for y in range(rows - 1, -1, -1):
            empty = 0 if flat[y] != 0 else empty + 1
            busy[line * rows + y] = empty < ROWS


@kernel
def _settle(  # type: ignore[no-untyped-def]
    planes, busy, wanted, waiting, first, shifts, deltas, start, first_level, halo, origin, corner,
    levels, left,
):  # fmt: skip
    """Search the offsets of a shell for tiles of ROWS rows of 64 pixels."""
    found = np.zeros(ROWS, np.uint64)
    todo = np.zeros(ROWS, np.uint64)
    words, depth, rows = wanted.shape
    for w in range(words):
        x = 64 * w + origin[2]
        for z in range(halo[0], depth - halo[0]):
            for y in range(halo[1], rows - halo[1] - ROWS, ROWS):
                remaining = np.uint64(0)
                for t in range(ROWS):
                    todo[t] = wanted[w, z, y + t]
                    remaining |= todo[t]
                    found[t] = 0
                if remaining == 0:
                    continue
                base = (w * depth + z) * rows + y
                for level in range(len(start) - 1):
                    for o in range(start[level], start[level + 1]):
                        if not busy[base + shifts[o]]:
                            continue
                        at = base + deltas[o]
                        near = planes[at : at + ROWS]  # a slice, so that the loop vectorises
                        for t in range(len(near)):
                            found[t] |= near[t]
                    fresh = np.uint64(0)
                    for t in range(ROWS):
                        fresh |= todo[t] & found[t]
                    if fresh == 0:
                        continue
                    remaining = np.uint64(0)
                    for t in range(ROWS):
                        fresh = todo[t] & found[t]
                        if fresh != 0:
                            todo[t] ^= fresh
                            waiting[w, z + first[0], y + t + first[1]] ^= fresh
                            _write_level(
                                fresh, first_level + level, levels,
                                z + first[0] + origin[0] - corner[0],
                                y + t + first[1] + origin[1] - corner[1], x - corner[2],
                            )  # fmt: skip
                        remaining |= todo[t]
                    if remaining == 0:
                        break
                for t in range(ROWS):
                    if todo[t] != 0:
                        _widen(left, z + first[0] + origin[0], y + t + first[1] + origin[1])


@kernel
def _write_level(bits, level, levels, z, y, x):  # type: ignore[no-untyped-def]
    while bits != 0:
        lowest = bits & (~bits + np.uint64(1))
        levels[z, y, x + _BIT_OF[(lowest * _DE_BRUIJN) >> np.uint64(58)]] = level
        bits ^= lowest


@kernel
def _widen(box, z, y):  # type: ignore[no-untyped-def]
    """Make a box take in a row."""
    box[0, 0], box[1, 0] = min(box[0, 0], z), max(box[1, 0], z + 1)
    box[0, 1], box[1, 1] = min(box[0, 1], y), max(box[1, 1], y + 1)
