"""DICOM against SimpleITK, highdicom and arrays of known content."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

from softlabel.cache import open_cache  # noqa: E402
from softlabel.errors import CaseError, MissingExtraError, SourceError  # noqa: E402
from softlabel.generation.run import generate  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.mapping import LabelMapping  # noqa: E402
from softlabel.readers import detect, list_dataset  # noqa: E402
from softlabel.readers.dicomseg import read_fractions  # noqa: E402
from softlabel.readers.dicomseries import read_series  # noqa: E402

from .dicoms import (  # noqa: E402
    ORIGIN,
    SHAPE,
    SPACING,
    STRAIGHT,
    labels,
    stored_values,
    write_dicom,
    write_segmentation,
    write_series,
    write_structures,
)
from .factories import read_all, read_one, truncate, write_json  # noqa: E402

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def of_file(array):
    """(slices, rows, columns) as (columns, rows, slices)."""
    return np.asarray(array).T


def test_series_and_segmentations_of_two_patients(tmp_path):
    write_dicom(tmp_path)
    assert detect(tmp_path)[0].name == "dicom"
    dataset = list_dataset(tmp_path)
    assert dataset.description == "DICOM: 2 annotated series of 2, 3 classes with background"
    assert [ref.id for ref in dataset.refs] == ["P1", "P2"]
    assert dict(dataset.classes) == {0: "background", 1: "liver", 2: "tumour"}
    case = read_all(dataset)["P2"]
    np.testing.assert_array_equal(case.image[0], of_file(stored_values() - 1024))
    assert case.image.dtype == np.int16 and case.channels == ("CT",)
    np.testing.assert_array_equal(case.labels, of_file(labels()))
    assert case.spacing_mm == (SPACING[2], SPACING[1], SPACING[0]) and case.slice_axis == 2
    assert case.group == "P2" and case.notes == () and len(dataset.refs[1].files) == 6


@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE])
def test_a_series_lies_where_simpleitk_puts_it(tmp_path, orientation):
    sitk = pytest.importorskip("SimpleITK")
    write_series(tmp_path, orientation=orientation)
    pixels, _ = read_series(sorted(tmp_path.iterdir()))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    np.testing.assert_array_equal(pixels.values, of_file(sitk.GetArrayFromImage(image)))
    np.testing.assert_allclose(pixels.spacing_mm, image.GetSpacing(), rtol=1e-6)
    for voxel in ((0, 0, 0), (8, 0, 0), (0, 6, 0), (3, 2, 4)):
        x, y, z = image.TransformIndexToPhysicalPoint(voxel)
        place = pixels.affine @ (*voxel, 1)
        np.testing.assert_allclose(place[:3], (-x, -y, z), atol=1e-6)


@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segmentations_of_highdicom(tmp_path, kind, orientation):
    slices = write_series(tmp_path / "ct", orientation=orientation)
    write_segmentation(tmp_path / "seg.dcm", slices, labels(), kind=kind)
    np.testing.assert_array_equal(read_one(tmp_path).labels, of_file(labels()))


def test_a_segmentation_of_a_part_of_the_image(tmp_path):
    """Frames of 3 × 4 pixels from row 2 and column 3 on, as cropped segmentations have."""
    slices = write_series(tmp_path / "ct")
    path = write_segmentation(tmp_path / "seg.dcm", slices, labels())
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array[:, 2:5, 3:7]
    dataset.Rows, dataset.Columns = pixels.shape[1:]
    packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    dataset.PixelData = packed + bytes(len(packed) % 2)
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
        place = [x + 3 * SPACING[2], y + 2 * SPACING[1], z]
        groups.PlanePositionSequence[0].ImagePositionPatient = place
    dataset.save_as(path)
    expected = np.zeros(SHAPE, dtype=int)
    expected[:, 2:5, 3:7] = labels()[:, 2:5, 3:7]
    np.testing.assert_array_equal(read_one(tmp_path).labels, of_file(expected))


def test_segments_that_overlap(tmp_path):
    slices = write_series(tmp_path / "ct")
    whole = np.stack([labels() == 2, labels() > 0], axis=-1)
    write_segmentation(tmp_path / "seg.dcm", slices, whole, ("tumour", "liver"))
    case = read_one(tmp_path)
    np.testing.assert_array_equal(case.labels, of_file(labels()))
    assert [note.code for note in case.notes] == ["overlap"]
    assert "share 6 voxels; the smaller one was taken" in case.notes[0].text
    later = read_one(tmp_path, "dicom", segment_overlaps="later")
    np.testing.assert_array_equal(later.labels, of_file(np.minimum(labels(), 1)))
    with pytest.raises(CaseError, match="overlap in 6 voxels"):
        read_one(tmp_path, "dicom", segment_overlaps="refuse")


def fractions(seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (*SHAPE, 2)) / 255
    values[0] = 0  # frames that highdicom does not write
    return values


@pytest.mark.parametrize("meaning", ["PROBABILITY", "OCCUPANCY"])
def test_fractions_of_highdicom_come_back_to_their_8_bits(tmp_path, meaning):
    slices = write_series(tmp_path / "ct")
    path = write_segmentation(
        tmp_path / "seg.dcm", slices, fractions(), kind="FRACTIONAL", fractional_type=meaning
    )
    _, grid = read_series(sorted((tmp_path / "ct").iterdir()))
    found = read_fractions(path, grid)
    assert (found.meaning, found.maximum) == (meaning, 255)
    assert list(found.maps) == ["liver", "tumour"]
    for number, values in enumerate(found.maps.values()):
        stored = of_file(fractions()[..., number])
        np.testing.assert_array_equal(np.rint(values * 255), np.rint(stored * 255))
        np.testing.assert_allclose(values, stored, atol=1e-7)


def shared_fractions(seed=0):
    """Fractions of both segments that sum to at most 1."""
    values = np.random.default_rng(seed).integers(0, 128, (*SHAPE, 2)) / 255
    values[0] = 0  # frames that highdicom does not write
    return values


@pytest.mark.parametrize("meaning", ["PROBABILITY", "OCCUPANCY"])
def test_fractions_are_soft_labels_to_the_last_of_their_8_bits(tmp_path, meaning):
    slices = write_series(tmp_path / "data/ct")
    write_segmentation(
        tmp_path / "data/seg.dcm", slices, shared_fractions(), kind="FRACTIONAL",
        fractional_type=meaning,
    )  # fmt: skip
    dataset = list_dataset(tmp_path / "data")
    report = generate(dataset, tmp_path / "c.h5", Settings(method="given"))
    assert report.complete
    stored = [of_file(np.rint(shared_fractions()[..., n] * 255)) for n in range(2)]
    with open_cache(tmp_path / "c.h5") as cache:
        soft = cache["P1"].soft[:]
        hard = cache["P1"].labels[:]
        assert cache.classes.names == ("background", "liver", "tumour")
    np.testing.assert_array_equal(soft[1:], np.array(stored, np.float32) / np.float32(255))
    expected = np.array([255 - np.sum(stored, axis=0), *stored])  # whole numbers, with true ties
    np.testing.assert_allclose(soft, expected / 255, atol=1e-6)
    np.testing.assert_array_equal(hard, expected.argmax(axis=0))


def test_segments_beside_fractions_of_another_patient_are_0_and_1(tmp_path):
    slices = write_series(tmp_path / "1/ct", "P1")
    write_segmentation(
        tmp_path / "1/seg.dcm", slices, shared_fractions(), kind="FRACTIONAL",
        fractional_type="OCCUPANCY",
    )  # fmt: skip
    write_segmentation(tmp_path / "2/seg.dcm", write_series(tmp_path / "2/ct", "P2"), labels())
    case = read_all(list_dataset(tmp_path))["P2"]
    for value in range(3):
        np.testing.assert_array_equal(case.soft[value], of_file(labels() == value))


def test_fractions_of_two_meanings_in_a_case_are_refused(tmp_path):
    slices = write_series(tmp_path / "ct")
    for name, meaning in (("liver", "PROBABILITY"), ("tumour", "OCCUPANCY")):
        write_segmentation(
            tmp_path / f"{name}.dcm", slices, shared_fractions()[..., :1], (name,),
            kind="FRACTIONAL", fractional_type=meaning,
        )  # fmt: skip
    with pytest.raises(CaseError, match="fractions of two meanings"):
        read_one(tmp_path)


def test_fractions_that_sum_to_more_than_1_are_hard_labels_by_a_threshold_only(tmp_path):
    slices = write_series(tmp_path / "ct")
    write_segmentation(
        tmp_path / "seg.dcm", slices, fractions(), kind="FRACTIONAL", fractional_type="PROBABILITY"
    )
    with pytest.raises(CaseError, match=r"seg.dcm has probabilities whose sum .* above 1"):
        read_one(tmp_path)
    dataset = list_dataset(tmp_path, mapping=LabelMapping(threshold=0.6))
    liver, tumour = np.moveaxis(fractions(), -1, 0)
    expected = np.where((liver >= 0.6) & (liver >= tumour), 1, np.where(tumour >= 0.6, 2, 0))
    np.testing.assert_array_equal(read_all(dataset)["P1"].labels, of_file(expected))


def corners(voxels, slice_number, orientation=STRAIGHT):
    """Patient coordinates of (column, row) of a slice, voxel centres at whole numbers."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    origin = np.array(ORIGIN) + slice_number * SPACING[0] * np.cross(row, column)
    return np.array([origin + c * SPACING[2] * row + r * SPACING[1] * column for c, r in voxels])


