"""A data set becomes a cache, whatever interrupts it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import factories
import h5py
import numpy as np
import pytest
from PIL import Image

import softlabel
from softlabel import parallel
from softlabel.cache import open_cache, parts_folder, schema
from softlabel.cache.verify import verify
from softlabel.errors import SourceError, UsageError
from softlabel.files.atomic import TEMPORARY_PREFIX
from softlabel.generation import compute, run, worker
from softlabel.generation.plan import plan
from softlabel.generation.report import failures_path
from softlabel.generation.run import carry_out, estimate, generate
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset
from softlabel.types import CaseRef, ClassTable

QUICK = factories.QUICK
IDS = [f"s{i}" for i in range(8)]


def changed_parts(cache, before):
    """Ids of the cases whose parts are new or replaced."""
    now = factories.files_of(cache)
    names = {schema.part_name(i): i for i in [*IDS, "a", "b", "c", "d"]}
    return {names[n] for n in now if before.get(n) != now[n]}


def inodes(cache):
    return {p.name: p.stat().st_ino for p in parts_folder(cache).iterdir()}


def replaced(cache, before):
    names = {schema.part_name(i): i for i in [*IDS, "a", "b", "c", "d"]}
    return {names[n] for n, inode in inodes(cache).items() if before.get(n) != inode}


@pytest.fixture
def cache(tmp_path):
    return factories.make_cache(tmp_path)


def again(cache, settings=QUICK, **options):
    return generate(cache.parent / "data", cache, settings, **options)


# What a run reports and leaves


def test_the_report_of_a_first_and_a_second_run(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    told = []
    report = generate(data, tmp_path / "new" / "c.h5", QUICK, progress=told.append)
    assert report.complete and factories.computed(report) == (3, 0)
    assert sorted(r.id for r in told) == ["a", "b", "c"]
    assert report.bytes == sum(p.stat().st_size for p in (tmp_path / "new/c.parts").iterdir())
    with open_cache(report.out) as opened:
        softs = [np.asarray(c.soft) for c in opened.values()]
        share = np.mean([np.any((s != 0) & (s != 1), axis=0) for s in softs])
        assert report.softened_share == pytest.approx(share)
        assert report.mean_soft_sum == pytest.approx(np.mean([s.sum(axis=0) for s in softs]))
        mean = np.mean([c.statistics["n_superpixels"] for c in opened.values()])
    assert (report.n_superpixels, report.n_superpixels_asked) == (mean, 24)
    before = inodes(tmp_path / "new" / "c.h5")
    second = generate(data, tmp_path / "new" / "c.h5", QUICK)
    assert second.complete and factories.computed(second) == (0, 3)
    assert replaced(tmp_path / "new" / "c.h5", before) == set()
    assert second.as_dict()["softened_share"] is None


def test_a_listed_data_set_can_be_given(tmp_path):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data"))
    assert generate(dataset, tmp_path / "c.h5", QUICK).complete


@pytest.mark.parametrize("out", ["c", "c.hdf5", "c.h5.bak"])
def test_the_output_ends_in_h5(tmp_path, out):
    with pytest.raises(UsageError, match=r"must end in \.h5; for example"):
        generate(factories.write_scenes(tmp_path / "data"), tmp_path / out, QUICK)


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_are_counted_from_one(tmp_path, jobs):
    with pytest.raises(UsageError, match="jobs must be at least 1"):
        generate(factories.write_scenes(tmp_path / "data"), tmp_path / "c.h5", QUICK, jobs=jobs)


def test_a_data_set_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        generate(tmp_path / "nothing", tmp_path / "c.h5", QUICK)
    assert list(tmp_path.iterdir()) == []


# Only what is missing or out of date is computed


def test_only_the_changed_case_is_computed_and_then_none(cache):
    factories.write_scene(cache.parent / "data", "b", seed=99)
    before = inodes(cache)
    assert factories.computed(again(cache)) == (1, 2)
    assert replaced(cache, before) == {"b"}
    assert factories.computed(again(cache)) == (0, 3)
    assert verify(cache) == []


def test_a_touched_file_is_hashed_once(cache, monkeypatch):
    os.utime(cache.parent / "data/images/b.png")
    assert factories.computed(again(cache)) == (0, 3)
    monkeypatch.setattr(
        "softlabel.generation.input_files.content_hash", lambda p: pytest.fail(f"hashed {p}")
    )
    assert factories.computed(again(cache)) == (0, 3)


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
    good, before = factories.files_of(cache), inodes(cache)
    DAMAGE[damage](factories.part(cache, "b"))
    assert verify(cache) != []
    with_damage = {f.case for f in verify(cache)}
    assert with_damage <= {"b", ""}
    assert factories.computed(again(cache)) == (1, 2)
    assert factories.files_of(cache) == good
    assert inodes(cache)[schema.part_name("a")] == before[schema.part_name("a")]
    assert verify(cache) == []


def test_what_verify_tells_to_delete_is_computed_anew(cache):
    good = factories.files_of(cache)
    path = factories.part(cache, "b")
    with h5py.File(path) as file:
        chunk = file["case/soft"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset] ^= 1
    path.write_bytes(data)
    assert factories.computed(again(cache)) == (0, 3)  # attributes are sound; verify reads it all
    assert [f.case for f in verify(cache)] == ["b"]
    path.unlink()
    assert factories.computed(again(cache)) == (1, 2)
    assert factories.files_of(cache) == good


def test_temporary_files_of_the_dead_are_swept(cache):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    from softlabel.files.atomic import temporary_name

    name = temporary_name().replace(f"-{os.getpid()}-", f"-{dead}-")
    for folder in (cache.parent, parts_folder(cache)):
        (folder / name).write_bytes(b"half")
    assert verify(cache) == []  # they are nobody's part
    assert again(cache).complete
    assert not list(cache.parent.rglob(f"{TEMPORARY_PREFIX}*"))


# Settings


def test_overwrite_makes_all_anew_and_removes_foreign_parts(cache):
    stray = cache.parent / "other"
    other = factories.make_cache(stray, ("z",))
    (parts_folder(cache) / schema.part_name("z")).write_bytes(
        factories.part(other, "z").read_bytes()
    )
    (cache.parent / "data/images/c.png").unlink()
    (cache.parent / "data/labels/c.png").unlink()
    report = again(cache, Settings(n_segments=12), overwrite=True)
    assert factories.computed(report) == (2, 0)
    assert set(inodes(cache)) == {schema.part_name("a"), schema.part_name("b")}
    assert list(open_cache(cache)) == ["a", "b"] and verify(cache) == []
    assert factories.settings_of(cache)["n_segments"] == 12
    before = inodes(cache)
    assert factories.computed(again(cache, Settings(n_segments=12), overwrite=True)) == (2, 0)
    assert len(replaced(cache, before)) == 2


def test_an_overwrite_of_which_nothing_comes_leaves_what_was_there(cache):
    before, content = factories.files_of(cache), factories.read_everything(cache)
    impossible = Settings(slic_dims="slice", slice_axis=7)
    report = again(cache, impossible, overwrite=True)
    assert report.cases == 0 and set(report.failures) == {"a", "b", "c"}
    assert factories.files_of(cache) == before and verify(cache) == []
    assert factories.same(factories.read_everything(cache), content)
    assert factories.computed(again(cache)) == (0, 3)


def test_an_overwrite_that_finds_no_space_leaves_what_was_there(cache, monkeypatch):
    before, content = factories.files_of(cache), factories.read_everything(cache)

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker, "publish", full)
    report = again(cache, Settings(n_segments=12), overwrite=True)
    assert "No space left" in report.stopped and report.cases == 0
    monkeypatch.undo()
    assert factories.files_of(cache) == before
    assert factories.same(factories.read_everything(cache), content)
    assert factories.computed(again(cache)) == (0, 3)


def test_a_case_that_an_overwrite_cannot_replace_keeps_what_it_had(cache):
    label = cache.parent / "data/labels/c.png"
    good, old = label.read_bytes(), factories.part(cache, "c").read_bytes()
    label.write_bytes(b"no picture")
    report = again(cache, Settings(n_segments=12), overwrite=True)
    assert list(report.failures) == ["c"] and list(open_cache(cache)) == ["a", "b"]
    assert factories.part(cache, "c").read_bytes() == old
    assert ["the case 'c' failed" in f.problem for f in verify(cache)] == [True]
    label.write_bytes(good)
    assert factories.computed(again(cache, Settings(n_segments=12))) == (1, 2)
    assert verify(cache) == []


def test_superpixels_of_the_output_itself_are_refused(cache):
    before = factories.files_of(cache)
    with pytest.raises(UsageError, match="to give the superpixels and to be written"):
        again(cache, superpixel_file=cache, overwrite=True)
    assert factories.files_of(cache) == before


def test_a_stopped_overwrite_goes_on_without_it(cache, monkeypatch, ctrl_c):
    new = Settings(n_segments=12)
    press_in(monkeypatch, compute, "soften_case", call=2, presses=[signal.SIGINT])
    report = again(cache, new, overwrite=True)
    monkeypatch.undo()
    assert (report.cases, report.remaining, report.interrupted) == (1, 2, True)
    assert len(open_cache(cache)) == 1  # parts of the old settings are not mixed in
    with pytest.raises(UsageError, match="other settings"):
        again(cache)
    assert factories.computed(again(cache, new)) == (2, 1)
    fresh = generate(cache.parent / "data", cache.parent / "fresh.h5", new)
    assert fresh.complete
    assert factories.files_of(cache) == factories.files_of(cache.parent / "fresh.h5")


def test_an_output_that_is_not_ours_is_never_overwritten(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    letter = tmp_path / "c.h5"
    letter.write_text("a letter")
    for overwrite in (False, True):
        with pytest.raises(UsageError):
            generate(data, letter, QUICK, overwrite=overwrite)
    assert letter.read_text() == "a letter" and not (tmp_path / "c.parts").exists()


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
    assert report.cases == 2 and list(report.failures) == ["a"]


def test_all_cases_of_one_source_may_change(tmp_path):
    """As the B-scans of one file do when its annotation was mended."""
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


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["text", "hdf5"])
def test_a_foreign_file_beside_a_folder_of_parts_is_not_replaced(cache, content, overwrite):
    if content == "text":
        cache.write_text("my only copy")
    else:
        with h5py.File(cache, "w") as file:
            file["my_only_copy"] = np.arange(9)
    before = cache.read_bytes()
    with pytest.raises(UsageError, match="exists and is no softlabel cache"):
        again(cache, overwrite=overwrite)
    assert cache.read_bytes() == before


@pytest.mark.parametrize("damaged", [lambda b: b[:900], lambda b: b"", lambda b: bytes(len(b))])
def test_a_damaged_index_is_mended_by_a_run(cache, damaged):
    good = factories.read_everything(cache)
    cache.write_bytes(damaged(cache.read_bytes()))
    assert factories.computed(again(cache)) == (0, 3)
    assert factories.same(factories.read_everything(cache), good)


# What cannot be written


def test_an_output_below_a_file_cannot_be_written(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"output .*file/c\.h5 cannot be written \(.*writable"):
        generate(data, tmp_path / "file" / "c.h5", QUICK)


def full_after(monkeypatch, writes, code=errno.ENOSPC):
    """A disk with room for so many files."""
    real, count = os.fsync, []

    def fsync(handle):
        if os.path.isfile(f"/proc/self/fd/{handle}"):  # noqa: PTH113
            count.append(handle)
            if len(count) > writes:
                raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data", IDS)
    out = tmp_path / "c.h5"
    full_after(monkeypatch, 1 + 3)  # the first index, three parts
    report = generate(data, out, QUICK)
    monkeypatch.undo()
    assert report.stopped == (
        f"The cache {out} cannot be written (No space left on device); free some space."
    )
    assert (report.cases, report.remaining, report.failures) == (3, 5, {})
    assert not report.complete and not report.interrupted
    assert len(inodes(out)) == 3 and not failures_path(out).exists()
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))
    assert factories.computed(generate(data, out, QUICK)) == (5, 3)
    assert verify(out) == []


def test_a_disk_that_is_full_at_once_is_a_sentence(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data")
    full_after(monkeypatch, 0)
    with pytest.raises(UsageError, match=r"No space left on device.*has space"):
        generate(data, tmp_path / "c.h5", QUICK)


def test_an_index_that_cannot_be_written_at_the_end(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data")
    full_after(monkeypatch, 1 + 3, errno.EDQUOT)
    report = generate(data, tmp_path / "c.h5", QUICK)
    assert (report.cases, report.remaining) == (3, 0)
    assert "cannot be written" in report.stopped and not report.complete


def test_a_passing_error_of_the_disk_fails_one_case(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data")
    real, names = worker.publish, []

    def publish(path, content):
        names.append(path)
        if len(names) == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(path, content)

    monkeypatch.setattr(worker, "publish", publish)
    report = generate(data, tmp_path / "c.h5", QUICK)
    assert report.cases == 2 and list(report.failures) == ["b"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_real_small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", disk],
                      capture_output=True, check=False).returncode:  # fmt: skip
        pytest.skip("mounting is not permitted")
    try:
        data = factories.write_scenes(tmp_path / "data", IDS, shape=(120, 130))
        report = generate(data, disk / "c.h5", QUICK)
        assert "No space left on device" in report.stopped and report.remaining
        assert 0 < report.cases == len(list((disk / "c.parts").glob("*.h5")))
        assert not list((disk / "c.parts").glob(f"{TEMPORARY_PREFIX}*"))
        for path in (disk / "c.parts").glob("*.h5"):
            with h5py.File(path) as file:
                file["case/soft"][...]
    finally:
        subprocess.run(["umount", disk], check=True)


# Bad cases


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def bad_data(tmp_path):
    """Many good cases, and one of each kind of bad one."""
    data = tmp_path / "data"
    image, labels = factories.scene()
    good = ["ok", "OK", "größe 1", "mit leer", "constant", "one class", "one pixel", "tiny"]
    for name in good[:4]:
        save(data / f"images/{name}.png", image)
        save(data / f"labels/{name}.png", labels)
    save(data / "images/constant.png", np.full_like(image, 7))
    save(data / "labels/constant.png", labels)
    save(data / "images/one class.png", image)
    save(data / "labels/one class.png", np.zeros_like(labels))
    single = np.zeros_like(labels)
    single[5, 5] = 255
    save(data / "images/one pixel.png", image)
    save(data / "labels/one pixel.png", single)
    save(data / "images/tiny.png", image[:1, :1])
    save(data / "labels/tiny.png", labels[:1, :1])

    save(data / "images/no label.png", image)
    save(data / "labels/no image.png", labels)
    save(data / "images/other shape.png", image)
    save(data / "labels/other shape.png", labels[:-1])
    for name, folder in (("cut image", "images"), ("cut label", "labels")):
        save(data / f"images/{name}.png", image)
        save(data / f"labels/{name}.png", labels)
        path = data / folder / f"{name}.png"
        path.write_bytes(path.read_bytes()[:120])
    infinite = image.astype(np.float32)
    infinite[3, 3] = np.nan
    save(data / "images/not finite.npy", infinite)
    save(data / "labels/not finite.npy", labels)
    save(data / "images/float labels.npy", image)
    save(data / "labels/float labels.npy", labels + 0.5)
    save(data / "images/negative.npy", image)
    save(data / "labels/negative.npy", labels.astype(int) - 1)
    save(data / "images/outside.png", image)
    save(data / "labels/outside.png", np.where(labels == 128, 77, labels).astype(np.uint8))
    save(data / "images/pickled.npy", image)
    np.save(
        data / "labels/pickled.npy",
        np.array([Evil(tmp_path / "unpickled")], dtype=object),
        allow_pickle=True,
    )
    save(data / "images/colour.png", np.stack([image] * 3, axis=-1))
    save(data / "labels/colour.png", labels)
    (tmp_path / "classes.json").write_text('{"0": "ground", "128": "disc", "255": "core"}')
    return data, good


def test_bad_cases_fail_alone_and_each_says_why(tmp_path, bad_data):
    data, good = bad_data
    options = {"classes": str(tmp_path / "classes.json")}
    report = generate(data, tmp_path / "c.h5", QUICK, format="pairs", format_options=options)
    assert not report.complete
    expected = {
        "no label": "no label",
        "no image": "no image",
        "other shape": "39",
        "cut image": "cut image.png",
        "cut label": "cut label.png",
        "not finite": "NaN",
        "float labels": "whole",
        "negative": "-1",
        "outside": "77",
        "pickled": "pickled",
        "colour": "3 channels",
    }
    assert set(report.failures) == set(expected)
    for case_id, words in expected.items():
        sentence = report.failures[case_id]
        assert words in sentence, sentence
        assert "unexpected" not in sentence and "Traceback" not in sentence
        assert sentence.rstrip().endswith(".") and "\n" not in sentence
    with open_cache(tmp_path / "c.h5") as opened:
        assert set(opened) == set(good)
        assert opened.classes.names == ("ground", "disc", "core")
        assert opened["tiny"].soft[...].tolist() == [[[1]], [[0]], [[0]]]
        assert not opened["one class"].soft[1:].any()
        assert opened["one pixel"].soft[2, 5, 5] == 0.5
    assert verify(tmp_path / "c.h5") == []
    assert not (tmp_path / "unpickled").exists()
    rows = failures_path(tmp_path / "c.h5").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "id\treason"
    assert {row.split("\t")[0]: row.split("\t")[1] for row in rows[1:]} == {
        i: " ".join(reason.split()) for i, reason in report.failures.items()
    }


def test_the_list_of_failures_goes_when_they_are_mended(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    good = (data / "labels/b.png").read_bytes()
    (data / "labels/b.png").write_bytes(b"broken")
    out = tmp_path / "c.h5"
    assert list(generate(data, out, QUICK).failures) == ["b"]
    assert failures_path(out).exists()
    (data / "labels/b.png").write_bytes(good)
    assert factories.computed(generate(data, out, QUICK)) == (1, 2)
    assert not failures_path(out).exists()


def test_a_failed_case_with_an_earlier_result_is_a_warning(cache):
    (cache.parent / "data/labels/b.png").write_bytes(b"broken")
    report = again(cache)
    assert list(report.failures) == ["b"]
    assert any("1 of the failed cases still have an earlier result" in w for w in report.warnings)


def test_cases_that_left_the_data_set_are_a_warning(cache):
    for folder in ("images", "labels"):
        (cache.parent / f"data/{folder}/b.png").unlink()
    report = again(cache)
    assert report.complete and len(open_cache(cache)) == 3
    assert (
        "holds 1 case that the data set does not have any more (for example b)"
        in report.warnings[0]
    )
    assert again(cache, overwrite=True).warnings == ()
    assert len(open_cache(cache)) == 2 and verify(cache) == []


def test_few_superpixels_are_a_warning(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ("a",), shape=(8, 9))
    report = generate(data, tmp_path / "c.h5", Settings(n_segments=2000))
    assert "1 of 1 cases have fewer than half of the superpixels asked for" in report.warnings[0]


@pytest.mark.parametrize("bad", ["a/b", "x\0y", "../../evil"])
def test_ids_with_slashes_or_nul_never_reach_the_disk(tmp_path, bad):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data"))
    refs = (replace(dataset.refs[0], id=bad), *dataset.refs[1:])
    report = generate(replace(dataset, refs=refs), tmp_path / "c.h5", QUICK)
    assert list(report.failures) == [bad] and report.cases == 2
    assert "expected one short line of text without slashes" in report.failures[bad]
    lines = failures_path(tmp_path / "c.h5").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and "\0" not in lines[1]
    assert {p.name for p in tmp_path.iterdir()} == {"c.h5", "c.parts", "c.failed.tsv", "data"}


def test_an_unexpected_error_fails_one_case_with_its_traceback(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data")
    real = worker.compute

    def compute(case, *args):
        if case.id == "b":
            raise ZeroDivisionError("what")
        if case.id == "c":
            raise MemoryError
        return real(case, *args)

    monkeypatch.setattr(worker, "compute", compute)
    report = generate(data, tmp_path / "c.h5", QUICK)
    assert report.failures["b"].startswith("b: unexpected ZeroDivisionError: what. Please report")
    assert report.failures["c"] == (
        "c: the memory ran out; use fewer --jobs or a machine with more."
    )  # fmt: skip
    text = failures_path(tmp_path / "c.h5").read_text()
    assert "# Traceback" in text and 'raise ZeroDivisionError("what")' in text


def test_a_source_that_cannot_be_opened_fails_its_cases(tmp_path, monkeypatch):
    from softlabel.errors import CaseError
    from softlabel.readers import READERS

    data = factories.write_scenes(tmp_path / "data")

    def open_source(dataset, source):
        if source == "images/b.png":
            raise CaseError("b.png is broken.")
        if source == "images/c.png":
            raise KeyError("surprise")

    monkeypatch.setitem(READERS, "pairs", replace(READERS["pairs"], open_source=open_source))
    report = generate(data, tmp_path / "c.h5", QUICK)
    assert report.cases == 1
    assert report.failures["b"] == "b.png is broken."
    assert "unexpected KeyError" in report.failures["c"]


# Files that several cases share


def test_cases_of_one_file_are_computed_together_and_the_file_read_once(tmp_path, monkeypatch):
    from readers.factories import write_duke

    from softlabel.readers import READERS

    for subject in ("Subject_01", "Subject_02"):
        write_duke(tmp_path / "data", subject)
    opened = []
    real = READERS["duke"]
    monkeypatch.setitem(
        READERS,
        "duke",
        replace(real, open_source=lambda d, s: opened.append(s) or real.open_source(d, s)),
    )
    report = generate(tmp_path / "data", tmp_path / "c.h5", QUICK)
    assert report.complete and report.cases == 4
    assert sorted(opened) == ["Subject_01.mat", "Subject_02.mat"]
    two = generate(tmp_path / "data", tmp_path / "d.h5", QUICK, jobs=3)
    assert two.complete
    assert factories.files_of(tmp_path / "c.h5") == factories.files_of(tmp_path / "d.h5")
    with open_cache(tmp_path / "c.h5") as cache:
        assert {c.group for c in cache.values()} == {"Subject_01", "Subject_02"}
        assert cache.statistics["Subject_01"]["cases"] == 2


def test_both_graders_become_a_mean_and_maps_of_their_own(tmp_path):
    from readers.factories import write_duke

    write_duke(tmp_path / "data")
    options = {"grader": "both"}
    report = generate(tmp_path / "data", tmp_path / "c.h5", QUICK, format_options=options)
    assert report.complete and verify(tmp_path / "c.h5") == []
    with open_cache(tmp_path / "c.h5") as cache:
        case = next(iter(cache.values()))
        maps = [np.asarray(case.label_maps[f"grader{n}"]) for n in (1, 2)]
        ids = np.asarray(case.superpixels).astype(int)
        dense = [
            softlabel.soften(m, ids, classes=cache.classes, ignore=cache.ignore).dense()
            for m in maps
        ]
        known = np.sum([m != cache.ignore for m in maps], axis=0)
        mean = np.sum(dense, axis=0) / np.maximum(known, 1)
        np.testing.assert_allclose(case.soft, mean, atol=1e-6)


def test_a_file_that_changes_while_it_is_read_is_stale_later(tmp_path, monkeypatch):
    from softlabel.readers import READERS

    data = factories.write_scenes(tmp_path / "data", ("a",))
    dataset = list_dataset(data)
    dataset = replace(
        dataset, classes=ClassTable.from_values(factories.VALUES), channels=("intensity",)
    )

    def open_source(dataset, source):  # after hashing, before reading
        factories.write_scene(data, "a", seed=77)

    monkeypatch.setitem(READERS, "pairs", replace(READERS["pairs"], open_source=open_source))
    generate(dataset, tmp_path / "c.h5", QUICK)
    monkeypatch.undo()
    assert factories.computed(generate(dataset, tmp_path / "c.h5", QUICK)) == (1, 0)


# What grows with the number of cases


def test_a_task_carries_no_more_of_the_listing_than_its_source(tmp_path):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data", IDS))
    decided = plan(replace(dataset, problems={"x": "y"}), QUICK, tmp_path / "c.h5")
    for task in run.tasks_of(decided, decided.todo, 2):
        assert task.dataset.refs == task.refs and not task.dataset.problems


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
    tmp_path, monkeypatch, ctrl_c, module, name, finishes, number
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


def test_a_second_ctrl_c_stops_in_the_midst_of_a_step(tmp_path, monkeypatch, ctrl_c):
    data, out = factories.write_scenes(tmp_path / "data", IDS), tmp_path / "c.h5"
    press_in(monkeypatch, worker, "build_part", call=3, presses=[signal.SIGINT, signal.SIGINT])
    report = generate(data, out, QUICK)
    assert report.interrupted and (report.cases, report.remaining) == (2, 6)
    assert verify(out) == []


def test_a_signal_in_the_last_moment_is_told(tmp_path, monkeypatch, ctrl_c):
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


def test_stale_cases_that_were_not_reached_remain(cache, monkeypatch, ctrl_c):
    monkeypatch.setattr(schema, "ALGORITHM", 2)
    press_in(monkeypatch, compute, "soften_case", call=2, presses=[signal.SIGINT])
    report = again(cache)
    assert (report.cases, report.remaining) == (1, 2)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no such timer")
def test_a_hundred_signals_at_any_moment_lose_nothing(tmp_path, ctrl_c):
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

    monkeypatch.setattr(parallel, "run", run)
    data = factories.write_scenes(tmp_path / "data", IDS)
    report = generate(data, tmp_path / "c.h5", QUICK)
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
        _, complaints = started.communicate(timeout=120)
        assert (started.returncode, complaints) == (0, "")
    assert factories.files_of(out) == factories.files_of(calm)
    assert out.read_bytes() == calm.read_bytes() and verify(out) == []


# Superpixels of somebody else


def test_superpixels_from_files(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    folder = tmp_path / "ids"
    rng = np.random.default_rng(0)
    ids = {name: rng.integers(-1, 30, (40, 44)) for name in "abc"}
    for name, values in ids.items():
        save(folder / f"{name}.npy", values)
    out = tmp_path / "c.h5"
    report = generate(data, out, superpixel_file=folder)
    assert report.complete and factories.settings_of(out)["superpixels"] == "file"
    with open_cache(out) as cache:
        for name, values in ids.items():
            np.testing.assert_array_equal(cache[name].superpixels, values)
            np.testing.assert_array_equal(
                cache[name].soft,
                softlabel.soften(
                    np.asarray(cache[name].labels), values, classes=cache.classes
                ).dense(),
            )
    assert factories.computed(generate(data, out, superpixel_file=folder)) == (0, 3)
    save(folder / "b.npy", ids["b"][::-1])
    assert factories.computed(generate(data, out, superpixel_file=folder)) == (1, 2)
    (folder / "b.npy").unlink()
    report = generate(data, out, superpixel_file=folder)
    assert list(report.failures) == ["b"] and "has no superpixels for 'b'" in report.failures["b"]


def test_superpixels_of_another_cache(tmp_path, cache):
    settings = Settings(boundary="outer")
    out = tmp_path / "second.h5"
    report = generate(cache.parent / "data", out, settings, superpixel_file=cache)
    assert report.complete
    with open_cache(out) as second, open_cache(cache) as first:
        for case_id in first:
            np.testing.assert_array_equal(second[case_id].superpixels, first[case_id].superpixels)
    again_ = generate(cache.parent / "data", out, settings, superpixel_file=cache)
    assert factories.computed(again_) == (0, 3)


def test_the_cache_of_a_part_is_written_once(tmp_path, monkeypatch):
    """A part is built in memory: HDF5 itself never touches the output folder."""
    data = factories.write_scenes(tmp_path / "data", ("a",))
    made, opened = [], []
    create, open_ = h5py.h5f.create, h5py.h5f.open

    def watched_create(name, flags, fcpl, fapl):
        made.append(fapl.get_driver())
        return create(name, flags, fcpl, fapl)

    def watched_open(name, flags, **options):
        opened.append(flags)
        return open_(name, flags, **options)

    monkeypatch.setattr(h5py.h5f, "create", watched_create)
    monkeypatch.setattr(h5py.h5f, "open", watched_open)
    generate(data, tmp_path / "c.h5", QUICK)
    assert len(made) >= 2 and set(made) == {h5py.h5fd.CORE}
    assert opened and set(opened) == {h5py.h5f.ACC_RDONLY}


def test_worker_count_does_not_matter_for_by_source():
    refs = [CaseRef(str(i), "", f"s{i % 3}", ()) for i in range(7)]
    groups = run.by_source(refs)
    assert [[r.id for r in g] for g in groups] == [["0", "3", "6"], ["1", "4"], ["2", "5"]]
    assert parallel.split_evenly(groups, 2) == groups
