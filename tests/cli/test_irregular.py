"""Pipes, devices and folders in place of what a command is given: an error at once, in a line."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from click.testing import CliRunner
from factories import write_scene

from softlabel.cli import main

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")

PATIENCE_SECONDS = 60


@contextlib.contextmanager
def alarm():
    """Raise where the block does not end in time."""

    def ring(number, frame):
        raise AssertionError(f"nothing happened for {PATIENCE_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


COMMANDS = {
    "a.h5": (
        "info BAD", "verify BAD", "inspect BAD -o OUT", "surfaces BAD -o OUT",
        "pack BAD -o OUT.h5", "unpack BAD -o OUT.h5", "generate DATA -o OUT.h5 --superpixels BAD",
    ),
    "a.nii.gz": ("check BAD", "generate BAD -o OUT.h5", "surfaces BAD -o OUT"),
    "a.vol": ("check BAD --format heidelberg", "generate BAD -o OUT.h5"),
    "a.mat": ("check BAD --format duke",),
    "classes.json": ("check DATA --classes BAD", "generate DATA -o OUT.h5 --classes BAD"),
    "classes.yaml": ("generate DATA -o OUT.h5 --classes BAD",),
    "check.json": ("generate DATA -o OUT.h5 --checked BAD", "check DATA -o BAD"),
    "weights.safetensors": ("generate DATA -o OUT.h5 --denoise dncnn --weights BAD",),
    "superpixels.npz": ("generate DATA -o OUT.h5 --superpixels BAD",),
}  # fmt: skip
"""Commands by the name of the path that is no file, BAD in them."""


@pytest.mark.parametrize("make", [pipe, device, folder])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_no_file_is_an_error_in_a_line(tmp_path, name, make):
    write_scene(tmp_path / "data", "s")
    bad = tmp_path / name
    make(bad)
    words = {"BAD": bad, "DATA": tmp_path / "data", "OUT": tmp_path / "out",
             "OUT.h5": tmp_path / "out.h5"}  # fmt: skip
    for command in COMMANDS[name]:
        arguments = [str(words.get(word, word)) for word in command.split()]
        with alarm():
            result = CliRunner().invoke(main, arguments)
        assert result.exit_code in (1, 2), (command, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit), command
        assert name in result.stderr and "Traceback" not in result.output, (command, result.stderr)
