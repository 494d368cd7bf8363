from __future__ import annotations

import json

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers import detect, list_dataset, scan_classes

from .factories import (
    label_volume,
    read_all,
    read_one,
    truncate,
    volume,
    write_nifti,
    write_pairs,
    write_png,
)


def test_one_case_with_two_images_says_so_and_not_that_nothing_matches(tmp_path):
    for name in ("images/a.png", "labels/a.png"):
        (tmp_path / name).parent.mkdir()
        write_png(tmp_path / name, np.zeros((6, 7), np.uint8))
    (tmp_path / "images/a.bmp").write_bytes(b"another one")
    with pytest.raises(SourceError, match=r"no case can be read\. The case 'a' has 2 files that"):
        list_dataset(tmp_path)


def test_usual_folder_names_are_found(tmp_path):
    write_pairs(tmp_path, ("scan10", "scan2"))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "img" / ".DS_Store").write_text("x")
    assert detect(tmp_path)[1] == "image/label pairs: images img, label maps mask"
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["scan2", "scan10"]
    assert dataset.description == (
        "image/label pairs: 2 cases, images img, label maps mask, matched by stem"
    )
    assert dataset.classes is None and dataset.ignore is None
    assert dataset.options["images"] == "img" and dataset.options["labels"] == "mask"
    case = read_all(dataset)["scan2"]
    np.testing.assert_array_equal(case.image[0], volume((8, 9), 1, np.uint8))
    assert set(np.unique(case.labels)) == {0, 128, 255} and case.labels.dtype == np.uint8
    assert case.channels == ("intensity",) and case.spacing_mm is None and case.classes is None


