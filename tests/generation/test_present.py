"""Runs that meet at one output: what each finds, and that none destroys another's work."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import factories
import pytest

from softlabel.cache import folder_of, open_cache, parts_folder, read_index
from softlabel.cache.verify import verify
from softlabel.errors import UsageError
from softlabel.files.owner import OwnedError, claimed
from softlabel.generation import compute, output, present
from softlabel.generation.plan import plan
from softlabel.generation.run import carry_out, generate
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset

QUICK, OTHER = factories.QUICK, Settings(n_segments=12)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("softlabel.files.owner.PATIENCE_SECONDS", 0.1)


def stop_in_case(monkeypatch, number):
    """Ctrl-C while the case of this number is computed."""
    real, calls = compute.soften_case, []

    def soften_case(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(compute, "soften_case", soften_case)


@pytest.fixture
def stopped(cache, monkeypatch):
    """The finished cache, and beside it what a stopped --overwrite with other settings left."""
    with monkeypatch.context() as patch:
        stop_in_case(patch, 2)
        report = factories.again(cache, OTHER, overwrite=True)
    assert (report.cases, report.remaining, report.interrupted) == (1, 2, True)
    return cache


def test_an_overwrite_writes_a_folder_of_its_own_and_exchanges_at_the_end(cache, monkeypatch):
    old = factories.read_everything(cache)
    real, seen = compute.soften_case, []

    def soften_case(*arguments, **options):
        seen.append(factories.same(factories.read_everything(cache), old))
        return real(*arguments, **options)

    monkeypatch.setattr(compute, "soften_case", soften_case)
    assert factories.again(cache, OTHER, overwrite=True).complete
    assert seen == [True] * 3, "the cache is the old one until all cases are there"
    assert parts_folder(cache) == cache.with_suffix(".parts.2") == folder_of(cache, 2)
    assert not cache.with_suffix(".parts").exists() and not cache.with_suffix(".lock").exists()
    assert factories.settings_of(cache)["n_segments"] == 12 and verify(cache) == []
    fresh = factories.make_cache(cache.parent / "fresh", settings=OTHER)
    assert factories.files_of(cache) == factories.files_of(fresh)
    assert factories.again(cache, QUICK, overwrite=True).complete
    assert parts_folder(cache).name == "c.parts.3" and read_index(cache).number == 3
    assert factories.computed(factories.again(cache)) == (0, 3)


def test_a_stopped_overwrite_leaves_the_old_cache_and_is_gone_on_with(stopped):
    assert factories.settings_of(stopped)["n_segments"] == 24
    with open_cache(stopped) as cache:
        assert len(cache) == 3
    assert factories.computed(factories.again(stopped)) == (0, 3), "the old settings go on as well"
    assert factories.computed(factories.again(stopped, OTHER)) == (2, 1)
    assert parts_folder(stopped).name == "c.parts.2" and verify(stopped) == []
    assert not stopped.with_suffix(".parts").exists()


def test_a_third_settings_are_refused_beside_a_stopped_overwrite(stopped):
    with pytest.raises(UsageError, match="other settings"):
        factories.again(stopped, Settings(n_segments=7))
    assert factories.again(stopped, Settings(n_segments=7), overwrite=True).complete
    assert sorted(p.name for p in stopped.parent.glob("c.*")) == ["c.h5", "c.parts.3"]


def test_a_lost_index_beside_a_stopped_overwrite_is_that_of_the_old_cache(stopped):
    old = stopped.read_bytes()
    stopped.unlink()
    assert factories.computed(factories.again(stopped)) == (0, 3)
    stopped.write_bytes(old[:900])
    assert factories.computed(factories.again(stopped, OTHER)) == (2, 1)
    assert verify(stopped) == []


def test_an_overwrite_of_some_cases_keeps_the_others_of_the_same_settings(cache):
    before, inodes = factories.files_of(cache), factories.inodes_of(cache)
    report = factories.again(cache, overwrite=True, ids=["b"])
    assert factories.computed(report) == (1, 0)
    assert factories.files_of(cache) == before and verify(cache) == []
    assert factories.replaced(cache, inodes) == {"b"}
    assert factories.again(cache, OTHER, overwrite=True, ids=["b"]).complete
    assert list(open_cache(cache)) == ["b"]


def test_what_an_exchange_left_behind_goes_with_the_next_run(cache):
    factories.again(cache, OTHER, overwrite=True)
    left = cache.with_suffix(".parts")
    left.mkdir()
    (left / "x.h5").write_bytes(b"of a run that was killed right after the exchange")
    factories.again(cache, OTHER)
    assert not left.exists()


@pytest.mark.usefixtures("impatient")
def test_an_output_of_a_living_run_is_left_alone(cache):
    """Neither other settings nor an overwrite; the same settings share it."""
    begun = plan(list_dataset(cache.parent / "data"), OTHER, cache, overwrite=True)
    with output.owned_output(begun):
        before = factories.files_of(cache)
        for settings, overwrite in ((QUICK, False), (Settings(n_segments=7), True)):
            with pytest.raises(OwnedError, match="written by another run"):
                factories.again(cache, settings, overwrite=overwrite)
        assert factories.files_of(cache) == before
        (begun.parts.path / "x.h5").touch()  # what it has published so far is not touched either
    assert (begun.parts.path / "x.h5").exists()
    assert factories.again(cache).complete


def test_settings_are_looked_at_again_when_the_output_is_owned(tmp_path):
    """Both runs planned while there was nothing; the other one has ended when this one begins."""
    data = list_dataset(factories.write_scenes(tmp_path / "data"))
    late = plan(data, QUICK, tmp_path / "c.h5")
    assert generate(data, tmp_path / "c.h5", OTHER).complete
    before = factories.files_of(tmp_path / "c.h5")
    with pytest.raises(UsageError, match="other settings"):
        carry_out(late)
    assert factories.files_of(tmp_path / "c.h5") == before


def test_an_exchange_between_plan_and_run_is_noticed(cache):
    data = list_dataset(cache.parent / "data")
    late = plan(data, QUICK, cache)
    again = plan(data, QUICK, cache, overwrite=True)
    assert factories.again(cache, overwrite=True).complete
    with pytest.raises(UsageError, match="made anew by another run"):
        carry_out(late)
    assert carry_out(again).complete, "of the same settings: both have made the same"
    assert verify(cache) == []


def test_a_run_that_was_taken_over_publishes_nothing_more(cache, monkeypatch):
    real = compute.soften_case

    def soften_case(*arguments, **options):
        for claim in cache.with_suffix(".lock").iterdir():
            claim.unlink()
        return real(*arguments, **options)

    monkeypatch.setattr(compute, "soften_case", soften_case)
    index, parts = cache.read_bytes(), factories.inodes_of(cache)
    factories.part(cache, "b").unlink()
    report = factories.again(cache)
    assert "was taken over by another run" in report.stopped and not report.complete
    assert not factories.part(cache, "b").exists() and cache.read_bytes() == index
    assert factories.inodes_of(cache).items() <= parts.items()


@pytest.mark.slow
def test_an_index_is_not_rebuilt_while_the_cache_is_made_anew(cache, monkeypatch):
    monkeypatch.setattr("softlabel.files.owner.PATIENCE_SECONDS", 0.1)
    with claimed(cache, "another"):
        done = factories.run_cli("index", cache)
    assert done.returncode == 2 and "is being written by another run" in done.stderr


def test_nothing_there_is_a_new_cache(tmp_path):
    for overwrite in (False, True):
        assert present.look(tmp_path / "c.h5", "{}", overwrite) == present.Present(None)


def _start(data, out, *options):
    return subprocess.Popen(
        [*factories.COMMAND, "generate", data, "-o", out, "-q", "-j1", *options],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_colliding_processes_one_wins_whole(tmp_path, overwrite):
    """Other settings at the same moment, or an overwrite in the midst of a run."""
    ids = [f"s{i}" for i in range(12)]
    data = factories.write_scenes(tmp_path / "data", ids, shape=(90, 100))
    for attempt in range(3):
        out = tmp_path / str(attempt) / "c.h5"
        first = _start(data, out, "--n-segments=150")
        while overwrite and not list(out.parent.glob("c.parts/*.h5")) and first.poll() is None:
            time.sleep(0.01)
        second = _start(data, out, "--n-segments=90", *["--overwrite"] * overwrite)
        texts = [process.communicate(timeout=factories.PATIENCE)[1] for process in (first, second)]
        codes = [process.returncode for process in (first, second)]
        assert sorted(codes) in ([0, 2], [0, 0] if overwrite else [0, 2]), texts
        winner = codes.index(0) if 2 in codes else 1
        assert factories.settings_of(out)["n_segments"] == (150, 90)[winner]
        assert len(open_cache(out)) == 12 and verify(out) == []
        if 2 in codes:
            assert "another run" in texts[1 - winner] or "other settings" in texts[1 - winner]
        assert not out.with_suffix(".lock").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="no such signal")
def test_a_killed_overwrite_loses_neither_the_old_cache_nor_what_it_had_made(tmp_path):
    ids = [f"s{i}" for i in range(8)]
    cache = factories.make_cache(tmp_path, ids, QUICK, (90, 100))
    old = factories.files_of(cache)
    new = folder_of(cache, 2)
    run = _start(tmp_path / "data", cache, "--n-segments=150", "--overwrite")
    while len(list(new.glob("*.h5"))) < 2:
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.002)
    run.kill()
    run.communicate()
    made = len(list(new.glob("*.h5")))
    assert factories.files_of(cache) == old and len(open_cache(cache)) == 8
    report = generate(tmp_path / "data", cache, Settings(n_segments=150))
    assert (report.cases, report.skipped) == (8 - made, made)
    assert verify(cache) == [] and parts_folder(cache) == new
