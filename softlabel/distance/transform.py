"""The exact distance transform of one class in one box of an image.

Three passes, one an axis, as in every separable transform (Saito and Toriwaki, 1994): the squared
distance to the nearest target is the least sum of three squares, so it is found by

1. *counting* pixels to the nearest target along the first axis, there and back;
2. the least *count² + step²* over the planes around, along the second axis;
3. the least *(that) + step²* over the columns around, along the third.

A pass stops as soon as the square of the step alone is no less than all that is left. The floating
point sum is (z² + y²) + x² for every target, so the result does not depend on the box: the minimum
of rounded sums is the rounded sum of the nearest target.

One dimension, targets T, the counts of the first pass there and back::

    targets   . . T . . . T .
    there     - - 0 1 2 3 0 1      - : nothing yet
    back      2 1 0 1 2 1 0 1

Everything runs over flat, contiguous arrays, hundreds of pixels a loop, without branches inside, so
that the compiler makes vector instructions of it: 16 or 32 pixels at a time. To that end

* the arrays of a box lie with z last before passes 2 and 3, so that a step along y or x is an
  offset of whole rows;
* offsets are unsigned in the innermost functions: of a signed index numba asks every time whether
  it counts from the end;
* the innermost functions get whole arrays and offsets: every slice would be counted, atomically.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from softlabel.distance.boundary import IN_FACING, OUT_FACING
from softlabel.kernels import inner_kernel, kernel
from softlabel.types import Array

MEMBER, OTHER = 1, 2
"""Codes of the pixels of a class and of all other known ones; 0 is ignored or outside."""

CHUNK = 16
"""Rows are coded in multiples of so many pixels; the buffer is longer by that much."""

SHEET_PIXELS = 1024
"""Pixels of the rows that the second pass takes at once, unless one row is longer."""


class Image(NamedTuple):
    """A label map as kernels see it, its axes possibly in another order.

    Attributes
    ----------
    flat : ndarray of uint8 or uint16
        Class indices in the order of memory.
    shape : tuple of int
        Length of the axes that are called z, y and x here. x is the last one in memory.
    strides : tuple of int
        Offset of a step along z and along y in ``flat``.
    swapped : bool
        Whether z and y are the second and the first axis in memory.
    ignored : int
        Class index of ignored pixels.
    gaps : bool
        Whether there are ignored pixels at all.
    """

    flat: Array
    shape: tuple[int, int, int]
    strides: tuple[int, int]
    swapped: bool
    ignored: Any
    gaps: bool


class Squares(NamedTuple):
    """Squared distances of 0, 1, 2 … steps along the three axes, in the type of the results.

    Attributes
    ----------
    z : ndarray
        One longer than the steps that are looked at, and ``far`` at the end: no target so near.
    y, x : ndarray
    far : number
        More than any squared distance that matters; with a square added it does not overflow.
    """

    z: Array
    y: Array
    x: Array
    far: Any


class Layout(NamedTuple):
    """Sizes of a box, in which targets are looked for, and of the core inside it, whose pixels want
    their distances. The codes have a halo around the box, for the neighbours of targets.

    Attributes
    ----------
    depth, rows, columns : int
        Shape of the box.
    first, top, left : int
        Where the core begins in the box.
    core_depth, core_rows, core_columns : int
        Shape of the core.
    halo_z, halo_y, halo_x : int
        Width of the halo along each axis, 0 or 1.
    wide, plane : int
        Pixels of a row and of a plane with the halo.
    """

    depth: int
    rows: int
    columns: int
    first: int
    top: int
    left: int
    core_depth: int
    core_rows: int
    core_columns: int
    halo_z: int
    halo_y: int
    halo_x: int
    wide: int
    plane: int


class Buffers(NamedTuple):
    """Memory of a transform, flat.

    Attributes
    ----------
    codes : ndarray of uint8
        z, y, x of the box with its halo: 0, MEMBER or OTHER.
    targets : ndarray of uint8
        One plane of it: not 0 at a target.
    counts : ndarray of uint8 or int32
        z, y, x of the box, planes with their halo: steps to the nearest target along z.
    lines : ndarray
        y, x, z: squares of these, of the slices of the core only.
    sheet : ndarray
        y, x, z of some rows of the core: least sums after the second pass.
    nearest : ndarray
        y, x, z of the core: the result.
    """

    codes: Array
    targets: Array
    counts: Array
    lines: Array
    sheet: Array
    nearest: Array


@inner_kernel
def layout_of(core: Array, box: Array, halo: Array) -> Layout:
    """Sizes of a box around a core; both are [lower, upper] of z, y, x in the image."""
    wide = box[1, 2] - box[0, 2] + 2 * halo[2]
    return Layout(
        box[1, 0] - box[0, 0], box[1, 1] - box[0, 1], box[1, 2] - box[0, 2],
        core[0, 0] - box[0, 0], core[0, 1] - box[0, 1], core[0, 2] - box[0, 2],
        core[1, 0] - core[0, 0], core[1, 1] - core[0, 1], core[1, 2] - core[0, 2],
        halo[0], halo[1], halo[2], wide, (box[1, 1] - box[0, 1] + 2 * halo[1]) * wide,
    )  # fmt: skip


@kernel
def with_room(buffers: Buffers, layout: Layout) -> Buffers:
    """The same memory when it is enough for a box, otherwise twice what the box needs."""
    codes = (layout.depth + 2 * layout.halo_z) * layout.plane + CHUNK
    counts = layout.depth * layout.plane
    lines = layout.rows * layout.columns * layout.core_depth
    sheet = _rows_together(layout) * layout.columns * layout.core_depth
    nearest = layout.core_rows * layout.core_columns * layout.core_depth
    if (
        codes <= len(buffers.codes) and counts <= len(buffers.counts)
        and layout.plane <= len(buffers.targets) and lines <= len(buffers.lines)
        and sheet <= len(buffers.sheet) and nearest <= len(buffers.nearest)
    ):  # fmt: skip
        return buffers
    return Buffers(
        np.empty(2 * codes, np.uint8), np.empty(2 * layout.plane, np.uint8),
        np.empty(2 * counts, buffers.counts.dtype), np.empty(2 * lines, buffers.lines.dtype),
        np.empty(2 * sheet, buffers.lines.dtype), np.empty(2 * nearest, buffers.lines.dtype),
    )  # fmt: skip


# --- codes and targets ----------------------------------------------------------------------------


@inner_kernel
def code_box(image: Image, class_index: Any, box: Array, layout: Layout, codes: Array) -> bool:
    """Write the codes of a box and its halo; returns whether ignored pixels may be among them."""
    flat, shape, strides = image.flat, image.shape, image.strides
    low = max(0, box[0, 2] - layout.halo_x)
    high = min(shape[2], box[1, 2] + layout.halo_x)
    skip = low - (box[0, 2] - layout.halo_x)
    gaps = False
    at = 0
    for z in range(box[0, 0] - layout.halo_z, box[1, 0] + layout.halo_z):
        for y in range(box[0, 1] - layout.halo_y, box[1, 1] + layout.halo_y):
            if z < 0 or z >= shape[0] or y < 0 or y >= shape[1]:
                _clear(codes, at, layout.wide)
            else:
                codes[at] = 0
                source = z * strides[0] + y * strides[1] + low
                found = _code_row(
                    flat, source, high - low, class_index, image.ignored, codes, at + skip
                )
                gaps = gaps or found
                if skip + high - low < layout.wide:
                    codes[at + layout.wide - 1] = 0
            at += layout.wide
    return gaps and image.gaps


@inner_kernel
def _clear(codes: Array, at: int, n: int) -> None:
    start = np.uint64(at)
    for i in range(np.uint64(n)):
        codes[start + i] = 0


@inner_kernel
def _code_row(
    flat: Array, source: int, n: int, class_index: Any, ignored: Any, codes: Array, at: int
) -> bool:
    """Code a row and, when the image goes on, what follows up to a multiple of CHUNK.

    Without a rest the whole loop is vector instructions. The next row overwrites what is too much.
    """
    whole = -(-n // CHUNK) * CHUNK
    if source + whole > len(flat):
        whole = n
    start, to = np.uint64(source), np.uint64(at)
    gaps = False
    for i in range(np.uint64(whole)):
        label = flat[start + i]
        gaps |= label == ignored
        codes[to + i] = _code(label, class_index, ignored)
    return gaps


@inner_kernel
def _code(label: Any, class_index: Any, ignored: Any) -> Any:
    known = np.uint8(MEMBER) if label == class_index else np.uint8(OTHER)
    return np.uint8(0) if label == ignored else known


@inner_kernel
def same_targets(inside: int, outside: int, gaps: bool) -> bool:
    """Whether both sides of a boundary measure to the same pixels.

    Where no pixel is ignored, the shell of a side is what faces the other one.
    """
    return inside == outside or (not gaps and (inside <= IN_FACING) == (outside <= IN_FACING))


@inner_kernel
def _mark_side(codes: Array, at: int, n: int, own: Any, targets: Array) -> None:
    """Mark the pixels of one side: those within, behind its shell, are never the nearest."""
    start = np.uint64(at)
    for i in range(np.uint64(n)):
        targets[i] = codes[start + i] & own


@inner_kernel
def _mark_facing(
    codes: Array, at: int, n: int, own: Any, rest: Any, step_z: int, step_y: int, step_x: int,
    targets: Array, to: int,
) -> None:  # fmt: skip
    """Mark the pixels of one side with a face neighbour on the other; a step of 0 is none."""
    dz, dy, dx, out = np.uint64(step_z), np.uint64(step_y), np.uint64(step_x), np.uint64(to)
    start = np.uint64(at)
    for i in range(np.uint64(n)):
        j = start + i
        near = codes[j - dx] | codes[j + dx] | codes[j - dy] | codes[j + dy]
        near |= codes[j - dz] | codes[j + dz]
        facing = (codes[j] & own != 0) & (near & rest != 0)
        targets[out + i] = np.uint8(1) if facing else np.uint8(0)


# --- the three passes -----------------------------------------------------------------------------


@inner_kernel
def transform(
    kind: int, squares: Squares, ceiling: float, layout: Layout, buffers: Buffers
) -> None:
    """Fill ``buffers.nearest`` from ``buffers.codes``.

    What lies further away than ``ceiling``, a squared distance, may come out larger than it is.
    """
    _count(kind, len(squares.z) - 1, layout, buffers.codes, buffers.targets, buffers.counts)
    _square_counts(squares.z, layout, buffers.counts, buffers.lines)
    _search_lines(
        buffers.lines, squares.y, steps_within(squares.y, ceiling),
        squares.x, steps_within(squares.x, ceiling), layout, buffers.sheet, buffers.nearest,
    )  # fmt: skip


@inner_kernel
def _count(
    kind: int, most: int, layout: Layout, codes: Array, targets: Array, counts: Array
) -> None:
    """Steps to the nearest target along z, ``most`` where it is as far or there is none."""
    plane = layout.plane
    limit = counts.dtype.type(most)
    own = np.uint8(MEMBER if kind <= IN_FACING else OTHER)
    rest = np.uint8(MEMBER + OTHER) ^ own
    facing = kind in (IN_FACING, OUT_FACING)
    step_z, step_y, step_x = layout.halo_z * plane, layout.halo_y * layout.wide, layout.halo_x
    edge = step_y + step_x  # what comes before the first pixel with all its neighbours
    for z in range(layout.depth):
        at = (z + layout.halo_z) * plane
        if facing:
            _mark_facing(
                codes, at + edge, plane - 2 * edge, own, rest, step_z, step_y, step_x,
                targets, edge,
            )  # fmt: skip
        else:
            _mark_side(codes, at, plane, own, targets)
        if z == 0:
            _start_counts(targets, limit, counts, plane)
        else:
            _count_on(targets, limit, counts, z * plane, plane)
    for z in range(layout.depth - 2, layout.first - 1, -1):
        _count_back(counts, z * plane, plane)


@inner_kernel
def _start_counts(targets: Array, limit: Any, counts: Array, n: int) -> None:
    for i in range(np.uint64(n)):
        counts[i] = 0 if targets[i] != 0 else limit


@inner_kernel
def _count_on(targets: Array, limit: Any, counts: Array, at: int, plane: int) -> None:
    """Counts of a plane from those of the plane before it."""
    number = counts.dtype.type
    here, n = np.uint64(at), np.uint64(plane)
    for i in range(n):
        count = counts[here - n + i]
        count = number(count + 1) if count < limit else count
        counts[here + i] = number(0) if targets[i] != 0 else count


@inner_kernel
def _count_back(counts: Array, at: int, plane: int) -> None:
    """Lower the counts of a plane by those of the plane after it."""
    number = counts.dtype.type
    here, n = np.uint64(at), np.uint64(plane)
    for i in range(n):
        after, count = counts[here + n + i], counts[here + i]
        counts[here + i] = number(after + 1) if after < count else count


@inner_kernel
def _square_counts(squares: Array, layout: Layout, counts: Array, lines: Array) -> None:
    """Turn the counts of the core's slices into squares, with z as the last axis."""
    depth = layout.core_depth
    for y in range(layout.rows):
        row = (y + layout.halo_y) * layout.wide + layout.halo_x + layout.first * layout.plane
        for z in range(depth):
            _square_row(
                counts, row + z * layout.plane, layout.columns, squares,
                lines, y * layout.columns * depth + z, depth,
            )  # fmt: skip


