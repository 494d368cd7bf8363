"""A DICOM series as a volume: slices in the order of their positions, and where voxels lie.

Axes are those of NIfTI and NRRD files of the same scan: column, row, slice. Slices are sorted by
their position along the normal of the image plane; numbers of instances mean nothing. A series of
one image is two-dimensional, (row, column).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.dicomfiles import frames, read_file, read_header, reading_dicom
from softlabel.readers.geometry import TOLERANCE_VOXELS, require_invertible
from softlabel.readers.pixels import Pixels
from softlabel.readers.safety import MAX_VOXELS
from softlabel.types import Array

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM points to the left and to the back, NIfTI to the right and to the front."""

_PARALLEL = 1e-3


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a series lie.

    Attributes
    ----------
    shape : tuple of int
        Columns, rows, slices.
    to_patient_mm : ndarray, shape (4, 4)
        Column, row and slice to the patient coordinates of DICOM (LPS).
    """

    shape: tuple[int, int, int]
    to_patient_mm: Array

    def voxels_of(self, points_mm: Any) -> Array:
        """Column, row and slice, not rounded, of patient coordinates, (N, 3)."""
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        matrix, origin = self.to_patient_mm[:3, :3], self.to_patient_mm[:3, 3]
        voxels: Array = np.linalg.solve(matrix, (points - origin).T).T
        return voxels

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxel centres along columns, rows and slices."""
        lengths = np.linalg.norm(self.to_patient_mm[:3, :3], axis=0)
        column, row, slice_ = (float(f"{length:.7g}") for length in lengths)
        return column, row, slice_


@dataclass(frozen=True, eq=False)
class _Slice:
    path: Path
    header: Any
    position: Array
    orientation: Array
    spacing: Array

    @property
    def size(self) -> tuple[int, int]:
        return int(self.header.Rows), int(self.header.Columns)


def read_series(paths: Sequence[Path], *, with_pixels: bool = True) -> tuple[Pixels, Grid]:
    """Read the instances of one series.

    Parameters
    ----------
    paths : sequence of Path
        In any order.
    with_pixels : bool
        False for the grid alone; the pixels then are one voxel that means nothing.

    Returns
    -------
    Pixels
        After ``RescaleSlope`` and ``RescaleIntercept``: the smallest of int16 and int32 where at
        most 16 bits are stored, all slopes are 1 and all intercepts whole; else float32.
    Grid

    Raises
    ------
    CaseError
        When an instance is damaged or lacks its place in space, two of them share a position, one
        is missing between others, or sizes and directions differ.
    """
    slices = [_slice(path) for path in paths]
    first = slices[0]
    for other in slices[1:]:
        _require_alike(first, other)
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    slices.sort(key=lambda one: float(one.position @ normal))
    grid = _grid(slices, normal)
    if not with_pixels:
        return Pixels(np.zeros((1, 1), np.uint8)), grid
    values = _values(slices, grid)
    affine = require_invertible(LPS_TO_RAS @ grid.to_patient_mm, slices[0].path)
    if len(slices) == 1:
        column, row, _ = grid.spacing_mm
        return Pixels(values[:, :, 0].T, spacing_mm=(row, column)), grid
    return Pixels(values, spacing_mm=grid.spacing_mm, affine=affine, slice_axis=2), grid


def _slice(path: Path) -> _Slice:
    dataset = read_header(path)
    with reading_dicom(path):
        if int(dataset.get("NumberOfFrames") or 1) != 1:
            raise CaseError(
                f"{path} holds {dataset.NumberOfFrames} frames (an enhanced image); expected one "
                "file a slice. Convert it to single frames, or to NIfTI."
            )
        for keyword in ("Rows", "Columns", "BitsAllocated"):  # a damaged one may be a list
            int(dataset.get(keyword) or 0)
        position = _numbers(dataset, "ImagePositionPatient", 3, path)
        orientation = _numbers(dataset, "ImageOrientationPatient", 6, path)
        spacing = _numbers(dataset, "PixelSpacing", 2, path)
        lengths = np.linalg.norm(orientation.reshape(2, 3), axis=1)
        right_angle = abs(orientation[:3] @ orientation[3:]) <= _PARALLEL
        if not (spacing > 0).all() or not right_angle or (abs(lengths - 1) > _PARALLEL).any():
            raise CaseError(
                f"{path} has the PixelSpacing {spacing.tolist()} and the ImageOrientationPatient "
                f"{orientation.tolist()}; expected positive distances and two unit vectors at a "
                "right angle. Export the series again."
            )
    return _Slice(path, dataset, position, orientation, spacing)


