"""The 104 classes of the CT phantom: label values, names, and what a scanner shows of them.

The values are those that users of TotalSegmentator's first version expect, with the spinal cord and
the sternum in the places of brain and face: the scan ends at the skull base. Hounsfield units are
usual ones of a scan in the portal venous phase, of the inside of a structure: bones have a cortex
of :data:`CORTEX_HU` around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

AIR_HU, FAT_HU, WATER_HU, SOFT_HU, MUSCLE_HU, BLOOD_HU = -1000.0, -100.0, 0.0, 40.0, 50.0, 150.0
CORTEX_HU = 800.0

VERTEBRAE = (
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
)
"""From the head down."""

SIDES = MappingProxyType({"left": -1, "right": 1})
"""The sign of x on each side: x runs towards the patient's right."""


def _rows() -> Iterator[tuple[str, float]]:
    """Names and Hounsfield units in the order of the label values, from 1."""
    yield from (("spleen", 70), ("kidney_right", 130), ("kidney_left", 130), ("gallbladder", 10))
    yield from (("liver", 60), ("stomach", 25), ("aorta", BLOOD_HU))
    yield from (("inferior_vena_cava", 140), ("portal_and_splenic_vein", BLOOD_HU))
    yield from (("pancreas", 45), ("adrenal_gland_right", 45), ("adrenal_gland_left", 45))
    yield from (("lung_upper_lobe_left", -850), ("lung_lower_lobe_left", -800))
    yield from (("lung_upper_lobe_right", -850), ("lung_middle_lobe_right", -830))
    yield ("lung_lower_lobe_right", -800)
    yield from ((f"vertebra_{name}", 200) for name in reversed(VERTEBRAE))
    yield from (("oesophagus", 35), ("trachea", -980), ("heart_myocardium", 95))
    yield from (("heart_atrium_left", BLOOD_HU), ("heart_ventricle_left", BLOOD_HU))
    yield from (("heart_atrium_right", 145), ("heart_ventricle_right", 145))
    yield from (("pulmonary_artery", 145), ("spinal_cord", 35))
    yield from (("iliac_artery_left", BLOOD_HU), ("iliac_artery_right", BLOOD_HU))
    yield from (("iliac_vein_left", 140), ("iliac_vein_right", 140))
    yield from (("small_bowel", 35), ("duodenum", 35), ("colon", 30))
    yield from ((f"rib_{side}_{n}", 250) for side in SIDES for n in range(1, 13))
    for bone in ("humerus", "scapula", "clavicle", "femur", "hip"):
        yield from ((f"{bone}_{side}", 250) for side in SIDES)
    yield from (("sacrum", 180), ("sternum", 180))
    for muscle in ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "deep_back_muscle",
                   "iliopsoas"):  # fmt: skip
        yield from ((f"{muscle}_{side}", MUSCLE_HU) for side in SIDES)
    yield ("urinary_bladder", 5)


CT_HU = MappingProxyType({name: float(hu) for name, hu in _rows()})
"""Hounsfield units inside each class, in the order of the label values."""

CT_CLASSES = MappingProxyType(
    {"background": 0} | {name: value for value, name in enumerate(CT_HU, start=1)}
)
"""Label value of each class; 0 is the background."""
