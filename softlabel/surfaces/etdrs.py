"""The ETDRS grid: mean thickness in a disc of 1 mm and in the quadrants of rings up to 3 and 6 mm.

Early Treatment Diabetic Retinopathy Study report number 10, Ophthalmology 98(5), 1991. Quadrants
are cut along the diagonals. Every A-scan stands for the same area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softlabel.types import Array

DIAMETERS_MM = (1.0, 3.0, 6.0)

EYES = ("right", "left")


@dataclass(frozen=True)
class Sector:
    """Thickness in one sector.

    Attributes
    ----------
    name : str
        ``centre``, or ``inner`` or ``outer`` and a direction.
    mean_um : float
        NaN where nothing is known.
    n : int
        A-scans with a thickness.
    covered : float
        Share of the sector's area that they stand for, from 0 to about 1.
    """

    name: str
    mean_um: float
    n: int
    covered: float


def etdrs_table(
    thickness_um: Array,
    spacing_mm: tuple[float, float],
    centre: tuple[float, float] | None = None,
    eye: str | None = None,
    first_bscan: str = "inferior",
) -> tuple[Sector, ...]:
    """Mean thickness in the nine sectors of the ETDRS grid.

    Parameters
    ----------
    thickness_um : ndarray of float, shape (columns, B-scans)
        NaN where unknown.
    spacing_mm : tuple of float
        Distance of A-scans in a B-scan, and of B-scans.
    centre : tuple of float, optional
        Column and B-scan of the fovea, from 0; default the middle of the map.
    eye : {"right", "left"}, optional
        Tells nasal from temporal: columns run towards the nose in a right eye. Without it these
        quadrants are named by the ``first`` and the ``last`` columns.
    first_bscan : {"inferior", "superior"}
        Where B-scan 0 lies; instruments that scan upwards begin below.

    Returns
    -------
    tuple of Sector
        The centre, then the inner and the outer ring: superior, nasal, inferior, temporal.

    Raises
    ------
    ValueError
        When the map is not one of a volume, or a distance or a word cannot be.
    """
    _check(thickness_um, spacing_mm, eye, first_bscan)
    middle = centre or tuple((n - 1) / 2 for n in thickness_um.shape)
    along, across = (
        ((np.arange(n) - m) * s).reshape(shape)
        for n, m, s, shape in zip(
            thickness_um.shape, middle, spacing_mm, ((-1, 1), (1, -1)), strict=True
        )
    )
    radius = np.hypot(along, across)
    quadrants = _quadrants(along, across, eye, first_bscan)
    inner, middle_mm, outer = (d / 2 for d in DIAMETERS_MM)
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    sectors = [_sector("centre", radius <= inner, np.pi * inner**2, thickness_um, pixel_mm2)]
    for ring, low, high in (("inner", inner, middle_mm), ("outer", middle_mm, outer)):
        area = np.pi * (high**2 - low**2) / 4
        for name, quadrant in quadrants.items():
            inside = (radius > low) & (radius <= high) & quadrant
            sectors.append(_sector(f"{ring} {name}", inside, area, thickness_um, pixel_mm2))
    return tuple(sectors)


def _check(
    thickness_um: Array, spacing_mm: tuple[float, float], eye: str | None, first_bscan: str
) -> None:
    if thickness_um.ndim != 2 or min(thickness_um.shape) < 2:
        raise ValueError(
            f"the map of thickness has the shape {thickness_um.shape}; expected (columns, B-scans) "
            "of a volume with two B-scans or more."
        )
    if len(spacing_mm) != 2 or not all(0 < s < np.inf for s in spacing_mm):
        raise ValueError(
            "spacing_mm must be the distance of A-scans and that of B-scans in mm; got "
            f"{spacing_mm}."
        )
    if eye is not None and eye not in EYES:
        raise ValueError(f"eye must be one of {', '.join(EYES)}; got {eye!r}.")
    if first_bscan not in ("inferior", "superior"):
        raise ValueError(f"first_bscan must be inferior or superior; got {first_bscan!r}.")


def _quadrants(along: Array, across: Array, eye: str | None, first_bscan: str) -> dict[str, Array]:
    """Superior, nasal, inferior and temporal; diagonals belong to superior and inferior."""
    vertical = np.abs(across) >= np.abs(along)
    up = across < 0 if first_bscan == "superior" else across > 0
    last = along > 0
    nasal, temporal = {
        "right": (last, ~last),
        "left": (~last, last),
        None: (~last, last),
    }[eye]
    names = ("nasal", "temporal") if eye else ("first columns", "last columns")
    return {
        "superior": vertical & up,
        names[0]: ~vertical & nasal,
        "inferior": vertical & ~up,
        names[1]: ~vertical & temporal,
    }


def _sector(name: str, inside: Array, area_mm2: float, thickness: Array, pixel: float) -> Sector:
    values = thickness[inside]
    values = values[np.isfinite(values)]
    mean = float(values.mean()) if len(values) else float("nan")
    return Sector(name, mean, len(values), len(values) * pixel / area_mm2)
