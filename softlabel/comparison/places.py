"""Where to look: the slice and the class with most boundary, and a line that crosses it well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from softlabel.types import Array

REACH = 16
"""Pixels that a line runs to each side of the boundary, at most."""

CLEAR = 12
"""A crossing with no other one within so many pixels is as good as any."""


@dataclass(frozen=True)
class Line:
    """A line of pixels along one axis of a section, across a class boundary.

    Attributes
    ----------
    axis : {0, 1}
        The axis that it runs along: 0 down the rows.
    place : int
        Its column (axis 0) or row (axis 1).
    crossing : int
        The boundary lies between the pixels ``crossing`` and ``crossing + 1``.
    start, stop : int
        First pixel, and the one after the last.
    """

    axis: int
    place: int
    crossing: int
    start: int
    stop: int

    def of(self, section: Array) -> Array:
        """The values of a section (rows, columns) on the line."""
        taken = slice(self.start, self.stop)
        return section[taken, self.place] if self.axis == 0 else section[self.place, taken]

    @property
    def middle(self) -> tuple[int, int]:
        """Row and column of the pixel before the boundary."""
        return (self.crossing, self.place) if self.axis == 0 else (self.place, self.crossing)


def busiest_class(index: Array, ignored: int, n_classes: int) -> int:
    """The class with the most boundary, in faces of pixels; the first one only without another.

    The first class, mostly the background, borders on all others, whose boundaries show its own.

    Parameters
    ----------
    index : ndarray of int, shape (*spatial)
        Class indices.
    ignored : int
        Index of ignored pixels.
    n_classes : int

    Examples
    --------
    >>> busiest_class(np.array([0, 1, 0, 2, 2, 0, 2]), ignored=255, n_classes=3)
    2
    """
    faces = np.zeros(n_classes, np.int64)
    for before, after in _neighbours(index):
        boundary = (before != after) & (before != ignored) & (after != ignored)
        for side in (before, after):
            faces += np.bincount(side[boundary], minlength=n_classes)[:n_classes]
    if faces[1:].any():
        return 1 + int(faces[1:].argmax())
    return 0


def busiest_slice(index: Array, axis: int, ignored: int, class_index: int | None = None) -> int:
    """The slice of a volume with the most boundary within it, of all classes or of one.

    Examples
    --------
    >>> volume = np.zeros((4, 4, 3), int)
    >>> volume[1:3, 1, 1] = volume[1, 1, 2] = 1
    >>> busiest_slice(volume, axis=2, ignored=255)
    1
    """
    counts = []
    for section in np.moveaxis(index, axis, 0):
        total = 0
        for before, after in _neighbours(section):
            boundary = (before != after) & (before != ignored) & (after != ignored)
            if class_index is not None:
                boundary &= (before == class_index) | (after == class_index)
            total += int(np.count_nonzero(boundary))
        counts.append(total)
    return int(np.argmax(counts))


def _neighbours(index: Array) -> list[tuple[Array, Array]]:
    """For each axis the pixels that have a neighbour along it, and these neighbours."""
    pairs = []
    for axis in range(index.ndim):
        moved = np.moveaxis(index, axis, 0)
        pairs.append((moved[:-1], moved[1:]))
    return pairs


def line_across(
    inside: Array,
    known: Array,
    spacing: tuple[float, float] = (1.0, 1.0),
    window: tuple[int, int] = (64, 64),
    reach: int = REACH,
) -> Line | None:
    """A line across the boundary of a class, where it is clear and among much of that boundary.

    Of all places where a row or a column of pixels crosses the boundary it takes the one with the
    largest product of three numbers: how much boundary lies in the window around, how squarely the
    line meets the boundary, and how far the next crossing on the line is, up to :data:`CLEAR`.

    Parameters
    ----------
    inside : ndarray of bool, shape (rows, columns)
        Where the class is.
    known : ndarray of bool, shape (rows, columns)
    spacing : (float, float)
    window : (int, int)
        Rows and columns of what is shown around the line.
    reach : int
        Pixels to each side.

    Returns
    -------
    Line or None
        None where the class has no boundary.
    """
    smooth = gaussian_filter(inside.astype(np.float32), [3 * min(spacing) / s for s in spacing])
    slopes = [np.abs(g) / s for g, s in zip(np.gradient(smooth), spacing, strict=True)]
    steepness = np.hypot(*slopes)
    squareness = [s / np.maximum(steepness, 1e-9) for s in slopes]
    faces = [_faces(inside, known, axis) for axis in (0, 1)]
    density = uniform_filter((faces[0] | faces[1]).astype(np.float32), window, mode="constant")
    best, line = 0.0, None
    for axis in (0, 1):
        score = faces[axis] * density * squareness[axis] * _clearance(faces[axis], axis)
        place = np.unravel_index(int(score.argmax()), score.shape)
        if score[place] > best:
            best = float(score[place])
            crossing, across = int(place[axis]), int(place[1 - axis])
            start = max(0, crossing + 1 - reach)
            stop = min(inside.shape[axis], crossing + 1 + reach)
            line = Line(axis, across, crossing, start, stop)
    return line


def _faces(inside: Array, known: Array, axis: int) -> Array:
    """True where the boundary lies between a pixel and the next one along an axis."""
    faces = np.zeros(inside.shape, np.bool_)
    moved, here, there = (np.moveaxis(a, axis, 0) for a in (faces, inside, known))
    moved[:-1] = (here[:-1] != here[1:]) & there[:-1] & there[1:]
    return faces


def _clearance(faces: Array, axis: int) -> Array:
    """Pixels to the next face or end of the line, on the nearer side, at most :data:`CLEAR`."""
    lines = np.moveaxis(faces, axis, 0)
    clear = np.full(lines.shape, float(CLEAR))
    for step in range(CLEAR - 1, 0, -1):
        hit: Array = np.ones(lines.shape, np.bool_)
        hit[step:] = lines[:-step]
        clear[hit] = step
        hit = np.ones(lines.shape, np.bool_)
        hit[:-step] = lines[step:]
        clear[hit] = step
    return np.moveaxis(clear, 0, axis)
