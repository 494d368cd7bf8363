from __future__ import annotations

import json

import numpy as np
import pytest

from softlabel.errors import CaseError, SoftlabelError, SourceError
from softlabel.readers import detect, list_dataset

from .factories import (
    SQUARE,
    coco_json,
    read_all,
    truncate,
    volume,
    write_coco,
    write_json,
    write_png,
)

OUTLINE = [x for point in SQUARE for x in point]


def square(value):
    labels = np.zeros((8, 9), dtype=np.uint8)
    labels[1:4, 1:5] = value
    return labels


def annotation(segmentation, category=3, image=10, **more):
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        **more,
    }


def case_a(root, /, **options):
    return read_all(list_dataset(root, "coco", options))["a"]


def test_outlines_of_categories(tmp_path):
    write_coco(tmp_path)
    assert detect(tmp_path)[1] == "COCO: annotations.json"
    dataset = list_dataset(tmp_path)
    assert dataset.description == "COCO, annotations.json: 2 images, 3 classes with background"
    assert dict(dataset.classes) == {0: "background", 3: "lesion", 7: "vessel"}
    assert dataset.refs[0].files == ("images/a.png", "annotations.json")
    cases = read_all(dataset)
    np.testing.assert_array_equal(cases["a"].labels, square(3))
    np.testing.assert_array_equal(cases["b"].labels, square(7))
    np.testing.assert_array_equal(cases["a"].image[0], volume((8, 9), 0, np.uint8))
    assert cases["a"].notes == () and dataset.ignore is None and cases["a"].group == "a"


def test_run_lengths_in_both_forms(tmp_path):
    coco = pytest.importorskip("pycocotools.mask")
    packed = coco.encode(np.asfortranarray(square(1)))
    flat = square(1).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    plain = np.diff([0, *edges, flat.size]).tolist()
    for counts in (packed["counts"].decode(), plain):
        write_coco(tmp_path, annotations=[annotation({"size": [8, 9], "counts": counts})])
        np.testing.assert_array_equal(case_a(tmp_path).labels, square(3))


def test_several_outlines_are_joined_and_later_annotations_lie_on_top(tmp_path):
    second = [6, 5, 9, 5, 9, 8, 6, 8]
    over = [4, 3, 9, 3, 9, 8, 4, 8]
    write_coco(tmp_path, annotations=[annotation([OUTLINE, second]), annotation([over], 7)])
    expected = square(3)
    expected[3:8, 4:9] = 7
    case = case_a(tmp_path)
    np.testing.assert_array_equal(case.labels, expected)
    (note,) = case.notes
    assert note.code == "overlap" and "share 10 pixels" in note.text
    b = read_all(list_dataset(tmp_path))["b"]
    assert not b.labels.any() and [note.code for note in b.notes] == ["no-annotation"]


@pytest.mark.parametrize(
    ("crowds", "value", "ignore"), [("ignore", 255, 255), ("draw", 7, None), ("skip", 0, None)]
)
def test_crowds(tmp_path, crowds, value, ignore):
    crowd = {"size": [8, 9], "counts": [0, 72]}
    both = [annotation([OUTLINE]), annotation(crowd, 7, iscrowd=1)]
    write_coco(tmp_path, annotations=both if crowds == "ignore" else both[::-1])
    case = case_a(tmp_path, crowds=crowds)
    expected = np.full((8, 9), value, dtype=np.uint8)
    expected[1:4, 1:5] = 3
    np.testing.assert_array_equal(case.labels, expected)
    assert case.ignore == ignore


def test_a_category_with_the_number_of_the_background(tmp_path):
    categories = [{"id": 0, "name": "lesion"}, {"id": 2, "name": "vessel"}]
    write_coco(tmp_path, categories=categories, annotations=[annotation([OUTLINE], 0)])
    dataset = list_dataset(tmp_path)
    assert dict(dataset.classes) == {0: "background", 1: "lesion", 3: "vessel"}
    assert dataset.description.endswith("ids of categories raised by 1")
    np.testing.assert_array_equal(case_a(tmp_path).labels, square(1))
    # a category that nothing uses, as Roboflow writes, needs no room
    write_coco(tmp_path, categories=categories, annotations=[annotation([OUTLINE], 2)])
    assert dict(list_dataset(tmp_path).classes) == {0: "background", 2: "vessel"}


def test_categories_of_one_name_are_one_class_and_background_is_background(tmp_path):
    names = ("lesion", "lesion", "Background")
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    hole = [2, 2, 3, 2, 3, 3, 2, 3]
    write_coco(tmp_path, categories=categories,
               annotations=[annotation([OUTLINE], 2), annotation([hole], 3)])  # fmt: skip
    assert dict(list_dataset(tmp_path).classes) == {0: "background", 1: "lesion"}
    expected = square(1)
    expected[2, 2] = 0
    np.testing.assert_array_equal(case_a(tmp_path).labels, expected)


@pytest.mark.parametrize("folder", ["", "images", "val", "images/val"])
def test_images_are_looked_for_in_the_usual_folders(tmp_path, folder):
    write_png(tmp_path / folder / "a.png", volume((8, 9), dtype=np.uint8))
    write_json(tmp_path / "annotations" / "instances_val.json", coco_json())
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["a"] and list(dataset.problems) == ["b"]
    assert "b.png', which is not in" in dataset.problems["b"]
    assert "option image_folder" in dataset.problems["b"]


