"""Exact signed distances to class boundaries, only where they are asked for.

The distance of a pixel to the boundary of a class is the smallest, over a set of *target* pixels,
of ``sqrt(cost(Δz) + cost(Δy) + cost(Δx))`` with ``cost(Δ) = (Δ·s)²``, or ``((|Δ| − ½)·s)²`` when
measuring to the near face of the target. Which pixels are the targets is what the four boundary
conventions differ in (:data:`BOUNDARIES`).

The sum is separable, so one pass along each axis gives the exact minimum. A pass tries offsets
0, ±1, ±2 … and stops as soon as the cost of the offset alone exceeds what every pixel of the row
already has; in a narrow band that is after a few steps. The whole search is bounded by a radius
that starts small and doubles until every wanted pixel is settled or its limit is reached.

Squared distances are float32: exact in pixel units (integers, or quarter integers for ``edge``),
to a relative 1e-7 in millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from softlabel.types import Array

FIRST_RADIUS = 6
"""Radius of the first search, in pixels of the finest axis; doubled where it does not suffice."""

ROUNDING = 1e-6
"""Relative tolerance of the limit, so that a pixel exactly on it counts as within."""

COLUMNS = 128
"""Pixels of a row that are settled together: enough to vectorise, few enough to stop early."""

# Which pixels a pixel inside the class, and one outside of it, measure to. IN: pixels of the class,
# OUT: known pixels outside of it; *_SHELL: those with a face neighbour that is not on their own
# side (the others are never nearest); *_FACING: only those that face the other side directly.
IN_SHELL, IN_FACING, OUT_SHELL, OUT_FACING = range(4)


@dataclass(frozen=True)
class Boundary:
    """One convention of where the boundary between a class and the rest lies.

    Attributes
    ----------
    inside, outside : int
        Targets of the pixels inside and outside of the class.
    to_face : bool
        Measure to the near face of the target and not to its centre.
    """

    inside: int
    outside: int
    to_face: bool = False

    @property
    def shared(self) -> bool:
        """Both sides measure to the same pixels when nothing is ignored."""
        return {self.inside, self.outside} in ({IN_SHELL, IN_FACING}, {OUT_SHELL, OUT_FACING})


BOUNDARIES: dict[str, Boundary] = {
    "inner": Boundary(inside=IN_FACING, outside=IN_SHELL),
    "outer": Boundary(inside=OUT_SHELL, outside=OUT_FACING),
    "edge": Boundary(inside=OUT_SHELL, outside=IN_SHELL, to_face=True),
    "symmetric": Boundary(inside=OUT_SHELL, outside=IN_SHELL),
}


@dataclass(frozen=True)
class Metric:
    """How distances are measured along the three axes.

    Attributes
    ----------
    spacing : tuple of float
        Distance between neighbouring pixels along each axis.
    active : tuple of bool
        False along an axis that distances and faces do not cross (in-plane distances).
    to_face : bool
        As in :class:`Boundary`.
    """

    spacing: tuple[float, float, float]
    active: tuple[bool, bool, bool]
    to_face: bool

    def costs(self, axis: int, radius: float) -> npt.NDArray[np.float32]:
        """Squared distance along ``axis`` of the offsets 0, 1, 2 … within ``radius``."""
        if not self.active[axis]:
            return np.zeros(1, np.float32)
        step = self.spacing[axis]
        reach = math.floor(radius / step * (1 + ROUNDING) + (0.5 if self.to_face else 0.0))
        offsets = np.arange(reach + 1, dtype=np.float64)
        if self.to_face:
            offsets = np.maximum(offsets - 0.5, 0.0)
        return ((offsets * step) ** 2).astype(np.float32)

    def diagonals(self, lower: Array, upper: Array) -> npt.NDArray[np.float64]:
        """Diagonals of bounding boxes, centre to centre, shape (R,)."""
        steps = np.where(self.active, self.spacing, 0.0)
        return np.asarray(np.sqrt((((upper - lower - 1) * steps) ** 2).sum(axis=1)))


@dataclass(frozen=True)
class Box:
    """Part of a volume: lower corner and exclusive upper corner."""

    lower: tuple[int, int, int]
    upper: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lengths along the axes."""
        return tuple(u - lo for lo, u in zip(self.lower, self.upper, strict=True))  # type: ignore[return-value]


def box_around(
    lower: Array, upper: Array, margins: Sequence[int], shape: tuple[int, int, int]
) -> Box:
    """Box around bounding boxes, widened by ``margins`` and clipped to ``shape``."""
    low = [max(0, int(lo) - m) for lo, m in zip(lower.min(axis=0), margins, strict=True)]
    high = [min(n, int(u) + m) for u, m, n in zip(upper.max(axis=0), margins, shape, strict=True)]
    return Box(tuple(low), tuple(high))  # type: ignore[arg-type]


