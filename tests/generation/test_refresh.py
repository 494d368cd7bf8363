"""The index while a run goes on: what is there reads well, at a small share of the run's time."""

from __future__ import annotations

import random
from itertools import pairwise

import factories
import pytest

from softlabel.cache import open_cache, parts_folders, read_index, rebuild_index
from softlabel.cache.verify import verify
from softlabel.files.owner import claimed
from softlabel.generation import refresh as module
from softlabel.generation.plan import plan
from softlabel.generation.refresh import PAUSE_SECONDS, SHARE, IndexRefresh
from softlabel.generation.run import generate
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset

QUICK = factories.QUICK
OTHER = Settings(n_segments=12)


@pytest.fixture
def often(monkeypatch):
    """Refresh after every case."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "SHARE", float("inf"))


class Killed(BaseException):
    """Ends a run without anything that it does at its end."""


def test_what_is_finished_can_be_read_while_the_run_goes_on(tmp_path, often):
    out, done = tmp_path / "c.h5", []

    def look(report):
        done.append(report.id)
        with open_cache(out) as cache:
            assert list(cache) == done
            assert cache.missing == tuple(i for i in "abc" if i not in done)
            assert sum(int(s["cases"]) for s in cache.statistics.values()) == len(done)
        assert factories.read_everything(out) and verify(out) == []

    generate(factories.write_scenes(tmp_path / "data"), out, QUICK, progress=look)
    assert done == ["a", "b", "c"]
    calm = factories.make_cache(tmp_path / "calm")
    assert factories.same(factories.read_everything(out), factories.read_everything(calm))


def test_a_run_that_is_killed_leaves_a_cache_up_to_its_last_refresh(tmp_path, often):
    def kill(report):
        if report.id == "b":
            raise Killed

    out = tmp_path / "c.h5"
    with pytest.raises(Killed):
        generate(factories.write_scenes(tmp_path / "data"), out, QUICK, progress=kill)
    assert list(open_cache(out)) == ["a", "b"] and verify(out) == []
    assert factories.computed(factories.again(out)) == (1, 2)


def test_parts_that_a_run_is_replacing_are_read_old_or_new(cache, often):
    for number, name in enumerate("bc"):
        factories.write_scene(cache.parent / "data", name, seed=50 + number)
    states = []

    def look(report):
        assert factories.read_everything(cache)
        states.append([i for i, entry in read_index(cache).manifest.items() if not entry.digest])

    assert factories.computed(factories.again(cache, progress=look)) == (2, 1)
    assert states == [["c"], []]


def test_a_cache_that_is_made_anew_is_exchanged_at_the_end_only(cache, often):
    index, parts = cache.read_bytes(), factories.files_of(cache)

    def look(report):
        assert cache.read_bytes() == index
        assert set(parts_folders(cache)) == {1, 2}
        assert {p.name: p.read_bytes() for p in (cache.parent / "c.parts").iterdir()} == parts

    assert factories.again(cache, OTHER, overwrite=True, progress=look).complete
    assert cache.read_bytes() != index and set(parts_folders(cache)) == {2}
    assert verify(cache) == []


def test_a_full_disk_leaves_the_last_index_whole_and_says_so(tmp_path, often, monkeypatch):
    data, out, indices = factories.write_scenes(tmp_path / "data"), tmp_path / "c.h5", []

    def look(report):
        indices.append(out.read_bytes())

    factories.fill_disk_after(monkeypatch, 1 + 2 + 1)  # the first index, two for a, the part of b
    report = generate(data, out, QUICK, progress=look)
    monkeypatch.undo()
    assert len(indices) == 2 and indices[0] == indices[1] == out.read_bytes()
    assert list(open_cache(out)) == ["a"] and report.cases == 2
    assert report.stopped == (
        f"The cache {out} cannot be written (No space left on device); free some space. Its index "
        "stays as it was; the cases finished since are taken in when the run goes on."
    )
    assert factories.computed(generate(data, out, QUICK)) == (1, 2)


def test_what_another_run_is_replacing_stays_unsettled(cache, often):
    decided = plan(list_dataset(cache.parent / "data"), QUICK, cache)
    rebuild_index(cache, decided.index_content(decided.seen), decided.parts)
    content = read_index(cache)
    rebuild_index(cache, module.replace(content, unsettled=frozenset("ab")), decided.parts)
    with claimed(cache, "same") as claim:
        IndexRefresh(decided, claim).write(decided.seen, {"a", "c"})
    digests = {i: bool(entry.digest) for i, entry in read_index(cache).manifest.items()}
    assert digests == {"a": True, "b": False, "c": True}


def test_what_a_run_is_replacing_stays_unsettled_though_another_run_ended(cache, often):
    """The index that another one leaves at its end vouches for all parts."""
    factories.write_scene(cache.parent / "data", "b", seed=50)
    decided = plan(list_dataset(cache.parent / "data"), QUICK, cache)
    assert decided.unsettled == {"b"} and all(e.digest for e in read_index(cache).manifest.values())
    with claimed(cache, "same") as claim:
        IndexRefresh(decided, claim).write(decided.seen, set())
    assert [i for i, e in read_index(cache).manifest.items() if not e.digest] == ["b"]


def test_a_lost_claim_stops_the_run(tmp_path, often):
    out = tmp_path / "c.h5"

    def take_over(report):
        for claim in out.with_suffix(".lock").iterdir():
            claim.unlink()

    report = generate(factories.write_scenes(tmp_path / "data"), out, QUICK, progress=take_over)
    assert "taken over by another run" in report.stopped and report.remaining


@pytest.mark.parametrize("growth", [0.0, 1e-4, 3e-3], ids=["steady", "growing", "ever slower"])
def test_refreshes_take_a_fiftieth_of_the_time(monkeypatch, growth):
    """Cases come in at random times; a refresh takes a time that grows with them."""
    clock, spent, times, rng = [0.0], [], [], random.Random(4)

    class Decided:
        replaces, shard, out, parts, unsettled = None, None, None, None, frozenset()

        def index_content(self, seen):
            return None

    class Claim:
        def require(self):
            pass

    def rebuild(*_, **__):
        seconds = 0.2 + growth * clock[0]
        times.append(clock[0])
        spent.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module, "rebuild_index", rebuild)
    monkeypatch.setattr(module, "replace", lambda content, **_: content)
    monkeypatch.setattr(IndexRefresh, "_unsettled_by_others", lambda self: frozenset())
    refresh = IndexRefresh(Decided(), Claim())
    while clock[0] < 50_000:
        clock[0] += rng.expovariate(1 / 3)
        if refresh.is_due():
            refresh.write({}, set())
        if clock[0] > 1000:
            assert sum(spent) <= SHARE * clock[0]
    pauses = [b - a for a, b in pairwise(times)]
    assert min(pauses) >= PAUSE_SECONDS and times[0] < PAUSE_SECONDS + 30
    assert len(times) > (1000 if growth == 0 else 15), "and they are made"
