"""DICOM segmentations (SEG) on the grid of the series that was segmented.

BINARY has one frame a segment and slice with a bit a pixel, LABELMAP one frame a slice with numbers
of segments. FRACTIONAL has a frame a segment and slice with integers up to
``MaximumFractionalValue``, which say how probable it is that a pixel belongs to the segment
(PROBABILITY), or how much of it the segment fills (OCCUPANCY): :func:`read_fractions` returns them
divided, with the name of what they mean, and never mixes both. Frames that are not stored are
empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.dicomfiles import frames, read_file, read_header, reading_dicom
from softlabel.readers.dicomseries import Grid
from softlabel.readers.geometry import TOLERANCE_VOXELS
from softlabel.readers.labels import distinct_values
from softlabel.types import Array

FRACTIONAL = "FRACTIONAL"
_KINDS = ("BINARY", FRACTIONAL, "LABELMAP")
_MEANINGS = ("PROBABILITY", "OCCUPANCY")


@dataclass(frozen=True, eq=False)
class Fractions:
    """A fractional segmentation.

    Attributes
    ----------
    meaning : {"PROBABILITY", "OCCUPANCY"}
    maximum : int
        What the stored integers were divided by.
    maps : mapping of str to ndarray of float32, shape (columns, rows, slices)
        Values 0 to 1 of each segment by its label.
    """

    meaning: str
    maximum: int
    maps: Mapping[str, Array]


@dataclass(frozen=True)
class _Place:
    """Where the first pixel of a frame lies on the grid, and its (rows, columns)."""

    column: int
    row: int
    number: int
    shape: tuple[int, ...]

    @property
    def index(self) -> tuple[slice, slice, int]:
        """Index of the frame's pixels, (columns, rows), in an array of the grid."""
        rows, columns = self.shape
        columns_of = slice(self.column, self.column + columns)
        return columns_of, slice(self.row, self.row + rows), self.number


def segment_labels(dataset: Any, path: Path) -> dict[int, str]:
    """Labels of the segments by their number, without the background of a LABELMAP.

    Raises
    ------
    CaseError
        When there is none, or two have one number.
    """
    labels: dict[int, str] = {}
    with reading_dicom(path):
        for item in dataset.get("SegmentSequence") or ():
            number, label = int(item.SegmentNumber), " ".join(str(item.SegmentLabel).split())
            if labels.setdefault(number, label) != label:
                raise CaseError(
                    f"{path} has two segments of the number {number}; expected numbers that "
                    "differ. Export the segmentation again."
                )
    labels.pop(0, None)
    if not labels:
        raise CaseError(f"{path} names no segment; expected at least one. Export it again.")
    return {number: label or f"segment {number}" for number, label in labels.items()}


def read_segments(path: Path, grid: Grid, threshold: float | None) -> dict[str, Array]:
    """Voxels of each segment by its label.

    Parameters
    ----------
    path : Path
    grid : Grid
    threshold : float or None
        From which fraction on a voxel belongs to a segment. Where several segments reach it, the
        larger fraction counts, of equal ones the segment of the lower number.

    Returns
    -------
    dict of str to ndarray of int64, shape (M,)
        Positions in the flattened grid (columns, rows, slices).

    Raises
    ------
    CaseError
        When the file is damaged, its frames do not lie on the grid, or it is FRACTIONAL and no
        threshold is given.
    """
    dataset = read_file(path)
    labels = segment_labels(dataset, path)
    if _kind(dataset, path) != FRACTIONAL:
        return _segments(dataset, labels, path, grid)
    if threshold is None:
        raise CaseError(
            f"{path} holds fractions ({_meaning(dataset, path)}) instead of labels; expected a "
            "BINARY or LABELMAP segmentation. Say from which fraction on a voxel belongs to a "
            "segment with --threshold, for example 0.5."
        )
    return _largest_fractions(dataset, labels, path, grid, threshold)


def _segments(dataset: Any, labels: Mapping[int, str], path: Path, grid: Grid) -> dict[str, Array]:
    parts: dict[str, list[Array]] = {label: [] for label in labels.values()}
    for number, place, values in _placed_frames(dataset, path, grid):
        numbers = [number] if number else [n for n in distinct_values(values) if n]
        for found in numbers:
            mask = values != 0 if number else values == found
            parts[_label(labels, found, path)].append(_positions(mask, place, grid))
    return {
        label: np.concatenate(found) if found else np.empty(0, np.int64)
        for label, found in parts.items()
    }


def _positions(mask: Array, place: _Place, grid: Grid) -> Array:
    rows, columns = np.nonzero(mask)
    where = (columns + place.column, rows + place.row, np.full(len(rows), place.number))
    return np.asarray(np.ravel_multi_index(where, grid.shape))


def _largest_fractions(
    dataset: Any, labels: Mapping[int, str], path: Path, grid: Grid, threshold: float
) -> dict[str, Array]:
    maximum = _maximum(dataset, path)
    largest = np.zeros(grid.shape, dtype=np.uint8)
    owner = np.full(grid.shape, np.iinfo(np.int32).max, dtype=np.int32)
    for number, place, values in _placed_frames(dataset, path, grid):
        _label(labels, number, path)
        _require_fractions(values, maximum, path)
        fractions, largest_here, owner_here = values.T, largest[place.index], owner[place.index]
        wins = (fractions > largest_here) | ((fractions == largest_here) & (number < owner_here))
        wins &= (fractions > 0) & (fractions / maximum >= threshold)
        largest_here[wins] = fractions[wins]
        owner_here[wins] = number
    return {label: np.flatnonzero(owner == number) for number, label in labels.items()}


