"""A folder of measurements: a file of each volume as it is measured, tables of all at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError, UsageError
from softlabel.files.atomic import publish, require_writable
from softlabel.files.names import file_names
from softlabel.measurements.files import duke_bytes, thickness_bytes
from softlabel.measurements.scans import volume_of
from softlabel.measurements.surfaces import Comparison, measure_surfaces
from softlabel.measurements.tables import (
    CASE_COLUMNS,
    ETDRS_COLUMNS,
    Value,
    case_rows,
    csv_bytes,
    etdrs_rows,
    surface_columns,
    surface_rows,
)
from softlabel.measurements.volumes import Volume


@dataclass(frozen=True)
class Outputs:
    """What is written beside the tables.

    Attributes
    ----------
    duke : bool
        ``NAME.mat`` of each volume, in the layout of Duke OCT-DME.
    eye : {"right", "left"} or None
        Of all volumes, for the ETDRS grid.
    first_bscan : {"inferior", "superior"}
        Where B-scan 0 lies.
    draw : callable (Volume) -> bytes, or None
        Makes ``NAME.png`` of each volume.
    """

    duke: bool = False
    eye: str | None = None
    first_bscan: str = "inferior"
    draw: Callable[[Volume], bytes] | None = None


@dataclass(frozen=True)
class SurfaceSummary:
    """One surface over all cases: means over those that have a number.

    Attributes
    ----------
    name : str
    coverage : float
    absolute_um, signed_um : float
        NaN without a reference.
    graders_absolute_um, graders_signed_um : float
        NaN without two graders.
    """

    name: str
    coverage: float
    absolute_um: float
    signed_um: float
    graders_absolute_um: float
    graders_signed_um: float


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes
    ----------
    written : tuple of Path
    cases, volumes : int
    ascans, disordered : int
        A-scans of all cases, and those whose classes were out of order.
    surfaces : tuple of SurfaceSummary
    failures : mapping of str to str
        Case or volume to reason.
    unmatched : tuple of str
        Cases that the reference does not have.
    without_grid : tuple of str
        Volumes of several B-scans whose distance nothing states: no ETDRS grid.
    """

    written: tuple[Path, ...]
    cases: int
    volumes: int
    ascans: int
    disordered: int
    surfaces: tuple[SurfaceSummary, ...]
    failures: Mapping[str, str]
    unmatched: tuple[str, ...]
    without_grid: tuple[str, ...]

    @property
    def absent(self) -> tuple[str, ...]:
        """Surfaces that no case has."""
        return tuple(s.name for s in self.surfaces if s.coverage == 0)


@dataclass
class _Collected:
    """What the tables at the end are of."""

    cases: list[tuple[Value, ...]] = field(default_factory=list)
    etdrs: list[tuple[Value, ...]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    without_grid: list[str] = field(default_factory=list)
    volumes: int = 0
    ascans: int = 0
    disordered: int = 0


def write_surfaces(
    comparison: Comparison,
    folder: Path,
    outputs: Outputs | None = None,
    done: Callable[[str], None] = lambda case_id: None,
) -> Report:
    """Measure all cases and write the files.

    ``NAME.surfaces.csv`` and ``NAME.thickness.npz`` of each volume, ``cases.csv``, and
    ``etdrs.csv`` where there is a grid; files of these names are replaced.

    Parameters
    ----------
    comparison : Comparison
    folder : Path
        Made where it is not there.
    outputs : Outputs, optional
    done : callable (id)
        Called after each case.

    Returns
    -------
    Report
        Cases that cannot be measured are in it; they do not raise.

    Raises
    ------
    UsageError
        When nothing can be measured because of the options, or the folder cannot be written to.
    CaseError
        When not one case could be measured.
    """
    outputs = outputs or Outputs()
    _require_place(folder, comparison)
    folder.mkdir(parents=True, exist_ok=True)
    names = file_names(
        list(dict.fromkeys(n for i in comparison.source.ids for n in (volume_of(i)[0], i)))
    )
    collected = _Collected()
    failures: dict[str, str] = {}
    unmatched: list[str] = []
    for volume in measure_surfaces(
        comparison, with_images=outputs.duke or outputs.draw is not None,
        failed=failures.__setitem__, done=done, unmatched=unmatched.append,
    ):  # fmt: skip
        _write_volume(volume, folder / names[volume.name], comparison, outputs, collected)
    if not collected.volumes:
        reasons = list(failures.values()) or [f"{comparison.source.path} has no case."]
        raise CaseError(f"Nothing could be measured: {reasons[0]}")
    _write_table(folder / "cases.csv", CASE_COLUMNS, collected.cases, collected)
    if collected.etdrs:
        _write_table(folder / "etdrs.csv", ETDRS_COLUMNS, collected.etdrs, collected)
    return Report(
        tuple(collected.written), len({row[0] for row in collected.cases}), collected.volumes,
        collected.ascans, collected.disordered, _summary(collected.cases, comparison), failures,
        tuple(unmatched), tuple(collected.without_grid),
    )  # fmt: skip


def _require_place(folder: Path, comparison: Comparison) -> None:
    """Refuse a folder that cannot be written to, or whose files a source would be read from."""
    require_writable(folder)
    for source in (comparison.source, comparison.reference):
        if source is not None and source.path.resolve() == folder.resolve():
            raise UsageError(
                f"The folder {folder} is that of the label maps, beside which nothing is written; "
                "give another with -o."
            )


def _write_volume(
    volume: Volume, stem: Path, comparison: Comparison, outputs: Outputs, collected: _Collected
) -> None:
    layers = comparison.layers
    files = {
        ".surfaces.csv": csv_bytes(surface_columns(layers), surface_rows(volume, layers)),
        ".thickness.npz": thickness_bytes(volume, layers),
    }
    if outputs.duke:
        files[".mat"] = duke_bytes(volume)
    if outputs.draw is not None:
        files[".png"] = outputs.draw(volume)
    for ending, data in files.items():
        path = stem.with_name(stem.name + ending)
        publish(path, data)
        collected.written.append(path)
    grid = volume.etdrs(layers, outputs.eye, outputs.first_bscan)
    collected.etdrs += etdrs_rows(volume, grid)
    if len(volume.places) > 1 and volume.between_um is None:
        collected.without_grid.append(volume.name)
    for scan in volume.scans:
        collected.cases += case_rows(scan, layers)
        collected.ascans += scan.found.violations.size
        collected.disordered += int(np.count_nonzero(scan.found.violations))
    collected.volumes += 1


def _write_table(
    path: Path, columns: tuple[str, ...], rows: list[tuple[Value, ...]], collected: _Collected
) -> None:
    publish(path, csv_bytes(columns, rows))
    collected.written.append(path)


def _summary(rows: list[tuple[Value, ...]], comparison: Comparison) -> tuple[SurfaceSummary, ...]:
    """Means over cases, of each surface."""
    place = {column: n for n, column in enumerate(CASE_COLUMNS)}
    numbers = ("coverage", "absolute_um", "signed_um", "graders_absolute_um", "graders_signed_um")

    def mean(name: str, column: str) -> float:
        values = [r[place[column]] for r in rows if r[place["surface"]] == name]
        known = [v for v in values if isinstance(v, float) and np.isfinite(v)]
        return float(np.mean(known)) if known else float("nan")

    return tuple(
        SurfaceSummary(name, *(mean(name, column) for column in numbers))
        for name in comparison.layers.surfaces
    )
