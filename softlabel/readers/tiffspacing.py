"""How far apart the pixels of a TIFF file lie: OME's and ImageJ's own words, and resolution tags.

Resolution tags are taken only when they cannot be what programs fill in by default, such as 72
dots an inch.
"""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

MM_PER_UNIT = {
    "nm": 1e-6, "nanometer": 1e-6, "å": 1e-7, "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "micron": 1e-3,
    "microns": 1e-3, "micrometer": 1e-3, "\\u00b5m": 1e-3, "mm": 1.0, "millimeter": 1.0,
    "cm": 10.0, "centimeter": 10.0, "m": 1000.0, "inch": 25.4, "in": 25.4,
}  # fmt: skip
"""Units that OME and ImageJ name, in lower case."""

DEFAULT_DOTS_PER_INCH = (1, 72, 75, 96, 100, 120, 150, 200, 240, 250, 254, 300, 360, 400, 500, 600,
                         720, 1200, 2400)  # fmt: skip
"""Resolutions of screens, printers and scanners: they say nothing of a scan's pixels."""

_INCH, _CENTIMETRE = 2, 3


def tiff_spacing_mm(tif: Any, axes: str) -> tuple[float, ...] | None:
    """Distance of pixels along each spatial axis, in the order of the file.

    Parameters
    ----------
    tif : tifffile.TiffFile
    axes : str
        Letters of the spatial axes, such as "ZYX".

    Returns
    -------
    tuple of float or None
        None where the file does not tell it for every axis. ImageJ's numbers without a unit are
        taken for millimetres.
    """
    known = _of_ome(tif) if tif.is_ome else _of_imagej(tif) if tif.is_imagej else _of_tags(tif)
    # pages of a stack are called I or Q by tifffile where no metadata name them
    spacing = [known.get("Z" if axis in "ZIQ" else axis) for axis in axes]
    usable = [s for s in spacing if s is not None and math.isfinite(s) and s > 0]
    return tuple(usable) if len(usable) == len(axes) else None


def _of_ome(tif: Any) -> dict[str, float]:
    """The attributes PhysicalSizeX and so on; their unit is micrometres when it is not stated."""
    try:
        root = ElementTree.fromstring(tif.ome_metadata)
    except ElementTree.ParseError:
        return {}
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return {}
    found = {}
    for axis in "XYZ":
        size = pixels.get(f"PhysicalSize{axis}")
        factor = MM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").lower())
        if size is not None and factor is not None:
            found[axis] = _number(size) * factor
    return found


def _of_imagej(tif: Any) -> dict[str, float]:
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", "mm")).lower()
    if unit == "pixel" or unit not in MM_PER_UNIT:
        return {}
    factor = MM_PER_UNIT[unit]
    found = {axis: length * factor for axis, length in _pixel_lengths(tif).items()}
    if "spacing" in metadata:
        found["Z"] = abs(_number(metadata["spacing"])) * factor  # ImageJ writes some as negative
    return found


def _of_tags(tif: Any) -> dict[str, float]:
    unit = tif.pages[0].tags.get("ResolutionUnit")
    mm = {_INCH: 25.4, _CENTIMETRE: 10.0}.get(0 if unit is None else int(unit.value))
    if mm is None:
        return {}
    lengths = {axis: length * mm for axis, length in _pixel_lengths(tif).items()}
    usual = all(
        any(math.isclose(25.4 / length, dots, rel_tol=2e-3) for dots in DEFAULT_DOTS_PER_INCH)
        for length in lengths.values()
    )
    return {} if usual else lengths


def _pixel_lengths(tif: Any) -> dict[str, float]:
    """Length of a pixel in the file's unit, by the tags that state pixels a unit."""
    lengths = {}
    for axis in "XY":
        tag = tif.pages[0].tags.get(f"{axis}Resolution")
        pixels, units = tag.value if tag is not None and isinstance(tag.value, tuple) else (0, 0)
        if pixels > 0 and units > 0:
            lengths[axis] = units / pixels
    return lengths


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
