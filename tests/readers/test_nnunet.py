from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError
from softlabel.readers import detect, list_dataset

from .factories import (
    label_volume,
    nnunet_json,
    read_all,
    read_one,
    volume,
    write_json,
    write_nifti,
    write_nnunet,
    write_npy,
    write_png,
)


def test_reads_channels_and_labels(tmp_path):
    write_nnunet(tmp_path / "Dataset001_Tumour")
    root = tmp_path / "Dataset001_Tumour"
    assert detect(root)[0].name == "nnunet"
    dataset = list_dataset(root)
    assert [ref.id for ref in dataset.refs] == ["case_2", "case_10"]
    assert dataset.description == (
        "nnU-Net v2 raw, Dataset001_Tumour: 2 cases, 2 channels, 3 classes"
    )
    case = read_all(dataset)["case_10"]
    np.testing.assert_array_equal(case.image[1], volume(seed=11))
    np.testing.assert_array_equal(case.labels, label_volume(seed=1))
    assert case.image.dtype == np.int16 and case.channels == ("T1", "T2")
    assert tuple(case.classes) == ((0, "background"), (1, "edema"), (2, "core"))
    assert case.spacing_mm == (1.0, 1.0, 3.0) and case.group == "case_10"


def test_listing_reads_no_images(tmp_path):
    write_nnunet(tmp_path)
    for path in tmp_path.rglob("*.nii.gz"):
        path.write_bytes(b"")
    assert len(list_dataset(tmp_path).refs) == 2


def test_ignore_label(tmp_path):
    write_nnunet(tmp_path, ("a",), labels={"background": 0, "lesion": 1, "ignore": 2})
    case = read_one(tmp_path)
    assert case.ignore == 2 and case.classes.values == (0, 1) and (case.labels == 2).any()


def test_overlapping_regions_are_refused_with_the_way_out(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    write_nnunet(tmp_path, labels=labels, regions_class_order=[1, 2, 3])
    match = r"'whole' and 'core' .* value 2: regions that overlap.*--regions values"
    with pytest.raises(SourceError, match=match):
        list_dataset(tmp_path)


def test_values_of_regions_are_the_classes_when_asked_for(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3], "ignore": 4}
    write_nnunet(tmp_path, labels=labels, regions_class_order=[1, 2, 3])
    dataset = list_dataset(tmp_path, options={"regions": "values"})
    assert dict(dataset.classes) == {0: "background", 1: "label 1", 2: "label 2", 3: "enhancing"}
    assert dataset.ignore == 4
    assert dataset.description.endswith("ignore label 4, regions left out: whole, core")


def test_regions_beside_their_parts_are_left_out(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "edema": 1, "core": [2]}
    write_nnunet(tmp_path, labels=labels, regions_class_order=[1, 2])
    dataset = list_dataset(tmp_path)
    assert dict(dataset.classes) == {0: "background", 1: "edema", 2: "core"}
    assert "regions left out: whole" in dataset.description
    for case in read_all(dataset).values():
        assert set(np.unique(case.labels)) <= {0, 1, 2}


def test_a_value_with_two_names_of_its_own_is_refused(tmp_path):
    write_nnunet(tmp_path, labels={"background": 0, "edema": 1, "oedema": [1], "core": 2})
    with pytest.raises(SourceError, match=r"'edema' and 'oedema' .* value 1"):
        list_dataset(tmp_path)


def test_values_that_are_sums_of_classes_are_said_to_be(tmp_path):
    write_nnunet(tmp_path)
    name = next((tmp_path / "labelsTr").iterdir())
    write_nifti(name, np.where(label_volume() == 2, 3, label_volume()).astype(np.uint8))
    dataset = list_dataset(tmp_path)
    with pytest.raises(CaseError, match=r"outside the class table: 3 \(.*sums of classes"):
        read_all(dataset)


def test_regions_that_do_not_overlap_are_merged(tmp_path):
    write_nnunet(tmp_path, ("a",), labels={"background": 0, "lesion": [2, 1]})
    case = read_one(tmp_path)
    assert tuple(case.classes) == ((0, "background"), (1, "lesion"))
    np.testing.assert_array_equal(case.labels, label_volume(seed=0) > 0)