def box(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
@pytest.mark.parametrize("orientation", [STRAIGHT, OBLIQUE])
def test_structures_are_voxels_whose_centres_lie_inside(tmp_path, orientation, kind):
    slices = write_series(tmp_path / "ct", orientation=orientation)
    outer = [(kind, corners(box(1.6, 0.7, 7.4, 5.3), s, orientation)) for s in (1, 2, 3)]
    hole = (kind, corners(box(2.6, 1.7, 4.4, 3.4), 2, orientation))
    point = ("POINT", corners([(1, 1)], 2, orientation))
    above = (kind, corners(box(1, 1, 5, 5), 7, orientation))
    write_structures(
        tmp_path / "rt.dcm", slices, {"liver": [*outer, hole, point, above], "empty": []}
    )
    case = read_one(tmp_path)
    expected = np.zeros(SHAPE, dtype=int)
    expected[1:4, 1:6, 2:8] = 1
    expected[2, 2:4, 3:5] = 0
    value = case.classes.values[case.classes.names.index("liver")]
    np.testing.assert_array_equal(case.labels == value, of_file(expected) == 1)
    assert case.classes.names == ("background", "empty", "liver")
    assert [note.code for note in case.notes] == ["left-out"]
    assert "2 contours" in case.notes[0].text


def test_a_class_table_chooses_structures(tmp_path):
    slices = write_series(tmp_path / "ct")
    contours = {
        "body": [("CLOSED_PLANAR", corners(box(-5, -5, 20, 20), s)) for s in range(5)],
        "liver": [("CLOSED_PLANAR", corners(box(1.6, 0.7, 7.4, 5.3), 2))],
    }
    write_structures(tmp_path / "rt.dcm", slices, contours)
    case = read_one(tmp_path)
    assert [case.labels[0, 0, 0], case.labels[3, 3, 2]] == [1, 2]
    table = write_json(tmp_path / "classes.json", {"liver": 30})
    found = read_one(tmp_path, "dicom", classes=str(table)).labels
    np.testing.assert_array_equal(found, np.where(case.labels == 2, 30, 0))


def test_contours_that_lie_in_no_slice(tmp_path):
    slices = write_series(tmp_path / "ct")
    write_structures(
        tmp_path / "rt.dcm", slices, {"a": [("CLOSED_PLANAR", corners(box(1, 1, 5, 5), 1.5))]}
    )
    with pytest.raises(CaseError, match=r"structure 'a' has a contour that lies 0\.5 slices off"):
        read_one(tmp_path)


def test_both_kinds_need_a_choice(tmp_path):
    slices = write_series(tmp_path / "ct")
    write_segmentation(tmp_path / "seg.dcm", slices, labels())
    contour = [("CLOSED_PLANAR", corners(box(1.6, 0.7, 7.4, 5.3), 2))]
    write_structures(tmp_path / "rt.dcm", slices, {"other": contour})
    assert "--annotation-kind" in list_dataset(tmp_path).problems["P1"]
    assert read_one(tmp_path, "dicom", annotation_kind="rtstruct").classes.names[1:] == ("other",)
    assert read_one(tmp_path, "dicom", annotation_kind="seg").classes.names[1:] == (
        "liver",
        "tumour",
    )


def test_two_files_of_one_class_are_no_case(tmp_path):
    slices = write_series(tmp_path / "ct")
    for reader in ("a", "b"):
        write_segmentation(tmp_path / f"{reader}.dcm", slices, labels())
    problem = list_dataset(tmp_path).problems["P1"]
    assert "a.dcm and" in problem and "both annotate 'liver'" in problem


def test_a_series_of_one_image_has_two_axes(tmp_path):
    slices = write_series(tmp_path / "ct", values=stored_values()[:1])
    write_segmentation(tmp_path / "seg.dcm", slices, labels()[2:3])
    case = read_one(tmp_path)
    np.testing.assert_array_equal(case.image[0], stored_values()[0] - 1024)
    np.testing.assert_array_equal(case.labels, labels()[2])
    assert case.spacing_mm == SPACING[1:] and case.affine is None and case.slice_axis is None


def test_slopes(tmp_path):
    write_series(tmp_path, RescaleSlope=0.5, RescaleIntercept=3)
    pixels, _ = read_series(sorted(tmp_path.iterdir()))
    np.testing.assert_array_equal(pixels.values, of_file(stored_values() * 0.5 + 3))
    assert pixels.values.dtype == np.float32


def change(path, **changes):
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImagePositionPatient": [-20, 10, 50]}, "lie at one position"),
        ({"ImagePositionPatient": [-20, 10, 58.5]}, "expected equal distances"),
        ({"ImagePositionPatient": [-20, 10.9, 56]}, "expected equal distances"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient nothing"),
        ({"PixelSpacing": [1, 1]}, "are of one series and differ"),
        ({"PixelSpacing": [0, 1]}, "expected positive distances"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "two unit vectors"),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "are of one series and differ"),
        ({"Rows": 60000, "Columns": 60000}, "are of one series and differ"),
        ({"SamplesPerPixel": 3}, "3 samples a pixel"),
        ({"NumberOfFrames": 4}, "4 frames"),
        ({"RescaleSlope": 0}, "RescaleSlope 0"),
    ],
)
def test_slices_that_make_no_volume(tmp_path, changes, words):
    write_dicom(tmp_path)
    change(tmp_path / "P1" / "ct" / "003.dcm", **changes)
    with pytest.raises(CaseError, match=words):
        read_all(list_dataset(tmp_path))


