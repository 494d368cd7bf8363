"""What one label map holds, in numbers that tell whether it is a label map of classes.

Values with their pixels, connected pieces and pixels at an edge. :mod:`softlabel.generation.check`
draws conclusions from them; nothing here knows files or other cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softlabel.types import Array

MOST_VALUES = 1024
"""Pieces of maps with more values are not counted: they are no maps of classes."""


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
    """
    values, index = np.unique(labels, return_inverse=True)
    index = index.reshape(labels.shape).astype(np.int32)
    count = len(values)
    edge = _edges(index)
    return LabelFacts(
        tuple(labels.shape),
        tuple(int(v) for v in values),
        _counted(index, count),
        _pieces(index, count) if count <= MOST_VALUES else (),
        _counted(index[edge], count),
        _between(labels),
    )


def _counted(index: Array, count: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(index.ravel(), minlength=count))


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


def _pieces(index: Array, count: int) -> tuple[int, ...]:
    """Connected pieces of every value, each searched in its own box."""
    from scipy import ndimage

    structure = np.ones((3,) * index.ndim, np.int32)
    boxes = ndimage.find_objects(index + 1, count)
    return tuple(
        0 if box is None else int(ndimage.label(index[box] == k, structure)[1])
        for k, box in enumerate(boxes)
    )
