"""Skin, fat and muscles: what the organs lie in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from softlabel.phantom.ctclasses import SIDES
from softlabel.phantom.landmarks import mirrored, spine_y
from softlabel.phantom.skeleton import canal_y
from softlabel.phantom.solids import (
    Both,
    Column,
    Either,
    Ellipsoid,
    Grown,
    Side,
    Solid,
    Tube,
    curve,
)
from softlabel.types import Array

_MUSCLE_ROWS = np.array(
    [
        # z, x, y, half width, half depth
        (-352, 0, -12, 84, 40),
        (-338, 0, -12, 128, 66),
        (-315, 0, -10, 156, 88),
        (-270, 0, -8, 160, 96),
        (-220, 0, -6, 160, 98),
        (-150, 0, -4, 150, 98),
        (-100, 0, -2, 141, 98),
        (-40, 0, -2, 139, 100),
        (20, 0, -4, 145, 108),
        (90, 0, -4, 150, 114),
        (140, 0, -5, 151, 112),
        (190, 0, -9, 150, 106),
        (225, 0, -14, 152, 100),
        (255, 0, -20, 165, 90),
        (282, 0, -24, 190, 74),
        (300, 0, -26, 184, 64),
        (318, 0, -24, 130, 56),
        (334, 0, -20, 74, 52),
        (350, 0, -14, 58, 52),
        (385, 0, -6, 57, 60),
        (410, 0, 4, 62, 76),
        (440, 0, 0, 70, 86),
        (480, 0, -4, 74, 92),
    ],
    dtype=float,
)

_FAT_SHARE = ((-480, 1.0), (-200, 1.15), (-60, 1.0), (60, 0.8), (180, 0.6), (290, 0.5), (340, 0.3),
              (480, 0.15))  # fmt: skip
"""How much of the fat's thickness lies on the muscles at a level."""

_THIGH_ROWS = np.array(
    [(-480, 88, 0, 70, 74), (-380, 90, -4, 76, 82), (-310, 92, -8, 76, 88), (-230, 88, -8, 70, 84)],
    dtype=float,
)


def _fattened(rows: Array, fat_mm: float) -> Array:
    levels, shares = zip(*_FAT_SHARE, strict=True)
    thick = fat_mm * np.interp(rows[:, 0], levels, shares)
    return rows + np.stack([0 * thick, 0 * thick, 0 * thick, thick, thick], axis=1)


def _limbs(fat_mm: float) -> Iterator[Solid]:
    for side in SIDES.values():
        thigh = _fattened(_THIGH_ROWS, fat_mm)
        thigh[:, 3] = np.minimum(thigh[:, 3], thigh[:, 1] - 2)  # thighs touch, and do not merge
        thigh[:, 1] *= side
        yield Column(thigh)
        arm = [(168, -14, 280, 34 + fat_mm / 3), (176, -2, 340, 36 + fat_mm / 3),
               (188, 22, 480, 32 + fat_mm / 3)]  # fmt: skip
        yield Tube(curve(mirrored(arm, side), 20))


def skin(fat_mm: float, breasts: bool) -> Solid:
    """Everything inside of the skin."""
    pads = [Ellipsoid((side * 72, 96, 165), (54, 12 + 0.9 * fat_mm, 50)) for side in SIDES.values()]
    return Either(
        Column(_fattened(_MUSCLE_ROWS, fat_mm)), *_limbs(fat_mm), *(pads if breasts else ())
    )


def muscles() -> Solid:
    """Everything below the fat under the skin."""
    return Either(Column(_MUSCLE_ROWS), *_limbs(0.0))


ABDOMEN = Column(
    np.array(
        [
            (-262, 0, -8, 40, 44),
            (-235, 0, -6, 56, 56),
            (-200, 0, -2, 72, 64),
            (-150, 0, 8, 95, 72),
            (-100, 0, 11, 116, 75),
            (-40, 0, 12, 121, 78),
            (20, 0, 10, 127, 88),
            (80, 0, 6, 128, 92),
            (130, 0, 4, 126, 88),
        ],
        dtype=float,
    )
)
"""What the wall of the abdomen and the pelvis enclose."""

DOMES = {
    "right": Ellipsoid((62, 2, 0), (74, 101, 122)),
    "middle": Ellipsoid((-5, 15, -5), (80, 82, 102)),
    "left": Ellipsoid((-64, 2, -6), (72, 101, 114)),
}
"""What lies under each part of the diaphragm."""

DIAPHRAGM = Either(*DOMES.values())


def labelled_muscles() -> Iterator[tuple[str, Solid]]:
    """The muscles that are classes, outer ones first."""
    inside = Grown(muscles(), -1)
    for name, side in SIDES.items():
        yield (
            f"gluteus_maximus_{name}",
            Both(
                Ellipsoid((side * 84, -76, -232), (88, 66, 86), (0, side * -20, side * 20)),
                inside,
                Side((side * 88, -52, -232), (side * 0.42, -0.9, -0.1)),
                Side((side * 8, 0, 0), (side, 0, 0)),
            ),
        )
        # The wing of the ilium lies along this plane.
        beside_wing = Side((side * 100, -14, -130), (side * 0.85, -0.52, 0.2))
        medius = Ellipsoid((side * 130, 2, -162), (26, 60, 66), (6, side * 8, side * 14))
        yield f"gluteus_medius_{name}", Both(medius, inside, beside_wing)
        minimus = Ellipsoid((side * 121, 16, -184), (13, 38, 42), (6, side * 10, side * 16))
        yield f"gluteus_minimus_{name}", Both(minimus, beside_wing)
    for name, side in SIDES.items():
        back = [(side * (20 + wide), max(canal_y(z) - 6 - 0.65 * wide, -86), z, wide)
                for z, wide in ((-205, 10), (-180, 14), (-150, 20), (-90, 24), (-20, 24), (60, 22),
                                (150, 19), (230, 17), (300, 15), (350, 14), (392, 12))]  # fmt: skip
        yield (
            f"deep_back_muscle_{name}",
            Both(Tube(curve(back, 12), 1.25), inside, Side((side * 2, 0, 0), (side, 0, 0))),
        )
        psoas = [(25, spine_y(12) + 2, 12, 8), (36, spine_y(-40) - 2, -40, 16), (44, -28, -100, 22),
                 (58, 2, -150, 24), (74, 26, -195, 22), (84, 38, -232, 16), (94, 16, -275, 12),
                 (100, -14, -298, 9)]  # fmt: skip
        iliacus = [(98, 4, -120, 8), (90, 12, -155, 17), (82, 24, -195, 20)]
        yield f"iliopsoas_{name}", Either(
            Tube(curve(mirrored(psoas, side), 10)),
            Both(Tube(curve(mirrored(iliacus, side), 10)),
                 Side((side * 101, -8, -130), (side * -0.85, 0.52, -0.2))),
        )  # fmt: skip


def further_muscles() -> Iterator[Solid]:
    """Muscles inside of the cavities that are no class."""
    for side in SIDES.values():
        square = [(66, -62, 5, 10), (70, -58, -50, 15), (74, -58, -95, 14)]
        yield Tube(curve(mirrored(square, side), 12))
        obturator = [(60, 30, -262, 10), (66, 5, -290, 16), (68, -20, -280, 14)]
        yield Tube(curve(mirrored(obturator, side), 12))
        crus = [(14, -22, 60, 7), (16, -28, 20, 7), (14, -20, -40, 4)]
        yield Tube(curve(mirrored(crus, side), 12))
