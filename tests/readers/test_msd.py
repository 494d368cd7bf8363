from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError
from softlabel.readers import detect, list_dataset

from .factories import (
    label_volume,
    msd_json,
    read_all,
    volume,
    write_json,
    write_msd,
    write_nifti,
)


def test_reads_channels_first(tmp_path):
    write_msd(tmp_path)
    assert detect(tmp_path)[0].name == "msd"
    dataset = list_dataset(tmp_path)
    assert dataset.description == (
        "Medical Segmentation Decathlon, PROSTATE: 2 cases, 2 channels, 3 classes"
    )
    case = read_all(dataset)["prostate_02"]
    assert case.image.shape == (2, 6, 5, 4) and case.image.dtype == np.int16
    for channel in range(2):
        np.testing.assert_array_equal(case.image[channel], volume((6, 5, 4, 2), 1)[..., channel])
    np.testing.assert_array_equal(case.labels, label_volume(seed=1))
    assert case.channels == ("T2", "ADC") and case.classes.names == ("background", "PZ", "TZ")
    assert case.spacing_mm == (1.0, 1.0, 3.0)


def test_listing_reads_no_images(tmp_path):
    write_msd(tmp_path)
    for path in tmp_path.rglob("*.nii.gz"):
        path.write_bytes(b"")
    assert len(list_dataset(tmp_path).refs) == 2


def test_what_macos_leaves_is_skipped(tmp_path):
    entries = msd_json()["training"]
    extra = {"image": "./imagesTr/._prostate_01.nii.gz", "label": "./labelsTr/._x.nii.gz"}
    write_msd(tmp_path, training=[*entries, extra])
    dataset = list_dataset(tmp_path)
    assert len(dataset.refs) == 2 and not dataset.problems


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"image": "../x.nii.gz", "label": "./labelsTr/x.nii.gz"}, "leads out"),
        ({"image": "/x.nii.gz", "label": "./labelsTr/x.nii.gz"}, "absolute"),
        ({"image": "./imagesTr/x.nii.gz"}, "not a path"),
        (
            {"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"},
            "x.nii.gz does not exist",
        ),
        ("imagesTr/x.nii.gz", "expected an entry of"),
    ],
)
def test_entries_that_cannot_be_used_are_problems(tmp_path, entry, reason):
    write_msd(tmp_path, training=[*msd_json()["training"], entry])
    dataset = list_dataset(tmp_path)
    assert len(dataset.refs) == 2
    (problem,) = dataset.problems.values()
    assert (reason in problem and "dataset.json" in problem) or "does not exist" in problem


def test_the_same_case_twice_is_refused(tmp_path):
    entries = msd_json()["training"]
    write_msd(tmp_path, training=[*entries, entries[0]])
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["prostate_02"]
    assert "would name two cases" in dataset.problems["prostate_01"]


def test_nnunet_v1_is_named(tmp_path):
    write_json(tmp_path / "dataset.json", msd_json())
    write_nifti(tmp_path / "imagesTr/prostate_01_0000.nii.gz", volume())
    assert "nnU-Net v1" in list_dataset(tmp_path).problems["prostate_01"]
    assert "nnU-Net v1" not in list_dataset(tmp_path).problems["prostate_02"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": {"background": 0}}, "expected a number with its name"),
        ({"labels": {"0": "a", "1": "a"}}, r"dataset\.json: The names .* distinct"),
        ({"modality": []}, "unusable entry 'modality'"),
        ({"training": []}, "unusable entry 'training'"),
    ],
)
def test_broken_dataset_json(tmp_path, changes, reason):
    write_msd(tmp_path, **changes)
    with pytest.raises(SourceError, match=reason):
        list_dataset(tmp_path, "msd")


def test_channels_that_differ_from_the_description(tmp_path):
    write_msd(tmp_path, modality={"0": "T2"})
    with pytest.raises(CaseError, match="has 2 channels, but the data set names 1"):
        read_all(list_dataset(tmp_path))
