"""A data set becomes a cache, whatever interrupts it."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import factories
import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from softlabel import parallel
from softlabel.cache import open_cache, parts_folder, schema
from softlabel.cache.digest import case_digest
from softlabel.cache.files import put_text
from softlabel.cache.verify import verify
from softlabel.cli import main
from softlabel.errors import SourceError, UsageError
from softlabel.files.atomic import TEMPORARY_PREFIX
from softlabel.generation import compute, run, worker
from softlabel.generation.plan import plan
from softlabel.generation.run import carry_out, estimate, generate
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset
from softlabel.types import CaseRef

QUICK = factories.QUICK
IDS = [f"s{i}" for i in range(8)]


# What a run reports and leaves


def test_a_listed_data_set_can_be_given(tmp_path):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data"))
    assert generate(dataset, tmp_path / "c.h5", QUICK).complete


def test_labels_that_would_be_silently_wrong_are_refused_from_python_too(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ("a", "b"))
    for name, high in (("a", 1), ("b", 255)):
        label = np.zeros((40, 44), np.uint8)
        label[9:20, 9:30] = high
        Image.fromarray(label).save(data / f"labels/{name}.png")
    with pytest.raises(UsageError, match=r"\[codings\].*accept= in Python"):
        generate(data, tmp_path / "c.h5", QUICK)
    assert not (tmp_path / "c.h5").exists()
    report = generate(data, tmp_path / "c.h5", QUICK, accept=["codings"])
    assert report.complete and any("[codings]" in warning for warning in report.warnings)
    with open_cache(tmp_path / "c.h5") as cache:
        assert [finding["code"] for finding in cache.findings] == ["codings"]


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_are_counted_from_one(tmp_path, jobs):
    with pytest.raises(UsageError, match="jobs must be at least 1"):
        generate(factories.write_scenes(tmp_path / "data"), tmp_path / "c.h5", QUICK, jobs=jobs)


def test_a_data_set_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        generate(tmp_path / "nothing", tmp_path / "c.h5", QUICK)
    assert list(tmp_path.iterdir()) == []


# Only what is missing or out of date is computed


def test_a_link_to_a_cache_goes_on_with_the_cache_that_it_stands_for(cache, tmp_path):
    link = tmp_path / "elsewhere/link.h5"
    link.parent.mkdir()
    link.symlink_to(cache)
    factories.write_scene(cache.parent / "data", "b", seed=99)
    report = generate(cache.parent / "data", link, QUICK)
    assert factories.computed(report) == (1, 2)
    assert link.is_symlink() and list(link.parent.iterdir()) == [link]
    assert verify(link) == verify(cache) == []


def test_only_the_changed_case_is_computed_and_then_none(cache):
    factories.write_scene(cache.parent / "data", "b", seed=99)
    before = factories.inodes_of(cache)
    assert factories.computed(factories.again(cache)) == (1, 2)
    assert factories.replaced(cache, before) == {"b"}
    assert factories.computed(factories.again(cache)) == (0, 3)
    assert verify(cache) == []


def test_a_touched_file_is_hashed_once(cache, monkeypatch):
    os.utime(cache.parent / "data/images/b.png")
    assert factories.computed(factories.again(cache)) == (0, 3)
    monkeypatch.setattr(
        "softlabel.generation.input_files.content_hash", lambda p: pytest.fail(f"hashed {p}")
    )
    assert factories.computed(factories.again(cache)) == (0, 3)


def test_subsets_add_up(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    out = tmp_path / "c.h5"
    assert factories.computed(generate(data, out, QUICK, ids=["b"])) == (1, 0)
    assert list(open_cache(out)) == ["b"]
    assert factories.computed(generate(data, out, QUICK, limit=2)) == (1, 1)
    assert factories.computed(generate(data, out, QUICK)) == (1, 2)
    whole = factories.make_cache(tmp_path / "whole")
    assert factories.files_of(whole) == factories.files_of(out)


DAMAGE = {
    "deleted": lambda p: p.unlink(),
    "truncated": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "empty": lambda p: p.write_bytes(b""),
    "swapped": lambda p: p.write_bytes((p.parent / schema.part_name("a")).read_bytes()),
    "foreign": lambda p: p.write_bytes(b"something else"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_damaged_part_is_computed_and_only_it(cache, damage):
    good, before = factories.files_of(cache), factories.inodes_of(cache)
    DAMAGE[damage](factories.part(cache, "b"))
    assert verify(cache) != []
    with_damage = {f.case for f in verify(cache)}
    assert with_damage <= {"b", ""}
    assert factories.computed(factories.again(cache)) == (1, 2)
    assert factories.files_of(cache) == good
    assert factories.inodes_of(cache)[schema.part_name("a")] == before[schema.part_name("a")]
    assert verify(cache) == []


def flip(path, dataset="case/soft"):
    """Flip a bit of a stored chunk."""
    with h5py.File(path) as file:
        chunk = file[dataset].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("dataset", ["case/soft", "case/image", "case/labels", "classes/values"])
def test_a_flipped_bit_of_a_finished_part_is_computed_anew(cache, dataset):
    good, path = factories.files_of(cache), factories.part(cache, "b")
    flip(path, dataset)
    assert [f.case for f in verify(cache)] == ["b"]
    assert factories.computed(factories.again(cache)) == (1, 2)
    assert factories.files_of(cache) == good and verify(cache) == []
    assert factories.computed(factories.again(cache)) == (0, 3)


def test_a_part_that_kept_its_size_and_time_is_read_on_request(cache):
    good, path = factories.files_of(cache), factories.part(cache, "b")
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk does it
    assert factories.computed(factories.again(cache)) == (0, 3)
    assert factories.computed(factories.again(cache, check_parts=True)) == (1, 2)
    assert factories.files_of(cache) == good


def test_only_parts_that_have_changed_since_the_index_are_read(cache, monkeypatch):
    read = []
    monkeypatch.setattr(
        "softlabel.generation.plan.damage", lambda path: read.append(path.name) or None
    )
    factories.again(cache)
    assert read == []
    os.utime(factories.part(cache, "a"))
    factories.again(cache)
    assert read == [schema.part_name("a")]
    factories.again(cache, check_parts=True)
    assert len(read) == 1 + 3


@pytest.mark.parametrize("which", ["stale", "exchanged"])
def test_a_part_that_the_index_does_not_mean_is_computed_anew(cache, which):
    path = factories.part(cache, "b")
    if which == "stale":
        old = path.read_bytes()
        factories.write_scene(cache.parent / "data", "b", seed=42)
        factories.again(cache)
        good = factories.files_of(cache)
        path.write_bytes(old)
    else:
        good = factories.files_of(cache)
        with h5py.File(path, "r+") as file:  # sound in itself
            file["case"].attrs["spacing_mm"] = np.array([0.5, 2.5])
            put_text(file["case"], "digest", case_digest(file["case"]))
    assert factories.computed(factories.again(cache)) == (1, 2)
    assert factories.files_of(cache) == good and verify(cache) == []


def test_a_run_that_is_killed_while_it_replaces_parts_loses_none(cache, monkeypatch):
    for name in ("b", "c"):
        factories.write_scene(cache.parent / "data", name, seed=42)

    def killed(*arguments, **options):
        raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(run, "_finish", killed)
        factories.again(cache)
    with open_cache(cache) as opened:  # the index vouches for neither, and both are right
        assert [case.labels.shape for case in opened.values()] == [(40, 44)] * 3
    assert factories.computed(factories.again(cache)) == (0, 3)
    fresh = generate(cache.parent / "data", cache.parent / "fresh.h5", QUICK)
    assert fresh.complete
    assert factories.files_of(cache) == factories.files_of(cache.parent / "fresh.h5")
    assert verify(cache) == []


@pytest.mark.parametrize("start", [b"\x09HDF", b"\x89HDF\r\n\xff\xff", b""])
def test_an_index_whose_first_bytes_changed_is_made_anew(cache, start):
    whole = cache.read_bytes()
    cache.write_bytes(start + whole[len(start) :] if start else whole[:3])
    assert factories.computed(factories.again(cache)) == (0, 3)
    assert cache.read_bytes() == whole


def test_parts_of_a_run_that_was_killed_are_kept_when_they_are_sound(cache):
    """The index does not name them yet."""
    whole = cache.read_bytes()
    factories.part(cache, "b").rename(cache.parent / "aside")
    factories.part(cache, "c").unlink()
    assert CliRunner().invoke(main, ["index", str(cache)]).exit_code == 0
    assert cache.read_bytes() != whole
    (cache.parent / "aside").rename(factories.part(cache, "b"))
    assert factories.computed(factories.again(cache)) == (1, 2)
    assert cache.read_bytes() == whole


# Settings


def test_superpixels_of_the_output_itself_are_refused(cache):
    before = factories.files_of(cache)
    with pytest.raises(UsageError, match="to give the superpixels and to be written"):
        factories.again(cache, superpixel_file=cache, overwrite=True)
    assert factories.files_of(cache) == before


@pytest.mark.parametrize("ids", [("a", "b", "c"), ("x", "y")])
def test_another_data_set_is_not_mixed_in(cache, tmp_path, ids):
    before = factories.files_of(cache)
    other = factories.write_scenes(tmp_path / "other" / "data", ids, shape=(30, 34))
    with pytest.raises(UsageError, match=r"holds 3 cases, and no file .* of another data set"):
        generate(other, cache, QUICK)
    assert factories.files_of(cache) == before
    assert generate(other, cache, QUICK, overwrite=True).complete
    assert list(open_cache(cache)) == list(ids)


def test_a_first_case_that_cannot_be_read_any_more_does_not_make_it_another_data_set(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    cache = tmp_path / "c.h5"
    assert generate(data, cache, QUICK, ids=["a"]).complete
    (data / "labels/a.png").unlink()
    report = generate(data, cache, QUICK)
    assert report.cases == 2 and not report.failures
    assert "1 case that the data set does not have any more (for example a)" in report.warnings[0]


def test_all_cases_of_one_source_may_change(tmp_path):
    """As the B-scans of one file do when its annotation was fixed."""
    data = factories.write_scenes(tmp_path / "data")
    listed = list_dataset(data)
    one = replace(listed, refs=tuple(replace(ref, source="images/a.png") for ref in listed.refs))
    cache = tmp_path / "c.h5"
    generate(listed, cache, QUICK)
    for name in "abc":
        factories.write_scene(data, name, seed=9 + ord(name))
    with pytest.raises(UsageError, match="of another data set"):
        plan(listed, QUICK, cache)
    assert plan(one, QUICK, cache).count("stale") == 3


def test_a_data_set_that_has_moved_grown_and_changed_is_the_same(cache, tmp_path):
    moved = tmp_path / "moved"
    (cache.parent / "data").rename(moved)
    (moved / "images/a.png").unlink()
    (moved / "labels/a.png").unlink()
    shutil.copy(moved / "images/b.png", moved / "images/d.png")
    shutil.copy(moved / "labels/b.png", moved / "labels/d.png")
    (moved / "labels/b.png").write_bytes((moved / "labels/c.png").read_bytes())
    report = generate(moved, cache, QUICK)
    assert (report.cases, report.skipped) == (2, 1)  # d is new, b has another label map


# What grows with the number of cases


def test_a_task_carries_no_more_of_the_listing_than_its_source(tmp_path, monkeypatch):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data", IDS))
    decided = plan(replace(dataset, problems={"x": "y"}), QUICK, tmp_path / "c.h5")
    for task in run.tasks_of(decided, decided.todo, 2):
        assert task.dataset.refs == task.refs and not task.dataset.problems


@pytest.mark.slow
def test_ten_thousand_cases_are_planned_and_summed_up(tmp_path, monkeypatch):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data", ("a",)))
    ref = dataset.refs[0]
    many = replace(
        dataset, refs=tuple(replace(ref, id=f"case {i}", source=f"{i}") for i in range(10_000))
    )
    decided = plan(many, QUICK, tmp_path / "c.h5")
    monkeypatch.setattr(
        run,
        "compute_source",
        lambda task, **options: iter([run.CaseReport(task.refs[0].id)]),
    )
    report = carry_out(decided)
    assert report.remaining == 0


# Estimates


def test_an_estimate_writes_nothing_and_skips_bad_cases(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    (data / "images/a.png").write_bytes(b"broken")
    sample = estimate(plan(list_dataset(data), QUICK, tmp_path / "c.h5"))
    assert sample.id == "b" and not sample.error
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    generate(data, tmp_path / "c.h5", QUICK)
    assert sample.bytes == factories.part(tmp_path / "c.h5", "b").stat().st_size
    assert estimate(plan(list_dataset(data), QUICK, tmp_path / "c.h5", ids=["b"])) is None
    assert "a.png" in estimate(plan(list_dataset(data), QUICK, tmp_path / "d.h5", ids=["a"])).error


# Interruptions


def press_in(monkeypatch, module, name, *, call, presses):
    """Send signals when a function is called for the so-manieth time; return its calls."""
    real, calls = getattr(module, name), []

    def function(*args, **options):
        calls.append(args)
        if len(calls) == call:
            for number in presses:
                signal.raise_signal(number)
        return real(*args, **options)

    monkeypatch.setattr(module, name, function)
    return calls


PLACES = [  # a function of the third case, and whether that is finished before the run stops
    (compute, "make_superpixels", False),
    (compute, "soften_case", False),
    (worker, "record_inputs", False),
    (worker, "build_part", True),
    (worker, "publish", True),
]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "name", "finishes"), PLACES, ids=[name for _, name, _ in PLACES]
)
def test_a_signal_stops_a_run_at_the_next_safe_point(
    tmp_path, monkeypatch, module, name, finishes, number
):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    calls = press_in(monkeypatch, module, name, call=3, presses=[number])
    report = generate(data, out, QUICK)
    assert len(calls) == 3
    monkeypatch.undo()
    done = 3 if finishes else 2
    assert report.interrupted and not report.complete
    assert (report.cases, report.remaining, report.failures) == (done, len(IDS) - done, {})
    assert list(open_cache(out)) == IDS[:done] and verify(out) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert factories.computed(generate(data, out, QUICK)) == (len(IDS) - done, done)


def test_a_second_ctrl_c_stops_in_the_midst_of_a_step(tmp_path, monkeypatch):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    press_in(monkeypatch, worker, "build_part", call=3, presses=[signal.SIGINT, signal.SIGINT])
    report = generate(data, out, QUICK)
    assert report.interrupted and (report.cases, report.remaining) == (2, 6)
    assert verify(out) == []


def test_a_signal_in_the_last_moment_is_told(tmp_path, monkeypatch):
    data, out = factories.write_scenes(tmp_path / "data"), tmp_path / "c.h5"
    press_in(monkeypatch, run, "rebuild_index", call=1, presses=[signal.SIGINT])
    report = generate(data, out, QUICK)
    assert report.interrupted and (report.cases, report.remaining) == (3, 0)
    assert list(open_cache(out)) == ["a", "b", "c"] and verify(out) == []


def test_a_program_that_handles_ctrl_c_keeps_its_handler(tmp_path, monkeypatch):
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        press_in(monkeypatch, worker, "compute", call=1, presses=[signal.SIGINT])
        report = generate(factories.write_scenes(tmp_path / "data"), tmp_path / "c.h5", QUICK)
    finally:
        signal.signal(signal.SIGINT, before)
    assert report.complete and heard == [signal.SIGINT]


def test_stale_cases_that_were_not_reached_remain(cache, monkeypatch):
    monkeypatch.setattr(schema, "ALGORITHM", 2)
    press_in(monkeypatch, compute, "soften_case", call=2, presses=[signal.SIGINT])
    report = factories.again(cache)
    assert (report.cases, report.remaining) == (1, 2)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no such timer")
def test_a_hundred_signals_at_any_moment_lose_nothing(tmp_path):
    ids = IDS[:4]
    data = factories.write_scenes(tmp_path / "data", ids, shape=(90, 100))
    calm, out = tmp_path / "calm.h5", tmp_path / "c.h5"
    generate(data, calm, SLOWER)
    started = time.perf_counter()
    generate(data, out, SLOWER)
    took = time.perf_counter() - started
    rng, dataset, interrupted = random.Random(7), list_dataset(data), 0

    def press(*_):
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # a run listens
            signal.raise_signal(rng.choice([signal.SIGINT, signal.SIGTERM]))

    before = signal.signal(signal.SIGALRM, press)
    try:
        for _ in range(3000):
            if interrupted == 100:
                break
            for path in list(parts_folder(out).glob("*.h5")):
                if rng.random() < 0.4:
                    path.unlink()  # so that there is always something to do
            decided = plan(dataset, SLOWER, out)
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-3, took / 2))
            report = carry_out(decided)
            signal.setitimer(signal.ITIMER_REAL, 0)
            interrupted += report.interrupted
            assert not report.failures and report.interrupted >= (report.remaining > 0)
            assert report.cases + report.remaining == len(decided.todo)
            check_final_names(out)
            assert sorted(open_cache(out)) == sorted(
                i for i in ids if factories.part(out, i).exists()
            )
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 100
    assert generate(data, out, SLOWER).complete
    assert factories.files_of(out) == factories.files_of(calm)
    assert verify(out) == []


@pytest.mark.slow
def test_a_killed_worker_stops_the_run_with_a_sentence(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data", IDS)
    out = tmp_path / "c.h5"
    decided = plan(list_dataset(data), QUICK, out)
    monkeypatch.setattr(run, "tasks_of", deadly_tasks)
    report = carry_out(decided, jobs=2)
    monkeypatch.undo()
    assert report.stopped.startswith("A worker process was killed from outside, most likely")
    assert "fewer --jobs" in report.stopped
    assert report.cases >= 1 and report.remaining >= 1 and report.cases + report.remaining == 8
    assert not report.failures and not report.complete
    assert len(open_cache(out)) == report.cases and verify(out) == []
    rest = generate(data, out, QUICK)
    assert factories.computed(rest) == (8 - report.cases, report.cases)


class DeadlyFiles:
    """Stands where superpixel files stand, and ends the worker that asks it for one case."""

    def file(self, case_id):
        if case_id == "s5":
            time.sleep(0.5)
            os._exit(1)


def deadly_tasks(*arguments):
    return [
        replace(task, superpixel_files=DeadlyFiles()) if task.refs[0].id == "s5" else task
        for task in TASKS_OF(*arguments)
    ]


TASKS_OF = run.tasks_of


def test_what_a_stopped_worker_published_counts_as_finished(tmp_path, monkeypatch):
    def run(function, tasks, jobs, safe_point):
        yield from function(*tasks[0])
        list(function(*tasks[1]))  # published, not told
        raise parallel.WorkerDied("A worker died.")

    data = factories.write_scenes(tmp_path / "data", IDS)
    decided = plan(list_dataset(data), QUICK, tmp_path / "c.h5")
    monkeypatch.setattr(parallel, "run", run)
    report = carry_out(decided)
    assert (report.cases, report.remaining) == (2, 6)
    assert list(open_cache(tmp_path / "c.h5")) == IDS[:2]


def run_quietly(data, out):
    """What a forked process does until it is killed."""
    try:
        generate(data, out, SLOWER)
    finally:
        os._exit(0)


SLOWER = Settings(n_segments=200)


def check_final_names(out):
    """Whatever is under a final name is complete."""
    for path in [*out.parent.glob("c.h5"), *parts_folder(out).glob("*.h5")]:
        with h5py.File(path) as file:
            file.visititems(lambda n, node: node[...] if isinstance(node, h5py.Dataset) else None)


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing(tmp_path):
    data = factories.write_scenes(tmp_path / "data", IDS, shape=(90, 100))
    calm = tmp_path / "calm.h5"
    started = time.perf_counter()
    generate(data, calm, SLOWER)
    took = time.perf_counter() - started
    out = tmp_path / "c.h5"
    rng = random.Random(5)
    context = multiprocessing.get_context("fork")
    killed = 0
    for _ in range(100):
        if killed == 8:
            break
        for path in list(parts_folder(out).glob("*.h5")):
            if rng.random() < 0.4:
                path.unlink()  # so that there is always something to do
        process = context.Process(target=run_quietly, args=(data, out))
        process.start()
        time.sleep(rng.uniform(0.02, 0.8 * took))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        check_final_names(out)
    assert killed == 8
    report = generate(data, out, SLOWER)
    assert report.complete and report.cases + report.skipped == 8
    assert factories.files_of(out) == factories.files_of(calm)
    assert verify(out) == []
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))


@pytest.mark.slow
def test_two_runs_at_the_same_time_both_end_well(tmp_path):
    calm = factories.make_cache(tmp_path, IDS)
    data = tmp_path / "data"
    out = tmp_path / "at once" / "c.h5"
    runs = [
        subprocess.Popen(
            [*factories.COMMAND, "generate", data, "-o", out, "--n-segments=24", "-j", "1", "-q"],
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for started in runs:
        _, complaints = started.communicate(timeout=factories.PATIENCE)
        assert (started.returncode, complaints) == (0, "")
    assert factories.files_of(out) == factories.files_of(calm)
    assert out.read_bytes() == calm.read_bytes() and verify(out) == []


# Superpixels of somebody else


def test_worker_count_does_not_matter_for_by_source():
    refs = [CaseRef(str(i), "", f"s{i % 3}", ()) for i in range(7)]
    groups = run.by_source(refs)
    assert [[r.id for r in g] for g in groups] == [["0", "3", "6"], ["1", "4"], ["2", "5"]]
    assert parallel.split_evenly(groups, 2) == groups
