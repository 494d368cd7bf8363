"""Errors that can be told by a worker, and the hints in them."""

from __future__ import annotations

import pickle

import pytest

from softlabel import errors
from softlabel.errors import (
    MissingExtraError,
    SoftlabelError,
    did_you_mean,
    missing_extra,
    nearest,
    plural,
)


def test_one_base_catches_every_error():
    found = [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, Exception)
    ]
    assert len(found) > 4 and all(issubclass(error, SoftlabelError) for error in found)


def test_what_is_missing_can_be_told_by_a_worker():
    error = missing_extra("Reading .nrrd files", "SimpleITK", "itk")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is MissingExtraError and str(again) == str(error)


def test_the_nearest_words_come_first_whatever_their_case():
    known = ["ILM", "OPL", "ONL", "vitreous"]
    assert nearest("opl", known) == ["OPL"]
    assert nearest("onl", known, most=2) == ["ONL", "OPL"]
    assert nearest("zzz", known) == [] == nearest("opl", [])
    assert nearest("a", ["A", "a"], most=2) == ["A", "a"]


@pytest.mark.parametrize(
    ("word", "end"), [("lession", "; did you mean lesion?"), ("zzz", ""), ("", "")]
)
def test_a_hint_is_the_end_of_a_sentence(word, end):
    assert did_you_mean(word, ["background", "lesion"]) == end


def test_numbers_and_their_nouns():
    assert [plural(n, "case") for n in (0, 1, 10_000)] == ["0 cases", "1 case", "10,000 cases"]
    assert [plural(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
