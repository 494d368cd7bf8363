"""Label tables of other programs: a line for each label, with its number, name and colour.

Understood are CVAT's ``labelmap.txt``, the label descriptions of ITK-SNAP, and the colour tables of
3D Slicer (``.ctbl``) and FreeSurfer (``FreeSurferColorLUT.txt``), told apart by their lines. The
colours of CVAT say which pixels are which label; those of the others are for display.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CVAT = re.compile(r"(?P<name>[^:]+):(?P<colour>\d{1,3},\d{1,3},\d{1,3}):[^:]*:[^:]*")
_ITK_SNAP = re.compile(r'(?P<value>\d{1,9})(\s+[\d.]+){4}\s+[01]\s+[01]\s+"(?P<name>[^"]*)"')
_COLOUR_TABLE = re.compile(
    r'(?P<value>\d{1,9})\s+(?:"(?P<quoted>[^"]+)"|(?P<name>\S+))(\s+\d{1,3}){4}'
)

FREESURFER = {
    0: "Unknown",
    14: "3rd-Ventricle",
    15: "4th-Ventricle",
    16: "Brain-Stem",
    24: "CSF",
    72: "5th-Ventricle",
    77: "WM-hypointensities",
    80: "non-WM-hypointensities",
    85: "Optic-Chiasm",
    251: "CC_Posterior",
    252: "CC_Mid_Posterior",
    253: "CC_Central",
    254: "CC_Mid_Anterior",
    255: "CC_Anterior",
} | {
    value: f"{side}-{name}"
    for name, left, right in (
        ("Cerebral-White-Matter", 2, 41),
        ("Cerebral-Cortex", 3, 42),
        ("Lateral-Ventricle", 4, 43),
        ("Inf-Lat-Vent", 5, 44),
        ("Cerebellum-White-Matter", 7, 46),
        ("Cerebellum-Cortex", 8, 47),
        ("Thalamus", 10, 49),
        ("Caudate", 11, 50),
        ("Putamen", 12, 51),
        ("Pallidum", 13, 52),
        ("Hippocampus", 17, 53),
        ("Amygdala", 18, 54),
        ("Accumbens-area", 26, 58),
        ("VentralDC", 28, 60),
        ("undetermined", 29, 61),
        ("vessel", 30, 62),
        ("choroid-plexus", 31, 63),
        ("WM-hypointensities", 78, 79),
        ("non-WM-hypointensities", 81, 82),
    )
    for side, value in (("Left", left), ("Right", right))
}
"""The labels that FreeSurfer writes into ``aseg.mgz``."""

BUILT_IN = {"freesurfer": FREESURFER}
"""Tables that need no file, by the word that stands for them."""


@dataclass(frozen=True)
class LabelLine:
    """One line of a table.

    Attributes
    ----------
    name : str
    value : int or None
        None where colours say which pixels are meant.
    colour : (int, int, int) or None
    """

    name: str
    value: int | None = None
    colour: tuple[int, int, int] | None = None


def parse_label_table(text: str) -> tuple[LabelLine, ...] | None:
    """The lines of a table, None when the text is none of those that are understood.

    Examples
    --------
    >>> parse_label_table('0 0 0 0 0 0 0 "Clear Label"')[0]
    LabelLine(name='Clear Label', value=0, colour=None)
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for pattern in (_CVAT, _ITK_SNAP, _COLOUR_TABLE):
        found = [pattern.fullmatch(line) for line in lines]
        if lines and all(found):
            return tuple(_line(match) for match in found if match)
    return None


def _line(match: re.Match[str]) -> LabelLine:
    parts = match.groupdict()
    name = str(parts.get("quoted") or parts["name"]).strip()
    if "colour" in parts:
        red, green, blue = (int(number) for number in parts["colour"].split(","))
        return LabelLine(name, colour=(red, green, blue))
    return LabelLine(name, int(parts["value"]))
