"""The heart, the great vessels, and vessels that show but are no class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from softlabel.phantom.ctclasses import SIDES
from softlabel.phantom.landmarks import mirrored, spine_y
from softlabel.phantom.solids import Either, Ellipsoid, Grown, Solid, Tube, Without, curve
from softlabel.types import Array


def _at_spine(z: float, forward: float) -> float:
    return spine_y(z) + forward


# --- heart ----------------------------------------------------------------------------------------

_WALL = Tube(curve([(-6, 4, 152, 31), (-35, 28, 130, 34), (-64, 52, 106, 20)]))
_LEFT_VENTRICLE = Tube(curve([(-4, 2, 154, 21), (-35, 28, 130, 23), (-58, 47, 111, 11)]))
_RIGHT_VENTRICLE = Tube(curve([(20, 32, 150, 24), (-8, 54, 132, 25), (-42, 66, 106, 14)]))
_RIGHT_ATRIUM = Ellipsoid((44, 12, 142), (25, 30, 36))
_LEFT_ATRIUM = Ellipsoid((0, -14, 170), (38, 20, 24))

HEART = Grown(
    Either(_WALL, _RIGHT_VENTRICLE, _RIGHT_ATRIUM, _LEFT_ATRIUM,
           Ellipsoid((-5, 30, 200), (34, 34, 34))),
    5,
)  # fmt: skip
"""What the pericardium encloses: fat where no chamber is."""


def heart() -> Iterator[tuple[str, Solid]]:
    """The chambers and the muscle of the left ventricle."""
    yield "heart_ventricle_right", Without(_RIGHT_VENTRICLE, _WALL)
    yield "heart_atrium_right", Without(_RIGHT_ATRIUM, _WALL, Grown(_RIGHT_VENTRICLE, 1))
    yield "heart_atrium_left", Without(_LEFT_ATRIUM, _WALL, gap_mm=1)
    yield "heart_myocardium", _WALL
    yield "heart_ventricle_left", _LEFT_VENTRICLE


# --- vessels that are classes ---------------------------------------------------------------------


def great_vessels() -> Iterator[tuple[str, Solid]]:
    """Pulmonary artery, aorta, vena cava, portal and iliac vessels; each after what it crosses."""
    trunk = [(-14, 52, 166, 14), (-15, 42, 186, 14), (-12, 18, 205, 13)]
    right = [(-12, 18, 205, 13), (28, 2, 206, 11), (62, -10, 198, 9), (78, -16, 186, 6)]
    left = [(-12, 18, 205, 13), (-42, -10, 212, 11), (-66, -24, 202, 9), (-76, -28, 186, 6)]
    yield "pulmonary_artery", Either(*(Tube(curve(path)) for path in (trunk, right, left)))
    cava = [(13, _at_spine(-120, 30), -120, 11), (16, _at_spine(-60, 30), -60, 11),
            (19, -9, 0, 11.5), (25, -11, 50, 12), (30, -6, 95, 12.5), (36, 2, 122, 13)]  # fmt: skip
    yield "inferior_vena_cava", Tube(curve(cava))
    yield "portal_and_splenic_vein", _portal()
    yield "aorta", Tube(curve(_aorta()))
    for name, side in SIDES.items():
        start = (13 - 4 * (side < 0), _at_spine(-120, 30), -121, 9)
        path = [(24, -9, -142, 7.5), (37, -4, -166, 7.5), (43, 10, -194, 7), (50, 32, -225, 6.5),
                (60, 50, -256, 6.5), (68, 56, -282, 6.5)]  # fmt: skip
        yield f"iliac_vein_{name}", Tube(curve([start, *mirrored(path, side)]))
    for name, side in SIDES.items():
        start = (-3, _at_spine(-104, 30), -104, 7)
        path = [(20, -1, -128, 6.2), (42, 4, -160, 6), (52, 18, -192, 5.8), (60, 42, -224, 5.5),
                (70, 58, -252, 5.2), (78, 62, -282, 5.2)]  # fmt: skip
        yield f"iliac_artery_{name}", Tube(curve([start, *mirrored(path, side)]))


def _aorta() -> list[tuple[float, ...]]:
    arch = [(-2, 14, 166, 14), (15, 25, 192, 15), (18, 19, 226, 14.5), (8, 0, 250, 14),
            (-11, -25, 251, 13), (-24, -43, 232, 12.5)]  # fmt: skip
    down = [(x, _at_spine(z, forward), z, radius) for x, forward, z, radius in (
        (-26, 19, 195, 12), (-24, 21, 130, 12), (-15, 25, 70, 11), (-8, 29, 10, 10),
        (-5, 31, -50, 9.3), (-3, 30, -108, 8.5))]  # fmt: skip
    return [*arch, *down]


def _portal() -> Solid:
    paths = [
        [(-86, -30, 42, 4.5), (-60, -12, 28, 4.5), (-20, 10, 10, 5), (14, 14, 2, 7)],
        [(14, 14, 2, 7.5), (28, 14, 28, 8), (42, 8, 52, 7.5)],
        [(14, 14, 2, 7), (12, 20, -35, 6), (10, 26, -66, 4.5)],
        [(42, 8, 52, 7), (72, 12, 62, 5), (95, 5, 60, 3.5)],
        [(42, 8, 52, 7), (22, 30, 62, 5.5), (0, 40, 66, 3.8)],
    ]
    return Either(*(Tube(curve(path)) for path in paths))


# --- vessels that are no class --------------------------------------------------------------------


def further_vessels() -> Iterator[Solid]:
    """Superior vena cava, vessels of the neck, arms and kidneys, in contrast."""
    yield Tube(curve([(34, 8, 150, 11), (33, 12, 200, 10), (30, 12, 245, 10), (26, 8, 264, 8)]))
    for side in SIDES.values():
        brachiocephalic = [(26, 8, 260, 8), (side * 30, 4, 282, 7), (side * 34, -4, 310, 7),
                           (side * 34, -2, 360, 7), (side * 36, 2, 450, 6)]  # fmt: skip
        yield Tube(curve(brachiocephalic, 10))
        carotid = [(side * 8, 0, 256, 5), (side * 16, -6, 290, 4.5), (side * 24, -4, 330, 4),
                   (side * 27, -2, 450, 3.5)]  # fmt: skip
        yield Tube(curve(carotid, 10))
        subclavian = [(20, -4, 290, 6), (70, -8, 302, 6), (120, -6, 296, 5), (160, 14, 320, 4),
                      (172, 24, 470, 3.5)]  # fmt: skip
        yield Tube(curve(mirrored(subclavian, side), 10))
        yield Ellipsoid((side * 17, 4, 328), (8, 9, 20))  # a lobe of the thyroid
        renal = [(side * 8, -6, -22, 4), (side * 34, -18, -26, 4), (side * 58, -34, -32, 3.5)]
        yield Tube(curve(renal))
        femoral = [(74, 60, -280, 5), (82, 50, -340, 4.5), (80, 30, -470, 4)]
        yield Tube(curve(mirrored(femoral, side), 12))
    for organ in ([(-4, 8, 40, 4), (-4, 18, 42, 3.5)], [(-5, 4, -8, 4), (2, 24, -50, 3.5)]):
        yield Tube(curve(organ))


def hepatic_veins() -> Solid:
    """Three veins towards the vena cava."""
    paths = [
        [(30, -6, 92, 5), (64, -20, 82, 4), (104, -24, 58, 2.5)],
        [(30, -6, 92, 5), (50, 24, 78, 4), (64, 56, 40, 2.5)],
        [(30, -6, 92, 4.5), (8, 24, 84, 3.5), (-14, 44, 72, 2.5)],
    ]
    return Either(*(Tube(curve(path)) for path in paths))


def lung_vessels(side: int, rng: np.random.Generator) -> Solid:
    """A tree from the hilum outwards."""
    hilum = np.array([side * 48, -18.0, 188])
    tubes: list[Solid] = []
    for _ in range(11):
        end = _inside_chest(side, rng)
        branch = _branch(hilum, end, 4.2, 1.6, rng)
        tubes.append(Tube(branch))
        for _ in range(4):
            start = branch[rng.integers(len(branch) // 3, len(branch))]
            twig = _branch(start[:3], start[:3] + rng.normal(0, 24, 3), 0.8 * start[3], 1.0, rng)
            tubes.append(Tube(twig))
            for _ in range(2):
                start = twig[rng.integers(len(twig) // 2, len(twig))]
                tip = start[:3] + rng.normal(0, 15, 3)
                tubes.append(Tube(_branch(start[:3], tip, 0.8 * start[3], 0.7, rng)))
    return Either(*tubes)


def _inside_chest(side: int, rng: np.random.Generator) -> Array:
    z = rng.uniform(40, 285)
    angle = np.radians(rng.uniform(25, 155))
    wide = np.interp(z, (40, 180, 285), (112, 100, 45))
    return np.array([side * wide * np.sin(angle), -10 - 0.7 * wide * np.cos(angle), z])


def _branch(
    start: Array, end: Array, wide: float, narrow: float, rng: np.random.Generator
) -> Array:
    middle = (start + end) / 2 + rng.normal(0, 0.08, 3) * np.linalg.norm(end - start)
    points = [(*start, wide), (*middle, (wide + narrow) / 2), (*end, narrow)]
    return curve(points, 9)
