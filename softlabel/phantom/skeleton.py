"""The bones of the trunk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from softlabel.phantom.ctclasses import SIDES, VERTEBRAE
from softlabel.phantom.landmarks import LEVELS, Level, chest_wall, mirrored, spine_y
from softlabel.phantom.solids import (
    Both,
    Column,
    Either,
    Ellipsoid,
    Grown,
    Side,
    Solid,
    Tube,
    Without,
    curve,
)

CANAL_MM = 9.0
"""Radius of the spinal canal."""


def canal_y(z: float) -> float:
    """y of the spinal canal at a level: behind the vertebral bodies."""
    depths = [level.half_depth for level in LEVELS.values()]
    half = float(np.interp(-z, [-level.z for level in LEVELS.values()], depths))
    return spine_y(z) - half - CANAL_MM + 1


def canal(radius: float, low: float, high: float) -> Tube:
    """A tube along the spinal canal."""
    levels = np.linspace(low, high, max(3, int((high - low) / 20)))
    return Tube(curve([(0, canal_y(z), z, radius) for z in levels], 10))


def discs() -> Solid:
    """All intervertebral discs, as one column that the vertebrae interrupt."""
    rows = [
        (level.z, 0, spine_y(level.z), 0.92 * level.half_width, 0.92 * level.half_depth)
        for level in reversed(tuple(LEVELS.values()))
    ]
    first = (-158, 0, spine_y(-158), 24, 18)
    return Column(np.array([first, *rows[:-1]]))


def vertebrae() -> Iterator[tuple[str, Solid]]:
    """Each vertebra: body, arch, spinous and transverse processes."""
    for name in VERTEBRAE:
        yield f"vertebra_{name}", _atlas() if name == "C1" else _vertebra(name, LEVELS[name])


def _vertebra(name: str, level: Level) -> Solid:
    z, w, d = level.z, level.half_width, level.half_depth
    y, tall = spine_y(z), 0.40 * level.height
    behind, region = canal_y(z), name[0]
    # Bodies stand at right angles to the curve of the spine.
    slope = (spine_y(z + 8) - spine_y(z - 8)) / 16
    rows = [(z + step * tall, 0, y + step * tall * slope, w * waist, d * waist)
            for step, waist in ((-1.6, 1), (-1, 1.03), (0, 0.93), (1, 1.03), (1.6, 1))]  # fmt: skip
    body = Both(
        Column(np.array(rows)),
        Side((0, y + tall * slope, z + tall), (0, -slope, -1)),
        Side((0, y - tall * slope, z - tall), (0, slope, 1)),
    )
    up = min(0.22 * level.height, 6.5)
    thick = {"C": 3.4, "T": 4.2, "L": 5.0}[region]
    parts: list[Solid] = [body]
    ring, outer = CANAL_MM + thick, behind - CANAL_MM - thick
    for side in SIDES.values():
        arch = [(side * 0.75 * ring, y - 0.6 * d, z + up), (side * ring, behind, z + up / 2),
                (side * 0.7 * ring, outer + 4, z), (0, outer, z - up)]  # fmt: skip
        parts.append(Tube(np.array([(*p, thick) for p in arch]), 1.0))
        parts.append(Tube(np.array([(x, py, pz - 5, thick) for x, py, pz in arch[1:]])))
        reach, back, sag = {"C": (23, 4, 0), "T": (32, 16, 4), "L": (40, 4, 2)}[region]
        transverse = [(side * ring, behind - 2, z + up / 2, thick),
                      (side * reach, behind - back, z + sag, thick - 0.8)]  # fmt: skip
        parts.append(Tube(np.array(transverse)))
    length, droop, height = {"C": (17, 6, 3), "T": (26, 16, 4), "L": (27, 4, 9)}[region]
    for rise in (-height, 0, height):
        spinous = [(0, outer + 2, z - up + rise / 2, thick),
                   (0, outer - length, z - up - droop + rise, 3.6)]  # fmt: skip
        parts.append(Tube(np.array(spinous)))
    return Without(Either(*parts), canal(CANAL_MM - 1, z - level.height, z + level.height))


def _atlas() -> Solid:
    """C1: a ring with two lateral masses."""
    z, y = LEVELS["C1"].z, canal_y(LEVELS["C1"].z)
    angles = np.radians(np.arange(0, 361, 20))
    ring = [(19 * np.sin(a), y + 2 - 19 * np.cos(a), z, 4.2) for a in angles]
    masses = [Ellipsoid((side * 20, y + 8, z), (9, 10, 8)) for side in SIDES.values()]
    wings = [Tube(np.array([(side * 20, y + 4, z, 5), (side * 37, y, z, 4)]))
             for side in SIDES.values()]  # fmt: skip
    return Either(Tube(np.array(ring)), *masses, *wings)


# --- the chest ----------------------------------------------------------------------------------

_RIB_ENDS = (118, 132, 140, 145, 148, 150, 152, 146, 136, 122, 96, 72)
"""Angle on the chest's wall at which each rib ends and its cartilage begins."""

