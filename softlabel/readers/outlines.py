"""Outlines and run lengths, as annotation tools write them, to pixels.

The rule for outlines: pixel ``(row, column)`` has its centre at ``x = column + 0.5``,
``y = row + 0.5``, counted from the outer corner of the first pixel as COCO and LabelMe do, and
belongs to an outline when its centre lies inside. Inside is what an odd number of lines separates
from the outside (even-odd), so that a line may cross itself and a ring inside of another is a hole.
A centre that lies on a line belongs to what is right of it, or below: outlines that share a line
share no pixel.

The lines are cut with the rows of centres, which takes time with rows and lines. Libraries that ask
every pixel about every vertex (scikit-image, matplotlib) take seconds for one long outline.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from softlabel.types import Array

MAX_COORDINATE = 1e6
"""Outlines reach beyond an image by rounding, not by a thousand times its size."""

MAX_CUTS = 2**25
"""Points in which the lines of an outline cut the rows of an image; an annotation has thousands."""


def outline_pixels(rings: Sequence[Any], shape: tuple[int, int]) -> Array:
    """Pixels whose centres lie in an outline.

    Parameters
    ----------
    rings : sequence of array_like of float, shape (N, 2)
        ``x`` and ``y`` of the vertices; the last is joined to the first. Further rings are holes,
        islands in them, and so on: even-odd counts the lines of all rings together.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    ndarray of int64, shape (M,)
        Positions in the flattened image, ascending.

    Raises
    ------
    ValueError
        For fewer than three vertices, coordinates that are no numbers or beyond
        :data:`MAX_COORDINATE`, and lines that cut more rows than :data:`MAX_CUTS`.

    Examples
    --------
    >>> outline_pixels([[(0, 0), (2, 0), (2, 1), (0, 1)]], (2, 3))
    array([0, 1])
    """
    lines = np.concatenate([_lines(ring) for ring in rings])
    rows, columns = _cuts(lines, shape)
    if not rows.size:
        return np.empty(0, dtype=np.int64)
    top, left = rows.min(), columns.min()
    box = np.zeros((rows.max() - top + 1, columns.max() - left + 1), dtype=np.uint8)
    np.bitwise_xor.at(box, (rows - top, columns - left), 1)
    inside_rows, inside_columns = np.nonzero(np.bitwise_xor.accumulate(box, axis=1))
    return np.asarray((inside_rows + top) * shape[1] + inside_columns + left)


def run_length_pixels(counts: str | Sequence[int], shape: tuple[int, int]) -> Array:
    """Pixels of COCO's run lengths, as numbers or in its compressed text.

    Runs go down the columns and begin with what is not in the mask.

    Parameters
    ----------
    counts : str or sequence of int
    shape : (int, int)
        Rows and columns.

    Returns
    -------
    ndarray of int64, shape (M,)
        Positions in the flattened image, ascending.

    Raises
    ------
    ValueError
        When the runs do not fill the image exactly.

    Examples
    --------
    >>> run_length_pixels([2, 2, 2], (2, 3))
    array([1, 4])
    """
    runs = _runs(counts) if isinstance(counts, str) else list(counts)
    whole = all(isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in runs)
    if not whole or sum(runs) != shape[0] * shape[1]:
        raise ValueError(f"run lengths that do not add up to {shape[0]} × {shape[1]} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.flatnonzero(np.repeat(values, runs).reshape(shape, order="F"))


def paint(
    shape: tuple[int, ...],
    regions: Iterable[tuple[int, Array]],
    below: Iterable[tuple[int, Array]] = (),
) -> tuple[Array, int]:
    """A label map of regions, later ones over earlier ones.

    Parameters
    ----------
    shape : tuple of int
    regions : iterable of (int, ndarray of int64, shape (M,))
        Label value and positions in the flattened map of each.
    below : the same
        Regions under all others, which may be covered without being counted.

    Returns
    -------
    labels : ndarray of uint8, uint16, …, of that shape
        0 where there is no region.
    n_covered : int
        Pixels that a later region took from an earlier one of another value.
    """
    labels = np.zeros(math.prod(shape), dtype=np.uint8)
    for value, pixels in below:
        labels = _with_room_for(value, labels)
        labels[pixels] = value
    taken = np.zeros(labels.size, dtype=bool)
    covered = np.zeros(labels.size, dtype=bool)
    for value, pixels in regions:
        labels = _with_room_for(value, labels)
        covered[pixels[taken[pixels] & (labels[pixels] != value)]] = True
        labels[pixels] = value
        taken[pixels] = True
    return labels.reshape(shape), int(np.count_nonzero(covered))


def _with_room_for(value: int, labels: Array) -> Array:
    wide = np.promote_types(labels.dtype, np.min_scalar_type(value))
    return labels.astype(wide, copy=False)


def _lines(ring: Any) -> Array:
    """Lines of a ring, (N, 4): x and y of the upper end, x and y of the lower end."""
    points = np.asarray(ring, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"an outline of the shape {points.shape}; expected three or more (x, y)")
    if not (np.abs(points) <= MAX_COORDINATE).all():
        raise ValueError(f"an outline with coordinates beyond {MAX_COORDINATE:g}, or none at all")
    ends = np.roll(points, -1, axis=0)
    # Two outlines run along a line that they share in opposite directions: from the top, its
    # points are computed to the same bit.
    downwards = points[:, 1:] <= ends[:, 1:]
    return np.hstack([np.where(downwards, points, ends), np.where(downwards, ends, points)])


def _cuts(lines: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Row, and column of the first pixel behind it, of every point where a line cuts a row."""
    x_top, y_top, x_end, y_end = lines.T
    first, behind = (
        np.clip(np.ceil(y - 0.5), 0, shape[0]).astype(np.int64) for y in (y_top, y_end)
    )
    counts = behind - first
    if counts.sum() > MAX_CUTS:
        raise ValueError(f"an outline whose {len(lines)} lines cut {counts.sum()} rows of pixels")
    line = np.repeat(np.arange(len(lines)), counts)
    rows = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts) + first[line]
    slopes = (x_end[line] - x_top[line]) / (y_end[line] - y_top[line])
    x = x_top[line] + (rows + 0.5 - y_top[line]) * slopes
    columns = np.clip(np.ceil(x - 0.5), 0, shape[1]).astype(np.int64)
    return rows, columns


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
