"""Pipes, sockets, devices and folders in place of the files of a data set, for every reader."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

import pytest

from softlabel.errors import SoftlabelError
from softlabel.readers import READERS, list_dataset

from .factories import WRITERS, read_all

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")

PATIENCE_SECONDS = 20
"""What one data set may take, on a busy machine; a pipe that is opened is waited for forever."""


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


def listening(path):
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)  # the path of a socket has at most some hundred characters


@contextlib.contextmanager
def alarm(seconds):
    """Raise where the block does not end in time."""

    def ring(number, frame):
        raise AssertionError(f"nothing happened for {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(root, format):
    """List, look and read as a run would; return the problems of the listing."""
    reader = READERS[format]
    dataset = list_dataset(root, format)
    for ref in dataset.refs:
        with contextlib.suppress(SoftlabelError):
            opened = reader.opened_labels(dataset, ref.source)
            reader.read_labels(dataset, ref, opened)
    read_all(dataset)
    return dataset.problems


@pytest.mark.parametrize("replace", [pipe, endless, folder, listening])
@pytest.mark.parametrize("format", WRITERS)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, format, replace):
    """Each file in turn, or a problem of its case, or a case that is not listed."""
    root = WRITERS[format](tmp_path / "data")
    whole = len(list_dataset(root, format).refs)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        kept = path.rename(tmp_path / "kept")
        replace(path)
        with alarm(PATIENCE_SECONDS):
            problem = refused(root, format, whole)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        # a slice or a table that need not be there may as well be left alone as if it were not
        assert problem or not refused(root, format, whole), path
        kept.rename(path)


def refused(root, format, whole):
    """Whether a data set lacks what it had, in the words of an error or of a problem."""
    with contextlib.suppress(SoftlabelError):
        list_dataset(root)  # recognising it looks into files as well
    try:
        problems = read(root, format)
    except SoftlabelError as error:
        assert "\n" not in str(error)
        return str(error)
    return problems or whole > len(list_dataset(root, format).refs)
