"""Files that are complete or absent, and what killed writers leave."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import factories
import pytest

from softlabel.errors import UsageError
from softlabel.files.atomic import (
    TEMPORARY_PREFIX,
    folder_at_once,
    publish,
    publish_by,
    remove_folder,
    require_writable,
    sweep,
)
from softlabel.files.processes import machine_name


def test_a_published_file_is_all_there_and_nothing_else(tmp_path):
    publish(tmp_path / "x.h5", b"first")
    publish(tmp_path / "x.h5", b"second")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.h5": b"second"}


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failed_publication_leaves_the_old_file_and_no_trace(tmp_path, monkeypatch, step, error):
    publish(tmp_path / "x.h5", b"old")

    def fail(*args, **kwargs):
        raise error

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif step == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        real = Path.open

        def open_failing(path, mode="r", *args, **kwargs):
            file = real(path, mode, buffering=0)
            return _FullDisk(file, error) if "w" in mode else file

        monkeypatch.setattr(Path, "open", open_failing)
    with pytest.raises(type(error)):
        publish(tmp_path / "x.h5", b"new")
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.h5": b"old"}


class _FullDisk:
    """A file on a disk that fills up after a few bytes."""

    def __init__(self, file, error):
        self.file, self.error = file, error

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()

    def write(self, data):
        self.file.write(data[:2])
        raise self.error


def temporary(host: str, pid: int) -> str:
    return f"{TEMPORARY_PREFIX}{host}-{pid}-0123456789ab"


def test_sweep_removes_what_no_living_writer_owns(tmp_path):
    here = machine_name()
    old = time.time() - 2 * 24 * 3600
    cases = {
        temporary(here, factories.dead_pid()): (None, True),
        temporary(here, os.getpid()): (None, False),
        temporary(here, 10**12): (None, True),
        temporary("other-host", factories.dead_pid()): (None, False),
        temporary("other-host", 1): (old, True),
        temporary(here, os.getppid()): (old, True),  # the number may have been given anew
        f"{TEMPORARY_PREFIX}notes.txt": (old, False),
        ".tmp-of-somebody-else-12-0123456789ab": (old, False),
        "a.h5": (old, False),
    }
    for name, (stamp, _) in cases.items():
        (tmp_path / name).write_bytes(b"x")
        if stamp:
            os.utime(tmp_path / name, (stamp, stamp))
    assert sweep(tmp_path) == sum(removed for _, removed in cases.values())
    assert {p.name for p in tmp_path.iterdir()} == {n for n, (_, gone) in cases.items() if not gone}
    assert sweep(tmp_path / "absent") == 0


def test_containers_with_one_host_name_do_not_sweep_each_other(tmp_path):
    """The process is none of this container's, but of another one that shares the folder."""
    host, mark = machine_name().rsplit("-", 1)
    other = tmp_path / temporary(f"{host}-{'0' * len(mark)}", factories.dead_pid())
    other.write_bytes(b"x")
    assert sweep(tmp_path) == 0 and other.exists()


def test_a_function_writes_to_a_path_with_the_ending(tmp_path):
    def write(path):
        assert path.suffix == ".nrrd" and path.parent == tmp_path
        path.write_bytes(b"x")

    publish_by(tmp_path / "a.nrrd", write)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nrrd"]
    left = tmp_path / (temporary(machine_name(), factories.dead_pid()) + ".nrrd")
    left.write_bytes(b"x")
    assert sweep(tmp_path) == 1


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        publish(tmp_path / "absent" / "x.h5", b"data")
    assert caught.value.filename == str(tmp_path / "absent" / "x.h5")


def test_a_folder_that_cannot_be_written_is_refused_and_nothing_is_made(tmp_path, monkeypatch):
    wanted = tmp_path / "a" / "b"
    require_writable(wanted)
    assert not wanted.parent.exists()
    (tmp_path / "a").write_text("a file")
    with pytest.raises(UsageError, match=r"a is a file; choose another folder than .*b"):
        require_writable(wanted)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may do everything
    with pytest.raises(UsageError, match=f"{tmp_path} may not be written to"):
        require_writable(tmp_path / "c")


def test_a_folder_comes_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "c.zarr"
    with folder_at_once(folder) as unfinished:
        (unfinished / "a").write_text("1")
        assert not folder.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["c.zarr"]
    with pytest.raises(OSError, match="not empty") as raised, folder_at_once(folder):
        pass
    assert (raised.value.filename, raised.value.filename2) == (str(folder), None)
    with pytest.raises(KeyboardInterrupt), folder_at_once(folder, replace=True) as unfinished:
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.rglob("*")] == ["c.zarr", "a"]
    with folder_at_once(folder, replace=True) as unfinished:
        (unfinished / "b").write_text("2")
    assert [p.name for p in tmp_path.rglob("*")] == ["c.zarr", "b"]


def test_a_folder_goes_as_a_whole_and_what_a_killed_process_left_of_it_is_swept(
    tmp_path, monkeypatch
):
    folder = tmp_path / "c.parts"
    for name in ("first", "second"):
        folder.mkdir()
        (folder / f"{name}.h5").write_bytes(b"x")
        if name == "first":
            remove_folder(folder)
            assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *arguments, **options: None)  # killed right then
        patch.setattr(os, "getpid", factories.dead_pid)
        remove_folder(folder)
    assert not folder.exists() and len(list(tmp_path.iterdir())) == 1
    assert sweep(tmp_path) == 1 and list(tmp_path.iterdir()) == []