_RIB_DROP = (24, 42, 56, 66, 74, 80, 86, 88, 84, 76, 56, 34)
"""How far each rib descends to its end, in mm."""


def _rib_path(number: int, side: int) -> list[tuple[float, ...]]:
    level = LEVELS[f"T{number}"]
    z = level.z + (0.35 * level.height if number < 11 else 0)
    end, drop = _RIB_ENDS[number - 1], _RIB_DROP[number - 1]
    head = (side * (level.half_width + 5), spine_y(z) - 0.75 * level.half_depth, z)
    neck = (side * (level.half_width + 19), spine_y(z) - level.half_depth - 11, z - 2)
    angles = np.linspace(38 if number < 11 else 42, end, 12)
    path: list[tuple[float, ...]] = [head, neck]
    for angle in angles:
        fraction = (angle / end) ** 1.2
        path.append(chest_wall(z - 2 - drop * fraction, angle, side, outwards=4))
    return path


def ribs() -> Iterator[tuple[str, Solid]]:
    """Twelve ribs on each side, flat against the chest's wall."""
    for name, side in SIDES.items():
        for number in range(1, 13):
            half = 7.0 if 2 < number < 11 else 6.0
            path = [(*point, half - (1.5 if i == 0 else 0))
                    for i, point in enumerate(_rib_path(number, side))]  # fmt: skip
            parts = []
            for start, end in pairwise(path):
                middle = np.array([(start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 8, 0])
                thin = middle / np.linalg.norm(middle)
                parts.append(Tube(np.array([start, end]), 1.6, (thin[0], thin[1], 0)))
            yield f"rib_{name}_{number}", Either(*parts)


def cartilages() -> Iterator[Solid]:
    """What joins the ribs 1 to 10 to the sternum."""
    for side in SIDES.values():
        for number in range(1, 11):
            x, y, z = _rib_path(number, side)[-1]
            to = max(min(250 - 22 * (number - 1), z + 4 * number), 108)
            front = chest_wall(to, 176, side, outwards=5)
            middle = chest_wall((z + to) / 2 - 4, 163, side, outwards=5)
            points = [(x, y, z, 5), (*middle, 5), (front[0] + side * 9, *front[1:], 5)]
            yield Tube(curve(points, 10))


def sternum() -> Solid:
    """Manubrium and body: a flat bar in front."""
    points = curve(
        [(0, chest_wall(z, 180, 1, outwards=6)[1], z, half)
         for z, half in ((258, 20), (240, 24), (222, 17), (190, 15), (150, 19), (120, 15),
                         (104, 8))],
        8,
    )  # fmt: skip
    parts = []
    for start, end in pairwise(points):
        _, along_y, along_z, _ = (end - start) / np.linalg.norm((end - start)[:3])
        parts.append(Tube(np.array([start, end]), 3.0, (0, float(-along_z), float(along_y))))
    return Either(*parts)


def shoulders() -> Iterator[tuple[str, Solid]]:
    """Scapulae, clavicles and humeri, of raised arms."""
    for name, side in SIDES.items():
        glenoid = (138, -28, 284)
        border = [(74, -80, 296), (72, -86, 275), (74, -92, 250), (78, -97, 225), (84, -99, 200),
                  (90, -99, 178)]  # fmt: skip
        rays = []
        for to in curve([(*p, 3) for p in border], 7):
            middle = (np.array(glenoid) + to[:3]) / 2 + (6, -12, 0)
            rays.append(Tube(curve([(*glenoid, 5.5), (*middle, 4.2), (*to[:3], 4.2)], 9)))
        spine = curve(
            [(76, -94, 268, 4), (112, -74, 288, 6), (146, -52, 303, 7), (160, -26, 306, 6)]
        )
        coracoid = curve([(134, -24, 290, 6), (128, 0, 296, 6), (134, 12, 288, 5)])
        head = Ellipsoid((140, -28, 284), (8, 14, 17))
        plate: list[Solid] = [*rays, Tube(spine), Tube(coracoid), head]
        yield f"scapula_{name}", Either(*(_to_side(part, side) for part in plate))
        clavicle = [(22, 38, 268, 8), (60, 30, 281, 6.5), (105, -2, 298, 6), (148, -22, 309, 7)]
        yield f"clavicle_{name}", Tube(curve(mirrored(clavicle, side)))
        shaft = [(166, -14, 292, 20), (174, -4, 320, 15), (180, 6, 350, 12), (188, 22, 470, 11)]
        ball = Ellipsoid((side * 163, -16, 290), (23, 23, 23))
        yield f"humerus_{name}", Either(ball, Tube(curve(mirrored(shaft, side))))


def _to_side(solid: Solid, side: int) -> Solid:
    """A solid of the right side, on either side."""
    if isinstance(solid, Tube):
        points = solid.points * (side, 1, 1, 1)
        return Tube(points, solid.flat, (side * solid.thin[0], *solid.thin[1:]))
    assert isinstance(solid, Ellipsoid)
    x, *rest = solid.centre
    turn_x, turn_y, turn_z = solid.turn_deg
    return Ellipsoid((side * x, *rest), solid.half, (turn_x, side * turn_y, side * turn_z))


# --- the pelvis -----------------------------------------------------------------------------------

HIP_JOINT = (88.0, -6.0, -242.0)


def sacrum() -> Solid:
    """A bent wedge, wide above, with the coccyx at its end."""
    parts: list[Solid] = []
    outline = ((-158, 26, 17), (-175, 30, 17), (-195, 26, 15), (-215, 21, 12), (-235, 15, 9),
               (-252, 9, 7), (-272, 6, 5))  # fmt: skip
    for half in (0, 0.55, 1):
        for side in (-1, 1):
            points = [(side * half * wide * 1.25, spine_y(z) - 9 * half, z, thick - 2 * half)
                      for z, wide, thick in outline]  # fmt: skip
            parts.append(Tube(curve(points, 8)))
    parts.append(Tube(np.array([(0, spine_y(z) - 18, z, 6) for z in (-165, -190, -215)])))
    hollow = Tube(curve([(0, canal_y(z) + 2, z, 5) for z in (-150, -175, -200)], 8))
    return Without(Either(*parts), hollow)


def hips() -> Iterator[tuple[str, Solid]]:
    """Hip bones: the wing of the ilium, the socket, ischium and pubis around the foramen."""
    crest = [(44, -92, -165), (52, -93, -138), (72, -76, -108), (98, -42, -92), (120, 0, -90),
             (131, 36, -104), (128, 62, -128), (114, 60, -158)]  # fmt: skip
    wing = []
    for to in curve([(*p, 1) for p in crest], 8)[:, :3]:
        middle = 0.5 * (np.array((84, -14, -208)) + to) + (-5, 0, -4)
        points = [(84, -14, -212, 9), (*middle, 5.2), (*to, 6.5)]
        wing.append(Tube(curve(points, 10)))
    pubis = [(80, 14, -236, 12), (56, 42, -250, 9), (30, 58, -262, 9), (13, 60, -272, 10)]
    ischium = [(88, -26, -250, 15), (78, -42, -285, 13), (66, -44, -318, 14), (54, -24, -330, 9)]
    ramus = [(54, -24, -330, 8), (34, 12, -318, 7), (17, 46, -294, 8), (13, 58, -276, 9)]
    tubes = [*wing, *(Tube(curve(points, 8)) for points in (pubis, ischium, ramus))]
    for name, side in SIDES.items():
        x, y, z = HIP_JOINT
        socket = Both(Ellipsoid((side * (x - 3), y - 2, z + 3), (34, 34, 34)),
                      Side((side * (x + 6), y, z - 6), (-side * 0.85, -0.35, 0.6)))  # fmt: skip
        joint = Ellipsoid((side * x, y, z), (26.5, 26.5, 26.5))
        bone = Either(*(_to_side(tube, side) for tube in tubes), socket)
        yield f"hip_{name}", Without(bone, joint)


def femora() -> Iterator[tuple[str, Solid]]:
    """Proximal femora: head, neck, great trochanter, shaft."""
    for name, side in SIDES.items():
        x, y, z = HIP_JOINT
        neck = [(x, y, z, 17), (107, -9, -254, 14), (122, -13, -268, 16)]
        shaft = [
            (126, -14, -262, 15),
            (122, -10, -290, 17),
            (116, -2, -330, 15),
            (104, 6, -470, 14),
        ]
        parts: list[Solid] = [
            Ellipsoid((side * x, y, z), (23.5, 23.5, 23.5)),
            Tube(curve(mirrored(neck, side))),
            Tube(curve(mirrored(shaft, side))),
            Ellipsoid((side * 104, -20, -298), (9, 9, 12)),
        ]
        yield f"femur_{name}", Either(*parts)


def jaw_and_skull() -> Iterator[Solid]:
    """Bones at the upper end of the scan that are no class."""
    arch = [(50, -2, 425, 7), (46, 12, 400, 7), (34, 52, 388, 8), (0, 74, 384, 9)]
    yield Either(*(Tube(curve(mirrored(arch, side), 8)) for side in SIDES.values()))
    outer = Ellipsoid((0, -14, 492), (76, 92, 68))
    yield Both(Without(outer, Grown(outer, -7)), Side((0, 0, 431), (0, 0, 1)))
