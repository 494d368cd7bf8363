"""What a report tells of a cache."""

import json
from dataclasses import replace

import factories
import numpy as np
import pytest

from softlabel import generate
from softlabel.cache import open_cache
from softlabel.generation.findings import FINDINGS
from softlabel.reports.contents import contents_of
from softlabel.reports.names import LEFT_OUT, Names


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with open_cache(factories.make_cache(tmp_path_factory.mktemp("small"))) as cache:
        yield cache


def test_numbers_are_those_of_the_arrays(small):
    for row in contents_of(small).rows:
        case = small[row.id]
        soft, labels = case.soft[...], case.labels[...]
        for k, value in enumerate(small.classes.values):
            assert row.own_q[k] == pytest.approx(soft[k][labels == value].mean(), rel=1e-5)
        assert row.softened == pytest.approx(((soft > 0) & (soft < 1)).any(axis=0).mean())
        assert row.soft_sum == pytest.approx(soft.sum(axis=0).mean(), rel=1e-5)


def test_worst_cases_come_first(small):
    rows = contents_of(small).rows
    lowest = [min(row.own_q) for row in rows]
    assert lowest == sorted(lowest) and len(set(lowest)) > 1
    assert all(row.softest[0] == int(np.argmin(row.own_q)) for row in rows)


def test_cases_that_failed_are_listed_with_their_reasons(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    (data / "labels" / "b.png").write_bytes(b"no picture")
    generate(data, tmp_path / "c.h5", factories.QUICK)
    with open_cache(tmp_path / "c.h5") as cache:
        ((name, reason),) = contents_of(cache).failures
        hidden = contents_of(cache, anonymise=True).failures
        assert dict(contents_of(cache).facts)["cases"] == "2 of 3 in 2 groups"
    assert name == "b" and "b.png" in reason
    assert "b.png" not in str(hidden) and len(hidden) == 1


def test_a_damaged_part_is_listed(tmp_path):
    path = factories.make_cache(tmp_path)
    factories.part(path, "b").write_bytes(b"no part")
    with open_cache(path) as cache:
        told = contents_of(cache)
    assert [name for name, _ in told.failures] == ["b"] and len(told.rows) == 2


def test_findings_of_the_check_are_the_warnings(tmp_path):
    with open_cache(factories.full_cache(tmp_path)) as cache:
        told, hidden = contents_of(cache), contents_of(cache, anonymise=True)
    ((*found, meaning),) = told.findings
    assert found == ["stack", "warning", "ein Stapel?"]
    assert meaning.endswith(f"What settles it: {FINDINGS['stack'].settled_by}.")
    assert hidden.findings == [("stack", "warning", "", meaning)]


def test_superpixels_that_are_too_large_are_a_warning_as_in_the_run(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    run = generate(data, tmp_path / "c.h5", replace(factories.QUICK, n_segments=1))
    with open_cache(tmp_path / "c.h5") as cache:
        told, hidden = contents_of(cache), contents_of(cache, anonymise=True)
    (warning,) = told.superpixel_warnings
    assert warning in run.warnings and "nearly every pixel is softened" in warning
    (warning,) = hidden.superpixel_warnings
    assert "(for example a)" not in warning and len(warning) > 60


def test_settings_are_words_and_no_python(small):
    facts = dict(contents_of(small).facts)
    assert not any(mark in value for value in facts.values() for mark in "{[('")
    assert facts["method_options"].startswith("min_minority 0")
    assert "in_plane no" in facts["method_options"]
    assert "None" not in facts.values()
    assert facts["channel_percentiles"] == "0.0, 100.0"


def test_ids_are_hashed_where_the_source_is_dicom(tmp_path):
    path = factories.full_cache(tmp_path)
    with open_cache(path) as cache:
        assert not contents_of(cache).anonymous
        record = json.loads(cache.header.settings) | {"format": "dicom"}
        object.__setattr__(cache.header, "settings", json.dumps(record))
        told = contents_of(cache)
        assert told.anonymous and not contents_of(cache, anonymise=False).anonymous
    (row,) = told.rows
    assert "Fall" not in row.name and "Patient" not in row.group and "c.h5" not in told.title
    assert row.id == "Fall 1 – größer"


def test_hashes_tell_cases_apart_and_depend_on_the_cache():
    ids = [f"case{i}" for i in range(1000)]
    names = {Names(True, "one").of(i) for i in ids}
    assert len(names) == 1000 and not names & {Names(True, "two").of(i) for i in ids}
    assert Names(True, "one").of("case1") == Names(True, "one").of("case1")


def test_settings_that_hold_a_path_are_left_out():
    settings = {"format_options": {"classes": "/data/Jane/t.txt"}, "win": r"C:\x", "sigma": 1.0}
    assert Names(True).settings(settings) == {
        "format_options": LEFT_OUT, "win": LEFT_OUT, "sigma": 1.0,
    }  # fmt: skip
    assert Names(False).settings(settings) == settings


def test_a_cache_without_cases(tmp_path):
    with open_cache(factories.full_cache(tmp_path, [])) as cache:
        told = contents_of(cache)
    assert told.rows == () and told.histograms == () and told.strips == () and told.columns == ()
