"""Solids in millimetres, which know how deep a point lies below their surface.

A depth is positive inside, negative outside, and near the surface it is a distance in mm, so that
it tells how much of a voxel the solid fills. Each solid knows a box around it: it is evaluated on
the voxels near the box only, and a body of hundreds of solids costs little more than its largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from softlabel.types import Array

FAR_MM = -99.0
"""The depth of what lies outside of a solid's box."""

ROUGH_MM = 14.0
"""Width of the Gaussians of the noise that surfaces follow."""

Point = Sequence[float]


@dataclass(frozen=True, eq=False)
class Block:
    """A block of voxels.

    Attributes
    ----------
    axes_mm : tuple of ndarray of float64, shape (n,)
        Coordinates along each axis before they are bent, ascending.
    x, y, z : ndarray of float32, shape (nx, ny, nz)
        Bent coordinates in mm: in them anatomy is that of an atlas.
    rough : ndarray of float32, same shape
        Smooth noise of variance 1, which surfaces follow.
    margin_mm : tuple of float
        How far outside of its box a solid can be seen, along each axis.
    """

    axes_mm: tuple[Array, Array, Array]
    x: Array
    y: Array
    z: Array
    rough: Array
    margin_mm: tuple[float, float, float]

    def part(self, low: Point, high: Point) -> tuple[tuple[slice, slice, slice], Block]:
        """The voxels near a box, as slices and as a block (views, no copies)."""
        first, second, third = (
            slice(
                int(np.searchsorted(axis, a - margin)),
                int(np.searchsorted(axis, b + margin, side="right")),
            )
            for axis, a, b, margin in zip(self.axes_mm, low, high, self.margin_mm, strict=True)
        )
        where = (first, second, third)
        axes = (self.axes_mm[0][first], self.axes_mm[1][second], self.axes_mm[2][third])
        x, y, z, rough = (values[where] for values in (self.x, self.y, self.z, self.rough))
        return where, Block(axes, x, y, z, rough, self.margin_mm)


class Solid(Protocol):
    """What has a depth and a box."""

    @property
    def low(self) -> Point:
        """Lowest corner of the box, in mm."""

    @property
    def high(self) -> Point:
        """Highest corner of the box, in mm."""

    def depth(self, block: Block) -> Array:
        """Depth below the surface at the voxels of a block: float32, in mm."""


def depth_on(block: Block, solid: Solid) -> Array:
    """Depth of a solid on a block, computed near the solid's box only."""
    depth = np.full(block.x.shape, FAR_MM, dtype=np.float32)
    where, near = block.part(solid.low, solid.high)
    if near.x.size:
        depth[where] = solid.depth(near)
    return depth


