"""JSON and YAML of others: plain values within bounds, or a clause that says what is wrong."""

from __future__ import annotations

import json

import pytest
import yaml

from softlabel.files import documents
from softlabel.files.documents import DocumentError, parse_json, parse_yaml

LAUGHS = "\n".join(
    ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    + [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdef", "bcdefg", strict=True)]
)
"""Ten million values in 400 characters."""


@pytest.mark.parametrize(
    "content", [{"a": [1, 2.5, None, True, "ß😀"], "b": {}}, [], "text", 0, {"a": "9" * 2000}]
)
def test_plain_values_come_through(content):
    assert parse_json(json.dumps(content)) == content
    assert parse_json(json.dumps(content).encode()) == content
    assert parse_yaml(yaml.safe_dump(content, allow_unicode=True)) == content


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' twice"),
        ("[" * 200_000, "nested more than 100 deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested more than 100 deep"),
        ("9" * 5000, "a number of 5000 characters"),
        ('{"a": ' + "9" * 1001 + "}", "a number of 1001 characters"),
        ('["\\ud800"]', "half of a character"),
        ('{"\\uDFFF": 1}', "half of a character"),
        ("{", "line 1"),
        (b"\xff", "no UTF-8"),
    ],
)
def test_json_beyond_the_bounds(text, clause):
    with pytest.raises(DocumentError, match=clause):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("a: 1\nb: {c: 1, c: 2}", r"the key 'c' twice \(line 2\)"),
        (LAUGHS, "more than 100000 values"),
        ("a: &a [*a]", "stands for something that holds the alias"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        ("[" * 2000, "nested more than 100 deep"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: 1" + ":59" * 400, "a number of 1201 characters"),
        ('a: "\\uD800"', "half of a character"),
        ("a: 2001-99-99", "a value of it cannot be"),
        ('a: !!int ""', "a value of it cannot be"),
        ("a: !!timestamp x", "a value of it cannot be"),
    ],
)
def test_yaml_beyond_the_bounds(text, clause):
    with pytest.raises(DocumentError, match=clause):
        parse_yaml(text)


def test_aliases_within_the_bounds_are_followed():
    assert parse_yaml("x: &x {a: 1}\ny: {<<: *x, b: 2}") == {"x": {"a": 1}, "y": {"a": 1, "b": 2}}


def test_yaml_makes_no_objects_and_has_a_largest_size(monkeypatch):
    with pytest.raises(yaml.YAMLError):
        parse_yaml("!!python/object/apply:os.getcwd []")
    monkeypatch.setattr(documents, "LARGEST_YAML", 10)
    with pytest.raises(DocumentError, match="11 characters, expected at most 10"):
        parse_yaml("a: 12345678")