@inner_kernel
def _square_row(
    counts: Array, at: int, n: int, squares: Array, lines: Array, to: int, stride: int
) -> None:
    source, out, step = np.uint64(at), np.uint64(to), np.uint64(stride)
    for i in range(np.uint64(n)):
        lines[out + i * step] = squares[np.uint64(counts[source + i])]


@inner_kernel
def steps_within(squares: Array, ceiling: float) -> int:
    """Most steps whose square is no more than a ceiling; 0 when there are none."""
    low, high = 0, len(squares)
    while low < high:
        middle = (low + high) // 2
        if squares[middle] <= ceiling:
            low = middle + 1
        else:
            high = middle
    return max(0, low - 1)


@inner_kernel
def _search_lines(
    lines: Array, squares_y: Array, steps_y: int, squares_x: Array, steps_x: int, layout: Layout,
    sheet: Array, nearest: Array,
) -> None:  # fmt: skip
    """The second and the third pass, some rows of the core after another."""
    length, size = layout.columns * layout.core_depth, layout.core_columns * layout.core_depth
    together = _rows_together(layout)
    for y in range(0, layout.core_rows, together):
        n = min(together, layout.core_rows - y)
        _search_rows(
            lines, layout.rows, length, layout.top + y, n, squares_y, steps_y, sheet, 0
        )  # fmt: skip
        for row in range(n):
            _search_rows(
                sheet[row * length : (row + 1) * length], layout.columns, layout.core_depth,
                layout.left, layout.core_columns, squares_x, steps_x, nearest, (y + row) * size,
            )  # fmt: skip