# --- solids -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid.

    Attributes
    ----------
    centre, half : sequence of float
        In mm.
    turn_deg : tuple of float
        Rotations about x, y and z, one after another.
    """

    centre: Point
    half: Point
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def axes(self) -> Array:
        """Unit vectors of the half axes, in rows."""
        turn = np.eye(3)
        for axis, degrees in enumerate(self.turn_deg):
            c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            i, j = [k for k in range(3) if k != axis]
            one = np.eye(3)
            one[[i, j], [i, j]] = c
            one[i, j], one[j, i] = (-s, s) if axis != 1 else (s, -s)
            turn = one @ turn
        return turn.T

    @property
    def _reach(self) -> Array:
        scaled = self.axes * np.asarray(self.half)[:, None]
        return np.asarray(np.sqrt((scaled**2).sum(axis=0)))

    @property
    def low(self) -> Point:
        """Lowest corner of the box."""
        return tuple(np.asarray(self.centre) - self._reach)

    @property
    def high(self) -> Point:
        """Highest corner of the box."""
        return tuple(np.asarray(self.centre) + self._reach)

    def depth(self, block: Block) -> Array:
        """ρ (1 − ρ) / |∇ρ²/2|, with ρ² the quadratic form: a distance to first order."""
        dx, dy, dz = (
            values - float(c)
            for values, c in zip((block.x, block.y, block.z), self.centre, strict=True)
        )
        turned = any(self.turn_deg)
        square = np.zeros_like(dx)
        slope = np.zeros_like(dx)
        for axis, half in enumerate(map(float, self.half)):
            if turned:
                a, b, c = map(float, self.axes[axis])
                along = a * dx + b * dy + c * dz
            else:
                along = (dx, dy, dz)[axis]
            scaled = np.square(along * (1 / half))
            square += scaled
            slope += scaled * (1 / half**2)
        radius = np.sqrt(square)
        return np.asarray(radius * (1 - radius) / np.maximum(np.sqrt(slope), 1e-6))


@dataclass(frozen=True, eq=False)
class Tube:
    """A tube of varying radius along a polyline: organs that run, and bones.

    Attributes
    ----------
    points : ndarray, shape (n, 4)
        x, y, z and radius in mm.
    flat : float
        The section is that many times thinner along ``thin``.
    thin : tuple of float
        Unit vector.
    """

    points: Array
    flat: float = 1.0
    thin: tuple[float, float, float] = (0.0, 1.0, 0.0)

    @property
    def low(self) -> Point:
        """Lowest corner of the box."""
        return tuple((self.points[:, :3] - self.points[:, 3:]).min(axis=0))

    @property
    def high(self) -> Point:
        """Highest corner of the box."""
        return tuple((self.points[:, :3] + self.points[:, 3:]).max(axis=0))

    def depth(self, block: Block) -> Array:
        """Radius less the distance from the nearest segment, segment by segment."""
        depth = np.full(block.x.shape, FAR_MM, dtype=np.float32)
        for start, end in pairwise(self.points):
            reach = max(start[3], end[3])
            low = np.minimum(start[:3], end[:3]) - reach
            high = np.maximum(start[:3], end[:3]) + reach
            where, near = block.part(low, high)
            if near.x.size:
                depth[where] = np.maximum(depth[where], self._segment(near, start, end))
        return depth

    def _segment(self, block: Block, start: Array, end: Array) -> Array:
        ax, ay, az, radius = map(float, start)
        ux, uy, uz, widening = map(float, end - start)
        length = max(ux * ux + uy * uy + uz * uz, 1e-9)
        dx, dy, dz = block.x - ax, block.y - ay, block.z - az
        t = np.clip((dx * ux + dy * uy + dz * uz) * (1 / length), 0, 1)
        dx -= t * ux
        dy -= t * uy
        dz -= t * uz
        off = dx * dx + dy * dy + dz * dz
        if self.flat != 1:
            a, b, c = map(float, self.thin)
            across = np.square(a * dx + b * dy + c * dz)
            # Distance in the stretched section, over its slope: a distance in mm to first order.
            slope = np.sqrt(off + (self.flat**4 - 1) * across)
            distance = np.sqrt(off + (self.flat**2 - 1) * across)
            slope /= np.maximum(distance, 1e-3)
            return np.asarray((radius + t * widening - distance) / np.maximum(slope, 1))
        return np.asarray(radius + t * widening - np.sqrt(off))


def curve(points: Sequence[Point] | Array, step_mm: float = 6.0) -> Array:
    """A smooth curve through (x, y, z, radius) points, as points about ``step_mm`` apart.

    Examples
    --------
    >>> curve([(0, 0, 0, 3), (10, 0, 0, 5)], 5).tolist()
    [[0.0, 0.0, 0.0, 3.0], [5.0, 0.0, 0.0, 4.0], [10.0, 0.0, 0.0, 5.0]]
    """
    knots = np.asarray(points, dtype=float)
    steps = np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], max(1, int(np.ceil(along[-1] / step_mm))) + 1)
    if len(knots) == 2:
        return np.stack([np.interp(at, along, column) for column in knots.T], axis=1)
    return np.asarray(Akima1DInterpolator(along, knots)(at))


@dataclass(frozen=True, eq=False)
class Column:
    """A column along z with a rounded section: |x / a|^2.5 + |y / b|^2.5 = 1.

    Attributes
    ----------
    rows : ndarray, shape (n, 5)
        z in ascending order; centre in x and y; half widths a and b, all in mm. Between the rows
        they are interpolated; below the first and above the last row there is nothing.
    """

    rows: Array

    @property
    def low(self) -> Point:
        """Lowest corner of the box."""
        rows = self.rows
        return ((rows[:, 1] - rows[:, 3]).min(), (rows[:, 2] - rows[:, 4]).min(), rows[0, 0])

    @property
    def high(self) -> Point:
        """Highest corner of the box."""
        rows = self.rows
        return ((rows[:, 1] + rows[:, 3]).max(), (rows[:, 2] + rows[:, 4]).max(), rows[-1, 0])

    def depth(self, block: Block) -> Array:
        """(1 − ρ) / |∇ρ| in the plane, and the distance from both ends."""
        z = block.axes_mm[2]
        cx, cy, a, b = (
            column.astype(np.float32) for column in Akima1DInterpolator(
                self.rows[:, 0], self.rows[:, 1:])(np.clip(z, *self.rows[[0, -1], 0])).T
        )  # fmt: skip
        u = np.abs(block.x - cx) / a
        v = np.abs(block.y - cy) / b
        u15, v15 = u * np.sqrt(u), v * np.sqrt(v)
        rho = u15 * u + v15 * v
        rho **= np.float32(0.4)
        slope = np.sqrt(np.square(u15 / a) + np.square(v15 / b))
        slope /= np.maximum(rho * np.sqrt(rho), 1e-3)
        depth = (1 - rho) / np.maximum(slope, 1e-3)
        ends = np.minimum(z - self.rows[0, 0], self.rows[-1, 0] - z).astype(np.float32)
        return np.asarray(np.minimum(depth, ends))


@dataclass(frozen=True)
class Side:
    """Everything on one side of a plane.

    Attributes
    ----------
    point : sequence of float
        On the plane, in mm.
    inwards : sequence of float
        Normal of the plane, of any length, towards the inside.
    """

    point: Point
    inwards: Point
    low: Point = (-np.inf, -np.inf, -np.inf)
    high: Point = (np.inf, np.inf, np.inf)

    def depth(self, block: Block) -> Array:
        """Distance from the plane."""
        normal = np.asarray(self.inwards, dtype=float)
        a, b, c = map(float, normal / np.linalg.norm(normal))
        offset = float(np.dot((a, b, c), self.point))
        return np.asarray(a * block.x + b * block.y + c * block.z - offset)


# --- solids made of solids ----------------------------------------------------------------------


class Either:
    """What is in any of several solids."""

    def __init__(self, *solids: Solid) -> None:
        self.solids = solids
        self.low: Point = tuple(np.min([s.low for s in solids], axis=0))
        self.high: Point = tuple(np.max([s.high for s in solids], axis=0))

    def depth(self, block: Block) -> Array:
        """The greatest of the depths."""
        depth = np.full(block.x.shape, FAR_MM, dtype=np.float32)
        for solid in self.solids:
            where, near = block.part(solid.low, solid.high)
            if near.x.size:
                depth[where] = np.maximum(depth[where], solid.depth(near))
        return depth


class Both:
    """What is in each of several solids."""

    def __init__(self, *solids: Solid) -> None:
        self.solids = solids
        self.low: Point = tuple(np.max([s.low for s in solids], axis=0))
        self.high: Point = tuple(np.min([s.high for s in solids], axis=0))

    def depth(self, block: Block) -> Array:
        """The least of the depths."""
        first, *others = self.solids
        depth = first.depth(block)
        for solid in others:
            depth = np.minimum(depth, solid.depth(block))
        return depth


class Without:
    """What is in one solid and in none of the others, nor nearer to them than a gap."""

    def __init__(self, solid: Solid, *others: Solid, gap_mm: float = 0.0) -> None:
        self.solid, self.others, self.gap_mm = solid, others, gap_mm
        self.low, self.high = solid.low, solid.high

    def depth(self, block: Block) -> Array:
        """The least of the depth and the heights above the others."""
        depth = self.solid.depth(block)
        for other in self.others:
            where, near = block.part(other.low, other.high)
            if near.x.size:
                depth[where] = np.minimum(depth[where], -self.gap_mm - other.depth(near))
        return depth


class Rough:
    """A solid whose surface follows the noise of the block."""

    def __init__(self, solid: Solid, rms_mm: float) -> None:
        self.solid, self.rms_mm = solid, rms_mm
        self.low, self.high = solid.low, solid.high

    def depth(self, block: Block) -> Array:
        """The depth, and the noise."""
        return np.asarray(self.solid.depth(block) + self.rms_mm * block.rough)


class Grown:
    """A solid that is larger by a margin, or smaller."""

    def __init__(self, solid: Solid, margin_mm: float) -> None:
        self.solid, self.margin_mm = solid, margin_mm
        grow = max(margin_mm, 0)
        self.low: Point = tuple(np.asarray(solid.low) - grow)
        self.high: Point = tuple(np.asarray(solid.high) + grow)

    def depth(self, block: Block) -> Array:
        """The depth, and the margin."""
        return np.asarray(self.solid.depth(block) + np.float32(self.margin_mm))


class Sheets:
    """Thin sheets through a solid, where the noise of the block is zero: fascia between muscles."""

    def __init__(self, solid: Solid, half_mm: float) -> None:
        self.solid, self.half_mm = solid, half_mm
        self.low, self.high = solid.low, solid.high

    def depth(self, block: Block) -> Array:
        """The half thickness less the distance from the zero set, about."""
        sheet = self.half_mm - ROUGH_MM * np.abs(block.rough)
        return np.asarray(np.minimum(self.solid.depth(block), sheet))
