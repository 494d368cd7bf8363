"""Another group is written without computing anything, to the bytes of a run that began with it."""

from __future__ import annotations

import factories
import pytest

from softlabel import generate
from softlabel.cache import open_cache, regrouped_part
from softlabel.cache.verify import verify
from softlabel.errors import CacheError
from softlabel.generation import worker
from softlabel.generation.plan import REGROUP, SKIP, plan
from softlabel.generation.run import carry_out
from softlabel.readers import list_dataset

IDS = ("p1_a", "p1_b", "p2_a")
BY_PATIENT = {"group": "(p.)_"}


@pytest.fixture
def data(tmp_path):
    return factories.write_scenes(tmp_path / "data", IDS)


def refuse(*arguments, **options):
    raise AssertionError("nothing is to be computed")


def test_groups_that_change_are_written_and_nothing_is_computed(data, tmp_path, monkeypatch):
    expected, out = tmp_path / "expected/c.h5", tmp_path / "c.h5"
    expected.parent.mkdir()
    generate(data, expected, factories.QUICK, format_options=BY_PATIENT)
    generate(data, out, factories.QUICK)
    decided = plan(list_dataset(data, options=BY_PATIENT), factories.QUICK, out)
    assert {s.action for s in decided.steps} == {REGROUP}
    assert decided.steps[0].reason == "group: p1_a → p1"
    monkeypatch.setattr(worker, "compute", refuse)
    report = generate(data, out, factories.QUICK, format_options=BY_PATIENT)
    assert (report.regrouped, report.cases, report.skipped, report.complete) == (3, 0, 0, True)
    assert factories.files_of(out) == factories.files_of(expected)
    assert out.read_bytes() == expected.read_bytes()
    with open_cache(out) as cache:
        assert {group: int(s["cases"]) for group, s in cache.statistics.items()} == {
            "p1": 2, "p2": 1,
        }  # fmt: skip
    assert verify(out) == []
    again = plan(list_dataset(data, options=BY_PATIENT), factories.QUICK, out)
    assert {s.action for s in again.steps} == {SKIP}


def test_a_part_with_all_that_a_case_can_have(tmp_path):
    path = factories.part(factories.full_cache(tmp_path), factories.full_case().id)
    before = path.read_bytes()
    group = factories.full_case().group
    assert regrouped_part(path, group) == before
    path.write_bytes(regrouped_part(path, "another"))
    assert path.read_bytes() != before
    assert regrouped_part(path, group) == before


def test_a_damaged_part_fails_alone(data, tmp_path):
    out = tmp_path / "c.h5"
    generate(data, out, factories.QUICK)
    decided = plan(list_dataset(data, options=BY_PATIENT), factories.QUICK, out)
    factories.drop_chunk(factories.part(out, "p1_a"), "case/image")  # after it was looked at
    report = carry_out(decided)
    assert "p1_a" in report.failures and report.regrouped == 2
    report = generate(data, out, factories.QUICK, format_options=BY_PATIENT, check_parts=True)
    assert (report.cases, report.skipped, report.complete) == (1, 2, True)
    assert verify(out) == []


def test_a_full_disk_stops_it_and_the_next_run_goes_on(data, tmp_path, monkeypatch):
    out = tmp_path / "c.h5"
    generate(data, out, factories.QUICK)
    with monkeypatch.context() as patch:
        factories.fill_disk_after(patch, 1 + 1)  # the index, which lets go of the parts first
        report = generate(data, out, factories.QUICK, format_options=BY_PATIENT)
    assert "No space left" in report.stopped and report.regrouped == 1 and not report.complete
    report = generate(data, out, factories.QUICK, format_options=BY_PATIENT)
    assert (report.regrouped, report.skipped, report.complete) == (2, 1, True)
    assert verify(out) == []


def test_what_is_no_part_is_refused(tmp_path):
    cache = factories.full_cache(tmp_path)
    with pytest.raises(CacheError, match="kind 'index'; expected part"):
        regrouped_part(cache, "g")
