"""What Ctrl-C and a request to terminate do to a run: it saves, and stops between two steps."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a request to terminate sets; the second Ctrl-C works as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    usual = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        event.set()
        for s, handler in usual.items():
            signal.signal(s, handler)

    for s in usual:
        signal.signal(s, ask)
    try:
        yield event
    finally:
        for s, handler in usual.items():
            signal.signal(s, handler)


@contextlib.contextmanager
def pass_signals_on() -> Iterator[None]:
    """For a process that waits for those that train, which save and stop.

    Ctrl-C reaches all processes of a terminal; a request to terminate only this one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def tell(number: int, frame: FrameType | None) -> None:
        for process in multiprocessing.active_children():
            process.terminate()

    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, tell)
    try:
        yield
    finally:
        for s, handler in usual.items():
            signal.signal(s, handler)
