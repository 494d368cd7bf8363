"""What info says, against the arrays themselves."""

from __future__ import annotations

import json

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.cache.describe import describe


def test_the_facts_are_those_of_the_arrays(tmp_path):
    cache = factories.make_cache(tmp_path)
    with open_cache(cache) as opened:
        facts = describe(opened)
        labels = {i: np.asarray(c.labels) for i, c in opened.items()}
        softs = {i: np.asarray(c.soft) for i, c in opened.items()}
    assert json.loads(json.dumps(facts)) == facts
    assert facts["path"] == str(cache)
    assert facts["settings"]["n_segments"] == 24 and facts["settings"]["format"] == "pairs"
    everything = np.stack(list(labels.values()))
    for row in facts["classes"]:
        assert row["pixels"] == (everything == row["value"]).sum()
        assert row["frequency"] == pytest.approx((everything == row["value"]).mean())
    for position, row in enumerate(facts["classes"]):
        own = {i: softs[i][position][labels[i] == row["value"]] for i in labels}
        assert row["own_class_q"] == pytest.approx(np.concatenate(list(own.values())).mean())
        lowest = min((i for i in own if own[i].size), key=lambda i: own[i].mean())
        assert row["softest"]["case"] == lowest
        assert row["softest"]["own_class_q"] == pytest.approx(own[lowest].mean())
    band = [np.any((s != 0) & (s != 1), axis=0) for s in softs.values()]
    assert facts["softened_share"] == pytest.approx(np.mean(band))
    assert facts["mean_soft_sum"] == pytest.approx(np.mean([s.sum(axis=0) for s in softs.values()]))
    assert [c["id"] for c in facts["cases"]] == ["a", "b", "c"]
    assert facts["groups"] == [{"name": n, "cases": 1} for n in "abc"]
    files = [cache, *cache.with_suffix(".parts").iterdir()]
    assert facts["bytes"] == sum(p.stat().st_size for p in files)


def test_ignored_pixels_are_left_out(tmp_path):
    with open_cache(factories.full_cache(tmp_path)) as opened:
        facts = describe(opened)
    case = factories.full_case()
    known = int((case.labels != 999).sum())
    assert facts["ignore"] == 999 and facts["channels"] == ["T1", "T2"]
    assert sum(c["pixels"] for c in facts["classes"]) == known
    assert sum(c["frequency"] for c in facts["classes"]) == pytest.approx(1)
    assert facts["cases"][0]["known_pixels"] == known
    assert facts["cases"][0]["spacing_mm"] == [0.5, 0.5, 2.0]
    assert facts["cases"][0]["channels"] == 2


def test_an_empty_cache(tmp_path):
    with open_cache(factories.full_cache(tmp_path, [])) as opened:
        facts = describe(opened)
    assert facts["cases"] == [] and facts["groups"] == []
    assert facts["softened_share"] is None
    for row in facts["classes"]:
        assert row["frequency"] is row["own_class_q"] is row["softest"] is None
