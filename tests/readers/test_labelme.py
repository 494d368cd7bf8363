from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError
from softlabel.readers import detect, list_dataset

from .factories import (
    SQUARE,
    labelme_json,
    read_all,
    truncate,
    volume,
    write_json,
    write_labelme,
    write_png,
)


def case_a(root, **options):
    return read_all(list_dataset(root, "labelme", options))["a"]


def test_polygons_rectangles_and_circles(tmp_path):
    write_labelme(
        tmp_path,
        ("vessel", SQUARE, "polygon"),
        ("lesion 10", [[7, 8], [5, 5]], "rectangle"),
        ("lesion 9", [[6.5, 2.5], [7.7, 2.5]], "circle"),
    )
    assert detect(tmp_path)[1] == "LabelMe: a.json"
    dataset = list_dataset(tmp_path)
    assert dict(dataset.classes) == {0: "background", 1: "lesion 9", 2: "lesion 10", 3: "vessel"}
    assert dataset.description == "LabelMe: 2 images, 4 classes with background"
    assert dataset.refs[0].files == ("a.png", "a.json")
    case = read_all(dataset)["a"]
    expected = np.zeros((8, 9), dtype=np.uint8)
    expected[1:4, 1:5] = 3
    expected[5:8, 5:7] = 2
    rows, columns = np.mgrid[:8, :9]
    expected[(rows + 0.5 - 2.5) ** 2 + (columns + 0.5 - 6.5) ** 2 <= 1.2**2] = 1
    np.testing.assert_array_equal(case.labels, expected)
    np.testing.assert_array_equal(case.image[0], volume((8, 9), 0, np.uint8))
    assert case.notes == ()


def test_later_shapes_lie_on_top_and_what_has_no_area_is_left_out(tmp_path):
    write_labelme(
        tmp_path,
        ("a", SQUARE, "polygon"),
        ("b", [[4, 3], [9, 3], [9, 8], [4, 8]], "polygon"),
        ("c", [[1, 1]], "point"),
    )
    case = case_a(tmp_path)
    assert case.labels[3, 4] == 2 and case.labels[3, 3] == 1
    assert [note.code for note in case.notes] == ["overlap", "no-area"]
    assert "share 1 pixels" in case.notes[0].text


def test_names_of_background_and_of_what_was_not_annotated(tmp_path):
    hole = [[2, 2], [3, 2], [3, 3], [2, 3]]
    write_labelme(
        tmp_path,
        ("lesion", SQUARE, "polygon"),
        ("_background_", hole, "polygon"),
        ("__ignore__", [[6, 6], [9, 8]], "rectangle"),
    )
    dataset = list_dataset(tmp_path)
    assert dict(dataset.classes) == {0: "background", 1: "lesion"} and dataset.ignore == 255
    labels = case_a(tmp_path).labels
    assert labels[2, 2] == 0 and labels[1, 1] == 1 and (labels[6:, 6:] == 255).all()


def test_a_class_table_may_be_given(tmp_path):
    table = write_json(tmp_path / "tables" / "t" / "classes.json", {"lesion": 30})
    write_labelme(tmp_path)
    dataset = list_dataset(tmp_path, "labelme", {"classes": str(table)})
    assert dict(dataset.classes) == {0: "background", 30: "lesion"}
    assert set(np.unique(read_all(dataset)["a"].labels)) == {0, 30}
    write_json(table, {"other": 30})
    with pytest.raises(CaseError, match="named 'lesion', which the class table lacks"):
        case_a(tmp_path, classes=str(table))


def test_images_in_another_folder_and_other_json_files(tmp_path):
    write_png(tmp_path / "images" / "a.png", volume((8, 9), dtype=np.uint8))
    content = labelme_json("a", imagePath="..\\images\\a.png")
    write_json(tmp_path / "jsons" / "a.json", content)
    write_json(tmp_path / "jsons" / "settings.json", {"a": 1})
    (ref,) = list_dataset(tmp_path).refs
    assert ref.id == "jsons_a" and ref.files == ("images/a.png", "jsons/a.json")


def test_an_image_that_was_renamed_with_its_file(tmp_path):
    write_labelme(tmp_path, imagePath="IMG_1.jpg")
    assert [ref.files for ref in list_dataset(tmp_path).refs] == [
        ("a.png", "a.json"),
        ("b.png", "b.json"),
    ]


@pytest.mark.parametrize("named", ["../a.png", "/etc/passwd", "x/../../a.png", "missing.png", None])
def test_images_outside_or_missing(tmp_path, named):
    write_labelme(tmp_path / "data", imagePath=named)
    write_png(tmp_path / "a.png", volume((8, 9), dtype=np.uint8))
    (tmp_path / "data" / "a.png").unlink()
    dataset = list_dataset(tmp_path / "data", "labelme")
    assert "a" in dataset.problems and not any(".." in f for r in dataset.refs for f in r.files)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (("a", [[1, 1], [2, 2]], "polygon"), "three or more"),
        (("a", [[1, 1, 1]], "polygon"), "pairs of numbers"),
        (("a", "x", "polygon"), "pairs of numbers"),
        (("a", [[1, 1], [2, None], [3, 3]], "polygon"), "pairs of numbers"),
        (("a", SQUARE, "mask"), "type 'mask'; expected polygon"),
        (("a", [[1, 1]], "circle"), "type 'circle'"),
    ],
)
def test_shapes_that_cannot_be_drawn(tmp_path, shape, words):
    write_labelme(tmp_path, shape)
    with pytest.raises(CaseError, match=rf"a\.json, shape 0 .*{words}"):
        case_a(tmp_path)


@pytest.mark.parametrize("label", [None, "", 3, "a\nb"])
def test_labels_that_are_no_names(tmp_path, label):
    write_labelme(tmp_path, (label, SQUARE, "polygon"))
    assert "expected a name" in list_dataset(tmp_path, "labelme").problems["a"]


@pytest.mark.parametrize(
    "sizes", [{"imageHeight": 10**9}, {"imageWidth": None}, {"imageHeight": 9}]
)
def test_sizes_that_do_not_fit(tmp_path, sizes):
    write_labelme(tmp_path, **sizes)
    with pytest.raises(CaseError, match=r"whole numbers|it was annotated as"):
        case_a(tmp_path)


def test_truncated_and_empty_folders(tmp_path):
    with pytest.raises(SourceError, match="no JSON file of LabelMe"):
        list_dataset(tmp_path, "labelme")
    write_labelme(tmp_path)
    truncate(tmp_path / "a.json")
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["b"] and "not valid JSON" in dataset.problems["a"]
