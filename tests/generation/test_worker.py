"""What a worker does with the cases of a source, and what fails one case alone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace

import factories
import h5py
import numpy as np
import pytest
from PIL import Image

import softlabel
from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.files.atomic import TEMPORARY_PREFIX
from softlabel.generation import worker
from softlabel.generation.failures import failures_path
from softlabel.generation.plan import plan
from softlabel.generation.run import carry_out, generate
from softlabel.readers import list_dataset
from softlabel.types import ClassTable

QUICK = factories.QUICK


IDS = [f"s{i}" for i in range(8)]


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data", IDS)
    out = tmp_path / "c.h5"
    factories.fill_disk_after(monkeypatch, 1 + 3)  # the first index, three parts
    report = generate(data, out, QUICK)
    monkeypatch.undo()
    assert report.stopped == (
        f"The cache {out} cannot be written (No space left on device); free some space. Its index "
        "stays as it was; the cases finished since are taken in when the run goes on."
    )
    assert (report.cases, report.remaining, report.failures) == (3, 5, {})
    assert not report.complete and not report.interrupted
    assert len(factories.inodes_of(out)) == 3 and not failures_path(out).exists()
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))
    assert factories.computed(generate(data, out, QUICK)) == (5, 3)
    assert verify(out) == []


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


@pytest.mark.slow
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
    report = carry_out(plan(list_dataset(tmp_path / "data"), QUICK, tmp_path / "c.h5"))
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
    carry_out(plan(dataset, QUICK, tmp_path / "c.h5"))
    monkeypatch.undo()
    assert factories.computed(generate(dataset, tmp_path / "c.h5", QUICK)) == (1, 0)


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