def test_a_missing_slice(tmp_path):
    write_series(tmp_path)
    (tmp_path / "003.dcm").unlink()
    with pytest.raises(CaseError, match="A slice may be missing"):
        read_series(sorted(tmp_path.iterdir()))


def problem_or_error(root):
    """What is wrong with a case, found while listing or while reading."""
    dataset = list_dataset(root)
    if dataset.problems:
        return " ".join(dataset.problems.values())
    with pytest.raises(CaseError) as error:
        read_all(dataset)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NumberOfFrames": 60000}, "describes 4 of 60000 frames"),
        ({"Rows": 60000, "Columns": 60000}, "promises 4 × 60000 × 60000 values"),
        ({"SegmentationType": "OTHER"}, "of the type 'OTHER'"),
        ({"SegmentSequence": []}, "names no segment"),
        ({"PixelData": bytes(2)}, "stores only 2 bytes"),
        ({"SharedFunctionalGroupsSequence": []}, "cannot be read as a DICOM file"),
    ],
)
def test_segmentations_that_contradict_themselves(tmp_path, changes, words):
    write_dicom(tmp_path)
    change(tmp_path / "P1" / "seg.dcm", **changes)
    found = problem_or_error(tmp_path)
    assert "seg.dcm" in found and words in found


def test_a_segmentation_of_another_place(tmp_path):
    slices = write_series(tmp_path / "ct")
    path = write_segmentation(tmp_path / "seg.dcm", slices, labels())
    dataset = pydicom.dcmread(path)
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
        groups.PlanePositionSequence[0].ImagePositionPatient = [x + 0.4, y, z]
    dataset.save_as(path)
    with pytest.raises(CaseError, match="Resample the segmentation"):
        read_one(tmp_path)


