"""Progress and words for people."""

from __future__ import annotations

import io
import math

import pytest

from softlabel.console import display
from softlabel.console.display import duration, percent, progress, size


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_and_the_messages_above_it(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress(3, "cases") as advance:
        advance("failed: [red] id")
        advance()
        advance()
    text = terminal.getvalue()
    assert "failed: [red] id" in text and "3/3" in text and "cases" in text


def test_elsewhere_there_are_lines_now_and_then(capsys, monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(display.time, "monotonic", lambda: float(next(clock)))
    with progress(10, "cases") as advance:
        for _ in range(10):
            advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "cases: 3 of 10, 0.50/s, 14 s left",
        "cases: 6 of 10, 0.50/s, 8.0 s left",
        "cases: 9 of 10, 0.50/s, 2.0 s left",
        "cases: 10 of 10, 0.50/s, 0.0 s left",
    ]


@pytest.mark.parametrize(("quiet", "words"), [(True, ""), (False, "message\n")])
def test_nothing_to_do_shows_no_progress(capsys, quiet, words):
    with progress(0, "cases", quiet) as advance:
        advance("message")
    assert capsys.readouterr().err == words


def test_words():
    assert [duration(s) for s in (9.94, 10, 59.6, 3599.6, 7260)] == [
        "9.9 s", "10 s", "1 min 00 s", "1 h 00 min", "2 h 01 min",
    ]  # fmt: skip
    assert [size(n) for n in (0, 999, 1000, 2.5e9, 3e12, 5e15)] == [
        "0 B", "999 B", "1.0 kB", "2.5 GB", "3.0 TB", "5000.0 TB",
    ]  # fmt: skip
    assert (percent(0.1234), percent(math.nan)) == ("12.3 %", "–")
