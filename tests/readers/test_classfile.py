from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from softlabel.errors import SourceError, UsageError
from softlabel.mapping import parse_mapping
from softlabel.readers import READERS, list_dataset, mapped
from softlabel.readers.classfile import joined_mapping, load_class_file, load_class_table

from .factories import write_json, write_png

TABLE = ((0, "background"), (30, "lesion"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", '{"30": "lesion", "0": "background"}'),
        ("c.json", '{"background": 0, "lesion": 30}'),
        ("c.json", '{"labels": {"background": 0, "lesion": 30}, "file_ending": ".png"}'),
        ("c.yaml", "0: background\n30: lesion\n"),
        ("c.yml", "classes:\n  background: 0\n  lesion: 30\n"),
        ("c.txt", "{0: background, '30': lesion}"),
    ],
)
def test_the_ways_to_write_one(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    table, ignore = load_class_table(path)
    assert tuple(table) == TABLE and ignore is None


def test_a_list_of_names(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(["above", "NFL", "below"]))
    assert load_class_table(path)[0].names == ("above", "NFL", "below")


def test_ignore_is_no_class(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("background: 0\nlesion: 30\nignore: 255\n")
    table, ignore = load_class_table(path)
    assert tuple(table) == TABLE and ignore == 255


def test_numbers_as_names_are_taken_value_first(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("1: 7\n2: 8\n")
    assert tuple(load_class_table(path)[0]) == ((1, "7"), (2, "8"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("c.json", "{", "not valid JSON"),
        ("c.yaml", "a: [", "not valid YAML"),
        ("c.yaml", "!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("c.json", "3", "no class table"),
        ("c.json", "{}", "no class table"),
        ("c.json", '{"a": "b"}', "neither values nor classes"),
        ("c.json", '{"-1": "a", "0": "b"}', "neither values nor classes"),
        ("c.json", '{"0": null}', "the name None"),
        ("c.json", '{"a": 0, "b": 0}', "names the value 0 twice"),
        ("c.json", '{"0": "a", "1": "a"}', "must be distinct"),
        ("c.json", '{"ignore": 0}', "0 classes"),
    ],
)
def test_what_is_none(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SourceError, match=reason) as caught:
        load_class_table(path)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        load_class_table(tmp_path / "c.json")


CVAT = """# label:color_rgb:parts:actions
lesion:255,0,0::
background:0,0,0::
vessel:0,0,255:wall,lumen:
"""
ITK_SNAP = """################################################
# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
   30   255    0    0        1  1  1    "left lesion"
"""
SLICER = """# Color table file a.ctbl
# 2 values
0 Background 0 0 0 0
30 "left lesion" 128 174 128 255
"""
FREESURFER_LUT = """#$Id: FreeSurferColorLUT.txt $

#No. Label Name:                            R   G   B   A
0   Unknown                                 0   0   0   0
30  Left-vessel                             160 32  240 0
1001    ctx-lh-bankssts                     25  100 40  0
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("snap.label", ITK_SNAP, {0: "Clear Label", 30: "left lesion"}),
        ("a.ctbl", SLICER, {0: "Background", 30: "left lesion"}),
        ("lut.txt", FREESURFER_LUT, {0: "Unknown", 30: "Left-vessel", 1001: "ctx-lh-bankssts"}),
        ("labelmap.txt", CVAT, {0: "background", 1: "lesion", 2: "vessel"}),
    ],
)
def test_label_tables_of_other_programs(tmp_path, name, text, expected):
    path = tmp_path / name
    path.write_text(text)
    found = load_class_file(path)
    assert dict(found.classes) == expected and found.ignore is None
    if name == "labelmap.txt":
        assert found.mapping.colours == {(0, 0, 0): 0, (255, 0, 0): 1, (0, 0, 255): 2}
    else:
        assert found.mapping is None


def test_the_table_of_freesurfer_needs_no_file():
    table = dict(load_class_file(Path("freesurfer")).classes)
    assert len(table) == 52
    assert (table[17], table[53], table[251]) == (
        "Left-Hippocampus", "Right-Hippocampus", "CC_Posterior",
    )  # fmt: skip


def test_several_values_of_one_class_and_values_to_ignore(tmp_path):
    table = {"background": 0, "lesion": [1, 2, "7"], "vessel": 5, "ignore": [254, 255]}
    found = load_class_file(write_json(tmp_path / "c.json", table))
    assert found.classes.values == (0, 1, 2, 5, 7, 254, 255) and found.ignore is None
    assert [str(rule) for rule in found.mapping.rules] == ["1|2|7=lesion", "254|255=ignore"]
    mapped = found.mapping.apply(np.array([0, 1, 2, 7, 5, 254, 255]))
    np.testing.assert_array_equal(mapped, [0, 1, 1, 1, 5, 254, 254])
    by_value = write_json(tmp_path / "d.json", {"0": "background", "8": "ignore", "9": "Ignore"})
    assert [str(rule) for rule in load_class_file(by_value).mapping.rules] == ["8|9=ignore"]


def labels_of(root, table, pixels, mapping=None):
    write_png(root / "images" / "a.png", np.arange(pixels.shape[1], dtype=np.uint8)[np.newaxis])
    write_png(root / "labels" / "a.png", pixels if pixels.shape[2] == 3 else pixels[..., 0])
    dataset = list_dataset(root, options={"classes": str(table)}, mapping=mapping)
    (ref,) = dataset.refs
    return dataset, mapped.read_labels(READERS["pairs"], dataset, ref, None)


def test_a_data_set_with_several_values_of_one_class(tmp_path):
    table = write_json(tmp_path / "c.json", {"background": 0, "lesion": [1, 2], "ignore": [8, 9]})
    values = np.array([[0, 1, 2, 8, 9, 0]], dtype=np.uint8)[..., np.newaxis]
    dataset, labels = labels_of(tmp_path / "data", table, values)
    assert dict(dataset.classes) == {0: "background", 1: "lesion"} and dataset.ignore == 8
    np.testing.assert_array_equal(labels, [[0, 1, 1, 8, 8, 0]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", CVAT),
        (
            "c.json",
            '{"colours": {"lesion": [255, 0, 0], "background": [0, 0, 0], "vessel": [0, 0, 255]}}',
        ),
        ("c.yaml", "lesion: '#ff0000'\nbackground: '#000000'\nvessel: '#0000FF'\n"),
    ],
)
def test_a_data_set_in_colours(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    pixels = np.array([[[0, 0, 0], [255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
    dataset, labels = labels_of(tmp_path / "data", tmp_path / name, pixels)
    assert dict(dataset.classes) == {0: "background", 1: "lesion", 2: "vessel"}
    np.testing.assert_array_equal(labels, [[0, 1, 2]])


def test_a_colour_to_ignore(tmp_path):
    table = write_json(
        tmp_path / "c.json", {"ignore": "#ffffff", "background": "#000000", "lesion": "#ff0000"}
    )
    pixels = np.array([[[0, 0, 0], [255, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    dataset, labels = labels_of(tmp_path / "data", table, pixels)
    assert dict(dataset.classes) == {0: "background", 1: "lesion"} and dataset.ignore == 2
    np.testing.assert_array_equal(labels, [[0, 1, 2]])


def test_rules_of_the_file_and_of_the_command_line(tmp_path):
    file = load_class_file(write_json(tmp_path / "c.json", {"a": [1, 2], "b": 3})).mapping
    both = joined_mapping(file, parse_mapping("3=c"))
    assert [str(rule) for rule in both.rules] == ["1|2=a", "3=c"]
    assert joined_mapping(file, None) is file and joined_mapping(None, None) is None
    with pytest.raises(UsageError, match="both hold the value 2"):
        joined_mapping(file, parse_mapping("2=c"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.json", '{"lesion": [1, 2], "other": [2, 3]}', "the value 2 twice"),
        ("c.json", '{"lesion": []}', "neither values nor classes"),
        ("c.json", '{"lesion": [1, -2]}', "neither values nor classes"),
        ("c.json", '{"colours": {"a": [1, 2]}}', "gives 'a' the colour"),
        ("c.json", '{"colours": {"a": [1, 2, 256]}}', "gives 'a' the colour"),
        ("c.json", '{"colours": {"a": [1, 2, 3], "b": [1, 2, 3]}}', "gives 'b' the colour"),
        ("labelmap.txt", "a:1,2,3::\na:4,5,6::\n", "names 'a' twice"),
        ("labelmap.txt", "a:1,2,300::\n", "gives 'a' the colour"),
        ("lut.txt", "0 a 1 2 3 0\n0 b 1 2 3 0\n", "the value 0 twice"),
        ("lut.txt", "0 a 1 2 3 0\nwhat is this\n", "no class table"),
    ],
)
def test_tables_that_contradict_themselves(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SourceError, match=words) as error:
        load_class_file(path)
    assert str(path) in str(error.value)
