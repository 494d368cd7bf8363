"""Offsets in order of their distance, in shells of growing radius."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from softlabel.distance.boundary import (
    ROUNDING,
    Metric,
)
from softlabel.types import Array

FIRST_RADIUS = 6
"""Radius of the first shell in units of the finest spacing."""

GROWTH = {1: 4, 2: 4, 3: 2}
"""How much larger the next shell is, by the number of axes that distances cross."""


@dataclass(frozen=True, eq=False)
class Shell:
    """Offsets between two radii, grouped into levels of equal distance.

    Attributes
    ----------
    first_level : int
        Levels are numbered through all shells; this is the number of the first one here.
    squared : ndarray of float64, shape (L,)
        Squared distance of each level, ascending.
    start : ndarray of int64, shape (L + 1,)
        Level ``l`` has the offsets ``start[l]:start[l + 1]``.
    offsets : ndarray of int16, shape (N, 3)
        (Δz, Δy, |Δx|).
    reach : tuple of int
        Largest |offset| along each axis.
    """

    first_level: int
    squared: Array
    start: Array
    offsets: Array
    reach: tuple[int, int, int]

    def within(self, limit: float) -> Shell:
        """The levels up to a distance."""
        count = int(np.searchsorted(self.squared, limit**2 * (1 + ROUNDING), side="right"))
        if count == len(self.squared):
            return self
        offsets = self.offsets[: self.start[count]]
        reach = tuple(int(n) for n in np.abs(offsets).max(axis=0, initial=0))
        return Shell(
            self.first_level, self.squared[:count], self.start[: count + 1], offsets,
            reach,  # type: ignore[arg-type]
        )  # fmt: skip


@lru_cache(maxsize=64)
def shell(metric: Metric, number: int) -> Shell:
    """Shell ``number`` of a metric: distances up to FIRST_RADIUS · GROWTH^number finest spacings.

    Examples
    --------
    >>> row = Metric((1.0, 1.0, 1.0), (False, False, True))
    >>> shell(row, 0).squared.tolist(), shell(row, 1).squared.tolist()
    ([0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0], [49.0, 64.0, 81.0, ..., 529.0, 576.0])
    """
    radius = shell_radius(metric, number)
    below = shell(metric, number - 1) if number else None
    z, y, x = (metric.squares(axis, radius) for axis in range(3))
    total = z[:, None, None] + y[None, :, None] + x[None, None, :]
    inside = total <= radius**2 * (1 + ROUNDING)
    if below is not None:
        inside &= total > shell_radius(metric, number - 1) ** 2 * (1 + ROUNDING)
    distance = total[inside]
    triples = np.stack(np.nonzero(inside), axis=1, dtype=np.int16, casting="unsafe")
    signed, level_of = _with_signs(triples, distance)
    squared, counts = np.unique(level_of, return_counts=True)
    reach = tuple(int(n) for n in triples.max(axis=0, initial=0))
    return Shell(
        0 if below is None else below.first_level + len(below.squared),
        squared,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        signed,
        reach,  # type: ignore[arg-type]
    )


def shell_radius(metric: Metric, number: int) -> float:
    """Outer radius of a shell."""
    return FIRST_RADIUS * metric.finest * float(GROWTH[sum(metric.active)]) ** number


def half_ball(metric: Metric, radius: float) -> float:
    """About how many offsets lie within a radius, when Δx has no sign."""
    steps = [s for s, on in zip(metric.spacing, metric.active, strict=True) if on]
    ball = {1: 2.0, 2: math.pi, 3: 4 / 3 * math.pi}[len(steps)]
    return ball / 2 * radius ** len(steps) / math.prod(steps)


def _with_signs(triples: Array, distance: Array) -> tuple[Array, Array]:
    """Both signs of Δz and Δy; Δx has none, since the planes are dilated both ways."""
    pieces, distances = [], []
    for sign_z in (1, -1):
        for sign_y in (1, -1):
            keep = np.ones(len(triples), np.bool_)
            if sign_z < 0:
                keep &= triples[:, 0] > 0
            if sign_y < 0:
                keep &= triples[:, 1] > 0
            pieces.append(triples[keep] * np.array([sign_z, sign_y, 1], np.int16))
            distances.append(distance[keep])
    signed, level_of = np.concatenate(pieces), np.concatenate(distances)
    order = np.argsort(level_of, kind="stable")
    return signed[order], level_of[order]