@inner_kernel
def _search_rows(
    source: Array, rows: int, length: int, first: int, n: int, squares: Array, steps: int,
    out: Array, to: int,
) -> None:  # fmt: skip
    """Least sums of the rows of a source and the squares of the steps to them, for ``n`` rows."""
    _copy(source, first * length, n * length, out, to)
    for k in range(1, min(steps + 1, max(first + n, rows - first))):
        square = squares[k]
        if _worth_a_look(k) and not _any_above(out, to, n * length, square):
            break
        before = max(0, k - first)  # rows that have none k before them
        after = min(n, rows - k - first)  # and rows that have one k after them
        if before < n:
            start = (first + before - k) * length
            _lower(source, start, (n - before) * length, square, out, to + before * length)
        if after > 0:
            _lower(source, (first + k) * length, after * length, square, out, to)


@inner_kernel
def _rows_together(layout: Layout) -> int:
    """Rows of the core that the second pass takes at once: short ones are not worth a loop each."""
    length = layout.columns * layout.core_depth
    return min(layout.core_rows, max(1, SHEET_PIXELS // length))


@inner_kernel
def _worth_a_look(step: int) -> bool:
    """Whether to look for the end of a pass, which costs half as much as a step."""
    return step < 4 or step % 2 == 0


@inner_kernel
def _copy(source: Array, at: int, n: int, out: Array, to: int) -> None:
    start, end = np.uint64(at), np.uint64(to)
    for i in range(np.uint64(n)):
        out[end + i] = source[start + i]


@inner_kernel
def _lower(source: Array, at: int, n: int, square: Any, out: Array, to: int) -> None:
    """Lower values to those of a source that lies a step away, where that is less."""
    number = out.dtype.type
    start, end = np.uint64(at), np.uint64(to)
    for i in range(np.uint64(n)):
        there, here = number(source[start + i] + square), out[end + i]
        out[end + i] = there if there < here else here


@inner_kernel
def _any_above(values: Array, at: int, n: int, square: Any) -> bool:
    found = False
    start = np.uint64(at)
    for i in range(np.uint64(n)):
        found |= values[start + i] > square
    return found
