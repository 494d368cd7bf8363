"""Ctrl-C and SIGTERM as a flag that a run looks at where it may stop.

Python raises the KeyboardInterrupt of Ctrl-C in whatever line comes next. In a callback for an
object that goes away, as numba and h5py have them, it is printed and forgotten; between a kernel
and its caller it may become another error. Therefore the first signal only sets a flag, and the
run itself raises KeyboardInterrupt at a *safe point*, where nothing can get lost. A second Ctrl-C
raises it at once, as usual.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SafePoint = Callable[[], None]
"""Called where a run may stop; raises KeyboardInterrupt when it shall."""

Handler = Callable[[int, FrameType | None], object] | signal.Handlers

USUAL: dict[signal.Signals, Handler] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""The signals that ask a run to stop, with Python's own handlers."""

_asked_by = signal.SIGINT


class StopRequest:
    """Whether a run was asked to stop.

    A copy that travels to a worker process is never asked: the parent ends its workers.

    Attributes
    ----------
    asked : bool
        Not a threading.Event: setting that takes a lock, for which a second signal in the midst of
        it would wait for ever.
    """

    def __init__(self) -> None:
        self.asked = False

    def safe_point(self) -> None:
        """Stop here if that was asked for.

        Raises
        ------
        KeyboardInterrupt
        """
        if self.asked:
            raise KeyboardInterrupt

    def __reduce__(self) -> tuple[type[StopRequest], tuple[()]]:
        return StopRequest, ()


def no_safe_point() -> None:
    """For what cannot be asked to stop: never raises."""


@contextlib.contextmanager
def stop_on_signals(told: Callable[[int], object] = lambda number: None) -> Iterator[StopRequest]:
    """A request to stop that Ctrl-C or SIGTERM makes; a second Ctrl-C raises KeyboardInterrupt.

    A signal that the program handles in its own way keeps its handler, and so do both outside of
    the main thread, where Python allows no change. SIGTERM may come several times, as from a
    scheduler to all processes and from their parent; it only asks.

    Parameters
    ----------
    told : callable (int) -> object
        Called with the number of the first signal, within its handler: whatever it does, it must
        not wait for a lock.
    """
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        global _asked_by
        _asked_by = signal.Signals(number)
        if not request.asked:
            request.asked = True
            told(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    ours = [s for s, usual in USUAL.items() if in_main and signal.getsignal(s) is usual]
    for number in ours:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number in ours:
            signal.signal(number, USUAL[number])


def interrupted_status() -> int:
    """Exit status of a process that was asked to stop: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + _asked_by
