"""What a person sees while a command runs: progress on stderr, results on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from softlabel.console import drawing
from softlabel.console.terminal import one_line

PLAIN_SECONDS = 5.0
"""Without a terminal, a line of progress at most this often."""


class Advance(Protocol):
    """Called once for each finished item, with an optional line to show."""

    def __call__(self, message: str = "") -> None:
        """Count one more."""


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            "" if not speed else f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"
        )


@contextmanager
def progress(total: int, what: str, quiet: bool = False) -> Iterator[Advance]:
    """Progress over ``total`` items: a bar on a terminal, now and then a line elsewhere."""
    if quiet or total == 0:
        yield _messages_only(quiet)
        return
    if not sys.stderr.isatty():
        yield _plain(total, what)
        return
    console = drawing.console(sys.stderr)
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task(what, total=total)

        def advance(message: str = "") -> None:
            if message:
                bar.console.print(message, soft_wrap=True)
            bar.advance(task)

        yield advance


def _messages_only(quiet: bool) -> Advance:
    def advance(message: str = "") -> None:
        if message and not quiet:
            print(one_line(message), file=sys.stderr, flush=True)

    return advance


def _plain(total: int, what: str) -> Advance:
    started = time.monotonic()
    state = {"done": 0, "last": started}

    def advance(message: str = "") -> None:
        state["done"] += 1
        now = time.monotonic()
        if message:
            print(one_line(message), file=sys.stderr, flush=True)
        if state["done"] == total or now - state["last"] >= PLAIN_SECONDS:
            state["last"] = now
            rate = state["done"] / max(now - started, 1e-9)
            left = (total - state["done"]) / rate
            print(
                f"{what}: {state['done']:.0f} of {total}, {rate:.2f}/s, {duration(left)} left",
                file=sys.stderr,
                flush=True,
            )

    return advance


def duration(seconds: float) -> str:
    """Seconds for people.

    Examples
    --------
    >>> duration(0.25), duration(59.6), duration(3700)
    ('0.2 s', '1 min 00 s', '1 h 01 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Bytes for people.

    Examples
    --------
    >>> size(512), size(2.5e6)
    ('512 B', '2.5 MB')
    """
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def percent(share: float) -> str:
    """A share for people; a dash when there is none."""
    return f"{100 * share:.1f} %" if share == share else "–"
