"""Several runs make one cache together: who has which case, who writes the index, what fails."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.errors import UsageError
from softlabel.generation import refresh
from softlabel.generation.failures import failures_path, read_failures
from softlabel.generation.run import decide, generate
from softlabel.generation.settings import Settings
from softlabel.generation.shards import Shard, shard_of
from softlabel.readers import list_dataset
from softlabel.types import CaseRef

QUICK = factories.QUICK
IDS = [f"s{i}" for i in range(8)]


def slurm(index, first, last, step, count):
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    values = (index, first, last, step, count)
    return {f"SLURM_ARRAY_TASK_{n}": str(v) for n, v in zip(names, values, strict=True)}


# Which case belongs to which shard


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 12))
def test_every_case_is_in_one_shard_and_sources_stay_whole(sources, count):
    refs = [CaseRef(f"c{i}", "", f"s{source}", ()) for i, source in enumerate(sources)]
    shares = [Shard(number, count).of(refs) for number in range(1, count + 1)]
    assert sorted((r.id for share in shares for r in share), key=lambda i: int(i[1:])) == [
        r.id for r in refs
    ]
    for share in shares:
        assert share == [ref for ref in refs if ref in share], "the order of the listing"
    owners = {ref.source: set() for ref in refs}
    for number, share in enumerate(shares):
        for ref in share:
            owners[ref.source].add(number)
    assert all(len(numbers) == 1 for numbers in owners.values())
    if refs:
        largest = max(sources.count(source) for source in sources)
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= largest


def test_cases_that_could_not_be_listed_have_a_shard_each():
    refs = [CaseRef(name, "", "", ()) for name in "abc"]
    assert [[r.id for r in Shard(n, 3).of(refs)] for n in (1, 2, 3)] == [["a"], ["b"], ["c"]]


def test_shards_are_cut_after_choosing(tmp_path):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data", IDS))
    for number, expected in ((1, ["s1", "s5"]), (2, ["s3"])):
        decided = decide(
            dataset, tmp_path / "c.h5", QUICK, ids=["s1", "s3", "s5", "s7"], limit=3,
            shard=Shard(number, 2),
        )  # fmt: skip
        assert [step.ref.id for step in decided.steps] == expected
        assert decided.together == ("s1", "s3", "s5")


# What names a shard


@pytest.mark.parametrize("text", ["", "3", "1/2/3", "a/b", "-1/2", "1.5/2", "slurms"])
def test_what_is_no_shard(text):
    with pytest.raises(UsageError, match="is no shard; give its number and how many"):
        shard_of(text)


@pytest.mark.parametrize("text", ["0/4", "5/4", "0/0"])
def test_shards_are_counted_from_one(text):
    with pytest.raises(UsageError, match="counted from 1"):
        shard_of(text)


@pytest.mark.parametrize(
    ("array", "indices", "variables"),
    [
        ("0-3", (0, 1, 2, 3), (0, 3, 1, 4)),
        ("1-4", (1, 2, 3, 4), (1, 4, 1, 4)),
        ("1-7:2", (1, 3, 5, 7), (1, 7, 2, 4)),
        ("1", (1,), (1, 1, 1, 1)),
    ],
)
def test_a_slurm_array_gives_each_job_a_shard(array, indices, variables):
    found = [shard_of("slurm", slurm(index, *variables)) for index in indices]
    assert found == [Shard(n, len(indices)) for n in range(1, len(indices) + 1)]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_array_with_gaps_is_refused_by_each_of_its_jobs(step):
    for index in (1, 3, 7):
        with pytest.raises(UsageError, match=r"no gaps.*--shard \$SLURM_ARRAY_TASK_ID/7"):
            shard_of("slurm", slurm(index, 1, 7, step, 4 if step == 3 else 3))


def test_some_jobs_that_are_run_again_are_not_taken_for_all():
    with pytest.raises(UsageError, match=r"no array that begins at 0 or 1"):
        shard_of("slurm", slurm(5, 5, 5, 1, 1))


@pytest.mark.parametrize("name", ["ID", "MIN", "MAX", "STEP", "COUNT"])
def test_outside_of_an_array_slurm_is_refused(name):
    variables = slurm(1, 1, 4, 1, 4)
    del variables[f"SLURM_ARRAY_TASK_{name}"]
    with pytest.raises(UsageError, match=f"SLURM_ARRAY_TASK_{name} is no number here"):
        shard_of("slurm", variables)


def test_shards_do_not_make_a_cache_anew(cache):
    with pytest.raises(UsageError, match="leave --overwrite out"):
        factories.again(cache, shard=(1, 2), overwrite=True)


# Who writes the index


def test_the_shard_that_ends_last_writes_the_index(tmp_path):
    data = factories.write_scenes(tmp_path / "data", IDS)
    generate(data, tmp_path / "calm.h5", QUICK)
    out = tmp_path / "c.h5"
    reports = []
    for number in (3, 1, 2):
        report = generate(data, out, QUICK, shard=(number, 3))
        assert report.complete
        reports.append((report.cases, report.elsewhere, len(open_cache(out))))
    assert reports == [(2, 6, 0), (3, 3, 0), (3, 0, 8)]
    assert factories.files_of(out) == factories.files_of(tmp_path / "calm.h5")
    assert verify(out) == []


def test_a_shard_does_not_refresh_the_index_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(refresh, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(refresh, "SHARE", float("inf"))
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    seen = []
    generate(data, out, QUICK, shard=(1, 2), progress=lambda _: seen.append(len(open_cache(out))))
    assert seen == [0, 0, 0, 0]
    generate(data, out, QUICK, progress=lambda _: seen.append(len(open_cache(out))))
    assert seen[4:] == [5, 6, 7, 8], "a run of all does"


def test_a_chosen_part_of_the_data_set_is_complete_with_its_last_shard(tmp_path):
    data = factories.write_scenes(tmp_path / "data", IDS)
    out = tmp_path / "c.h5"
    for number in (1, 2):
        report = generate(data, out, QUICK, limit=3, shard=(number, 2))
    assert (report.elsewhere, list(open_cache(out))) == (0, IDS[:3])


def test_a_shard_without_a_case_is_complete(tmp_path):
    data, out = factories.write_scenes(tmp_path / "data", IDS[:2]), tmp_path / "c.h5"
    report = generate(data, out, QUICK, shard=(3, 3))
    assert (report.complete, report.cases, report.elsewhere) == (True, 0, 2)


def test_a_shard_computes_again_what_has_changed(tmp_path):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    generate(data, out, QUICK)
    factories.write_scene(data, "s0", seed=50)
    before = factories.inodes_of(out)
    assert factories.computed(generate(data, out, QUICK, shard=(2, 2))) == (0, 4)
    assert factories.computed(generate(data, out, QUICK, shard=(1, 2))) == (1, 3)
    assert factories.replaced(out, before) == {"s0"} and verify(out) == []


# What fails


def broken(data, *names):
    for name in names:
        (data / f"images/{name}.png").write_bytes(b"no picture")


def test_every_shard_lists_what_failed_until_the_last_one_gathers_it(tmp_path):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    broken(data, "s0", "s1", "s5")
    first = generate(data, out, QUICK, shard=(1, 2))
    assert list(first.failures) == ["s0"] and not failures_path(out).exists()
    assert failures_path(out, Shard(1, 2)) == tmp_path / "c.failed.1-of-2.tsv"
    assert set(read_failures(out)) == {"s0"}
    second = generate(data, out, QUICK, shard=(2, 2))
    assert (list(second.failures), second.elsewhere) == (["s1", "s5"], 0)
    assert set(read_failures(out)) == {"s0", "s1", "s5"}
    assert [p.name for p in tmp_path.glob("*.tsv")] == ["c.failed.tsv"]
    assert len(open_cache(out)) == 5


def test_a_failure_that_a_shard_has_fixed_leaves_the_list(tmp_path):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    broken(data, "s0", "s1", "s5")
    generate(data, out, QUICK)
    factories.write_scene(data, "s0", seed=0)
    factories.write_scene(data, "s5", seed=5)
    for number in (1, 2):
        generate(data, out, QUICK, shard=(number, 2))
    assert set(read_failures(out)) == {"s1"}
    assert [p.name for p in tmp_path.glob("*.tsv")] == ["c.failed.tsv"]
    factories.write_scene(data, "s1", seed=1)
    generate(data, out, QUICK, shard=(2, 2))
    assert read_failures(out) == {} and not list(tmp_path.glob("*.tsv"))


def test_a_list_from_before_is_out_of_date_where_a_shard_has_computed(tmp_path):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    broken(data, "s0", "s2")
    generate(data, out, QUICK, ids=["s0", "s2"])
    factories.write_scene(data, "s0", seed=0)
    assert generate(data, out, QUICK, shard=(1, 2)).elsewhere == 4
    assert set(read_failures(out)) == {"s0", "s2"}, "the old list and that of the shard"
    assert generate(data, out, QUICK, shard=(2, 2)).elsewhere == 0
    assert set(read_failures(out)) == {"s2"}


def test_a_run_of_all_gathers_the_lists_of_shards_that_never_ended(tmp_path):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    broken(data, "s0", "s4")
    generate(data, out, QUICK, shard=(1, 2))
    generate(data, out, QUICK, ids=["s4", "s1"])
    assert set(read_failures(out)) == {"s0", "s4"}
    assert [p.name for p in tmp_path.glob("*.tsv")] == ["c.failed.tsv"]


# Real processes

SLOWER = ("--n-segments=400", "--compactness=0.03", "-j", "1")


def start(data, out, shard):
    environment = {**os.environ, "SLURM_ARRAY_TASK_STEP": "1", **slurm(shard, 0, 3, 1, 4)}
    return subprocess.Popen(
        [*factories.COMMAND, "generate", data, "-o", out, "--shard", "slurm", *SLOWER],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_four_shards_at_once_of_which_one_is_killed(tmp_path):
    names = [f"s{i}" for i in range(24)]
    data = factories.write_scenes(tmp_path / "data", names, shape=(170, 180))
    generate(data, tmp_path / "calm.h5", Settings(n_segments=400, compactness=0.03))
    out = tmp_path / "c.h5"
    runs = [start(data, out, number) for number in range(4)]
    deadline = time.monotonic() + factories.PATIENCE
    while not list(out.with_suffix(".parts").glob("*.h5")):
        assert time.monotonic() < deadline and runs[0].poll() is None
        time.sleep(0.002)
    runs[0].kill()
    said = [run.communicate(timeout=factories.PATIENCE)[0] for run in runs]
    assert [run.returncode for run in runs] == [-signal.SIGKILL, 0, 0, 0]
    assert all("of other shards are not finished" in text for text in said[1:])
    incomplete = factories.run_cli("info", out, "--complete", "-q")
    assert incomplete.returncode == 1
    resumed = start(data, out, 0)
    stdout, stderr = resumed.communicate(timeout=factories.PATIENCE)
    assert resumed.returncode == 0 and "Shard 1/4: " in stderr
    assert "not finished" not in stdout
    assert factories.run_cli("info", out, "--complete", "-q").returncode == 0
    assert factories.files_of(out) == factories.files_of(tmp_path / "calm.h5")
    assert verify(out) == []


@pytest.mark.slow
def test_the_index_of_shards_that_never_ended_is_made_by_hand(tmp_path):
    data, out = factories.write_scenes(tmp_path / "data"), tmp_path / "c.h5"
    done = factories.run_cli("generate", data, "-o", out, "--n-segments=24", "--shard=1/2")
    assert done.returncode == 0, done.stderr
    assert len(open_cache(out)) == 0
    assert factories.run_cli("index", out).returncode == 0
    assert list(open_cache(out)) == ["a", "c"]
    assert factories.run_cli("info", out, "--complete", "-q").returncode == 1
