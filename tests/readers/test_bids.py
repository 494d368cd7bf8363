"""BIDS raw data with derivatives, against the arrays that were written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers import detect, list_dataset

from .factories import (
    label_volume,
    read_all,
    volume,
    write_bids,
    write_json,
    write_nifti,
)

SEG = "derivatives/manual"


def test_images_and_segmentations(tmp_path):
    write_bids(tmp_path)
    assert detect(tmp_path)[1] == "BIDS: sub-01/anat/sub-01_FLAIR.nii.gz and derivatives"
    dataset = list_dataset(tmp_path)
    assert dataset.description == (
        "BIDS: 2 cases, images T1w, FLAIR, label maps dseg of derivatives/manual"
    )
    assert dict(dataset.classes) == {0: "background", 1: "white matter", 2: "grey matter"}
    cases = read_all(dataset)
    assert [case.group for case in cases.values()] == ["sub-01", "sub-02"]
    for number, case in enumerate(cases.values()):
        assert case.channels == ("T1w", "FLAIR") and case.spacing_mm == (1, 1, 3)
        np.testing.assert_array_equal(case.labels, label_volume(seed=number))
        for offset in range(2):
            np.testing.assert_array_equal(case.image[offset], volume(seed=10 * number + offset))


def test_only_suffixes_of_every_annotated_case_are_channels(tmp_path):
    write_bids(tmp_path)
    (tmp_path / "sub-02/anat/sub-02_FLAIR.nii.gz").unlink()
    assert list_dataset(tmp_path).channels == ("T1w",)
    both = list_dataset(tmp_path, options={"suffixes": "FLAIR, T1w"})
    assert both.channels == ("FLAIR", "T1w") and list(both.problems) == ["sub-02"]
    assert "one FLAIR of its subject" in both.problems["sub-02"]


def test_sessions_and_runs(tmp_path):
    for session in ("pre", "post"):
        for run in ("1", "2"):
            name = f"sub-a_ses-{session}_run-{run}"
            seed = len(session) + int(run)
            folder = f"sub-a/ses-{session}/anat"
            write_nifti(tmp_path / folder / f"{name}_T1w.nii.gz", volume(seed=seed))
            labels = tmp_path / SEG / folder / f"{name}_space-orig_dseg.nii.gz"
            write_nifti(labels, label_volume(seed=seed))
    cases = read_all(list_dataset(tmp_path))
    assert sorted(cases) == [f"sub-a_ses-{s}_run-{r}" for s in ("post", "pre") for r in "12"]
    assert {case.group for case in cases.values()} == {"sub-a"}
    for name, case in cases.items():
        seed = len(name.split("_")[1].removeprefix("ses-")) + int(name[-1])
        np.testing.assert_array_equal(case.image[0], volume(seed=seed))
        np.testing.assert_array_equal(case.labels, label_volume(seed=seed))


def test_a_group_that_is_asked_for(tmp_path):
    write_bids(tmp_path, ("a1", "a2"))
    refs = list_dataset(tmp_path, options={"group": r"sub-([a-z])"}).refs
    assert {ref.group for ref in refs} == {"a"}


def test_several_images_that_fit_are_a_problem_of_the_case(tmp_path):
    write_bids(tmp_path)
    anat = tmp_path / "sub-01/anat"
    for run in "12":
        shutil.copy(anat / "sub-01_T1w.nii.gz", anat / f"sub-01_run-{run}_T1w.nii.gz")
    assert not list_dataset(tmp_path).problems  # the one of the same entities
    (anat / "sub-01_T1w.nii.gz").unlink()
    dataset = list_dataset(tmp_path)
    # runs are no images of a label map that names none
    assert "there are 2 that fit" in dataset.problems["sub-01"]
    assert [ref.id for ref in dataset.refs] == ["sub-02"]


def test_several_derivatives_are_asked_for(tmp_path):
    write_bids(tmp_path)
    shutil.copytree(tmp_path / SEG, tmp_path / "derivatives/network")
    (tmp_path / "derivatives/reports").mkdir()
    with pytest.raises(SourceError, match=r"label maps in manual, network.*--derivative manual\|"):
        list_dataset(tmp_path)
    assert (
        "derivatives/network"
        in list_dataset(tmp_path, options={"derivative": "network"}).description
    )
    with pytest.raises(SourceError, match="expected one of manual, network"):
        list_dataset(tmp_path, options={"derivative": "reports"})


def test_several_kinds_of_label_maps_are_asked_for(tmp_path):
    write_bids(tmp_path)
    for label in sorted((tmp_path / SEG).rglob("*_dseg.nii.gz")):
        name = label.name.replace("_dseg", "_space-orig_desc-aseg_dseg")
        write_nifti(label.with_name(name), label_volume(seed=7))
    with pytest.raises(SourceError, match=r"kinds dseg, space-orig_desc-aseg_dseg.*--label-kind"):
        list_dataset(tmp_path)
    dataset = list_dataset(tmp_path, options={"label_kind": "space-orig_desc-aseg_dseg"})
    np.testing.assert_array_equal(read_all(dataset)["sub-01"].labels, label_volume(seed=7))
    with pytest.raises(UsageError, match="label_kind is 'x'; expected one of dseg"):
        list_dataset(tmp_path, options={"label_kind": "x"})


def test_masks_that_name_their_class_are_joined(tmp_path):
    write_bids(tmp_path, ("01",))
    shutil.rmtree(tmp_path / SEG)
    anat = tmp_path / SEG / "sub-01/anat"
    masks = {"SC": label_volume(n=2), "lesion": label_volume(seed=5, n=2)}
    for name, mask in masks.items():
        write_nifti(anat / f"sub-01_T1w_label-{name}_mask.nii.gz", mask)  # no entity: left alone
        write_nifti(anat / f"sub-01_label-{name}_mask.nii.gz", mask)
    write_nifti(anat / "sub-01_desc-brain_mask.nii.gz", label_volume(n=2))
    dataset = list_dataset(tmp_path)
    assert dict(dataset.classes) == {0: "background", 1: "SC", 2: "lesion"}
    expected = np.where(masks["lesion"], 2, np.where(masks["SC"], 1, 0))
    np.testing.assert_array_equal(read_all(dataset)["sub-01"].labels, expected)


def test_plain_masks(tmp_path):
    write_bids(tmp_path, ("01",))
    shutil.rmtree(tmp_path / SEG)
    mask = label_volume(n=2) * 255
    write_nifti(tmp_path / SEG / "sub-01/anat/sub-01_mask.nii.gz", mask.astype(np.uint8))
    dataset = list_dataset(tmp_path)
    assert dict(dataset.classes) == {0: "background", 1: "mask"}
    np.testing.assert_array_equal(read_all(dataset)["sub-01"].labels, mask > 0)


def test_names_in_the_folder_of_the_derivative(tmp_path):
    write_bids(tmp_path)
    for path in (tmp_path / SEG).rglob("*.tsv"):
        path.unlink()
    assert list_dataset(tmp_path).classes is None
    (tmp_path / SEG / "dseg.tsv").write_text("index\tname\n0\tair\n1\tbone\n2\tmuscle\n")
    assert list_dataset(tmp_path).classes.names == ("air", "bone", "muscle")


def test_names_that_contradict_each_other(tmp_path):
    write_bids(tmp_path)
    table = tmp_path / SEG / "sub-02/anat/sub-02_dseg.tsv"
    table.write_text("index\tname\n1\tbone\n")
    with pytest.raises(SourceError, match=r"sub-02_dseg\.tsv calls the value 1 'bone', another"):
        list_dataset(tmp_path)
    given = write_json(tmp_path / "c.json", {"0": "background", "1": "a", "2": "b"})
    names = list_dataset(tmp_path, options={"classes": str(given)}).classes.names
    assert names == ("background", "a", "b")


@pytest.mark.parametrize(
    "text", ["", "index,name\n1,a\n", "index\tname\none\ta\n", "index\tname\n1\t\n"]
)
def test_a_table_that_is_none(tmp_path, text):
    write_bids(tmp_path)
    (tmp_path / SEG / "sub-01/anat/sub-01_dseg.tsv").write_text(text)
    with pytest.raises(SourceError, match="is no table of classes; expected the columns index"):
        list_dataset(tmp_path)


def test_label_maps_without_image_and_images_without_label_map(tmp_path):
    write_bids(tmp_path, ("01", "02", "03"))
    shutil.rmtree(tmp_path / "sub-02")
    shutil.rmtree(tmp_path / SEG / "sub-03")
    dataset = list_dataset(tmp_path)
    assert list(dataset.problems) == ["sub-02"] and [r.id for r in dataset.refs] == ["sub-01"]
    assert len(dataset.unlabelled) == 2


def test_label_maps_in_another_space_are_refused(tmp_path):
    write_bids(tmp_path)
    name = tmp_path / SEG / "sub-01/anat/sub-01_dseg.nii.gz"
    write_nifti(name, label_volume(), spacing=(2.0, 2.0, 2.0))
    with pytest.raises(CaseError, match="sub-01"):
        read_all(list_dataset(tmp_path))


def test_no_label_maps(tmp_path):
    write_bids(tmp_path)
    shutil.rmtree(tmp_path / SEG)
    with pytest.raises(SourceError, match="derivatives holds no label map"):
        list_dataset(tmp_path)
