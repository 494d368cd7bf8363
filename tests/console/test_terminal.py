"""Nothing that a terminal obeys reaches it out of ids, names and errors; by real commands."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest
from factories import COMMAND, PATIENCE, write_scene

from softlabel.console import drawing
from softlabel.console.terminal import EscapingStream, escaping_streams, lines, one_line

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp\u2066"
"""Clears the screen, names the window, colours, and turns the direction."""

OBEYED = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_every_obeyed_character_is_escaped_and_no_other():
    assert not OBEYED.search(lines(EVIL)) and lines(EVIL).startswith("\\u001b[2J")
    plain = "größer µm Σq 45° – “quoted”\n\tend 😀 مريض"
    assert lines(plain) == plain
    assert one_line("a\nb\tc") == "a\\u000ab\\u0009c"


def test_records_stay_what_they_are():
    record = {"name": EVIL, "path": "a\nb"}
    assert json.loads(lines(json.dumps(record, ensure_ascii=False, indent=2))) == record


def test_streams_escape_while_a_command_runs(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with escaping_streams():
        print(EVIL)
        sys.stderr.writelines([EVIL, "\n"])
    assert (sys.stdout, sys.stderr) == (out, err)
    assert out.getvalue() == err.getvalue() == lines(EVIL) + "\n"


def test_tables_have_no_markup_and_draw_past_the_escapes():
    from rich.table import Table

    written = io.StringIO()
    table = Table("name")
    table.add_row(f"[red]{EVIL}[/nothing]\n:smile:")
    console = drawing.console(EscapingStream(written), force_terminal=True)
    console.print(table)
    text = written.getvalue()
    assert "[red]\\u001b[2J" in text and "\\u000a:smile:" in text
    assert "\x1b[1m" in text  # the head is bold: sequences of our own get through


def on_terminal(*arguments):
    """Exit status of a command, and all that it writes to a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "200"},
    ) as process:  # fmt: skip
        os.close(theirs)
        written = b""
        while True:
            try:
                block = os.read(ours, 1 << 16)
            except OSError:  # its last writer has closed it
                break
            if not block:
                break
            written += block
        os.close(ours)
        status = process.wait(PATIENCE)
    return status, written.decode()


@pytest.fixture
def hostile(tmp_path):
    """A data set whose class names and one of whose file names are for terminals."""
    for number, name in enumerate(("a", f"b{EVIL}")):
        write_scene(tmp_path / "data", name.replace("/", ""), seed=number)
    for path in tmp_path.rglob("*b*.png"):
        path.rename(path.with_name(f"b\nError: all is well{path.name[1:]}"))
    (tmp_path / "classes.json").write_text(json.dumps({"0": "ground", "128": f"[/x]{EVIL}",
                                                       "255": "disc"}))  # fmt: skip
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="needs terminals and any file name")
def test_commands_write_nothing_that_a_terminal_obeys(hostile):
    data, classes, cache = (hostile / name for name in ("data", "classes.json", f"c{EVIL}.h5"))
    commands = (
        ("check", data, "--classes", classes),
        ("generate", data, "-o", cache, "--classes", classes, "--jobs", 1,
         "--n-segments", 24),
        ("info", cache),
        ("verify", cache),
        ("check", f"{data}/{EVIL}\nError: all is well"),
        ("info", f"{data}/{EVIL}"),
        ("no-such\x1b[2J",),
    )  # fmt: skip
    statuses = []
    for command in commands:
        status, text = on_terminal(*command)
        statuses.append(status)
        assert not OBEYED.search(text), (command, text)
        assert "Traceback" not in text, text
        assert not any(line.startswith("Error: all is well") for line in text.splitlines())
    assert statuses == [0, 1, 0, 0, 2, 2, 2]
    assert "\\u001b[2J" in on_terminal("info", cache)[1]
