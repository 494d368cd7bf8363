"""Writing HDF5 through Python: whole files, short writes, and what follows a full disk."""

from __future__ import annotations

import errno
import os

import h5py
import numpy as np
import pytest

from softlabel.cache import stream
from softlabel.cache.stream import Disk, build_on_disk


def test_a_file_is_what_was_written_and_has_no_times(tmp_path):
    contents = []
    for name in ("a.h5", "b.h5"):
        with build_on_disk(tmp_path / name) as (file, _):
            file.create_dataset("x", data=np.arange(1000), chunks=(10,))
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["x"], np.arange(1000))
        assert file.libver[1] != "earliest" and file.id.get_create_plist().get_version()[0] == 3


def test_a_file_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(FileExistsError), build_on_disk(tmp_path / "a.h5"):
        pass
    assert (tmp_path / "a.h5").read_text() == "mine"


def test_writes_that_the_system_cuts_short_are_gone_on_with(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(stream.os, "pwrite", lambda h, data, at: real(h, data[:7], at))
    with build_on_disk(tmp_path / "a.h5") as (file, _):
        file["x"] = np.arange(100)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["x"], np.arange(100))


def test_after_an_error_a_file_is_read_as_if_there_were_none(tmp_path, monkeypatch):
    """HDF5 reads metadata again that it has written; it must find them."""
    handle = os.open(tmp_path / "x", os.O_CREAT | os.O_RDWR)
    disk, expected = Disk(handle), bytearray(4000)
    rng = np.random.default_rng(0)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for number in range(60):
        if number == 20:
            monkeypatch.setattr(stream.os, "pwrite", full)
        at, data = int(rng.integers(0, 3800)), rng.bytes(int(rng.integers(1, 200)))
        disk.seek(at)
        assert disk.write(memoryview(data)) == len(data) and disk.tell() == at + len(data)
        expected[at : at + len(data)] = data
        buffer = bytearray(300)
        start = disk.seek(int(rng.integers(0, 3700)))
        assert disk.readinto(memoryview(buffer)) == 300 and disk.tell() == start + 300
        assert buffer == expected[start : start + 300]
    end = disk.seek(0, os.SEEK_END)
    assert expected[:end].rstrip(b"\0") == expected.rstrip(b"\0")
    with pytest.raises(OSError, match="No space left"):
        disk.require()
    assert disk.truncate(5000) == disk.seek(0, os.SEEK_END) == 5000
    os.close(handle)