def test_annotations_without_their_series_and_series_without_annotations(tmp_path):
    write_dicom(tmp_path)
    write_series(tmp_path / "P3", "P3")
    for path in (tmp_path / "P1" / "ct").iterdir():
        path.unlink()
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["P2"]
    assert "annotates 0 series" in dataset.problems["P1_seg.dcm"]
    assert dataset.unlabelled == ("P3/001.dcm",)
    (tmp_path / "P1" / "seg.dcm").unlink()
    (tmp_path / "P2" / "seg.dcm").unlink()
    with pytest.raises(SourceError, match="2 image series and neither"):
        list_dataset(tmp_path)


def test_two_series_of_one_patient_and_a_group(tmp_path):
    for number in (3, 4):
        slices = write_series(tmp_path / str(number), SeriesNumber=number)
        write_segmentation(tmp_path / f"{number}.dcm", slices, labels())
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["P1_series_3", "P1_series_4"]
    assert {ref.group for ref in dataset.refs} == {"P1"}
    dataset = list_dataset(tmp_path, options={"group": r"series_(\d)"})
    assert [ref.group for ref in dataset.refs] == ["3", "4"]


@pytest.mark.parametrize("name", ["ct/002.dcm", "seg.dcm"])
@pytest.mark.parametrize("keep", [0.99, 0.6, 0.3])
def test_files_that_are_cut_off(tmp_path, name, keep):
    write_dicom(tmp_path)
    path = truncate(tmp_path / "P1" / name, keep)
    assert str(path) in problem_or_error(tmp_path)
    assert "P1" not in [ref.id for ref in list_dataset(tmp_path).refs] or keep > 0.9


def test_a_damaged_slice_at_the_end_does_not_make_the_series_shorter(tmp_path):
    write_dicom(tmp_path)
    path = truncate(tmp_path / "P1" / "ct" / "001.dcm", 0.5)
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["P2"]
    assert set(dataset.problems) == {"P1", "P1_ct_001.dcm"}
    assert f"{path} is damaged and may be a slice" in dataset.problems["P1"]


def test_a_file_that_is_deflated_as_a_whole(tmp_path):
    write_dicom(tmp_path)
    path = tmp_path / "P1" / "seg.dcm"
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    assert "dcmconv" in list_dataset(tmp_path).problems["P1_seg.dcm"]


def test_without_pydicom(tmp_path, monkeypatch):
    write_dicom(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtraError, match=r"pydicom.*'\.\[dicom\]'"):
        list_dataset(tmp_path)
