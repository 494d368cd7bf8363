"""A body as layers, painted one over the other: from the skin inwards, soft organs before bones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from softlabel.phantom import bodywall, skeleton, vessels, viscera
from softlabel.phantom.ctclasses import (
    AIR_HU,
    BLOOD_HU,
    CORTEX_HU,
    CT_CLASSES,
    CT_HU,
    FAT_HU,
    MUSCLE_HU,
    SIDES,
    SOFT_HU,
)
from softlabel.phantom.landmarks import CHEST
from softlabel.phantom.solids import Both, Grown, Sheets, Side, Solid

MESENTERY_HU, PERICARDIUM_HU = -95.0, -80.0


@dataclass(frozen=True)
class Layer:
    """One solid, and what it looks like.

    Attributes
    ----------
    solid : Solid
    hu : float
        Hounsfield units inside.
    value : int or None
        Label; 0 covers what was there with background, None leaves the labels as they are.
    shell : (float, float) or None
        Hounsfield units and thickness in mm of the outermost part: cortex, or a wall.
    within : tuple of int
        Only where one of these labels is; empty for everywhere.
    """

    solid: Solid
    hu: float
    value: int | None = 0
    shell: tuple[float, float] | None = None
    within: tuple[int, ...] = ()


def draw_body(rng: np.random.Generator, fat_mm: float) -> list[Layer]:
    """The layers of one body.

    Parameters
    ----------
    rng : numpy.random.Generator
    fat_mm : float
        Thickness of the fat under the skin of the abdomen.

    Returns
    -------
    list of Layer
        In painting order: a later one covers an earlier one.
    """
    breasts = bool(rng.random() < 0.5)
    return [*_wall(fat_mm, breasts), *_chest(rng), *_abdomen(rng), *_circulation(), *_bones()]


def _named(
    solids: Iterable[tuple[str, Solid]], shell: tuple[float, float] | None = None
) -> Iterator[Layer]:
    for name, solid in solids:
        yield Layer(solid, CT_HU[name], CT_CLASSES[name], shell)


def _lobes(name: str = "") -> tuple[int, ...]:
    return tuple(v for n, v in CT_CLASSES.items() if n.startswith("lung_") and n.endswith(name))


def _wall(fat_mm: float, breasts: bool) -> Iterator[Layer]:
    yield Layer(bodywall.skin(fat_mm, breasts), FAT_HU, shell=(20, 1.8))
    yield Layer(bodywall.muscles(), MUSCLE_HU)
    yield Layer(Sheets(Grown(bodywall.muscles(), -3), 0.9), FAT_HU)
    yield Layer(CHEST, PERICARDIUM_HU)
    yield Layer(bodywall.ABDOMEN, MESENTERY_HU)
    for muscle in bodywall.further_muscles():
        yield Layer(muscle, MUSCLE_HU)
    yield from _named(bodywall.labelled_muscles())


def _chest(rng: np.random.Generator) -> Iterator[Layer]:
    # A sheet of muscle: a solid of muscle, and one of fat inside that ends lower.
    sheet = Both(Grown(bodywall.DIAPHRAGM, 2.5), Grown(CHEST, -1), Side((0, 0, -40), (0, 0, 1)))
    yield Layer(sheet, MUSCLE_HU)
    yield Layer(Both(Grown(bodywall.DIAPHRAGM, -1), Grown(CHEST, -1)), MESENTERY_HU)
    yield from _named((f"lung_upper_lobe_{n}", lung) for n, lung in viscera.lungs().items())
    for cut, made, side in viscera.fissures():
        yield Layer(side, CT_HU[made], CT_CLASSES[made], within=(CT_CLASSES[cut],))
    for name, sign in SIDES.items():
        yield Layer(vessels.lung_vessels(sign, rng), SOFT_HU, None, within=_lobes(name))
    yield from _named([("oesophagus", viscera.oesophagus())], shell=(50, 2))
    yield Layer(viscera.throat(), AIR_HU)


def _abdomen(rng: np.random.Generator) -> Iterator[Layer]:
    organs = dict(viscera.organs(rng))
    for name, solid in organs.items():
        hollow = name in ("colon", "small_bowel", "duodenum", "stomach")
        wall = (65.0, 2.0) if hollow else (SOFT_HU, 2.5) if name == "urinary_bladder" else None
        yield Layer(solid, CT_HU[name], CT_CLASSES[name], wall)
        if name in ("colon", "stomach"):
            yield Layer(viscera.gas(solid), AIR_HU + 30, None, within=(CT_CLASSES[name],))
    yield Layer(viscera.prostate(), SOFT_HU)
    yield Layer(vessels.hepatic_veins(), 130, None, within=(CT_CLASSES["liver"],))


def _circulation() -> Iterator[Layer]:
    yield Layer(vessels.HEART, PERICARDIUM_HU)
    yield from _named(vessels.heart())
    for vessel in vessels.further_vessels():
        yield Layer(vessel, BLOOD_HU)
    yield from _named(vessels.great_vessels())
    airways = viscera.airways()
    yield Layer(Grown(airways, 1.5), SOFT_HU)
    yield from _named([("trachea", airways)])


def _bones() -> Iterator[Layer]:
    cortex = (CORTEX_HU, 1.6)
    yield Layer(skeleton.discs(), 85)
    for cartilage in skeleton.cartilages():
        yield Layer(cartilage, 110)
    yield from _named(skeleton.shoulders(), (CORTEX_HU, 1.8))
    yield from _named([("sternum", skeleton.sternum())], (CORTEX_HU, 1.2))
    yield from _named(skeleton.ribs(), (CORTEX_HU, 1.4))
    yield from _named([("sacrum", skeleton.sacrum())], cortex)
    yield from _named(skeleton.hips(), cortex)
    yield from _named(skeleton.femora(), (CORTEX_HU, 3.0))
    yield from _named(skeleton.vertebrae(), (CORTEX_HU, 1.2))
    for bone in skeleton.jaw_and_skull():
        yield Layer(bone, 400, shell=(CORTEX_HU + 200, 2.0))
    yield Layer(skeleton.canal(8, -170, 440), 15)
    yield from _named([("spinal_cord", skeleton.canal(5.2, -12, 440))])
