"""The output on disk: made ready before a run, tidied up after it, never somebody else's."""

from __future__ import annotations

import errno
import os
import random

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import is_damaged_index, open_cache, parts_folder, read_index, schema
from softlabel.cache.verify import verify
from softlabel.errors import CacheError, UsageError
from softlabel.files.atomic import TEMPORARY_PREFIX, temporary_name
from softlabel.generation import worker
from softlabel.generation.run import generate
from softlabel.generation.settings import Settings

QUICK = factories.QUICK


@pytest.mark.parametrize("out", ["c", "c.hdf5", "c.h5.bak"])
def test_the_output_ends_in_h5(tmp_path, out):
    with pytest.raises(UsageError, match=r"must end in \.h5; for example"):
        generate(factories.write_scenes(tmp_path / "data"), tmp_path / out, QUICK)


def test_temporary_files_of_the_dead_are_swept(cache):
    name = temporary_name().replace(f"-{os.getpid()}-", f"-{factories.dead_pid()}-")
    for folder in (cache.parent, parts_folder(cache)):
        (folder / name).write_bytes(b"half")
    assert verify(cache) == []  # they are nobody's part
    assert factories.again(cache).complete
    assert not list(cache.parent.rglob(f"{TEMPORARY_PREFIX}*"))


def test_overwrite_makes_all_anew_and_removes_foreign_parts(cache):
    stray = cache.parent / "other"
    other = factories.make_cache(stray, ("z",))
    (parts_folder(cache) / schema.part_name("z")).write_bytes(
        factories.part(other, "z").read_bytes()
    )
    (cache.parent / "data/images/c.png").unlink()
    (cache.parent / "data/labels/c.png").unlink()
    report = factories.again(cache, Settings(n_segments=12), overwrite=True)
    assert factories.computed(report) == (2, 0)
    assert set(factories.inodes_of(cache)) == {schema.part_name("a"), schema.part_name("b")}
    assert list(open_cache(cache)) == ["a", "b"] and verify(cache) == []
    assert factories.settings_of(cache)["n_segments"] == 12
    before = factories.inodes_of(cache)
    assert factories.computed(factories.again(cache, Settings(n_segments=12), overwrite=True)) == (
        2,
        0,
    )
    assert len(factories.replaced(cache, before)) == 2


def test_an_overwrite_of_which_nothing_comes_leaves_what_was_there(cache):
    before, content = factories.files_of(cache), factories.read_everything(cache)
    impossible = Settings(slic_dims="slice", slice_axis=7)
    report = factories.again(cache, impossible, overwrite=True)
    assert report.cases == 0 and set(report.failures) == {"a", "b", "c"}
    assert factories.files_of(cache) == before and verify(cache) == []
    assert factories.same(factories.read_everything(cache), content)
    assert factories.computed(factories.again(cache)) == (0, 3)


def test_an_overwrite_that_finds_no_space_leaves_what_was_there(cache, monkeypatch):
    before, content = factories.files_of(cache), factories.read_everything(cache)

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker, "publish", full)
    report = factories.again(cache, Settings(n_segments=12), overwrite=True)
    assert "No space left" in report.stopped and report.cases == 0
    monkeypatch.undo()
    assert factories.files_of(cache) == before
    assert factories.same(factories.read_everything(cache), content)
    assert factories.computed(factories.again(cache)) == (0, 3)


def test_a_case_that_an_overwrite_cannot_replace_keeps_what_it_had(cache):
    label = cache.parent / "data/labels/c.png"
    good, old = label.read_bytes(), factories.part(cache, "c").read_bytes()
    label.write_bytes(b"no picture")
    report = factories.again(cache, Settings(n_segments=12), overwrite=True)
    assert list(report.failures) == ["c"] and list(open_cache(cache)) == ["a", "b"]
    assert factories.part(cache, "c").read_bytes() == old
    assert ["the case 'c' failed" in f.problem for f in verify(cache)] == [True]
    label.write_bytes(good)
    assert factories.computed(factories.again(cache, Settings(n_segments=12))) == (1, 2)
    assert verify(cache) == []


def test_an_output_that_is_not_ours_is_never_overwritten(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    letter = tmp_path / "c.h5"
    letter.write_text("a letter")
    for overwrite in (False, True):
        with pytest.raises(UsageError):
            generate(data, letter, QUICK, overwrite=overwrite)
    assert letter.read_text() == "a letter" and not (tmp_path / "c.parts").exists()


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
        factories.again(cache, overwrite=overwrite)
    assert cache.read_bytes() == before


@pytest.mark.parametrize("damaged", [lambda b: b[:900], lambda b: b"", lambda b: bytes(len(b))])
def test_a_damaged_index_is_mended_by_a_run(cache, damaged):
    good = factories.read_everything(cache)
    cache.write_bytes(damaged(cache.read_bytes()))
    assert factories.computed(factories.again(cache)) == (0, 3)
    assert factories.same(factories.read_everything(cache), good)


def test_an_index_of_which_a_changed_byte_hides_an_attribute_is_still_ours(cache):
    """HDF5 keeps more than eight attributes, of a cache made anew, where that can happen."""
    assert factories.again(cache, overwrite=True).complete
    good, rng, hidden = cache.read_bytes(), random.Random(5), []
    for _ in range(200):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        cache.write_bytes(data)
        try:
            read_index(cache)
        except CacheError as error:
            hidden += [data] if "not a softlabel cache" in str(error) else []
            assert is_damaged_index(cache) or not data.startswith(b"\x89HDF\r\n\x1a\n")
    cache.write_bytes(hidden[0])  # it happened
    assert factories.computed(factories.again(cache)) == (0, 3) and verify(cache) == []
    with h5py.File(cache, "w") as file:
        file["cases/1"] = file["classes/values"] = np.arange(3)
    assert not is_damaged_index(cache)


def test_an_output_below_a_file_cannot_be_written(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"output .*file/c\.h5 cannot be written \(.*writable"):
        generate(data, tmp_path / "file" / "c.h5", QUICK)


def test_a_disk_that_is_full_at_once_is_a_sentence(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data")
    factories.fill_disk_after(monkeypatch, 0)
    with pytest.raises(UsageError, match=r"No space left on device.*has space"):
        generate(data, tmp_path / "c.h5", QUICK)


def test_an_index_that_cannot_be_written_at_the_end(tmp_path, monkeypatch):
    data = factories.write_scenes(tmp_path / "data")
    factories.fill_disk_after(monkeypatch, 1 + 3, errno.EDQUOT)
    report = generate(data, tmp_path / "c.h5", QUICK)
    assert (report.cases, report.remaining) == (3, 0)
    assert "cannot be written" in report.stopped and not report.complete
    assert "Its index stays as it was" in report.stopped
