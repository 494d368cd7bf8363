"""Lungs, airways, and the organs of the abdomen and the pelvis."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from softlabel.phantom.bodywall import ABDOMEN, DIAPHRAGM, DOMES
from softlabel.phantom.ctclasses import SIDES
from softlabel.phantom.landmarks import CHEST, jittered, spine_y
from softlabel.phantom.solids import (
    Both,
    Column,
    Either,
    Ellipsoid,
    Grown,
    Point,
    Rough,
    Side,
    Solid,
    Tube,
    Without,
    curve,
)
from softlabel.phantom.vessels import HEART

# --- chest ----------------------------------------------------------------------------------------

_MIDDLE = Column(
    np.array(
        [
            (40, -2, 0, 30, 110),
            (120, -2, 2, 30, 105),
            (180, 0, 0, 33, 96),
            (230, 0, -8, 31, 84),
            (265, 0, -18, 27, 66),
            (310, 0, -30, 20, 50),
        ],
        dtype=float,
    )
)

_BESIDE_SPINE = Tube(curve([(-5, spine_y(z) + 4, z, 29) for z in range(0, 311, 31)], 15))


def lungs() -> dict[str, Solid]:
    """Both lungs: what the chest has left beside the mediastinum and above the diaphragm."""
    mediastinum = Either(Both(_MIDDLE, CHEST), _BESIDE_SPINE, HEART)
    # In front the lungs end higher than in the back.
    inside = Both(Rough(Grown(CHEST, -2.5), 0.5), Side((0, 20, 52), (0, -0.5, 1)))
    return {
        name: Both(
            Without(inside, mediastinum, Grown(DIAPHRAGM, 2.5)), Side((0, 0, 0), (side, 0, 0))
        )
        for name, side in SIDES.items()
    }


def fissures() -> Iterator[tuple[str, str, Solid]]:
    """What divides a lung: the lobe that it cuts, the lobe that it makes, and that side of it."""
    for name, z in (("left", 172), ("right", 166)):
        below = Rough(Side((0, 0, z), (0, -0.85, -1)), 2)
        yield f"lung_upper_lobe_{name}", f"lung_lower_lobe_{name}", below
    under = Rough(Side((0, 0, 176), (0, 0.1, -1)), 2)
    yield "lung_upper_lobe_right", "lung_middle_lobe_right", under


def airways() -> Solid:
    """The trachea and the main bronchi."""
    trachea = [(0, spine_y(z) + forward, z, 9) for z, forward in
               ((342, 31), (310, 34), (280, 36), (250, 37), (216, 37))]  # fmt: skip
    right = [(0, spine_y(216) + 37, 216, 8), (26, -32, 198, 7), (48, -34, 182, 5.5)]
    left = [(0, spine_y(216) + 37, 216, 8), (-32, -34, 193, 6.5), (-52, -36, 180, 5.5)]
    return Either(*(Tube(curve(path)) for path in (trachea, right, left)))


def throat() -> Solid:
    """Air above the trachea: larynx and pharynx."""
    return Tube(curve([(0, spine_y(342) + 31, 344, 8), (0, 4, 375, 8), (0, 14, 420, 11)]), 1.2)


def oesophagus() -> Solid:
    """From the throat to the stomach, behind the trachea and the left atrium."""
    beside = [(x, spine_y(z) + forward, z, 6.5) for x, forward, z in
              ((-1, 19, 338), (-3, 21, 290), (-3, 22, 240), (2, 24, 200), (3, 26, 160),
               (-1, 32, 122))]  # fmt: skip
    return Tube(curve([*beside, (-12, -20, 92, 7), (-30, -14, 74, 8)]))


# --- abdomen --------------------------------------------------------------------------------------


def stomach() -> Solid:
    """From the fundus under the left dome to the pylorus."""
    path = [(-30, -14, 74, 10), (-60, -22, 68, 32), (-74, 2, 50, 35), (-70, 36, 24, 30),
            (-44, 54, -2, 23), (-8, 58, -8, 17), (22, 48, 2, 10)]  # fmt: skip
    return Tube(curve(path, 8))


def liver() -> Solid:
    """What lies under the right dome, as far as the left of the middle, above a slanting plane."""
    under = Either(Grown(DOMES["right"], -3), Grown(DOMES["middle"], -3))
    spine = Tube(curve([(0, spine_y(z) - 6, z, 42) for z in (-60, 0, 60, 120)], 15))
    whole = Both(
        under,
        Grown(ABDOMEN, -3),
        Rough(Side((0, 0, 32), (0.62, 0.5, 1)), 4),
        Side((-52, 0, 60), (1, 0.2, 0.4)),
    )
    return Without(whole, spine, Grown(stomach(), 2.5), _kidney("right"))


def _kidney(side: str) -> Solid:
    sign, lift = SIDES[side], {"left": 6, "right": -8}[side]
    bean = Ellipsoid((sign * 76, -38, -30 + lift), (26, 23, 54), (-10, sign * 11, 0))
    hilum = Ellipsoid((sign * 52, -28, -32 + lift), (15, 12, 20))
    return Without(bean, hilum)


def organs(rng: np.random.Generator) -> Iterator[tuple[str, Solid]]:
    """Organs of the abdomen and the pelvis in the order in which they push each other aside."""
    yield "liver", liver()
    spleen = Both(Ellipsoid((-104, -46, 42), (35, 50, 56), (18, -8, -30)), Grown(DOMES["left"], -3))
    yield "spleen", Without(Rough(spleen, 1), Grown(stomach(), 2.5), _kidney("left"))
    for name in SIDES:
        yield f"kidney_{name}", Rough(_kidney(name), 0.8)
    yield "gallbladder", Tube(curve([(46, 28, -6, 6), (54, 48, -20, 13), (60, 64, -34, 15)]))
    yield "colon", colon(rng)
    yield "small_bowel", small_bowel(rng)
    yield "duodenum", duodenum()
    pancreas = [(40, 24, -40, 12), (36, 24, -18, 15), (14, 27, -4, 11), (-12, 24, 6, 10),
                (-40, 7, 18, 10.5), (-70, -12, 30, 10), (-82, -20, 36, 8)]  # fmt: skip
    yield "pancreas", Rough(Tube(curve(pancreas)), 1.2)
    yield "stomach", Rough(stomach(), 0.8)
    for name, side in SIDES.items():
        yield f"adrenal_gland_{name}", _adrenal(side)
    yield "urinary_bladder", Ellipsoid((0, 20, -236), (40, 32, 29))


def _adrenal(side: int) -> Solid:
    ridge, z = (side * 45, -24, 38), 22
    limbs = (
        Tube(np.array([(*ridge, 7.5), (side * (45 + out), -24 + back, z, 7.5)]), 2.4,
             (0.94, side * tilt, 0))
        for out, back, tilt in ((-9, -22, -0.34), (9, -24, 0.34))
    )  # fmt: skip
    return Either(*limbs)


def duodenum() -> Solid:
    """A C around the head of the pancreas."""
    path = [(24, 48, 2, 10), (44, 38, -2, 12), (55, 20, -18, 12), (54, 12, -52, 12),
            (30, 16, -72, 11.5), (0, 19, -72, 11), (-28, 18, -58, 11),
            (-36, 24, -48, 10)]  # fmt: skip
    return Tube(curve(path))


_COLON = (
    (90, 24, -150, 21), (98, 14, -122, 25), (101, 2, -92, 24), (96, 14, -68, 22), (70, 50, -72, 20),
    (35, 64, -66, 20), (0, 67, -56, 20), (-40, 66, -46, 19), (-80, 50, -26, 19), (-102, 14, -4, 19),
    (-106, -10, 2, 18), (-106, -26, -24, 17), (-106, -26, -72, 16), (-102, -8, -120, 16),
    (-90, 12, -152, 16), (-62, 26, -178, 16), (-26, 24, -182, 16), (8, 2, -180, 16),
    (14, -24, -190, 16), (4, -44, -214, 17), (0, -54, -245, 18), (0, -44, -282, 14),
    (0, -36, -306, 9),
)  # fmt: skip
"""Caecum, ascending, transverse, descending and sigmoid colon, rectum."""


def colon(rng: np.random.Generator) -> Solid:
    """The colon with its haustra."""
    path = curve(jittered(_COLON, 2.5, rng), 5)
    path[:, 3] *= 1 + 0.13 * np.sin(np.arange(len(path)) * (2 * np.pi / 6.4))
    return Tube(path)


def small_bowel(rng: np.random.Generator) -> Solid:
    """Loops to and fro in front of the great vessels, two layers deep."""
    path: list[Point] = [(-38, 28, -50, 11), (-52, 30, -72, 11)]
    for row, z in enumerate((-94, -118, -142, -165)):
        left, right = (-76, 64) if z > -150 else (-58, 50)
        across = np.linspace(left, right, 6)
        wave = 9 * (-1.0) ** np.arange(6)
        path += [
            (x, 54 + bend / 2, z + bend / 2, 11.5) for x, bend in zip(across, wave, strict=True)
        ]
        back = [(x, 27 - bend / 3, z - 10 + bend / 2, 11.5)
                for x, bend in zip(across[::-1], wave, strict=True)]  # fmt: skip
        path += back if row < 3 else back[:4]
    return Tube(curve(jittered(path, 3, rng), 7))


def gas(bowel: Solid) -> Solid:
    """Gas in the front of the stomach and, here and there, of the colon."""
    return Both(Grown(bowel, -3.5), Rough(Side((0, 54, 0), (0, 1, 0)), 14))


def prostate() -> Solid:
    """Below the bladder; no class."""
    return Ellipsoid((0, 12, -274), (22, 18, 15))