def test_listing_reads_no_images(tmp_path):
    write_pairs(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")
    assert len(list_dataset(tmp_path).refs) == 2


@pytest.mark.parametrize(
    ("images", "labels"), [("Images", "SEG"), ("imagesTr", "labelsTr"), ("scans", "annotations")]
)
def test_other_usual_names(tmp_path, images, labels):
    write_pairs(tmp_path)
    (tmp_path / "img").rename(tmp_path / images)
    (tmp_path / "mask").rename(tmp_path / labels)
    assert len(list_dataset(tmp_path).refs) == 2


def test_two_candidates_need_a_word(tmp_path):
    write_pairs(tmp_path)
    (tmp_path / "seg").mkdir()
    with pytest.raises(SourceError, match="mask"):
        list_dataset(tmp_path, "pairs")
    assert len(list_dataset(tmp_path, options={"images": "img", "labels": "mask"}).refs) == 2


def test_patterns_and_channels(tmp_path):
    for subject in ("s1", "s2"):
        write_nifti(tmp_path / subject / "t1.nii.gz", volume(seed=1))
        write_nifti(tmp_path / subject / "t2.nii.gz", volume(seed=2))
        write_nifti(tmp_path / subject / "label.nii.gz", label_volume())
    options = {"images": "*/t1.nii.gz, */t2.nii.gz", "labels": "*/label.nii.gz"}
    dataset = list_dataset(tmp_path, options=options)
    assert dataset.format == "pairs" and "matched by what * stands for" in dataset.description
    case = read_all(dataset)["s2"]
    np.testing.assert_array_equal(case.image[1], volume(seed=2))
    assert case.channels == ("channel 0", "channel 1")


def test_label_maps_beside_their_images(tmp_path):
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", volume())
        write_nifti(tmp_path / f"{name}_seg.nii.gz", label_volume())
    write_png(tmp_path / "preview.png", volume((4, 4), dtype=np.uint8))
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["a", "b"] and not dataset.problems
    assert "label maps ending in _seg" in dataset.description
    read_all(dataset)


def test_npz_files_with_both(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, vol=volume(dtype=np.float64), seg=label_volume().astype(np.float64))
    for root in (tmp_path, path):
        dataset = list_dataset(root)
        assert dataset.root == tmp_path and "each file holding both" in dataset.description
        case = read_one(root)
        np.testing.assert_array_equal(case.image[0], volume())
        np.testing.assert_array_equal(case.labels, label_volume())
        assert case.image.dtype == np.float64 and case.labels.dtype == np.uint8
        assert dataset.refs[0].files == ("scan.npz",)


def test_npz_files_with_other_keys(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, p=volume(), q=label_volume())
    with pytest.raises(SourceError, match="looked for"):
        list_dataset(tmp_path)
    options = {"image_key": "p", "label_key": "q"}
    for root in (tmp_path, path):
        np.testing.assert_array_equal(read_one(root, "auto", **options).labels, label_volume())
    case = read_one(tmp_path, "auto", images="*.npz", labels="*.npz", **options)
    np.testing.assert_array_equal(case.image[0], volume())


def test_class_table_and_ignore(tmp_path):
    write_pairs(tmp_path, ("a",))
    table = tmp_path / "classes.json"
    table.write_text(json.dumps({"0": "background", "128": "lesion", "255": "unknown"}))
    dataset = list_dataset(tmp_path, options={"classes": str(table), "ignore": 255})
    assert tuple(dataset.classes) == ((0, "background"), (128, "lesion")) and dataset.ignore == 255
    assert dataset.options["classes"] == "classes.json" and dataset.options["ignore"] == 255
    read_all(dataset)
    table.write_text(json.dumps({"background": 0, "lesion": 255, "ignore": 7}))
    dataset = list_dataset(tmp_path, options={"classes": str(table)})
    with pytest.raises(CaseError, match=r"128 \(\d+ pixels\).*ignore label 7"):
        read_all(dataset)
    with pytest.raises(UsageError, match="ignore is 255, but"):
        list_dataset(tmp_path, options={"classes": str(table), "ignore": 255})
    with pytest.raises(UsageError, match="ignore is -1"):
        list_dataset(tmp_path, options={"ignore": -1})


def test_label_maps_beside_the_first_stay_readable(tmp_path):
    write_pairs(tmp_path, ("a", "b", "c"))
    truncate(tmp_path / "mask/b.png")
    dataset = list_dataset(tmp_path)
    with pytest.raises(CaseError, match=r"mask/b\.png cannot be read"):
        read_all(dataset)
    assert scan_classes(dataset).values == (0, 128, 255)


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"images": "img"}, UsageError, "option labels is missing"),
        ({"labels": "mask"}, UsageError, "option images is missing"),
        ({"images": "../img", "labels": "mask"}, UsageError, "does not stay inside"),
        ({"images": "/img", "labels": "mask"}, UsageError, "does not stay inside"),
        ({"images": "img", "labels": "no/*.png"}, SourceError, "no image file that matches"),
        ({"images": "img", "labels": "mask", "channel_axis": "x"}, UsageError, "an integer"),
        ({"images": "img", "labels": "mask", "grader": "1"}, UsageError, "no option 'grader'"),
        ({"images": "img", "labels": "a**b/x"}, (SourceError, UsageError), r"a\*\*b"),
    ],
)
def test_options_that_cannot_work(tmp_path, options, error, reason):
    write_pairs(tmp_path)
    with pytest.raises(error, match=reason):
        list_dataset(tmp_path, options=options)


def test_no_matching_names(tmp_path):
    write_png(tmp_path / "img/a.png", volume((4, 4), dtype=np.uint8))
    write_png(tmp_path / "mask/z.png", label_volume((4, 4)))
    with pytest.raises(SourceError, match=r"img/a\.png and mask/z\.png"):
        list_dataset(tmp_path)


def test_a_file_that_is_no_data_set(tmp_path):
    path = write_png(tmp_path / "a.png", volume((4, 4), dtype=np.uint8))
    with pytest.raises(SourceError, match="is a file; expected a folder"):
        list_dataset(path, "pairs")


def test_special_characters_in_a_single_file(tmp_path):
    path = tmp_path / "a[1]*.npz"
    np.savez(path, image=volume(), label=label_volume())
    np.savez(tmp_path / "a1x.npz", image=volume(), label=label_volume())
    assert [ref.files for ref in list_dataset(path).refs] == [("a[1]*.npz",)]
