"""Outlines and run lengths, as annotation tools write them, to pixels.

The rule for outlines: pixel ``(row, column)`` has its centre at ``x = column + 0.5``,
``y = row + 0.5``, counted from the outer corner of the first pixel as COCO and LabelMe do, and
belongs to an outline when its centre lies inside it or on its line. Where a line crosses itself,
inside is what an odd number of crossings separates from outside (even-odd). scikit-image decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from skimage.draw import polygon

from softlabel.types import Array

MAX_COORDINATE = 1e6
"""Outlines reach beyond an image by rounding, not by a thousand times its size."""

MAX_STEPS = 2**32
"""Every pixel of an outline's box is compared with every vertex; more is no annotation."""


def outline_mask(vertices: Any, shape: tuple[int, int]) -> Array:
    """Pixels whose centres lie in an outline.

    Parameters
    ----------
    vertices : array_like of float, shape (N, 2)
        ``x`` and ``y`` of each; the last is joined to the first.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    ndarray of bool, shape (rows, columns)

    Raises
    ------
    ValueError
        For fewer than three vertices, and coordinates that are no numbers or beyond
        :data:`MAX_COORDINATE`.

    Examples
    --------
    >>> outline_mask([(0, 0), (2, 0), (2, 1), (0, 1)], (2, 3)).astype(int)
    array([[1, 1, 0],
           [0, 0, 0]])
    """
    points = np.asarray(vertices, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"an outline of the shape {points.shape}; expected three or more (x, y)")
    if not (np.abs(points) <= MAX_COORDINATE).all():
        raise ValueError(f"an outline with coordinates beyond {MAX_COORDINATE:g}, or none at all")
    low, high = (
        np.clip(points.min(axis=0), 0, shape[::-1]),
        np.clip(points.max(axis=0), 0, shape[::-1]),
    )
    if float(np.prod(high - low + 1)) * len(points) > MAX_STEPS:
        raise ValueError(f"an outline of {len(points)} vertices around a large area")
    mask = np.zeros(shape, dtype=bool)
    mask[polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, shape)] = True
    return mask


def run_length_mask(counts: str | Sequence[int], shape: tuple[int, int]) -> Array:
    """Pixels of COCO's run lengths, as numbers or in its compressed text.

    Runs go down the columns and begin with what is not in the mask.

    Parameters
    ----------
    counts : str or sequence of int
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    ndarray of bool, shape (rows, columns)

    Raises
    ------
    ValueError
        When the runs do not fill the image exactly.

    Examples
    --------
    >>> run_length_mask([2, 2, 2], (2, 3)).astype(int)
    array([[0, 1, 0],
           [0, 1, 0]])
    """
    runs = _runs(counts) if isinstance(counts, str) else list(counts)
    whole = all(isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in runs)
    if not whole or sum(runs) != shape[0] * shape[1]:
        raise ValueError(f"run lengths that do not add up to {shape[0]} × {shape[1]} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape, order="F")


def paint(shape: tuple[int, int], regions: Iterable[tuple[int, Array]]) -> tuple[Array, int]:
    """A label map of regions, later ones over earlier ones.

    Parameters
    ----------
    shape : (int, int)
    regions : iterable of (int, ndarray of bool, shape (rows, columns))
        Label value and pixels of each.

    Returns
    -------
    labels : ndarray of uint8, uint16, …, shape (rows, columns)
        0 where there is no region.
    n_covered : int
        Pixels that a later region took from an earlier one of another value.
    """
    labels = np.zeros(shape, dtype=np.int64)
    taken = np.zeros(shape, dtype=bool)
    covered = np.zeros(shape, dtype=bool)
    for value, mask in regions:
        covered |= mask & taken & (labels != value)
        labels[mask] = value
        taken |= mask
    return labels.astype(np.min_scalar_type(int(labels.max()))), int(np.count_nonzero(covered))


def _runs(text: str) -> list[int]:
    """COCO's compressed run lengths: 5 bits a character, differences from the run before last."""
    if not re.fullmatch(r"[0-o]+", text):
        raise ValueError("compressed run lengths with characters other than 0 to o")
    runs: list[int] = []
    number = bits = 0
    for character in text:
        code = ord(character) - 48
        number |= (code & 31) << bits
        bits += 5
        if bits > 60:
            raise ValueError("compressed run lengths with a run beyond 60 bits")
        if code & 32:
            continue
        if code & 16:
            number -= 1 << bits
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = bits = 0
    if bits:
        raise ValueError("compressed run lengths that are cut off")
    return runs
