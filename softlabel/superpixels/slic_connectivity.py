"""Connected superpixels, exactly as scikit-image's SLIC makes them.

Superpixels of k-means may fall into pieces. scikit-image scans the image in raster order; every
pixel that is not yet taken starts a piece: a breadth-first search over neighbours of the same
k-means label, cut off at `max_size` pixels. A piece smaller than `min_size` takes the number of the
neighbouring piece that the search met last; every other one takes the next free number.

Only pieces that are too small or too large depend on the order of the search, and they are few.
So the connected parts of all labels are found first, row by row::

    labels   5 5 2 2 5        parts   0 0 1 1 2       a run takes the part above it;
             5 5 5 5 5                0 0 0 0 0       part 2 meets part 0 here and joins it

Then the parts are numbered by their first pixel, and searched in scikit-image's own order of
neighbours (x + 1, x - 1, y + 1, y - 1, z + 1, z - 1) only where their size demands it.
"""

from typing import NamedTuple

import numpy as np

from softlabel.kernels import inlined_kernel, kernel
from softlabel.types import Array

_NONE = -1  # part of a pixel without a label, and of the border
_VISITED = -2


class Parts(NamedTuple):
    """Connected pixels of one label. Parts that meet are joined to the one that began first.

    Attributes
    ----------
    of : (n_pixels,) int32 array
        Part of every pixel of the image with a border of one pixel, which spares searches the test
        for the image's edge.
    root : (n,) int32 array
        Part that each part was joined to, never a greater one; itself if there is none.
    first : (n,) int64 array
        Its first pixel in raster order.
    size : (n,) int64 array
        Its number of pixels; only right for those that are joined to none.
    """

    of: Array
    root: Array
    first: Array
    size: Array


class Search(NamedTuple):
    """What a breadth-first search works with.

    Attributes
    ----------
    steps : (4 or 6,) int64 array
        Neighbours of a pixel, in scikit-image's order.
    queue : (n,) int64 array
        The pixels found.
    """

    steps: Array
    queue: Array


def connect(labels: Array, min_size: int, max_size: int) -> Array:
    """Renumber k-means labels into connected pieces.

    Parameters
    ----------
    labels : (depth, height, width) int32 array
        K-means labels; negative where a pixel has none.
    min_size : int
        Pieces of fewer pixels are merged into a neighbour.
    max_size : int
        A search stops at this many pixels; the rest of the region becomes another piece.

    Returns
    -------
    (depth, height, width) int32 array
        Piece numbers from 0 on; -1 where `labels` is negative.

    Examples
    --------
    >>> connect(np.array([[[5, 5, 5, 2, 2, 5, 5]]], np.int32), min_size=2, max_size=9).tolist()
    [[[0, 0, 0, 1, 1, 2, 2]]]
    """
    depth, height, width = labels.shape
    # A flat image needs no border above and below, and no steps there.
    rim = 1 if depth > 1 else 0
    bordered = np.full((depth + 2 * rim, height + 2, width + 2), _NONE, np.int32)
    row, plane = width + 2, (height + 2) * (width + 2)
    steps = np.array([1, -1, row, -row, plane, -plane][: 6 if rim else 4], np.int64)
    parts = _empty_parts(bordered.ravel(), _count_starts(labels))
    _find_parts(labels, parts, rim)

    roots = np.flatnonzero(parts.root == np.arange(parts.root.size))
    sizes = parts.size[roots]
    search = Search(steps, np.empty(min(max_size, int(sizes.max(initial=1))), np.int64))
    too_large = sizes > max_size
    if too_large.any():
        parts, roots = _cut(parts, roots, too_large, search)
    number = np.full(parts.root.size, -1, np.int32)
    _number(parts, roots, min_size, search, number)
    number = number[parts.root]
    inside = bordered[rim : rim + depth, 1 : 1 + height, 1 : 1 + width]
    pieces = np.empty(labels.shape, np.int32)
    _write(inside, number, pieces)
    return pieces


def _empty_parts(of: Array, n: int) -> Parts:
    return Parts(of, np.arange(n, dtype=np.int32), np.zeros(n, np.int64), np.zeros(n, np.int64))


# --- the connected parts --------------------------------------------------------------------------


@kernel
def _count_starts(labels: Array) -> int:
    """Pixels whose label differs from that on the left, above and behind: each starts a part."""
    depth, height, width = labels.shape
    nothing = np.full(width, _NONE, np.int32)
    found = 0
    for z in range(depth):
        for y in range(height):
            row = labels[z, y]
            above = labels[z, y - 1] if y else nothing
            behind = labels[z - 1, y] if z else nothing
            found += (row[0] >= 0) & (row[0] != above[0]) & (row[0] != behind[0])
            for x in range(1, width):
                k = row[x]
                found += (k >= 0) & (k != row[x - 1]) & (k != above[x]) & (k != behind[x])
    return found


