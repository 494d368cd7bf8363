"""Small DICOM data sets: series by pydicom, segmentations by highdicom, structure sets by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from softlabel.types import Array

SHAPE = (5, 7, 9)
"""Slices, rows, columns: rows and columns whose product is no multiple of 8."""

SPACING = (3.0, 0.5, 0.8)
ORIGIN = (-20.0, 10.0, 50.0)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def stored_values(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-200, 1200, shape).astype(np.int16)


def file_dataset(path: Path, sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber",
                    "ReferringPhysicianName", "StudyDate", "StudyTime"):  # fmt: skip
        setattr(dataset, keyword, "")
    return dataset


def write_series(
    folder: Path,
    patient: str = "P1",
    values: Array | None = None,
    orientation: tuple[float, ...] = STRAIGHT,
    **changes: Any,
) -> list[FileDataset]:
    """A CT series, its files numbered against the order of its slices."""
    folder.mkdir(parents=True, exist_ok=True)
    values = stored_values() if values is None else values
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    normal = np.cross(orientation[:3], orientation[3:])
    slices = []
    for number, pixels in enumerate(values):
        dataset = file_dataset(folder / f"{len(values) - number:03d}.dcm", CTImageStorage)
        dataset.PatientID, dataset.Modality, dataset.SeriesNumber = patient, "CT", 4
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        dataset.FrameOfReferenceUID, dataset.InstanceNumber = frame, len(values) - number
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.ImageOrientationPatient = list(orientation)
        dataset.ImagePositionPatient = list(np.array(ORIGIN) + number * SPACING[0] * normal)
        dataset.PixelSpacing, dataset.SliceThickness = list(SPACING[1:]), 5.0
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(dataset.filename, enforce_file_format=True)
        slices.append(dataset)
    return slices


def describe(number: int, label: str) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Bone,
        algorithm_type="MANUAL",
    )


def write_segmentation(
    path: Path,
    slices: list[FileDataset],
    pixels: Array,
    names: tuple[str, ...] = ("liver", "tumour"),
    kind: str = "BINARY",
    **more: Any,
) -> Path:
    """``pixels`` (slices, rows, columns), or with a last axis of segments."""
    segmentation = Segmentation(
        source_images=slices,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[describe(n, name) for n, name in enumerate(names, start=1)],
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="a",
        manufacturer_model_name="b",
        software_versions="1",
        device_serial_number="1",
        **more,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)
    return path


def write_structures(
    path: Path,
    slices: list[FileDataset],
    structures: dict[str, list[tuple[str, Array]]],
) -> Path:
    """Contours in patient coordinates, ``{name: [(type, points of shape (N, 3))]}``."""
    dataset = file_dataset(path, RTStructureSetStorage)
    dataset.PatientID, dataset.Modality = slices[0].PatientID, "RTSTRUCT"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.StudyInstanceUID = slices[0].StudyInstanceUID
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(structures.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = slices[0].FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for kind, points in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{x:.6g}" for x in np.asarray(points).ravel()]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def labels() -> Array:
    """A liver of slices 1 to 3 and a tumour in it, (slices, rows, columns)."""
    values = np.zeros(SHAPE, dtype=np.uint8)
    values[1:4, 1:6, 2:8] = 1
    values[2, 2:4, 3:6] = 2
    return values


def write_dicom(root: Path) -> Path:
    for patient in ("P1", "P2"):
        slices = write_series(root / patient / "ct", patient)
        write_segmentation(root / patient / "seg.dcm", slices, labels())
    return root
