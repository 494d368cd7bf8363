"""What every listing shares: ids, their order, and the patients that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from softlabel.errors import SourceError, UsageError
from softlabel.readers import list_dataset
from softlabel.readers.listing import Listing, parse_spacing, require_folder

from .factories import (
    read_all,
    write_pairs,
)


def test_groups(tmp_path):
    write_pairs(tmp_path, ("p1_a", "p1_b", "p2_a"))
    dataset = list_dataset(tmp_path, options={"group": r"^(p\d)"})
    assert [ref.group for ref in dataset.refs] == ["p1", "p1", "p2"]
    for pattern, reason in (("(", "not a regular"), ("p", "no group"), ("(q)", "finds no patient")):
        with pytest.raises(UsageError, match=reason):
            list_dataset(tmp_path, options={"group": pattern})


@pytest.mark.parametrize("name", ["späť", "a b", "A", "x..y", "日本"])
def test_unusual_ids(tmp_path, name):
    write_pairs(tmp_path, (name, "a"))
    assert name in {ref.id for ref in list_dataset(tmp_path).refs}


def test_ids_are_composed_and_undecodable_names_are_problems(tmp_path):
    write_pairs(tmp_path, ("a\u0308", "ok", "line\nbreak"))
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["ok", "ä"]
    assert read_all(dataset)["ä"].id == "ä"
    assert "control character" in dataset.problems["line\\x0abreak"]


def test_ids_that_differ_only_in_case_are_two_cases(tmp_path):
    write_pairs(tmp_path, ("a", "A"))
    if len(list((tmp_path / "img").iterdir())) < 2:
        pytest.skip("this file system does not tell them apart")
    assert len(list_dataset(tmp_path).refs) == 2


@pytest.mark.parametrize(
    ("text", "spacing"), [(None, None), ("1,2", (1.0, 2.0)), ("0.5, 0.5, 3e0", (0.5, 0.5, 3.0))]
)
def test_spacing_is_two_or_three_numbers(text, spacing):
    assert parse_spacing(text) == spacing


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "1,x", "0,1", "-1,1", "inf,1", "nan,1"])
def test_what_is_no_spacing(text):
    with pytest.raises(UsageError, match=r"spacing_mm is .*two or three positive numbers"):
        parse_spacing(text)


def test_two_cases_of_one_id_are_one_problem_that_names_both():
    listing = Listing()
    listing.add("a", ["one.png"], source="", key={})
    listing.add("b", ["b.png"], source="", key={})
    listing.add("a", ["two.png"], source="", key={})
    listing.add("a", ["three.png"], source="", key={})
    dataset = listing.dataset("pairs", Path(), "", options={}, classes=None)
    assert [ref.id for ref in dataset.refs] == ["b"] and list(dataset.problems) == ["a"]
    assert "would name two cases" in dataset.problems["a"]
    listing = Listing()
    listing.add("a", ["one.png"], source="", key={})
    listing.add("a", ["two.png"], source="", key={})
    assert "(one.png and two.png)" in listing.problems["a"]


def test_a_folder_is_required(tmp_path):
    require_folder(tmp_path, "a data set")
    (tmp_path / "file").touch()
    for name, words in (("file", "is a file"), ("none", "does not exist")):
        with pytest.raises(SourceError, match=f"{words}; expected the folder of a data set"):
            require_folder(tmp_path / name, "a data set")
