from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers import detect, list_dataset
from softlabel.readers.mrbrains18 import CLASSES

from .factories import (
    label_volume,
    read_all,
    truncate,
    volume,
    write_mrbrains18,
    write_nifti,
)


def test_reads_three_sequences_in_order(tmp_path):
    write_mrbrains18(tmp_path, spacing=(0.958, 0.958, 3.0))
    assert detect(tmp_path)[0].name == "mrbrains18"
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["1", "070"]
    assert dataset.description == "MRBrainS18: 2 subjects, FLAIR, reg_T1, reg_IR"
    case = read_all(dataset)["070"]
    assert case.image.shape == (3, 6, 5, 4) and case.image.dtype == np.float32
    for channel in range(3):
        np.testing.assert_array_equal(
            case.image[channel], volume(seed=10 + channel, dtype=np.float32)
        )
    np.testing.assert_array_equal(case.labels, label_volume(seed=1, n=11))
    assert case.classes == CLASSES and case.ignore is None and case.group == "070"
    assert case.spacing_mm == (0.958, 0.958, 3.0) and case.channels == ("FLAIR", "reg_T1", "reg_IR")
    np.testing.assert_allclose(case.affine, np.diag([0.958, 0.958, 3.0, 1.0]), rtol=1e-6)


def test_listing_reads_no_images(tmp_path):
    write_mrbrains18(tmp_path)
    for path in tmp_path.rglob("*.nii.gz"):
        path.write_bytes(b"")
    assert len(list_dataset(tmp_path).refs) == 2


def test_truth_is_attached_and_watched(tmp_path):
    write_mrbrains18(tmp_path)
    write_nifti(tmp_path / "truth" / "1.nii.gz", label_volume(seed=9, n=11))
    dataset = list_dataset(tmp_path)
    assert dataset.refs[0].files[-1] == "truth/1.nii.gz"
    cases = read_all(dataset)
    np.testing.assert_array_equal(cases["1"].truth, label_volume(seed=9, n=11))
    assert cases["070"].truth is None
    within = list_dataset(tmp_path / "training")
    assert within.root == tmp_path and within.refs == dataset.refs


def test_a_brain_mask_beside_the_annotation(tmp_path):
    write_mrbrains18(tmp_path)
    brain = label_volume(seed=1, n=11) > 3
    for subject in ("1", "070"):
        write_nifti(tmp_path / f"training/{subject}/brain.nii.gz", brain.astype(np.uint8) * 7)
    dataset = list_dataset(tmp_path, options={"masks": "brain.nii.gz"})
    assert "training/1/brain.nii.gz" in dataset.refs[0].files
    np.testing.assert_array_equal(read_all(dataset)["1"].mask, brain)
    assert read_all(list_dataset(tmp_path))["1"].mask is None
    (tmp_path / "training/1/brain.nii.gz").unlink()
    dataset = list_dataset(tmp_path, options={"masks": "brain.nii.gz"})
    assert [ref.id for ref in dataset.refs] == ["070"]
    assert "expected the brain mask of subject 1" in dataset.problems["1"]
    for outside in ("../brain.nii.gz", "/brain.nii.gz"):
        with pytest.raises(UsageError, match="expected the name of a file in the folder of each"):
            list_dataset(tmp_path, options={"masks": outside})


def test_further_graders_are_label_maps(tmp_path):
    write_mrbrains18(tmp_path, ("1",))
    other = tmp_path / "training/1/segm_grader2.nii.gz"
    write_nifti(other, label_volume(seed=5, n=11))
    dataset = list_dataset(tmp_path)
    assert "training/1/segm_grader2.nii.gz" in dataset.refs[0].files
    case = read_all(dataset)["1"]
    np.testing.assert_array_equal(case.label_maps["grader2"], label_volume(seed=5, n=11))
    np.testing.assert_array_equal(case.labels, label_volume(seed=0, n=11))
    write_nifti(other, label_volume(), spacing=(1.0, 1.0, 5.0))
    with pytest.raises(CaseError, match=r"segm_grader2\.nii\.gz lie on different grids"):
        read_all(dataset)


def test_subject_folders_without_training_above(tmp_path):
    write_mrbrains18(tmp_path)
    plain = (tmp_path / "training").rename(tmp_path / "cases")
    dataset = list_dataset(plain)
    assert dataset.root == plain and [ref.id for ref in dataset.refs] == ["1", "070"]
    assert dataset.refs[0].files[0] == "1/pre/FLAIR.nii.gz"


def test_options(tmp_path):
    write_mrbrains18(tmp_path, ("1",))
    one = tmp_path / "test" / "9"
    for name in ("segm.nii.gz", "orig/T1.nii.gz"):
        write_nifti(one / name, label_volume())
    assert [r.id for r in list_dataset(tmp_path).refs] == ["1"]
    options = {"split": "test", "sequences": "T1", "bias_field": "original"}
    case = read_all(list_dataset(tmp_path, options=options))["9"]
    assert case.channels == ("T1",)
    both = list_dataset(tmp_path, options={"split": "both"})
    assert [r.id for r in both.refs] == ["1"] and "pre/FLAIR" in both.problems["9"]
    for bad in ("T2", "T1,T1", ""):
        with pytest.raises(UsageError, match="expected different ones"):
            list_dataset(tmp_path, options={"sequences": bad})


def test_missing_files_are_problems(tmp_path):
    write_mrbrains18(tmp_path, ("1", "2", "3"))
    (tmp_path / "training/1/segm.nii.gz").unlink()
    (tmp_path / "training/2/pre/reg_IR.nii.gz").unlink()
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["3"]
    assert "the annotation of subject 1" in dataset.problems["1"]
    assert "reg_IR.nii.gz does not exist" in dataset.problems["2"]


def test_bad_cases(tmp_path):
    write_mrbrains18(tmp_path, ("1",))
    pre = tmp_path / "training/1/pre"
    dataset = list_dataset(tmp_path)
    truncate(pre / "reg_T1.nii.gz")
    with pytest.raises(CaseError, match=r"reg_T1\.nii\.gz cannot be read"):
        read_all(dataset)
    write_nifti(pre / "reg_T1.nii.gz", volume(), spacing=(1.0, 1.0, 5.0))
    with pytest.raises(CaseError, match=r"FLAIR.* and .*reg_T1.* lie on different grids"):
        read_all(dataset)
    write_nifti(pre / "reg_T1.nii.gz", volume((6, 5, 3)))
    with pytest.raises(CaseError, match=r"shape 6 × 5 × 4 and .*reg_T1"):
        read_all(dataset)
    write_nifti(pre / "reg_T1.nii.gz", np.full((6, 5, 4), np.inf, dtype=np.float32))
    with pytest.raises(CaseError, match=r"120 intensities .*0 NaN, 120 infinite"):
        read_all(dataset)
    write_nifti(tmp_path / "training/1/segm.nii.gz", label_volume() + np.uint8(9))
    with pytest.raises(CaseError, match=r"outside the class table: 11 \("):
        read_all(dataset)


def test_truth_of_another_shape(tmp_path):
    write_mrbrains18(tmp_path, ("1",))
    write_nifti(tmp_path / "truth" / "1.nii.gz", label_volume((6, 5, 3)))
    with pytest.raises(CaseError, match=r"truth/1\.nii\.gz has 6 × 5 × 3"):
        read_all(list_dataset(tmp_path))


def test_wrong_folder(tmp_path):
    with pytest.raises(SourceError, match="no subject"):
        list_dataset(tmp_path, "mrbrains18")
    with pytest.raises(SourceError, match="does not exist"):
        list_dataset(tmp_path / "x", "mrbrains18")