def holds_fractions(path: Path) -> bool:
    """Whether a segmentation is FRACTIONAL; reads its header only.

    Raises
    ------
    CaseError
        When the header is damaged, or the segmentation is of an unknown type.
    """
    return _kind(read_header(path, ("SegmentationType",)), path) == FRACTIONAL


def read_fractions(path: Path, grid: Grid) -> Fractions:
    """Fractions of each segment: where soft labels that come from a file enter.

    Raises
    ------
    CaseError
        When the file is damaged, does not lie on the grid, or is not FRACTIONAL.
    """
    dataset = read_file(path)
    if _kind(dataset, path) != FRACTIONAL:
        raise CaseError(f"{path} holds labels; expected a FRACTIONAL segmentation.")
    return _fraction_maps(dataset, segment_labels(dataset, path), path, grid)


def _fraction_maps(dataset: Any, labels: Mapping[int, str], path: Path, grid: Grid) -> Fractions:
    maximum = _maximum(dataset, path)
    maps = {label: np.zeros(grid.shape, np.float32) for _, label in sorted(labels.items())}
    for number, place, values in _placed_frames(dataset, path, grid):
        _require_fractions(values, maximum, path)
        maps[_label(labels, number, path)][place.index] = values.T / np.float32(maximum)
    return Fractions(_meaning(dataset, path), maximum, maps)


def _maximum(dataset: Any, path: Path) -> int:
    maximum = int(dataset.get("MaximumFractionalValue") or 0)
    if not 0 < maximum <= 255:
        raise CaseError(
            f"{path} has the MaximumFractionalValue {maximum}; expected 1 to 255. Export it again."
        )
    return maximum


def _require_fractions(values: Array, maximum: int, path: Path) -> None:
    if values.max() > maximum:
        raise CaseError(
            f"{path} has the fraction {values.max()} of {maximum}; expected none above 1. Export "
            "it again."
        )


def _kind(dataset: Any, path: Path) -> str:
    return _one_of(_KINDS, dataset, "SegmentationType", f"{path} is a segmentation")


def _meaning(dataset: Any, path: Path) -> str:
    return _one_of(_MEANINGS, dataset, "SegmentationFractionalType", f"{path} has fractions")


def _one_of(known: Sequence[str], dataset: Any, element: str, what: str) -> str:
    value = str(dataset.get(element))
    if value not in known:
        raise CaseError(
            f"{what} of the type {value!r:.40}; expected one of {', '.join(known)}. Export it "
            "again."
        )
    return value


def _label(labels: Mapping[int, str], number: int, path: Path) -> str:
    if number not in labels:
        raise CaseError(
            f"{path} has a frame of the segment {number}, which it does not name; expected one of "
            f"{', '.join(map(str, list(labels)[:20]))}. Export it again."
        )
    return labels[number]


def _placed_frames(dataset: Any, path: Path, grid: Grid) -> Iterator[tuple[int, _Place, Array]]:
    """Segment (0 for a LABELMAP), place on the grid and stored values of each frame."""
    with reading_dicom(path):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        own = list(dataset.PerFrameFunctionalGroupsSequence)
        if len(own) != int(dataset.NumberOfFrames):
            raise CaseError(
                f"{path} describes {len(own)} of {dataset.NumberOfFrames} frames; expected all. "
                "Export it again."
            )
    labelled = _kind(dataset, path) == "LABELMAP"
    for groups, values in zip(own, frames(dataset, path), strict=True):
        with reading_dicom(path):
            number = 0 if labelled else _segment_of(groups, shared)
            place = _place(groups, shared, values.shape, path, grid)
        yield number, place, values


def _segment_of(groups: Any, shared: Any) -> int:
    items = groups if "SegmentIdentificationSequence" in groups else shared
    return int(items.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _place(groups: Any, shared: Any, shape: tuple[int, ...], path: Path, grid: Grid) -> _Place:
    """Columns, rows and slice of the grid that a frame covers."""

    def item(sequence: str) -> Any:
        return (groups if sequence in groups else shared)[sequence][0]

    position = np.array(item("PlanePositionSequence").ImagePositionPatient, dtype=float)
    turned = np.array(item("PlaneOrientationSequence").ImageOrientationPatient, dtype=float)
    spacing = np.array(item("PixelMeasuresSequence").PixelSpacing, dtype=float)
    rows, columns = shape
    ends = position + np.array([
        np.zeros(3),
        turned[:3] * spacing[1] * (columns - 1),
        turned[3:] * spacing[0] * (rows - 1),
    ])  # fmt: skip
    found = grid.voxels_of(ends)
    start = np.rint(found[0])
    expected = start + np.array([(0, 0, 0), (columns - 1, 0, 0), (0, rows - 1, 0)])
    if not np.abs(found - expected).max() <= TOLERANCE_VOXELS:
        raise CaseError(
            f"{path} has a frame at {position.tolist()} mm whose corners lie at the voxels "
            f"{np.round(found, 2).tolist()} of its series; expected whole numbers in the same "
            "directions. Resample the segmentation onto the grid of its series."
        )
    column, row, number = (int(n) for n in start)
    inside = 0 <= column <= grid.shape[0] - columns and 0 <= row <= grid.shape[1] - rows
    if not inside or not 0 <= number < grid.shape[2]:
        raise CaseError(
            f"{path} has a frame of {columns} × {rows} pixels from voxel {(column, row, number)} "
            f"of its series on, which has {grid.shape}; expected it inside. Check that they "
            "belong together."
        )
    return _Place(column, row, number, shape)