def squared_distances(
    index: Array,
    ignored: int,
    class_index: int,
    targets: int,
    box: Box,
    costs: tuple[Array, Array, Array],
    active: tuple[bool, bool, bool],
    wanted: npt.NDArray[np.uint8],
) -> npt.NDArray[np.float32]:
    """Squared distance of every wanted pixel of a box to the nearest target pixel in the box.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (Z, Y, X)
        Class indices of the whole volume.
    ignored : int
        Index that marks ignored pixels.
    class_index : int
    targets : int
        One of IN_SHELL, IN_FACING, OUT_SHELL, OUT_FACING.
    box : Box
    costs : three ndarrays of float32
        :meth:`Metric.costs` of each axis; their lengths bound the search.
    active : tuple of bool
        As in :class:`Metric`.
    wanted : ndarray of uint8, the shape of the box
        Pixels whose value is needed; the others hold upper bounds.

    Returns
    -------
    ndarray of float32, the shape of the box
        Infinite where the box holds no target within reach.
    """
    field = np.empty(box.shape, np.float32)
    _first_pass(
        index, ignored, class_index, targets, np.array(box.lower), np.array(active), costs[2], field
    )
    spare = np.empty_like(field) if len(costs[1]) > 1 or len(costs[0]) > 1 else field
    last = 0 if len(costs[0]) > 1 and box.shape[0] > 1 else 1
    if len(costs[1]) > 1 and box.shape[1] > 1:
        everything = np.ones((1, 1, 1), np.uint8)
        for z in range(box.shape[0]):
            _pass(field[z], spare[z], costs[1], wanted[z] if last == 1 else everything[0])
        field, spare = spare, field
    if last == 0:
        for y in range(box.shape[1]):
            _pass(field[:, y], spare[:, y], costs[0], wanted[:, y])
        field = spare
    return field


@njit(cache=True, nogil=True)
def _is_target(index, ignored, c, targets, active, z, y, x):  # type: ignore[no-untyped-def]
    k = index[z, y, x]
    if k == ignored:
        return False
    side = k == c
    if side != (targets in (IN_SHELL, IN_FACING)):
        return False
    facing = targets in (IN_FACING, OUT_FACING)
    for axis in range(3):
        if not active[axis]:
            continue
        for step in (-1, 1):
            zz = z + step if axis == 0 else z
            yy = y + step if axis == 1 else y
            xx = x + step if axis == 2 else x
            if (
                zz < 0 or yy < 0 or xx < 0
                or zz >= index.shape[0] or yy >= index.shape[1] or xx >= index.shape[2]
            ):  # fmt: skip
                continue
            other = index[zz, yy, xx]
            if other == ignored:
                if not facing:
                    return True
            elif (other == c) != side:
                return True
    return False


@njit(cache=True, nogil=True)
def _first_pass(index, ignored, c, targets, low, active, cost, field):  # type: ignore[no-untyped-def]
    reach = len(cost)
    nz, ny, nx = field.shape
    for z in range(nz):
        for y in range(ny):
            row = field[z, y]
            gap = reach
            for x in range(nx):
                gap = gap + 1
                if _is_target(
                    index, ignored, c, targets, active, z + low[0], y + low[1], x + low[2]
                ):
                    gap = 0
                row[x] = cost[gap] if gap < reach else np.float32(np.inf)
            gap = reach
            for x in range(nx - 1, -1, -1):
                gap = 0 if row[x] == 0 else gap + 1
                if gap < reach and cost[gap] < row[x]:
                    row[x] = cost[gap]


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _pass(source, out, cost, wanted):  # type: ignore[no-untyped-def]
    rows, columns = source.shape
    everything = wanted.shape[0] != rows
    best = np.empty(rows, np.float32)
    hold = np.empty(COLUMNS, np.float32)
    for first in range(0, columns, COLUMNS):
        width = min(COLUMNS, columns - first)
        for i in range(rows):
            low = np.float32(np.inf)
            line = source[i, first : first + width]
            for x in range(width):
                low = min(low, line[x])
            best[i] = low
        for i in range(rows):
            worst = np.float32(0)
            line = source[i, first : first + width]
            for x in range(width):
                hold[x] = line[x]
            if everything:
                worst = np.float32(np.inf)
            else:
                need = wanted[i, first : first + width]
                for x in range(width):
                    worst = max(worst, line[x] if need[x] else np.float32(0))
            for k in range(1, len(cost)):
                if cost[k] >= worst:
                    break
                for side in range(2):
                    j = i - k if side == 0 else i + k
                    if j < 0 or j >= rows or best[j] + cost[k] >= worst:
                        continue
                    other = source[j, first : first + width]
                    step = cost[k]
                    for x in range(width):
                        hold[x] = min(hold[x], other[x] + step)
                    high = np.float32(0)
                    if everything:
                        for x in range(width):
                            high = max(high, hold[x])
                    else:
                        need = wanted[i, first : first + width]
                        for x in range(width):
                            high = max(high, hold[x] if need[x] else np.float32(0))
                    worst = min(worst, high)
            target = out[i, first : first + width]
            for x in range(width):
                target[x] = hold[x]
