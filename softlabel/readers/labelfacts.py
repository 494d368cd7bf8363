"""What one label map holds, in numbers that tell whether it is a label map of classes.

Values with their pixels, connected pieces and pixels at an edge. :mod:`softlabel.generation.check`
draws conclusions from them; nothing here knows files or other cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from softlabel.types import Array

MOST_VALUES = 1024
"""Pieces of maps with more values are not counted: they are no maps of classes."""


Box = tuple[tuple[int, int], ...]

TABLE_VALUES = 1 << 16
"""Values that lie this close together are numbered by a table of all of them."""

BLOCK = 1 << 20
"""Pixels that are widened to 64 bits at a time."""


@dataclass(frozen=True)
class LabelFacts:
    """One label map.

    Attributes
    ----------
    shape : tuple of int
    values, pixels : tuple of int
        Label values, ascending, and how many pixels have each.
    pieces : tuple of int
        Connected pieces of each value, neighbours over faces, edges and corners; empty when there
        are more than :data:`MOST_VALUES` values.
    boxes : tuple of tuple of (start, stop)
        Where each value lies: its first position along every axis, and the one behind its last.
        Empty when pieces are.
    edges : tuple of int
        Pixels of each value that have a face neighbour of another value.
    between : int
        Pixels whose value lies strictly between those of two of their face neighbours along one
        axis, as interpolation makes them.
    """

    shape: tuple[int, ...]
    values: tuple[int, ...]
    pixels: tuple[int, ...]
    pieces: tuple[int, ...]
    boxes: tuple[Box, ...]
    edges: tuple[int, ...]
    between: int

    @property
    def size(self) -> int:
        """All pixels."""
        return sum(self.pixels)


def label_facts(labels: Array) -> LabelFacts:
    """Look at a label map.

    Parameters
    ----------
    labels : ndarray of an integer type, shape (*spatial)

    Examples
    --------
    >>> facts = label_facts(np.array([[0, 0, 7, 0, 7]]))
    >>> facts.values, facts.pixels, facts.pieces, facts.edges
    ((0, 7), (3, 2), (2, 2), (2, 2))
    >>> facts.boxes
    (((0, 1), (0, 4)), ((0, 1), (2, 5)))
    """
    from scipy import ndimage

    values, index = _numbered(labels)
    count = len(values)
    edge = _edges(index)
    slices = ndimage.find_objects(index + 1, count) if count <= MOST_VALUES else ()
    return LabelFacts(
        tuple(labels.shape),
        tuple(int(v) for v in values),
        _counted(index, count),
        tuple(_pieces(index[box] == k) for k, box in enumerate(slices)),
        tuple(tuple((s.start, s.stop) for s in box) for box in slices),
        _counted(index[edge], count),
        _between(labels),
    )


def _numbered(labels: Array) -> tuple[Array, Array]:
    """The values that occur, ascending, and the place of every pixel's value among them."""
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, TABLE_VALUES)
    if high - low >= TABLE_VALUES or high > np.iinfo(np.intp).max:
        values, index = np.unique(labels, return_inverse=True)
        return values, index.reshape(labels.shape).astype(np.int32)
    # Marking is many times faster than sorting; by blocks, since indexing widens to 64 bits.
    flat = labels.reshape(-1)
    seen = np.zeros(high - low + 1, np.bool_)
    for block in _blocks(flat.size):
        seen[flat[block].astype(np.intp) - low] = True
    number = (np.cumsum(seen) - 1).astype(np.min_scalar_type(np.count_nonzero(seen)))
    index = np.empty(flat.size, number.dtype)
    for block in _blocks(flat.size):
        index[block] = number[flat[block].astype(np.intp) - low]
    return np.flatnonzero(seen) + low, index.reshape(labels.shape)


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, size, BLOCK))


def _counted(index: Array, count: int) -> tuple[int, ...]:
    flat, counts = index.reshape(-1), np.zeros(count, np.int64)
    for block in _blocks(flat.size):
        counts += np.bincount(flat[block], minlength=count)
    return tuple(int(n) for n in counts)


def _edges(index: Array) -> Array:
    edge = np.zeros(index.shape, np.bool_)
    for axis in range(index.ndim):
        line, marked = np.moveaxis(index, axis, 0), np.moveaxis(edge, axis, 0)
        differs = line[1:] != line[:-1]
        marked[1:] |= differs
        marked[:-1] |= differs
    return edge


def _between(labels: Array) -> int:
    between = np.zeros(labels.shape, np.bool_)
    for axis in range(labels.ndim):
        line, marked = np.moveaxis(labels, axis, 0), np.moveaxis(between, axis, 0)
        before, here, after = line[:-2], line[1:-1], line[2:]
        marked[1:-1] |= ((before < here) & (here < after)) | ((before > here) & (here > after))
    return int(np.count_nonzero(between))


def _pieces(found: Array) -> int:
    """Connected pieces of one value, of which the box that it lies in is enough."""
    from scipy import ndimage

    return int(ndimage.label(found, np.ones((3,) * found.ndim, np.int32))[1])
