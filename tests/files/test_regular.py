"""Files are opened only when they are regular ones, and never waited for."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from softlabel.files import regular
from softlabel.files.regular import IrregularFileError, open_regular, require_regular

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


def test_regular_files_and_links_to_them_are_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        require_regular(tmp_path / name)
        with open_regular(tmp_path / name) as stream:
            assert (stream.read(), stream.name) == (b"abc", str(tmp_path / name))


@pytest.mark.parametrize("check", [open_regular, require_regular])
def test_anything_else_is_refused_in_words(tmp_path, check):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "device", "folder"):
        with pytest.raises(IrregularFileError, match=f"is a {name}, not a regular file") as caught:
            check(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        check(tmp_path / "missing")


def test_a_pipe_that_comes_in_between_is_not_waited_for(tmp_path, monkeypatch):
    """As somebody may exchange a file after it was looked at."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(regular, "require_regular", lambda path: None)
    with pytest.raises(IrregularFileError, match="a pipe"):
        open_regular(tmp_path / "pipe")


def test_readers_open_files_through_this_door_only():
    """Libraries that take a path do so behind ``require_regular`` or ``sniff``."""
    for path in sorted((ROOT / "softlabel/readers").glob("*.py")):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        for call in calls:
            name = ast.unparse(call.func)
            opens = name == "open" or name.endswith((".read_text", ".read_bytes"))
            opens |= name.endswith(".open") and [ast.unparse(a) for a in call.args] == ["'rb'"]
            assert not opens, f"{path}:{call.lineno} opens a file by {name}"
