"""Several annotators, said in one way for every format that may have them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from softlabel import open_cache
from softlabel.cli import main
from softlabel.errors import CaseError, UsageError
from softlabel.raters import hard_label_rule
from softlabel.readers import list_dataset
from softlabel.readers.raters import split_places

from .factories import (
    label_volume,
    read_all,
    volume,
    write_bids,
    write_duke,
    write_msd,
    write_nifti,
    write_nnunet,
)

ANNA, BEN = label_volume(seed=20), label_volume(seed=21)


def nnunet(root):
    """Without the usual folder, which no rater is."""
    write_nnunet(root, ("case",))
    shutil.rmtree(root / "labelsTr")
    for rater, labels in (("anna", ANNA), ("ben", BEN)):
        write_nifti(root / f"labelsTr_{rater}/case.nii.gz", labels)
    return "labelsTr_anna,labelsTr_ben", root / "labelsTr_ben/case.nii.gz"


def msd(root):
    write_msd(root)
    for rater, labels in (("anna", ANNA), ("ben", BEN)):
        for case in ("prostate_01", "prostate_02"):
            write_nifti(root / f"labels_{rater}/{case}.nii.gz", labels)
    return "labels_anna,labels_ben", root / "labels_ben/prostate_02.nii.gz"


def bids_folders(root):
    write_bids(root, ("01",))
    for rater, labels in (("anna", ANNA), ("ben", BEN)):
        write_nifti(root / f"derivatives/{rater}/sub-01/anat/sub-01_dseg.nii.gz", labels)
    return "anna,ben", root / "derivatives/ben/sub-01/anat/sub-01_dseg.nii.gz"


def bids_kinds(root):
    write_bids(root, ("01",))
    anat = root / "derivatives/manual/sub-01/anat"
    for rater, labels in (("anna", ANNA), ("ben", BEN)):
        write_nifti(anat / f"sub-01_desc-{rater}_dseg.nii.gz", labels)
    return "desc-anna_dseg,desc-ben_dseg", anat / "sub-01_desc-ben_dseg.nii.gz"


LAYOUTS = {
    "nnunet": (nnunet, ("labelsTr_anna", "labelsTr_ben")),
    "msd": (msd, ("labels_anna", "labels_ben")),
    "bids, folders": (bids_folders, ("anna", "ben")),
    "bids, kinds": (bids_kinds, ("desc-anna_dseg", "desc-ben_dseg")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_label_maps_of_raters_are_stacked_in_their_order(layout, tmp_path):
    write, names = LAYOUTS[layout]
    raters, _ = write(tmp_path)
    dataset = list_dataset(tmp_path, options={"raters": raters})
    assert not dataset.problems
    for case in read_all(dataset).values():
        assert case.rater_axis == 0 and case.raters == names
        np.testing.assert_array_equal(case.labels, [ANNA, BEN])
    assert all(len(ref.files) == len(set(ref.files)) >= 3 for ref in dataset.refs)
    backwards = ",".join(reversed(raters.split(",")))
    case = next(iter(read_all(list_dataset(tmp_path, options={"raters": backwards})).values()))
    np.testing.assert_array_equal(case.labels, [BEN, ANNA])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_case_that_a_rater_lacks_is_a_problem_of_its_own(layout, tmp_path):
    raters, file = LAYOUTS[layout][0](tmp_path)
    if layout.startswith("bids"):  # one that is left
        kind = "_desc-{}" if "kinds" in layout else ""
        for rater in ("anna", "ben"):
            folder = tmp_path / "derivatives" / ("manual" if kind else rater)
            write_nifti(folder / f"sub-02/anat/sub-02{kind.format(rater)}_dseg.nii.gz", ANNA)
        for suffix in ("T1w", "FLAIR"):
            write_nifti(tmp_path / f"sub-02/anat/sub-02_{suffix}.nii.gz", volume())
    file.unlink()
    dataset = list_dataset(tmp_path, options={"raters": raters})
    (reason,) = dataset.problems.values()
    assert "ben" in reason and "\n" not in reason and "leave the case out" in reason
    backwards = ",".join(reversed(raters.split(",")))
    if layout != "nnunet":  # whose cases are those of the first rater and of the images
        assert len(list_dataset(tmp_path, options={"raters": backwards}).problems) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_label_map_of_another_shape_fails_its_case(layout, tmp_path):
    raters, file = LAYOUTS[layout][0](tmp_path)
    write_nifti(file, BEN[:-1])
    with pytest.raises(CaseError, match=r"shape|voxels|grid") as caught:
        read_all(list_dataset(tmp_path, options={"raters": raters}))
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_arrays_of_archives_are_raters(tmp_path):
    for name in ("x", "y"):
        np.savez(tmp_path / f"{name}.npz", image=volume(), anna=ANNA, ben=BEN)
    dataset = list_dataset(tmp_path, options={"raters": "anna,ben"})
    assert "raters anna and ben" in dataset.description
    for case in read_all(dataset).values():
        assert case.raters == ("anna", "ben")
        np.testing.assert_array_equal(case.labels, [ANNA, BEN])
    alone = list_dataset(tmp_path / "x.npz", options={"raters": "anna,ben"})
    assert [ref.id for ref in alone.refs] == ["x"]
    with pytest.raises(CaseError, match=r"x.npz has no array 'cleo'; it holds"):
        read_all(list_dataset(tmp_path, options={"raters": "anna,cleo"}))


def test_graders_of_duke_are_raters(tmp_path):
    write_duke(tmp_path)
    given = list_dataset(tmp_path, options={"raters": "grader1,grader2"})
    assert given == list_dataset(tmp_path, options={"grader": "both"})
    with pytest.raises(UsageError, match="expected grader1,grader2"):
        list_dataset(tmp_path, options={"raters": "grader2,grader1"})


def test_masks_of_single_classes_are_no_raters(tmp_path):
    raters, _ = bids_folders(tmp_path)
    for rater in raters.split(","):
        old = tmp_path / f"derivatives/{rater}/sub-01/anat/sub-01_dseg.nii.gz"
        old.rename(old.with_name("sub-01_label-wm_mask.nii.gz"))
    with pytest.raises(UsageError, match="The rater anna has masks of single classes"):
        list_dataset(tmp_path, options={"raters": raters})


def test_a_folder_that_leads_out_of_the_data_set_is_refused(tmp_path):
    nnunet(tmp_path / "data")
    dataset = list_dataset(tmp_path / "data", options={"raters": "labelsTr_anna,../other"})
    assert "The option raters" in dataset.problems["case"]


@pytest.mark.parametrize("text", ["one", "one,", "one,one", ""])
def test_raters_are_two_or_more(text):
    with pytest.raises(UsageError, match="expected two or more places that differ"):
        split_places(text)


def test_info_names_the_raters_and_whose_label_is_the_hard_one(tmp_path):
    raters, _ = nnunet(tmp_path / "data")
    cache = tmp_path / "c.h5"
    options = ["--raters", raters, "--n-segments", "8", "-q", "--jobs", "1"]
    done = CliRunner().invoke(
        main, ["generate", str(tmp_path / "data"), "-o", str(cache), *options]
    )
    assert done.exit_code == 0, done.output
    with open_cache(cache) as opened:
        case = opened["case"]
        np.testing.assert_array_equal(case.labels[:], ANNA)
        np.testing.assert_array_equal(case.label_maps["labelsTr_ben"][:], BEN)
        assert opened.raters == tuple(raters.split(","))
    text = CliRunner().invoke(main, ["info", str(cache)]).output
    assert "raters  labelsTr_anna, labelsTr_ben\n" in text
    assert "hard label  that of labelsTr_anna; where" in text
    facts = json.loads(CliRunner().invoke(main, ["info", str(cache), "--json"]).output)
    assert facts["raters"]["names"] == raters.split(",")
    assert facts["raters"]["hard_label"] == hard_label_rule(raters.split(","))
