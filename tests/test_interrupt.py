"""Ctrl-C is neither lost nor shown as an error."""

import signal
import sys
import threading
import time
import weakref

import pytest

from softlabel.interrupt import remembered_interrupt

pytestmark = pytest.mark.usefixtures("ctrl_c")


class Presses:
    """Presses Ctrl-C when it goes away."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        self.seen = 1  # a line at which the error would be raised


@pytest.fixture
def forgotten(monkeypatch):
    """Errors that Python would print and forget."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    return found


def let_go():
    thing = Presses()
    del thing


def let_go_of_a_weak_value():
    """As numba and h5py keep what they made: the dictionary's own callback is interrupted."""
    kept = weakref.WeakValueDictionary()
    thing = threading.Event()
    kept["key"] = thing
    callback = kept._remove.__code__

    def press(frame, event, argument):
        if event == "call" and frame.f_code is callback:
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(press)
    try:
        del thing
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("act", [let_go, let_go_of_a_weak_value])
def test_put_off_where_it_would_be_forgotten(act, forgotten):
    with remembered_interrupt() as asked, pytest.raises(KeyboardInterrupt):
        act()
        assert asked.is_set()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            time.sleep(0.001)
    assert forgotten == []


def test_forgotten_without_it(forgotten):
    let_go()
    assert [error.exc_type for error in forgotten] == [KeyboardInterrupt]


def test_raised_at_once_elsewhere():
    with remembered_interrupt() as asked:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert asked.is_set()


def test_the_inner_one_is_the_outer_one():
    with remembered_interrupt() as outer:
        with remembered_interrupt() as inner:
            assert inner is outer
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with remembered_interrupt() as later:
        assert later is not outer


def test_other_handlers_and_other_threads_are_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with remembered_interrupt() as asked:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert not asked.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
    found = []

    def work():
        with remembered_interrupt():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