def test_options_for_files_and_groups(tmp_path):
    for split in ("train", "val"):
        write_coco(tmp_path / split)
        write_json(tmp_path / f"{split}.json", coco_json())
    with pytest.raises(SourceError, match=r"2 COCO files \(train\.json, val\.json\); expected one"):
        list_dataset(tmp_path, "coco")
    options = {"annotations": "val.json", "image_folder": "val/images", "group": "(.)"}
    dataset = list_dataset(tmp_path, "coco", options)
    assert dataset.refs[0].files == ("val/images/a.png", "val.json")
    assert [ref.group for ref in dataset.refs] == ["a", "b"]
    for given in ("../x.json", "/etc/passwd", "missing.json"):
        with pytest.raises(SoftlabelError, match="expected"):
            list_dataset(tmp_path, "coco", {"annotations": given})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": [annotation([])]}, "has no outline"),
        ({"annotations": [annotation(None)]}, "has no outline"),
        ({"annotations": [annotation([[1, 2, 3]])]}, "pairs of numbers"),
        ({"annotations": [annotation([["1", 2]])]}, "pairs of numbers"),
        ({"annotations": [annotation([[1, 2, 3, 4]])]}, "three or more"),
        ({"annotations": [annotation([[1, 2, 1e9, 4, 5, 6]])]}, "coordinates beyond"),
        ({"annotations": [annotation([[1, 2, 10**400, 4, 5, 6]])]}, "pairs of numbers"),
        ({"annotations": [annotation([[1, 2, float("nan"), 4, 5, 6]])]}, "pairs of numbers"),
        ({"annotations": [annotation({"size": [80, 90], "counts": [1]})]}, r"size \[80, 90\]"),
        ({"annotations": [annotation({"size": [8, 9], "counts": [10**9]})]}, "do not add up"),
        ({"annotations": [annotation({"size": [8, 9], "counts": "PQ~"})]}, "characters other"),
        ({"annotations": [annotation({"size": [8, 9]})]}, "and counts"),
    ],
)
def test_annotations_that_cannot_be_drawn(tmp_path, changes, words):
    write_coco(tmp_path, **changes)
    with pytest.raises(CaseError, match=rf"annotations\.json, annotation 1 .*{words}"):
        case_a(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file_name": "../a.png"}, "leads out"),
        ({"file_name": "/etc/passwd"}, "absolute"),
        ({"file_name": None}, "is not a path"),
        ({"height": 10**9}, "whole numbers from 1 to 65536"),
        ({"height": "8"}, "whole numbers"),
        ({"height": 2**16, "width": 2**16}, "more than the 2147483648"),
        ({"height": 2**15, "width": 2**15}, "but the file stores only"),
        ({"id": [10]}, None),
    ],
)
def test_entries_of_images_that_cannot_be_used(tmp_path, change, words):
    content = coco_json()
    content["images"][0].update(change)
    write_coco(tmp_path, images=content["images"])
    dataset = list_dataset(tmp_path)
    if words:
        (problem,) = dataset.problems.values()
        assert [ref.id for ref in dataset.refs] == ["b"] and words in problem
    else:
        assert not read_all(dataset)["a"].labels.any()


def test_an_image_of_another_size_than_the_one_annotated(tmp_path):
    write_coco(tmp_path)
    write_png(tmp_path / "images" / "a.png", volume((9, 8), dtype=np.uint8))
    with pytest.raises(
        CaseError, match=r"has the shape \(9, 8\), but it was annotated as \(8, 9\)"
    ):
        case_a(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": {}},
        {"images": []},
        {"annotations": [1]},
        {"categories": [{"id": "3", "name": "a"}]},
        {"categories": [{"id": 3}]},
        {"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]},
        {"categories": [{"id": -3, "name": "a"}]},
    ],
)
def test_broken_files(tmp_path, changes):
    write_coco(tmp_path, **changes)
    with pytest.raises(SourceError, match=r"annotations\.json"):
        list_dataset(tmp_path, "coco", {"annotations": "annotations.json"})


def test_an_annotation_of_no_category_stops_its_image_only(tmp_path):
    write_coco(tmp_path, annotations=[annotation([OUTLINE], 5)])
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["b"]
    assert "has the category 5, which" in dataset.problems["a"]


def test_folders_of_very_many_json_files_are_not_looked_through(tmp_path, monkeypatch):
    write_coco(tmp_path)
    monkeypatch.setattr("softlabel.readers.coco.MAX_FILES", 1)
    assert detect(tmp_path)[0].name == "coco"
    write_json(tmp_path / "b.json", {})
    with pytest.raises(SourceError, match="no format that softlabel recognises"):
        detect(tmp_path)


def test_truncated_and_too_large(tmp_path, monkeypatch):
    path = truncate(write_coco(tmp_path) / "annotations.json")
    with pytest.raises(SourceError, match="not valid JSON"):
        list_dataset(tmp_path, "coco", {"annotations": "annotations.json"})
    path.write_text(json.dumps(coco_json()))
    monkeypatch.setattr("softlabel.readers.safety.MAX_TEXT_BYTES", 100)
    with pytest.raises(SourceError, match="expected a text of at most 100"):
        list_dataset(tmp_path, "coco", {"annotations": "annotations.json"})
