"""Softness against where raters disagree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from softlabel.comparison import against_raters, raters
from softlabel.comparison.raters import class_bands
from softlabel.errors import CaseError
from softlabel.generation import Settings
from softlabel.phantom import write_oct_dataset
from softlabel.readers import list_dataset
from softlabel.softening import soften
from softlabel.types import Case, ClassTable

SETTINGS = {m: Settings(method=m) for m in ("hard", "gaussian")}
CLASSES = ClassTable.from_values([0, 1])


@pytest.fixture
def case():
    """Two raters whose boundaries differ by two columns; one rater ignored the last row."""
    one, two = np.zeros((2, 12, 24), np.uint8)
    one[:, 12:], two[:, 14:] = 1, 1
    two[-1] = 9
    return Case("a", np.zeros((1, 12, 24)), one, CLASSES, ignore=9, label_maps={"grader2": two})


def pairs_in_order(values, positive):
    found = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p in values[positive] for n in values[~positive]
    ]  # fmt: skip
    return np.mean(found)


def test_areas_are_those_of_all_pairs_of_the_band(case):
    bands = class_bands(case, SETTINGS, CLASSES, None, band_px=4)
    one, two = case.labels, case.label_maps["grader2"]
    band = np.zeros(one.shape, bool)
    band[:-1, 7:17] = True  # columns 11 and 12 are the boundary, four more at each side
    soft = soften(one, method="gaussian").dense()
    for k in (0, 1):
        positive = ((one == k) != (two == k))[band]
        values = np.minimum(soft[k], 1 - soft[k])[band]
        assert bands[k].areas["gaussian"] == pytest.approx(pairs_in_order(values, positive))
        assert bands[k].areas["hard"] == 0.5
        assert (bands[k].pixels, bands[k].disagreeing) == (110, 22)
        assert bands[k].areas["gaussian"] > 0.7


def test_of_two_raters_along_an_axis_the_first_is_softened(case):
    both = np.stack([case.labels, case.label_maps["grader2"]])
    stacked = replace(case, labels=both, rater_axis=0, label_maps={})
    found = class_bands(stacked, SETTINGS, CLASSES, None, 4)
    assert found == class_bands(case, SETTINGS, CLASSES, None, 4)


def test_a_case_of_one_rater_is_refused(case):
    with pytest.raises(CaseError, match="no label map of a second rater"):
        class_bands(replace(case, label_maps={}), SETTINGS, CLASSES, None, 4)


def test_means_are_over_cases_in_which_raters_differ(case, monkeypatch):
    same = replace(case, id="b", label_maps={"grader2": case.labels})
    alone = replace(case, id="c", label_maps={})
    cases = [case, same, alone, CaseError("d: broken")]
    monkeypatch.setattr(raters, "cases_of", lambda dataset, refs: iter(cases))
    refs = [type("Ref", (), {"id": name}) for name in "abcd"]
    seen = []
    report = against_raters(None, refs, SETTINGS, CLASSES, done=seen.append)
    assert seen == list("abcd") and report.cases == 2
    assert list(report.failures) == ["c", "d"]
    [first, *_] = [a for a in report.areas if a.method == "gaussian"]
    [expected, *_] = class_bands(case, SETTINGS, CLASSES, None, report.band_px)
    assert first.area == expected.areas["gaussian"] and first.cases == 1
    other = class_bands(same, SETTINGS, CLASSES, None, report.band_px)[0]
    assert first.disagreeing == 22 * 1 / (expected.pixels + other.pixels)
    assert report.mean_area("gaussian") == pytest.approx(first.area)
    assert report.as_dict()["areas"][0]["method"] == "hard"


def test_softness_finds_where_graders_of_a_phantom_differ(tmp_path):
    write_oct_dataset(tmp_path / "oct", n_subjects=1, seed=5, shape=(224, 128, 2), n_annotated=2)
    dataset = list_dataset(tmp_path / "oct")
    report = against_raters(dataset, dataset.refs, SETTINGS, dataset.classes)
    assert report.cases == 2 and not report.failures
    assert report.mean_area("hard") == 0.5
    assert report.mean_area("gaussian") > 0.6
