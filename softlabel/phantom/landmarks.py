"""Where things are in a trunk: the spine's curve, levels of vertebrae, the chest's wall.

Coordinates are in mm, x towards the patient's right, y to the front, z to the head; 0 is the middle
of the body, in front of the first lumbar vertebra. The figures are those of an adult who lies on
the back with raised arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from softlabel.phantom.ctclasses import VERTEBRAE
from softlabel.phantom.solids import Column, Point
from softlabel.types import Array

EXTENT_MM = ((-260.0, 260.0), (-260.0, 260.0), (-460.0, 460.0))
"""The box that holds every body; a field of view may be larger or smaller."""

_SPINE_Y = Akima1DInterpolator(
    [-330, -290, -255, -200, -152, -120, -60, 23, 120, 200, 305, 340, 390, 430, 470],
    [-40, -62, -82, -76, -50, -36, -32, -46, -62, -66, -44, -32, -26, -28, -32],
)


def spine_y(z: float) -> float:
    """y of the middle of the vertebral bodies at a level."""
    return float(_SPINE_Y(z))


@dataclass(frozen=True)
class Level:
    """A vertebra's place: middle of the body, height with its disc, half widths of the body."""

    z: float
    height: float
    half_width: float
    half_depth: float


def _levels() -> dict[str, Level]:
    heights = [15.0, 20.0, *[17.0] * 5, *np.linspace(19, 28, 12), *[35.0] * 5]
    widths = [
        13.0,
        12.0,
        *np.linspace(12, 14, 5),
        *np.linspace(14, 20, 12),
        *np.linspace(22, 26, 5),
    ]
    top, levels = 425.0, {}
    for name, height, width in zip(VERTEBRAE, heights, widths, strict=True):
        levels[name] = Level(
            top - height / 2, height, width, width * (0.7 if "C" in name else 0.78)
        )
        top -= height
    return levels


LEVELS = MappingProxyType(_levels())
"""By name, from the head down."""

CHEST_ROWS = np.array(
    [
        # z, x, y, half width, half depth of the inside of the ribs
        (-70, 0, 6, 118, 84),
        (-20, 0, 6, 128, 92),
        (40, 0, 5, 133, 97),
        (90, 0, 4, 133, 98),
        (130, 0, 2, 130, 95),
        (180, 0, -2, 120, 86),
        (220, 0, -9, 107, 73),
        (255, 0, -18, 88, 58),
        (280, 0, -27, 66, 44),
        (296, 0, -34, 48, 32),
        (308, 0, -38, 30, 20),
    ],
    dtype=float,
)

CHEST = Column(CHEST_ROWS)
"""What the ribs enclose."""

_CHEST_AT = Akima1DInterpolator(CHEST_ROWS[:, 0], CHEST_ROWS[:, 2:])


def chest_wall(z: float, angle_deg: float, side: int, outwards: float = 0.0) -> tuple[float, ...]:
    """Point on the inner wall of the chest: 0° is at the back, 180° in front."""
    y, a, b = _CHEST_AT(np.clip(z, -70, 308))
    angle = np.radians(angle_deg)
    sine, cosine = np.sin(angle), np.cos(angle)
    stretch = (abs(sine) ** 2.5 + abs(cosine) ** 2.5) ** -0.4
    return (
        float(side * (a + outwards) * stretch * sine),
        float(y - (b + outwards) * stretch * cosine),
        z,
    )


def mirrored(points: Sequence[Point], side: int) -> list[Point]:
    """Points of the right side, on either side."""
    return [(side * point[0], *point[1:]) for point in points]


def jittered(points: Sequence[Point], sd_mm: float, rng: np.random.Generator) -> Array:
    """Points whose places, not radii, vary at random."""
    values = np.array(points, dtype=float)
    values[:, :3] += rng.normal(0, sd_mm, (len(values), 3))
    return values
