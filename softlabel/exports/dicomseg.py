"""DICOM segmentations of the type FRACTIONAL, on the series that a case was read from.

A segment is a class other than the background; what a segment lacks to 1 is in the others and in
the background. Values are stored in steps of 1/255.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softlabel._version import __version__
from softlabel.cache import Cache
from softlabel.errors import CaseError, UsageError, missing_extra
from softlabel.exports.case import NOT_CALIBRATED, ExportedCase
from softlabel.exports.format import ExportOptions, Format
from softlabel.files.atomic import publish_by
from softlabel.readers.dicomfiles import read_header
from softlabel.readers.dicomseries import LPS_TO_RAS, Grid, read_series
from softlabel.types import Array, ClassTable

BACKGROUND = 0
MAXIMUM = 255
"""Stored integer that means 1."""

_SAME_PLACE_MM = 1e-3


def require(cache: Cache, options: ExportOptions) -> None:
    """Look whether the cases come from DICOM series, these are given, and highdicom is installed.

    Raises
    ------
    UsageError
    MissingExtraError
    """
    reader = json.loads(cache.header.settings).get("format")
    if reader != "dicom":
        raise UsageError(
            f"A DICOM segmentation belongs to a DICOM series; the cases of {cache.path} were read "
            f"as {reader or 'something else'}. Export them to nifti."
        )
    if options.source is None:
        raise UsageError(
            "A DICOM segmentation refers to the images of its series; give the folder of the data "
            "set with --source."
        )
    _highdicom()


def files(name: str, classes: ClassTable, options: ExportOptions) -> Sequence[str]:
    """One file a case."""
    return (f"{name}.seg.dcm",)


def write(case: ExportedCase, paths: Sequence[Path], options: ExportOptions) -> None:
    """Write the segmentation of a series.

    Raises
    ------
    CaseError
        When the series is not there, or is another one than the case was read from.
    """
    assert options.source is not None, "require() has seen it"
    images, grid = _series(case, options.source)
    _require_same_place(case, grid)
    segments = [k for k, value in enumerate(case.classes.values) if value != BACKGROUND]
    pixels = np.stack([_frames(case.soft[k], grid) for k in segments], axis=-1)
    made = _segmentation(case, images, pixels, segments)
    publish_by(paths[0], made.save_as)


def _series(case: ExportedCase, source: Path) -> tuple[list[Any], Grid]:
    """Headers of the images that a case was read from, in the order of its slices; their grid."""
    first = source / case.source
    if not first.is_file():
        raise CaseError(
            f"{case.id}: there is no file {first}; give the folder of the data set that the cache "
            "was made of with --source."
        )
    wanted = read_header(first).get("SeriesInstanceUID")
    headers = {path: read_header(path) for name in case.inputs if (path := source / name).is_file()}
    images = {p: h for p, h in headers.items() if h.get("SeriesInstanceUID") == wanted}
    _, grid = read_series(list(images), with_pixels=False)
    ordered = sorted(images.values(), key=lambda h: grid.voxels_of(h.ImagePositionPatient)[0, 2])
    return ordered, grid


def _require_same_place(case: ExportedCase, grid: Grid) -> None:
    columns, rows, slices = grid.shape
    expected = grid.shape if slices > 1 else (rows, columns)
    if case.shape != expected:
        raise CaseError(
            f"{case.id} has the shape {case.shape} and its series {expected}; export on the grid "
            "of the scanner, of the series that the cache was made of."
        )
    affine = LPS_TO_RAS @ grid.to_patient_mm
    if case.affine is not None and not np.allclose(case.affine, affine, atol=_SAME_PLACE_MM):
        raise CaseError(
            f"{case.id} lies elsewhere than its series; give the series that the cache was made of."
        )


def _frames(soft: Array, grid: Grid) -> Array:
    """A class as frames (slices, rows, columns)."""
    return soft[np.newaxis] if grid.shape[2] == 1 else soft.T


def _segmentation(
    case: ExportedCase, images: list[Any], pixels: Array, segments: Sequence[int]
) -> Any:
    highdicom = _highdicom()
    from pydicom.uid import generate_uid

    return highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=pixels.clip(0, 1),
        segmentation_type="FRACTIONAL",
        fractional_type="PROBABILITY",
        max_fractional_value=MAXIMUM,
        segment_descriptions=[
            _description(number, case.classes.values[k], case.classes.names[k])
            for number, k in enumerate(segments, start=1)
        ],
        series_instance_uid=generate_uid(),
        series_number=int(images[0].get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="softlabel",
        manufacturer_model_name="softlabel",
        software_versions=__version__,
        device_serial_number="none",
        series_description="Soft labels (pseudo-probabilities)",
        content_label="SOFT_LABELS",
        content_description="Pseudo-probabilities, not calibrated",
    )


def _description(number: int, value: int, name: str) -> Any:
    highdicom = _highdicom()
    from pydicom.sr.codedict import codes

    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=highdicom.sr.CodedConcept(str(value), "99SOFTLABEL", name[:64]),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="softlabel",
            version=__version__,
            family=codes.DCM.NeighborhoodAnalysis,
        ),
    )
    described.SegmentDescription = NOT_CALIBRATED
    return described


def _highdicom() -> Any:
    try:
        import highdicom
        import highdicom.seg
    except ImportError as error:
        raise missing_extra("Exporting to dicom-seg", "highdicom", "export") from error
    return highdicom


FORMAT = Format(
    "FRACTIONAL segmentations of the series in --source, for caches of DICOM",
    files, write, require=require, takes=("source",),
)  # fmt: skip
