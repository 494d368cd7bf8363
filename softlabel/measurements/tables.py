"""Measurements as CSV: what is unknown is an empty field, µm have three decimals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from softlabel.measurements.scans import Layers, ScanSurfaces
from softlabel.measurements.volumes import Volume
from softlabel.surfaces import Sector, SurfaceErrors

Value = str | int | float

CASE_COLUMNS = (
    "case", "patient", "surface", "ascans", "coverage", "through_fluid", "violations",
    "absolute_um", "signed_um", "compared", "missing",
    "graders_absolute_um", "graders_signed_um", "graders_compared",
)  # fmt: skip
"""Of ``cases.csv``, one row for each case and surface:

* ``coverage``: share of ``ascans`` that have the surface; ``through_fluid`` of them by a guess.
* ``violations``: steps from a class to one of a layer above, in the whole case.
* ``absolute_um``, ``signed_um``: mean error over the ``compared`` A-scans that both show, positive
  where the surface lies deeper than the reference's; ``missing`` A-scans only the reference shows.
* ``graders_…``: the same of the second grader from the first.
"""

ETDRS_COLUMNS = ("volume", "patient", "layer", "sector", "mean_um", "ascans", "covered")


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> bytes:
    """Rows below their header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _text(value: Value) -> Value:
    if not isinstance(value, float | np.floating):
        return value
    return f"{value:.3f}" if np.isfinite(value) else ""


def surface_columns(layers: Layers) -> tuple[str, ...]:
    """Of ``NAME.surfaces.csv``: A-scans counted from 0, depths of the surfaces, what is a guess."""
    depths = tuple(f"{name} (um)" for name in layers.surfaces)
    return ("bscan", "ascan", *depths, "through_fluid", "violations")


def surface_rows(volume: Volume, layers: Layers) -> Iterator[tuple[Value, ...]]:
    """Every A-scan of the known B-scans: depth of each surface below the upper edge of the frame.

    A row of the image is a pixel; its upper edge lies half a pixel above its centre.
    """
    depths = (volume.rows + 0.5) * volume.axial_um
    seen = np.concatenate([scan.found.seen for scan in volume.scans], axis=2)
    violations = np.concatenate([scan.found.violations for scan in volume.scans], axis=1)
    guessed = np.isfinite(depths) & ~seen
    for b, place in enumerate(volume.places):
        for a in range(depths.shape[1]):
            names = [layers.surfaces[k] for k in np.flatnonzero(guessed[:, a, b])]
            yield (place, a, *depths[:, a, b], ";".join(names), int(violations[a, b]))


def case_rows(scan: ScanSurfaces, layers: Layers) -> Iterator[tuple[Value, ...]]:
    """A row of ``cases.csv`` for each surface of a case."""
    found = scan.found
    ascans = found.violations.size
    guessed = (np.isfinite(found.rows) & ~found.seen).reshape(len(found.rows), -1).sum(axis=1)
    violations = int(found.violations.sum())
    for k, name in enumerate(layers.surfaces):
        yield (
            scan.id, scan.group, name, ascans, float(found.coverage[k]), int(guessed[k]),
            violations, *_of_errors(scan.errors, k), *_of_errors(scan.graders, k)[:3],
        )  # fmt: skip


def _of_errors(errors: SurfaceErrors | None, k: int) -> tuple[Value, Value, Value, Value]:
    if errors is None:
        return "", "", "", ""
    return (
        float(errors.absolute_um[k]), float(errors.signed_um[k]), int(errors.n[k]),
        int(errors.missing[k]),
    )  # fmt: skip


def etdrs_rows(
    volume: Volume, sectors: Mapping[str, Sequence[Sector]]
) -> Iterator[tuple[Value, ...]]:
    """A row of ``etdrs.csv`` for each layer and sector of a volume."""
    for layer, grid in sectors.items():
        for sector in grid:
            yield (
                volume.name, volume.group, layer, sector.name, sector.mean_um, sector.n,
                sector.covered,
            )  # fmt: skip
