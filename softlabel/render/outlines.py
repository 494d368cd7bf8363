"""Outlines of label maps as line segments, exactly along the edges of the pixels.

Coordinates are (row, column) of pixel *corners*: pixel (i, j) spans i..i+1 and j..j+1.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from softlabel.types import Array


@dataclass(frozen=True, eq=False)
class Segments:
    """Straight pieces of boundary, each between one pair of labels.

    Attributes
    ----------
    ends : ndarray of int, shape (N, 2, 2)
        Two corners (row, column) each.
    pairs : ndarray of int, shape (N, 2)
        Labels on the two sides, the smaller first.
    """

    ends: Array
    pairs: Array


def boundaries(labels: Array, where: Array | None = None) -> Segments:
    """Edges between pixels of different labels, merged into straight segments.

    Parameters
    ----------
    labels : ndarray of int, shape (rows, columns)
        A negative label is no label: it has no boundary.
    where : ndarray of bool, same shape, optional
        Keep edges that have such a pixel on one side at least.

    Examples
    --------
    >>> found = boundaries(np.array([[0, 1], [0, 1], [0, 0]]))
    >>> found.ends.tolist()
    [[[0, 1], [2, 1]], [[2, 1], [2, 2]]]
    >>> found.pairs.tolist()
    [[0, 1], [0, 1]]
    """
    labels = np.asarray(labels, np.int64)
    base = int(labels.max(initial=0)) + 1
    keep = np.ones(labels.shape, bool) if where is None else where
    # Lines run along the second axis of what _runs gets: down the columns, then along the rows.
    upright = _edge_keys(labels[:, :-1], labels[:, 1:], keep[:, :-1] | keep[:, 1:], base).T
    level = _edge_keys(labels[:-1], labels[1:], keep[:-1] | keep[1:], base)
    column, top, bottom, upright_key = _runs(upright)
    row, left, right, level_key = _runs(level)
    ends = np.concatenate(
        [
            np.stack([top, column + 1, bottom, column + 1], axis=-1),
            np.stack([row + 1, left, row + 1, right], axis=-1),
        ]
    )
    keys = np.concatenate([upright_key, level_key])
    return Segments(ends.reshape(-1, 2, 2), np.stack([keys // base, keys % base], axis=-1))


def _edge_keys(a: Array, b: Array, keep: Array, base: int) -> Array:
    """One number for each pair of labels, −1 where there is no boundary."""
    key = np.minimum(a, b) * base + np.maximum(a, b)
    return np.where((a != b) & (a >= 0) & (b >= 0) & keep, key, -1)


def _runs(keys: Array) -> tuple[Array, Array, Array, Array]:
    """Runs of equal keys ≥ 0 along each line: line, begin, end (exclusive), key."""
    padded = np.pad(keys, ((0, 0), (1, 1)), constant_values=-1)
    change = padded[:, 1:] != padded[:, :-1]
    starts = change[:, :-1] & (keys >= 0)
    line, begin = np.nonzero(starts)
    end = np.nonzero(change[:, 1:] & (keys >= 0))[1] + 1
    return line, begin, end, keys[starts]


def chain(segments: Segments) -> dict[tuple[int, int], list[Array]]:
    """Join the segments of each pair of labels into polylines, so that dashes run through.

    Returns
    -------
    dict
        Pair of labels to polylines, each (n, 2) corners; closed ones end where they begin.
        Where more than two pieces of a pair meet, they all end.

    Examples
    --------
    >>> one_pixel = boundaries(np.array([[0, 0, 0], [0, 5, 0], [0, 0, 0]]))
    >>> {pair: [line.tolist() for line in lines] for pair, lines in chain(one_pixel).items()}
    {(0, 5): [[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]}
    """
    by_pair: dict[tuple[int, int], list[tuple[tuple[int, int], ...]]] = defaultdict(list)
    for (a, b), (first, second) in zip(
        segments.pairs.tolist(), segments.ends.tolist(), strict=True
    ):
        by_pair[a, b].append((tuple(first), tuple(second)))
    return {pair: [np.array(line) for line in _join(by_pair[pair])] for pair in sorted(by_pair)}


def _join(pieces: list[tuple[tuple[int, int], ...]]) -> list[list[tuple[int, int]]]:
    meeting: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, piece in enumerate(pieces):
        for corner in piece:
            meeting[corner].append(number)
    used = [False] * len(pieces)

    def follow(number: int, corner: tuple[int, int]) -> list[tuple[int, int]]:
        line = [corner]
        while True:
            used[number] = True
            first, second = pieces[number]
            corner = second if corner == first else first
            line.append(corner)
            following = [n for n in meeting[corner] if not used[n]]
            if len(meeting[corner]) != 2 or not following:
                return line
            number = following[0]

    lines = [
        follow(numbers[0], corner)
        for corner, numbers in meeting.items()
        if len(numbers) == 1 and not used[numbers[0]]
    ]
    for corner, numbers in meeting.items():
        if len(numbers) > 2:
            lines.extend(follow(number, corner) for number in numbers if not used[number])
    for number, piece in enumerate(pieces):  # what is left are closed rings
        if not used[number]:
            lines.append(follow(number, piece[0]))
    return lines


def rectangles(mask: Array) -> Array:
    """Cover a mask by rectangles that do not overlap.

    Returns
    -------
    ndarray of int, shape (N, 4)
        First row, first column, row and column after the last.

    Examples
    --------
    >>> rectangles(np.array([[1, 1, 0], [1, 1, 1]], bool)).tolist()
    [[0, 0, 2, 2], [1, 2, 2, 3]]
    """
    column, top, bottom, _ = _runs(np.where(mask.T, 0, -1))
    order = np.lexsort([column, bottom, top])
    column, top, bottom = column[order], top[order], bottom[order]
    new = np.ones(len(column), bool)
    new[1:] = (np.diff(column) != 1) | (np.diff(top) != 0) | (np.diff(bottom) != 0)
    last = np.append(np.flatnonzero(new)[1:], len(column)) - 1 if len(column) else new
    return np.stack([top[new], column[new], bottom[new], column[last] + 1], axis=-1)