def _numbers(dataset: Any, keyword: str, n: int, path: Path) -> Array:
    values = dataset.get(keyword)
    found = [] if values is None else [float(v) for v in values]
    if len(found) != n or not np.isfinite(found).all():
        raise CaseError(
            f"{path} has the {keyword} {found or 'nothing'}; expected {n} numbers, which say where "
            "the pixels lie. Export the series again, or give its images as PNG or TIFF."
        )
    return np.array(found)


def _require_alike(first: _Slice, other: _Slice) -> None:
    alike = first.size == other.size
    alike = alike and bool(np.abs(first.orientation - other.orientation).max() <= _PARALLEL)
    alike = alike and bool(np.allclose(first.spacing, other.spacing, rtol=_PARALLEL, atol=0))
    if not alike:
        raise CaseError(
            f"{first.path} and {other.path} are of one series and differ: {_place(first)} against "
            f"{_place(other)}; expected slices of one size, spacing and direction. Leave out "
            "localizers, or split the series."
        )


def _place(one: _Slice) -> str:
    directions = ", ".join(f"{number:.3g}" for number in one.orientation)
    return f"{one.size[0]} × {one.size[1]} pixels of {one.spacing.tolist()} mm along ({directions})"


def _grid(slices: list[_Slice], normal: Array) -> Grid:
    first, last = slices[0], slices[-1]
    step = normal if len(slices) == 1 else (last.position - first.position) / (len(slices) - 1)
    distance = float(step @ normal)
    for number, (one, following) in enumerate(itertools.pairwise(slices)):
        gap = float((following.position - one.position) @ normal)
        if gap <= TOLERANCE_VOXELS * distance or gap == 0:
            raise CaseError(
                f"{one.path} and {following.path} lie at one position; expected one image a slice. "
                "Split the series by time, echo or b-value."
            )
        off = np.linalg.norm(following.position - first.position - (number + 1) * step)
        if off > TOLERANCE_VOXELS * distance:
            raise CaseError(
                f"{one.path} and {following.path} are neighbours {gap:.4g} mm apart, where "
                f"{distance:.4g} mm is the mean of the series; expected equal distances along a "
                "line. A slice may be missing: download the series again, or resample it."
            )
    sheared = float(np.linalg.norm(step - distance * normal))
    if sheared > _PARALLEL * distance * max(1, 100 / len(slices)):
        raise CaseError(
            f"{first.path}: the slices of the series are shifted by {sheared:.4g} mm each within "
            "their plane (a tilted gantry); expected them straight above each other. Resample the "
            "series."
        )
    rows, columns = first.size
    matrix = np.eye(4)
    matrix[:3, 0] = first.orientation[:3] * first.spacing[1]
    matrix[:3, 1] = first.orientation[3:] * first.spacing[0]
    matrix[:3, 2], matrix[:3, 3] = step, first.position
    return Grid((columns, rows, len(slices)), matrix)


def _values(slices: list[_Slice], grid: Grid) -> Array:
    """Intensities, (columns, rows, slices)."""
    if int(np.prod(grid.shape, dtype=object)) > MAX_VOXELS:
        raise CaseError(
            f"{slices[0].path}: the series has {' × '.join(map(str, grid.shape))} voxels, more "
            f"than the {MAX_VOXELS} that softlabel reads at once. Crop or split it."
        )
    scalings = [_scaling(one) for one in slices]
    whole = all(
        slope == 1 and intercept.is_integer() and abs(intercept) < 2**30
        for slope, intercept in scalings
    ) and all(int(one.header.get("BitsAllocated") or 0) <= 16 for one in slices)
    values: Array = np.empty(grid.shape[::-1], dtype=np.int32 if whole else np.float32)
    for number, (one, (slope, intercept)) in enumerate(zip(slices, scalings, strict=True)):
        with reading_dicom(one.path):
            (stored,) = frames(read_file(one.path), one.path)
        if whole:
            values[number] = stored.astype(np.int64) + int(intercept)
        else:
            values[number] = stored * np.float64(slope) + intercept
    if whole and values.min() >= -(2**15) and values.max() < 2**15:
        values = values.astype(np.int16)
    return values.T


def _scaling(one: _Slice) -> tuple[float, float]:
    with reading_dicom(one.path):
        if "ModalityLUTSequence" in one.header:
            raise CaseError(
                f"{one.path} has a table of intensities (ModalityLUTSequence); expected a slope "
                "and an intercept. Convert the series to NIfTI."
            )
        slope = one.header.get("RescaleSlope")
        intercept = one.header.get("RescaleIntercept")
        pair = float(1 if slope is None else slope), float(intercept or 0)
    if not np.isfinite(pair).all() or pair[0] == 0 or max(map(abs, pair)) > 1e12:
        raise CaseError(
            f"{one.path} has the RescaleSlope {pair[0]} and the RescaleIntercept {pair[1]}; "
            "expected finite numbers and a slope other than 0. Export the series again."
        )
    return pair