def test_merged_values_may_be_larger_than_the_label_map_can_hold(tmp_path):
    labels = {"background": 0, "lesion": [2, 1, 256], "rare": [300, 400], "huge": [2**40, 2**41]}
    write_nnunet(tmp_path, ("a",), labels=labels)
    case = read_one(tmp_path)
    assert case.labels.dtype == np.uint8 and case.classes.values == (0, 1, 300, 2**40)
    np.testing.assert_array_equal(case.labels, label_volume(seed=0) > 0)


@pytest.mark.parametrize("missing", ["labelsTr/a.nii.gz", "imagesTr/a_0001.nii.gz"])
def test_missing_files_are_problems(tmp_path, missing):
    write_nnunet(tmp_path, ("a", "b"))
    (tmp_path / missing).unlink()
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["b"]
    assert f"{missing} does not exist" in dataset.problems["a"]


def test_a_channel_too_many_is_a_problem(tmp_path):
    write_nnunet(tmp_path, ("a",))
    write_nifti(tmp_path / "imagesTr/a_0002.nii.gz", volume())
    assert "does not name (it names 2)" in list_dataset(tmp_path).problems["a"]


def test_labels_outside_the_table_stop_only_their_case(tmp_path):
    write_nnunet(tmp_path)
    write_nifti(tmp_path / "labelsTr/case_2.nii.gz", label_volume(n=5))
    with pytest.raises(CaseError, match=r"case_2\.nii\.gz has label values outside .* 3 \("):
        read_all(list_dataset(tmp_path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": {}}, "unusable entry 'labels'"),
        ({"labels": {"0": "background"}}, "the value 'background'.*format msd"),
        ({"labels": {"background": 0, "x": -1}}, "the value -1"),
        ({"labels": {"background": 0, "x": True}}, "the value True"),
        ({"labels": {"background": 0, "x": []}}, r"the value \[\]"),
        ({"labels": {"background": 0, "ignore": 0}}, "the value 0 to 'ignore' and to 'background'"),
        ({"labels": {"background": 0, "ignore": [1, 2]}}, "'ignore' the value"),
        ({"channel_names": ["T1"]}, "unusable entry 'channel_names'"),
        ({"channel_names": {"T1": 0}}, "'T1': 0 in 'channel_names'"),
        ({"file_ending": ".dcm"}, r"'\.dcm', which softlabel does not read"),
        ({"file_ending": 3}, "unusable entry 'file_ending'"),
        ({"dataset": []}, "unusable entry 'dataset'"),
    ],
)
def test_broken_dataset_json(tmp_path, changes, reason):
    write_nnunet(tmp_path, **changes)
    with pytest.raises(SourceError, match=reason) as caught:
        list_dataset(tmp_path, "nnunet")
    assert "dataset.json" in str(caught.value)


def test_missing_keys_and_missing_files(tmp_path):
    content = nnunet_json()
    del content["channel_names"]
    write_json(tmp_path / "dataset.json", content)
    with pytest.raises(SourceError, match="lacks the entry 'channel_names'"):
        list_dataset(tmp_path)
    write_json(tmp_path / "dataset.json", nnunet_json())
    with pytest.raises(SourceError, match="imagesTr is not a folder"):
        list_dataset(tmp_path)
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    with pytest.raises(SourceError, match="holds no case"):
        list_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(SourceError, match="not valid JSON"):
        list_dataset(tmp_path)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(SourceError, match=r"holds no dataset\.json"):
        list_dataset(tmp_path, "nnunet")


def test_natural_images_are_two_dimensional_with_colours_as_channels(tmp_path):
    colours = {"0": "red", "1": "green", "2": "blue"}
    content = nnunet_json(channel_names=colours, file_ending=".png")
    write_json(tmp_path / "dataset.json", content)
    rgb = volume((8, 9, 3), dtype=np.uint8)
    write_png(tmp_path / "imagesTr/a_0000.png", rgb)
    write_png(tmp_path / "labelsTr/a.png", label_volume((8, 9)))
    case = read_one(tmp_path)
    np.testing.assert_array_equal(case.image, np.moveaxis(rgb, 2, 0))
    assert case.channels == ("red", "green", "blue") and case.spacing_mm is None
    write_png(tmp_path / "imagesTr/a_0000.png", rgb[..., 0])
    with pytest.raises(CaseError, match="has 1 channels, but the data set names 3"):
        read_one(tmp_path)


