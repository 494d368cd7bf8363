"""Cases put together: the B-scans of one volume, their thickness maps and ETDRS grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softlabel.errors import CaseError
from softlabel.measurements.scans import Layers, ScanSurfaces, volume_of
from softlabel.surfaces import Sector, etdrs_table, thickness_um
from softlabel.types import Array

MOST_BSCANS = 4096
"""A larger number of a B-scan is a typing error, and would make maps that fill the memory."""


@dataclass(frozen=True, eq=False)
class Volume:
    """The B-scans of one volume that have a label map; a B-scan alone is a volume of one.

    Attributes
    ----------
    name, group : str
    scans : tuple of ScanSurfaces
    places : tuple of int
        B-scan of the volume that each B-scan of ``scans`` is, from 0.
    axial_um, lateral_um : float
    between_um : float or None
        Distance of B-scans, where it is known.
    """

    name: str
    group: str
    scans: tuple[ScanSurfaces, ...]
    places: tuple[int, ...]
    axial_um: float
    lateral_um: float
    between_um: float | None

    @property
    def rows(self) -> Array:
        """Rows of the boundaries (L, columns, known B-scans)."""
        return np.concatenate([scan.found.rows for scan in self.scans], axis=2)

    def spread(self, known: Array, fill: float = np.nan) -> Array:
        """Values of the known B-scans, on the last axis, among those of the whole volume."""
        whole = np.full((*known.shape[:-1], self.places[-1] + 1), fill, known.dtype, order="F")
        whole[..., list(self.places)] = known
        return whole

    def thickness(self, layers: Layers) -> dict[str, Array]:
        """Thickness in µm of the retina and of each layer, (columns, B-scans), NaN if unknown."""
        rows = self.spread(self.rows)
        return {
            name: thickness_um(rows, upper, lower, self.axial_um)
            for name, (upper, lower) in layers.thicknesses.items()
        }

    def etdrs(self, layers: Layers, eye: str | None, first: str) -> dict[str, tuple[Sector, ...]]:
        """The ETDRS grid of each thickness, around the middle of the B-scans that are known.

        Empty for one B-scan, and where the distance of B-scans is not known.
        """
        if self.between_um is None or self.places[-1] < 1:
            return {}
        maps = self.thickness(layers)
        centre = self.centre
        spacing_mm = (self.lateral_um / 1000, self.between_um / 1000)
        return {
            name: etdrs_table(values, spacing_mm, centre, eye, first)
            for name, values in maps.items()
        }

    @property
    def centre(self) -> tuple[float, float]:
        """Column and B-scan in the middle of what is known."""
        columns = self.scans[0].found.rows.shape[1]
        return (columns - 1) / 2, (self.places[0] + self.places[-1]) / 2


def volume_from(name: str, scans: Sequence[ScanSurfaces], bscan_mm: float | None) -> Volume:
    """Put the cases of one volume together.

    Parameters
    ----------
    name : str
    scans : sequence of ScanSurfaces
        Not empty; one volume, or its B-scans in the order of their numbers.
    bscan_mm : float or None
        Distance of B-scans, where the scans do not state it.

    Raises
    ------
    CaseError
        When the B-scans do not fit together.
    """
    first = scans[0]
    for scan in scans[1:]:
        same_size = scan.found.rows.shape[1] == first.found.rows.shape[1]
        if not same_size or scan.spacing_um[:2] != first.spacing_um[:2]:
            raise CaseError(
                f"{scan.id} has {scan.found.rows.shape[1]} A-scans {scan.spacing_um[1]:g} µm apart "
                f"and {first.id} has {first.found.rows.shape[1]} {first.spacing_um[1]:g} µm apart; "
                f"expected B-scans of one volume ({name}) to agree. Rename one of them."
            )
    stated = first.spacing_um[2] if len(first.spacing_um) > 2 else None
    between = 1000 * bscan_mm if bscan_mm is not None else stated
    places = _places(name, scans)
    if places[-1] >= MOST_BSCANS:
        raise CaseError(
            f"{scans[-1].id} would be B-scan {places[-1]} of a volume; expected fewer than "
            f"{MOST_BSCANS}. Rename the case."
        )
    return Volume(
        name, first.group, tuple(scans), places, first.spacing_um[0], first.spacing_um[1], between
    )


def _places(name: str, scans: Sequence[ScanSurfaces]) -> tuple[int, ...]:
    """Number of every known B-scan in its volume."""
    depths = [scan.found.rows.shape[2] for scan in scans]
    if len(scans) == 1 and depths[0] > 1:
        return tuple(range(depths[0]))
    for scan, depth in zip(scans, depths, strict=True):
        if depth > 1:
            raise CaseError(
                f"{scan.id} is a volume of {depth} B-scans, and by its name one B-scan of the "
                f"volume {name}; expected images. Rename the case."
            )
    return tuple(volume_of(scan.id)[1] or 0 for scan in scans)
