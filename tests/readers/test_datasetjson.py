"""``dataset.json``: whose it is, and sentences about what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from softlabel.errors import SourceError
from softlabel.readers.datasetjson import (
    is_msd,
    is_nnunet,
    load_dataset_json,
    numbered_names,
    require,
)

from .factories import msd_json, nnunet_json, write_json

PATH = Path("dataset.json")


def test_a_missing_file_says_what_was_expected(tmp_path):
    with pytest.raises(SourceError, match=r"holds no dataset\.json; expected .*imagesTr"):
        load_dataset_json(tmp_path)
    path = write_json(tmp_path / "dataset.json", {"labels": {"a": 1}})
    assert load_dataset_json(tmp_path) == (path, {"labels": {"a": 1}})


def test_no_file_is_of_both_formats():
    assert is_nnunet(nnunet_json()) and not is_msd(nnunet_json())
    assert is_msd(msd_json()) and not is_nnunet(msd_json())
    both = nnunet_json() | msd_json()
    assert is_nnunet(both) and not is_msd(both)
    assert not is_nnunet({}) and not is_msd({}) and not is_msd({"training": 12})


def test_entries_that_are_required():
    assert require({"a": [1]}, "a", list, PATH, "[2]") == [1]
    with pytest.raises(SourceError, match=r"lacks the entry 'a'; expected one such as \[2\]"):
        require({}, "a", list, PATH, "[2]")
    for unusable in ([], {}, 3, None):
        with pytest.raises(SourceError, match="has an unusable entry 'a'"):
            require({"a": unusable}, "a", list, PATH, "[2]")


def test_names_are_ordered_by_their_number():
    assert list(numbered_names({"10": "b", "2": "a", "0": 7}, "labels", PATH).items()) == [
        (0, "7"), (2, "a"), (10, "b"),
    ]  # fmt: skip
    for entry in ({"x": "a"}, {"-1": "a"}, {"²": "a"}, {"1": ["a"]}, {"1": None}):
        with pytest.raises(SourceError, match=r"in 'labels'; expected a number with its name"):
            numbered_names(entry, "labels", PATH)


def test_numbers_of_thousands_of_digits_are_no_keys():
    with pytest.raises(SourceError, match=r"has the entry '9{59}: 'a' in 'labels'; expected"):
        numbered_names({"9" * 5000: "a"}, "labels", PATH)
