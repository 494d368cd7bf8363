"""Connected superpixels, exactly as scikit-image's SLIC makes them.

Superpixels of k-means may fall into pieces. Scanning the image in raster order, every pixel that
is not yet taken starts a piece: a breadth-first search over neighbours of the same k-means label,
cut off at `max_size` pixels. A piece smaller than `min_size` takes the number of the neighbouring
piece that the search met last; every other one takes the next free number. The result depends on
the order of the search, so that order (x + 1, x - 1, y + 1, y - 1, z + 1, z - 1) is kept here.

What makes it fast: a border of one pixel replaces the tests for the image's edge, a single array
holds both label and "taken", and neighbours' numbers are looked up only for the few small pieces.
"""

import numpy as np

from softlabel.kernels import kernel
from softlabel.types import Array

_TAKEN = -1  # also the border: never equal to a k-means label


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
    free = np.full((depth + 2 * rim, height + 2, width + 2), _TAKEN, np.int32)
    inside = (slice(rim, rim + depth), slice(1, 1 + height), slice(1, 1 + width))
    free[inside] = labels
    row, plane = width + 2, (height + 2) * (width + 2)
    steps = np.array([1, -1, row, -row, plane, -plane][: 6 if rim else 4], np.int64)
    pieces = np.full(free.shape, -1, np.int32)
    _number_pieces(free.ravel(), pieces.ravel(), steps, min_size, max_size)
    return np.ascontiguousarray(pieces[inside])


@kernel
def _number_pieces(free: Array, pieces: Array, steps: Array, min_size: int, max_size: int) -> None:
    """Fill `pieces` from the labels in `free`, which is used up: both flat, with a border."""
    queue = np.empty(min(max_size, free.size), np.int64)
    number = 0
    for start in range(free.size):
        label = free[start]
        if label < 0:
            continue
        free[start] = _TAKEN
        queue[0] = start
        size = _grow(free, queue, label, steps, max_size)
        if size < min_size:
            number_here = _last_neighbour(pieces, queue[:size], steps, number)
        else:
            number_here = number
            number += 1
        for i in range(size):
            pieces[queue[i]] = number_here


@kernel
def _grow(free: Array, queue: Array, label: int, steps: Array, max_size: int) -> int:
    """Breadth-first search from `queue[0]`; returns the number of pixels found."""
    size = 1
    visited = 0
    while visited < size < max_size:
        here = queue[visited]
        visited += 1
        for step in steps:
            there = here + step
            if free[there] == label:
                free[there] = _TAKEN
                queue[size] = there
                size += 1
                if size >= max_size:
                    break
    return size


@kernel
def _last_neighbour(pieces: Array, members: Array, steps: Array, number: int) -> int:
    """Number of the piece that the search over `members` touched last; `number` if none.

    Numbers of other pieces do not change while a piece grows, so that looking them up
    afterwards, in the search's own order, finds what the search would have found.
    """
    found = number
    for here in members:
        for step in steps:
            other = pieces[here + step]
            if other >= 0 and other != number:
                found = other
    return found
