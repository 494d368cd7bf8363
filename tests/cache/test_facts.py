"""What the index tells of each case, so that nothing has to be opened for it."""

from __future__ import annotations

import json
import os
import shutil

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.cache import read as read_module
from softlabel.cache.describe import describe
from softlabel.cache.facts import CaseFacts, read_facts
from softlabel.cache.files import seal, text_array
from softlabel.errors import CacheError


@pytest.fixture
def opened_files(monkeypatch):
    """Names of the files that readers open from now on."""
    real, names = read_module.open_file, []

    def open_file(path):
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(read_module, "open_file", open_file)
    return names


def touch(cache):
    """Make all parts younger than their index."""
    for path in cache.with_suffix(".parts").iterdir():
        os.utime(path)


@pytest.mark.parametrize("make", [factories.full_cache, factories.oct_cache, factories.make_cache])
def test_the_index_tells_what_the_parts_tell(tmp_path, make, opened_files):
    cache = make(tmp_path)
    with open_cache(cache) as opened:
        by_index = describe(opened)
    assert opened_files == ["c.h5"], "no part is opened"
    touch(cache)
    with open_cache(cache) as opened:
        assert describe(opened) == by_index
    assert len(opened_files) == 2 + len(by_index["cases"])


def test_they_are_those_of_the_case(tmp_path):
    case = factories.full_case()
    with open_cache(factories.full_cache(tmp_path)) as opened:
        facts, stored = opened.facts(case.id), opened[case.id]
        assert (facts.group, facts.shape, facts.channels) == (case.group, case.labels.shape, 2)
        assert facts.spacing_mm == case.spacing_mm
        np.testing.assert_array_equal(facts.class_pixels, stored.statistics["class_pixels"])
        np.testing.assert_array_equal(facts.own_class_sum, stored.statistics["own_class_sum"])
        assert facts.soft_sum == stored.statistics["soft_sum"]
        assert facts.original_pixels is None and facts.notes == ()


def test_json_and_back(tmp_path):
    cache = factories.oct_cache(tmp_path)
    (path,) = cache.with_suffix(".parts").iterdir()
    with h5py.File(path) as file:
        facts = read_facts(file["case"])
    assert facts.original_pixels and facts.notes
    assert CaseFacts.from_json(facts.as_json()) == facts


@pytest.mark.parametrize(
    "text", ["[]", "{", "{}", json.dumps({"group": "a"}), '{"shape": "x"}', "7", "null"]
)
def test_an_index_that_tells_something_else_is_damaged(tmp_path, text):
    cache = factories.full_cache(tmp_path)
    with h5py.File(cache, "r+") as file:
        texts = text_array([text])
        del file["manifest/facts"]
        made = file["manifest"].create_dataset(
            "facts", data=texts, chunks=texts.shape, fletcher32=True
        )
        seal(made)
    factories.reseal_index(cache)
    with open_cache(cache) as opened:
        (problem,) = describe(opened)["problems"].values()
        assert str(cache) in problem and "softlabel index" in problem
        with pytest.raises(CacheError, match="softlabel index"):
            opened.facts(factories.full_case().id)


def test_a_part_that_has_changed_or_gone_is_opened(tmp_path):
    cache = factories.make_cache(tmp_path)
    factories.part(cache, "a").unlink()
    shutil.copy(factories.part(cache, "c"), factories.part(cache, "b"))
    with open_cache(cache) as opened:
        facts = describe(opened)
    assert list(facts["problems"]) == ["a", "b"] and [c["id"] for c in facts["cases"]] == ["c"]
    assert facts["missing"] == ["a", "b"]


def test_an_index_of_earlier_softlabel_has_none(tmp_path, opened_files):
    cache = factories.make_cache(tmp_path)
    with open_cache(cache) as opened:
        expected = describe(opened)
    with h5py.File(cache, "r+") as file:
        del file["manifest/facts"]
        del file["cases"].attrs["digest"]
    with open_cache(cache) as opened:
        assert describe(opened)["cases"] == expected["cases"]
    assert len(opened_files) == 2 + 3
