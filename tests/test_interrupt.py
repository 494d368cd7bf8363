"""The first Ctrl-C or SIGTERM only asks, wherever it comes; the run itself stops."""

import pickle
import signal
import sys
import threading
import weakref

import pytest

from softlabel import interrupt
from softlabel.interrupt import interrupted_status, stop_on_signals

BOTH = (signal.SIGINT, signal.SIGTERM)


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


def press():
    signal.raise_signal(signal.SIGINT)


def let_go():
    thing = Presses()
    del thing


def let_go_of_a_weak_value():
    """As numba and h5py keep what they made: the dictionary's own callback is interrupted."""
    kept = weakref.WeakValueDictionary()
    thing = threading.Event()
    kept["key"] = thing
    callback = kept._remove.__code__

    def profile(frame, event, argument):
        if event == "call" and frame.f_code is callback:
            press()

    sys.setprofile(profile)
    try:
        del thing
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("act", [let_go, let_go_of_a_weak_value])
def test_without_a_flag_it_is_forgotten(act, forgotten):
    act()
    assert [error.exc_type for error in forgotten] == [KeyboardInterrupt]


@pytest.mark.parametrize("act", [press, let_go, let_go_of_a_weak_value])
def test_it_is_kept_until_a_safe_point(act, forgotten):
    with stop_on_signals() as stop:
        stop.safe_point()
        assert not stop.asked
        act()
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            stop.safe_point()
    assert forgotten == []


def test_a_second_ctrl_c_is_raised_at_once():
    for first in BOTH:
        with stop_on_signals() as stop:
            signal.raise_signal(first)
            assert stop.asked
            with pytest.raises(KeyboardInterrupt):
                press()


def test_sigterm_may_come_several_times():
    told = []
    with stop_on_signals(told.append) as stop:
        for number in (signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        assert stop.asked
    assert told == [signal.SIGTERM]
    with stop_on_signals():
        press()
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_told_and_the_status_says_which(monkeypatch, number, status):
    monkeypatch.setattr(interrupt, "_asked_by", signal.SIGINT)
    assert interrupted_status() == 130
    told = []
    with stop_on_signals(told.append):
        signal.raise_signal(number)
    assert told == [number]
    assert interrupted_status() == status


def test_the_usual_handlers_come_back():
    with stop_on_signals() as first:
        press()
        assert all(signal.getsignal(n) not in interrupt.USUAL.values() for n in BOTH)
    assert {n: signal.getsignal(n) for n in BOTH} == interrupt.USUAL
    with pytest.raises(ZeroDivisionError), stop_on_signals() as second:
        raise ZeroDivisionError
    assert first.asked and not second.asked
    assert {n: signal.getsignal(n) for n in BOTH} == interrupt.USUAL


def test_a_handler_of_the_program_is_left_alone():
    """Each signal by itself: what a shell runs in the background ignores Ctrl-C alone."""
    heard = []
    for number, handler in ((signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, heard.append)):
        before = signal.signal(number, handler)
        try:
            with stop_on_signals() as stop:
                assert signal.getsignal(number) is handler
                [other] = set(BOTH) - {number}
                assert signal.getsignal(other) is not interrupt.USUAL[other]
                assert not stop.asked
            assert signal.getsignal(number) is handler
        finally:
            signal.signal(number, before)


def test_outside_of_the_main_thread_nothing_is_installed():
    found = []

    def work():
        with stop_on_signals() as stop:
            found.append(({n: signal.getsignal(n) for n in BOTH}, stop.asked))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(interrupt.USUAL, False)]


def test_a_copy_in_another_process_is_never_asked():
    with stop_on_signals() as stop:
        press()
        there = pickle.loads(pickle.dumps(stop.safe_point))
    there()
