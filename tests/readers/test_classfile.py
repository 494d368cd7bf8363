from __future__ import annotations

import json

import pytest

from softlabel.errors import SourceError
from softlabel.readers.classfile import load_class_table

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
