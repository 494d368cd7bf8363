"""Layouts of public data sets and usual folders: what is taken, and what is asked about."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import SourceError
from softlabel.readers import list_dataset
from softlabel.readers.layouts import find_patterns

from .factories import label_volume, volume, write_nifti, write_npy, write_png


def image(path):
    (write_nifti if path.name.endswith(".nii.gz") else write_png)(
        path, volume((6, 5, 4)) if path.name.endswith(".nii.gz") else volume((8, 9), dtype=np.uint8)
    )


def label(path):
    if path.name.endswith(".nii.gz"):
        write_nifti(path, label_volume((6, 5, 4)))
    else:
        write_png(path, label_volume((8, 9)))


LAYOUTS = {
    "two folders": (["images/a.png", "images/b.png"], ["labels/a.png", "labels/b.png"], "ab"),
    "VOC": (["JPEGImages/a.png"], ["SegmentationClass/a.png"], "a"),
    "suffix": (["a.png", "b.png"], ["a_mask.png", "b_mask.png"], "ab"),
    "_anno": (["a.png", "b.png"], ["a_anno.png", "b_anno.png"], "ab"),
    "ISIC": (
        ["images/ISIC_1.png", "images/ISIC_2.png"],
        ["masks/ISIC_1_segmentation.png", "masks/ISIC_2_segmentation.png"],
        ["ISIC_1", "ISIC_2"],
    ),
    "BUSI": (
        ["benign (1).png", "benign (2).png"],
        ["benign (1)_mask.png", "benign (1)_mask_1.png", "benign (2)_mask.png"],
        ["benign (1)", "benign (2)"],
    ),
    "GlaS": (["train_1.png", "train_2.png"], ["train_1_anno.png", "train_2_anno.png"],
             ["train_1", "train_2"]),
    "BraTS": (
        [f"B_{n}/B_{n}_{c}.nii.gz" for n in (1, 2) for c in ("flair", "t1", "t1ce", "t2")],
        ["B_1/B_1_seg.nii.gz", "B_2/B_2_seg.nii.gz"],
        ["B_1_B_1", "B_2_B_2"],  # what both wildcards of */*_flair.nii.gz stand for
    ),
    "ACDC": (
        ["patient001/patient001_frame01.nii.gz", "patient001/patient001_frame12.nii.gz",
         "patient001/patient001_4d.nii.gz"],
        ["patient001/patient001_frame01_gt.nii.gz", "patient001/patient001_frame12_gt.nii.gz"],
        ["patient001_frame01", "patient001_frame12"],
    ),
    "TotalSegmentator": (
        ["s0001/ct.nii.gz", "s0002/ct.nii.gz"],
        ["s0001/segmentations/liver.nii.gz", "s0002/segmentations/liver.nii.gz"],
        ["s0001", "s0002"],
    ),
    "MRBrainS13": (
        [f"{n}/{c}.nii.gz" for n in (1, 2) for c in ("T1", "T1_IR", "T2_FLAIR")],
        ["1/LabelsForTesting.nii.gz", "2/LabelsForTesting.nii.gz"],
        "12",
    ),
    "DSB 2018": (
        ["x/images/x.png", "y/images/y.png"],
        ["x/masks/1.png", "x/masks/2.png", "y/masks/3.png"],
        "xy",
    ),
    "a folder a patient": (
        ["images/p1/1.png", "images/p1/2.png", "images/p2/1.png"],
        ["labels/p1/1.png", "labels/p1/2.png", "labels/p2/1.png"],
        ["p1_1", "p1_2", "p2_1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_public_data_sets(tmp_path, name):
    images, labels, ids = LAYOUTS[name]
    for path in images:
        image(tmp_path / path)
    for path in labels:
        label(tmp_path / path)
    dataset = list_dataset(tmp_path)
    found = [ref.id.replace("/", "_") for ref in dataset.refs]
    assert found == list(ids) and not dataset.problems, dataset.description
    used = {name for ref in dataset.refs for name in ref.files}
    assert set(labels) <= used


def test_drive_takes_the_annotation_and_not_the_field_of_view(tmp_path):
    for number in (21, 22):
        image(tmp_path / f"images/{number}_training.png")
        label(tmp_path / f"1st_manual/{number}_manual1.png")
        write_png(tmp_path / f"mask/{number}_training_mask.png", np.full((8, 9), 255, np.uint8))
    found = find_patterns(tmp_path)
    assert (found.images, found.labels, found.masks) == (("images",), "1st_manual", "mask")
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["21", "22"]
    assert "field of view" in dataset.description


@pytest.mark.parametrize(
    "folders",
    [("images", "labels", "segmentations"), ("images", "img", "labels"), ("images",), ()],
    ids=" ".join,
)
def test_what_leaves_a_doubt_names_the_folders_and_the_options(tmp_path, folders):
    for folder in folders:
        image(tmp_path / folder / "a.png")
    with pytest.raises(SourceError, match="--images and --labels") as error:
        find_patterns(tmp_path)
    assert all(folder in str(error.value) for folder in folders)


def test_archives_with_both(tmp_path):
    np.savez(tmp_path / "a.npz", image=volume(), label=label_volume())
    assert find_patterns(tmp_path).same_file
    write_npy(tmp_path / "x" / "b.npy", volume())
    assert find_patterns(tmp_path / "a.npz").same_file