@kernel
def _find_parts(labels: Array, parts: Parts, rim: int) -> None:
    """Fill `parts` from the labels, row by row."""
    depth, height, width = labels.shape
    nothing = np.full(width, _NONE, np.int32)
    n = 0
    for z in range(depth):
        for y in range(height):
            above = labels[z, y - 1] if y else nothing
            behind = labels[z - 1, y] if z else nothing
            start = ((z + rim) * (height + 2) + y + 1) * (width + 2) + 1
            n = _find_in_row(labels[z, y], above, behind, parts, start, height, n)
    for part in range(n):
        root = parts.root[parts.root[part]]
        parts.root[part] = root
        if root != part:
            parts.size[root] += parts.size[part]


@kernel
def _find_in_row(
    row: Array, above: Array, behind: Array, parts: Parts, start: int, height: int, n: int
) -> int:
    """Give the pixels of one row, which begins at `start`, their parts; returns how many there are.

    `above` and `behind` are the labels of the rows at y - 1 and z - 1, `n` the parts there were.
    """
    of, root, first, size = parts
    up = row.size + 2
    back = up * (height + 2)
    here = np.int32(_NONE)
    began = 0
    for x in range(row.size):
        k = row[x]
        fresh = x == 0 or k != row[x - 1]
        if fresh:
            if here >= 0:
                size[here] += x - began
            here = np.int32(_NONE)
            began = x
        if k >= 0:
            # Within a run, only where the other row's run of this label begins.
            if above[x] == k and (fresh or above[x - 1] != k):
                here = _join(root, here, of[start + x - up])
            if behind[x] == k and (fresh or behind[x - 1] != k):
                here = _join(root, here, of[start + x - back])
            if here < 0:
                here = np.int32(n)
                first[n] = start + x
                n += 1
        of[start + x] = here
    if here >= 0:
        size[here] += row.size - began
    return n


@inlined_kernel
def _join(root: Array, here: np.int32, other: np.int32) -> np.int32:
    """Join two parts, the first of which is a root or none; returns their root."""
    while root[other] != other:
        root[other] = root[root[other]]
        other = root[other]
    least = min(here, other) if here >= 0 else other
    if here >= 0:
        root[here] = least
    root[other] = least
    return least


# --- parts that are too large, or too small -------------------------------------------------------


@kernel
def _grow(parts: Parts, part: int, start: int, mark: int, search: Search) -> int:
    """Mark the pixels of a part that a breadth-first search finds from `start`, and queue them.

    Returns
    -------
    int
        How many there are; at most as many as the queue holds.
    """
    of, root, _, _ = parts
    steps, queue = search
    queue[0] = start
    of[start] = mark
    size = 1
    visited = 0
    while visited < size < queue.size:
        here = queue[visited]
        visited += 1
        for step in steps:
            there = here + step
            if of[there] >= 0 and root[of[there]] == part:
                of[there] = mark
                queue[size] = there
                size += 1
                if size >= queue.size:
                    break
    return size


def _cut(parts: Parts, roots: Array, too_large: Array, search: Search) -> tuple[Parts, Array]:
    """Cut parts that are too large into parts of their own; returns the new parts and roots."""
    n = parts.root.size
    more = int(parts.size[roots[too_large]].sum())
    cut = np.zeros(n, np.bool_)
    cut[roots[too_large]] = True
    pieces = _empty_parts(parts.of, n + more)
    for kept, all_of in zip(parts[1:], pieces[1:], strict=True):
        all_of[:n] = kept
    past = _cut_each(pieces, cut, search)
    roots = np.concatenate([roots[~too_large], np.arange(n, past)])
    return pieces, roots[np.argsort(pieces.first[roots])]


@kernel
def _cut_each(parts: Parts, cut: Array, search: Search) -> int:
    """Give the pixels of each part to `cut` to new parts, searched one after the other."""
    past = cut.size
    for start in range(parts.of.size):
        part = parts.of[start]
        if 0 <= part < cut.size and cut[parts.root[part]]:
            parts.first[past] = start
            parts.size[past] = _grow(parts, parts.root[part], start, past, search)
            past += 1
    return past


@kernel
def _number(parts: Parts, roots: Array, min_size: int, search: Search, number: Array) -> None:
    """Number the parts `roots`, which are in the order of their first pixels."""
    following = np.int32(0)
    for part in roots:
        if parts.size[part] >= min_size:
            number[part] = following
            following += np.int32(1)
            continue
        size = _grow(parts, part, parts.first[part], _VISITED, search)
        members = search.queue[:size]
        number[part] = _last_neighbour(parts, members, search.steps, number, following)
        for pixel in members:
            parts.of[pixel] = part


@kernel
def _last_neighbour(
    parts: Parts, members: Array, steps: Array, number: Array, following: np.int32
) -> np.int32:
    """Number of the piece that the search over `members` touched last; `following` if none.

    Numbers of other pieces do not change while a piece grows, so that looking them up
    afterwards, in the search's own order, finds what the search would have found.
    """
    of, root, _, _ = parts
    found = following
    for here in members:
        for step in steps:
            part = of[here + step]
            if part >= 0:
                other = number[root[part]]
                if other >= 0 and other != following:
                    found = other
    return found


@kernel
def _write(inside: Array, number: Array, pieces: Array) -> None:
    """The number of each pixel's part; -1 where there is none."""
    depth, height, width = pieces.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                part = inside[z, y, x]
                pieces[z, y, x] = number[part] if part >= 0 else -1