@pytest.mark.parametrize("ending", [".bmp", ".tif", ".png"])
def test_grey_natural_images(tmp_path, ending):
    content = nnunet_json(channel_names={"0": "grey"}, file_ending=ending)
    write_json(tmp_path / "dataset.json", content)
    write_png(tmp_path / f"imagesTr/a_0000{ending}", volume((8, 9), dtype=np.uint8))
    write_png(tmp_path / f"labelsTr/a{ending}", label_volume((8, 9)))
    np.testing.assert_array_equal(read_one(tmp_path).image, volume((1, 8, 9)))


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_endings(tmp_path, ending):
    sitk = pytest.importorskip("SimpleITK")
    content = nnunet_json(channel_names={"0": "T1"}, file_ending=ending)
    write_json(tmp_path / "dataset.json", content)
    for folder, name, values in (
        ("imagesTr", "a_0000", volume()),
        ("labelsTr", "a", label_volume()),
    ):
        (tmp_path / folder).mkdir()
        image = sitk.GetImageFromArray(values.T)
        image.SetSpacing((1.0, 1.0, 3.0))
        sitk.WriteImage(image, str(tmp_path / folder / f"{name}{ending}"))
    case = read_one(tmp_path)
    np.testing.assert_array_equal(case.image[0], volume())
    np.testing.assert_array_equal(case.labels, label_volume())
    assert case.spacing_mm == (1.0, 1.0, 3.0)


def test_cases_listed_by_path(tmp_path):
    write_npy(tmp_path / "elsewhere/x.npy", volume())  # another folder, another name
    entries = {
        "good": {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"],
                 "label": "labelsTr/a.nii.gz"},
        "escapes": {"images": ["../secret.nii.gz"], "label": "labelsTr/a.nii.gz"},
        "absolute": {"images": ["imagesTr/a_0000.nii.gz"], "label": "/etc/passwd"},
        "gone": {"images": ["imagesTr/z_0000.nii.gz"], "label": "labelsTr/a.nii.gz"},
        "broken": 7,
        "bad/id": {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"},
    }  # fmt: skip
    write_nnunet(tmp_path, ("a",), dataset=entries)
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["good"]
    read_all(dataset)
    reasons = {
        "escapes": "leads out",
        "absolute": "absolute path",
        "gone": "does not exist",
        "broken": "lists no images",
        "bad/id": "contains a slash",
    }
    assert set(dataset.problems) == set(reasons)
    for case, reason in reasons.items():
        assert reason in dataset.problems[case]


def test_symbolic_links_are_fine(tmp_path):
    store = tmp_path / "store"
    write_nnunet(store, ("a",))
    linked = tmp_path / "linked"
    (linked / "labelsTr").mkdir(parents=True)
    (linked / "imagesTr").symlink_to(store / "imagesTr")
    (linked / "dataset.json").symlink_to(store / "dataset.json")
    (linked / "labelsTr/a.nii.gz").symlink_to(store / "labelsTr/a.nii.gz")
    assert read_one(linked).id == "a"


def test_truth_and_further_graders_are_those_of_phantoms_only(tmp_path):
    root = write_nnunet(tmp_path)
    for folder, seed in (("truth", 5), ("labelsTr_grader2", 6)):
        for case in ("case_2", "case_10"):
            write_nifti(root / folder / f"{case}.nii.gz", label_volume(seed=seed))
    assert all(
        case.truth is None and not case.label_maps for case in read_all(list_dataset(root)).values()
    )
    (root / "phantom.json").write_text("{}")
    for case in read_all(list_dataset(root)).values():
        np.testing.assert_array_equal(case.truth, label_volume(seed=5))
        assert list(case.label_maps) == ["grader2"]
        np.testing.assert_array_equal(case.label_maps["grader2"], label_volume(seed=6))
    (root / "truth/case_2.nii.gz").unlink()
    truths = {case.id: case.truth for case in read_all(list_dataset(root)).values()}
    assert truths["case_2"] is None and truths["case_10"] is not None


def test_groups(tmp_path):
    write_nnunet(tmp_path, ("pat1_scan1", "pat1_scan2", "pat2_scan1"))
    dataset = list_dataset(tmp_path, options={"group": r"(pat\d+)_"})
    assert [ref.group for ref in dataset.refs] == ["pat1", "pat1", "pat2"]


def test_a_list_of_training_cases_does_not_make_it_a_decathlon(tmp_path):
    write_nnunet(tmp_path, training=[{"image": "./imagesTr/x.nii.gz", "label": "x"}])
    assert detect(tmp_path)[0].name == "nnunet"
