"""Ctrl-C in the midst of work: that it is neither lost nor shown as an error."""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Iterator
from types import FrameType

AGAIN_SECONDS = 0.002


@contextlib.contextmanager
def remembered_interrupt() -> Iterator[threading.Event]:
    """Whether Ctrl-C was pressed, for when its KeyboardInterrupt goes astray.

    Python raises it in whatever line comes next. Where that is a callback for an object that goes
    away, the error would be printed and forgotten: there it is put off a little. A callback of
    the garbage collector cannot be told, and compiled code may turn it into another error; for
    these there is the event, by which a run stops behind the case.

    Within itself, it is the event of the outer one.
    """
    usual = signal.getsignal(signal.SIGINT)
    if isinstance(usual, _Interrupt):
        yield usual.asked
        return
    ours = _Interrupt()
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or usual is not signal.default_int_handler:
        yield ours.asked
        return
    signal.signal(signal.SIGINT, ours)
    try:
        yield ours.asked
    finally:
        signal.signal(signal.SIGINT, usual)
        if ours.again is not None:
            ours.again.cancel()


class _Interrupt:
    """The handler of the signal."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.again: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked.set()
        if not _forgets_errors(frame):
            raise KeyboardInterrupt
        self.again = threading.Timer(AGAIN_SECONDS, signal.raise_signal, (number,))
        self.again.start()


def _forgets_errors(frame: FrameType | None) -> bool:
    """Whether an error that is raised in a frame would be printed and forgotten."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == weakref.__file__ or code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
