"""Structure sets of radiotherapy (RTSTRUCT): contours in patient coordinates to voxels of a series.

A voxel belongs to a structure when its centre lies inside of the structure's contours on its slice.
All closed contours of a structure on one slice count together by even-odd: a contour within another
is a hole, an island in that is not, and keyholes, which run to a hole and back, work too. For
CLOSEDPLANAR_XOR this is what the standard says; for CLOSED_PLANAR it is what contouring tools mean.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.dicomfiles import read_header, reading_dicom
from softlabel.readers.dicomseries import Grid
from softlabel.readers.outlines import outline_pixels
from softlabel.types import Array

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")

MAX_OFF_SLICE = 0.25
"""Slices that a contour may lie beside the slice that it was drawn on, by rounding."""


def structure_names(dataset: Any, path: Path) -> dict[int, str]:
    """Names of the structures by their number.

    Raises
    ------
    CaseError
        When there is none.
    """
    with reading_dicom(path):
        names = {
            int(item.ROINumber): " ".join(str(item.get("ROIName") or "").split())
            for item in dataset.get("StructureSetROISequence") or ()
        }
    if not names:
        raise CaseError(f"{path} names no structure; expected at least one. Export it again.")
    return {number: name or f"structure {number}" for number, name in names.items()}


def read_structures(path: Path, grid: Grid) -> tuple[dict[str, Array], int]:
    """Voxels of each structure by its name, and how many contours were left out.

    Returns
    -------
    dict of str to ndarray of int64, shape (M,)
        Positions in the flattened grid (columns, rows, slices), each once. Structures without a
        closed contour have none.
    int
        Contours that are points or open lines, or lie beyond the first or last slice.

    Raises
    ------
    CaseError
        When the file is damaged, or a contour does not lie in a slice.
    """
    dataset = read_header(path)
    names = structure_names(dataset, path)
    voxels: dict[str, list[Array]] = {name: [] for name in names.values()}
    left_out = 0
    with reading_dicom(path):
        structures = [
            (int(item.ReferencedROINumber), list(item.get("ContourSequence") or ()))
            for item in dataset.get("ROIContourSequence") or ()
        ]
    for number, contours in structures:
        name = names.get(number, f"structure {number}")
        rings, outside = _rings(contours, grid, f"{path}, structure {name!r:.60}", path)
        left_out += outside
        voxels.setdefault(name, []).extend(
            _filled(on_slice, slice_number, grid, f"{path}, structure {name!r:.60},")
            for slice_number, on_slice in rings.items()
        )
    joined = {
        name: np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
        for name, found in voxels.items()
    }
    return joined, left_out


def _rings(
    contours: list[Any], grid: Grid, where: str, path: Path
) -> tuple[dict[int, list[Array]], int]:
    """Vertices (column, row) of the closed contours of each slice."""
    rings = defaultdict[int, list[Array]](list)
    left_out = 0
    for contour in contours:
        with reading_dicom(path):
            kind = str(contour.get("ContourGeometricType"))
            data = np.array(contour.get("ContourData") or (), dtype=np.float64)
        if kind not in _CLOSED:
            left_out += 1
            continue
        if data.size < 9 or data.size % 3 or not np.isfinite(data).all():
            raise CaseError(
                f"{where} has a contour of {data.size} numbers; expected x, y and z of three or "
                "more points. Export it again."
            )
        voxels = grid.voxels_of(data)
        number = int(np.clip(np.rint(voxels[:, 2].mean()), -1, grid.shape[2]))
        if not 0 <= number < grid.shape[2]:
            left_out += 1
            continue
        off = float(np.abs(voxels[:, 2] - number).max())
        if off > MAX_OFF_SLICE:
            raise CaseError(
                f"{where} has a contour that lies {off:.2g} slices off slice {number} of its "
                f"series; expected at most {MAX_OFF_SLICE}. Export contours on the slices of the "
                "series."
            )
        rings[number].append(voxels[:, :2])
    return rings, left_out


def _filled(rings: list[Array], slice_number: int, grid: Grid, where: str) -> Array:
    """Positions of the voxels of one slice inside of contours."""
    columns, rows, _ = grid.shape
    try:
        # A voxel's centre is a whole number here, and a half in outlines.
        pixels = outline_pixels([ring + 0.5 for ring in rings], (rows, columns))
    except ValueError as error:
        raise CaseError(f"{where} has {error}. Export it again.") from error
    row, column = np.divmod(pixels, columns)
    place = (column, row, np.full(len(pixels), slice_number))
    return np.asarray(np.ravel_multi_index(place, grid.shape))
