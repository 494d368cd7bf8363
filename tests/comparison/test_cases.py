"""A case softened by several methods."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.comparison import cases, compare_case
from softlabel.comparison.cases import cases_of, other_map, second_rater
from softlabel.errors import CaseError
from softlabel.generation import Settings, generate
from softlabel.generation.settings import idle_settings
from softlabel.readers import list_dataset
from softlabel.types import Case, ClassTable

METHODS = ("hard", "superpixel", "gaussian", "geols")


def settings(*methods, **others):
    return {m: Settings(method=m, n_segments=20, **others) for m in methods}


@pytest.fixture
def case():
    return factories.full_case()


def test_maps_are_those_that_generate_makes(tmp_path):
    factories.write_scenes(tmp_path / "scenes")
    dataset = list_dataset(tmp_path / "scenes")
    case = next(cases_of(dataset, dataset.refs))
    with_classes = replace(case, classes=dataset.classes or case.classes)
    chosen = settings(*METHODS)
    found = compare_case(with_classes, chosen)
    for name in METHODS:
        generate(dataset, tmp_path / f"{name}.h5", chosen[name], ids=[case.id])
        with open_cache(tmp_path / f"{name}.h5") as cache:
            np.testing.assert_array_equal(found.maps[name].dense(), cache[case.id].soft[...])
            numbers = cache[case.id].statistics
        share = numbers["softened_pixels"] / numbers["class_pixels"].sum()
        assert found.scores[name].softened == share


def test_superpixels_are_made_once_for_equal_settings(case, monkeypatch):
    calls = []
    make = cases.make_superpixels
    monkeypatch.setattr(cases, "make_superpixels", lambda *a: calls.append(a) or make(*a))
    alike = settings("superpixel")["superpixel"]
    compare_case(case, {"one": alike, "two": replace(alike, boundary="edge")})
    assert len(calls) == 1
    compare_case(case, {"one": alike, "two": replace(alike, superpixels="grid")})
    assert len(calls) == 3


def test_superpixels_depend_on_what_has_no_say_without_them():
    of_distances = {"boundary", "scale", "distance_unit"}
    idle = set(idle_settings(Settings(method="hard"))) - of_distances
    assert set(cases.OF_SUPERPIXELS) == idle


def test_a_truth_of_another_grid_is_refused(case):
    with pytest.raises(CaseError, match="grid of the image"):
        compare_case(case, settings("hard"), truth=np.zeros((2, 2), np.uint8))
    with pytest.raises(CaseError, match="not among the classes"):
        compare_case(case, settings("hard"), truth=np.full(case.shape, 77, np.uint8))


def test_an_error_names_the_method():
    case = Case("flat", np.zeros((1, 8, 8)), np.eye(8, dtype=np.uint8),
                ClassTable.from_values([0, 1]))  # fmt: skip
    with pytest.raises(CaseError, match=r"^flat: gaussian: .*spacing"):
        compare_case(case, settings("hard", "gaussian", distance_unit="mm"))


def rated(**changes):
    labels = np.stack([np.eye(6, dtype=np.uint8), np.ones((6, 6), np.uint8)])
    return Case("r", np.zeros((1, 6, 6)), labels, ClassTable.from_values([0, 1]), rater_axis=0,
                **changes)  # fmt: skip


def test_the_second_rater_is_on_the_axis_or_named_so(case):
    assert second_rater(rated()) == "rater2"
    assert second_rater(rated(raters=("Ada", "Bo"))) == "Bo"
    assert second_rater(replace(rated(), labels=rated().labels[:1])) is None
    maps = {"automatic": case.labels, "grader2": case.labels}
    assert second_rater(replace(case, label_maps=maps)) == "grader2"
    assert second_rater(replace(case, label_maps={"automatic": case.labels})) is None


def test_a_label_map_that_is_not_there_is_named(case):
    case = replace(case, label_maps={"grader2": case.labels})
    assert other_map(case, "grader2") is case.labels
    assert other_map(case, "truth") is case.truth
    with pytest.raises(CaseError, match="'grader'; did you mean grader2"):
        other_map(case, "grader")
    np.testing.assert_array_equal(other_map(rated(), "rater1"), np.eye(6))


def test_what_is_not_there_becomes_none(case):
    facts = compare_case(case, settings("hard")).as_dict()
    assert facts["truth"] is None
    assert facts["methods"]["hard"]["brier"] is None
    assert facts["methods"]["hard"]["softened"] == 0
