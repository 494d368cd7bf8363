"""Tasks in worker processes, and what happens when they end otherwise."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib.externals import loky

from softlabel import parallel


def count_up(start, number):
    for i in range(number):
        yield start + i


def own_process(_):
    yield os.getpid()


def thread_settings(_):
    import numba

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    yield [os.environ.get(name) for name in names], numba.get_num_threads()


def die(number):
    if number == 3:
        time.sleep(0.3)
        os._exit(1)
    yield number


def sleep(seconds):
    time.sleep(seconds)
    yield seconds


def outlive_signals(number):
    for stopping in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), stopping)
    yield number


class Stopped(Exception):
    """What a safe point raises."""


def stop_when(condition):
    """A safe point that raises as soon as a condition holds."""

    def safe_point():
        if condition():
            raise Stopped

    return safe_point


@given(
    st.lists(st.lists(st.integers(), min_size=1, max_size=30), max_size=12), st.integers(1, 40)
)  # fmt: skip
def test_split_evenly(groups, workers):
    tasks = parallel.split_evenly(groups, workers)
    assert [x for t in tasks for x in t] == [x for g in groups for x in g]  # all, in order
    assert all(tasks)
    if len(groups) >= workers:
        assert tasks == groups
    elif groups:
        longest = max(map(len, groups))
        assert max(map(len, tasks)) <= -(-longest // -(-workers // len(groups)))


def test_one_job_runs_here_and_delivers_at_once():
    results = parallel.run(own_process, [(0,), (1,)], jobs=1)
    assert next(results) == os.getpid()
    assert set(results) == {os.getpid()}
    endless = parallel.run(count_up, [(0, 10**9)], jobs=1)
    assert [next(endless) for _ in range(3)] == [0, 1, 2]


def test_a_single_task_needs_no_worker():
    assert list(parallel.run(own_process, [(0,)], jobs=8)) == [os.getpid()]
    assert list(parallel.run(own_process, [], jobs=8)) == []


def test_workers_deliver_everything():
    results = sorted(parallel.run(count_up, [(10 * i, 3) for i in range(6)], jobs=2))
    assert results == sorted(10 * i + j for i in range(6) for j in range(3))
    pids = set(parallel.run(own_process, [(i,) for i in range(8)], jobs=2))
    assert os.getpid() not in pids and len(pids) <= 2


def test_workers_have_one_thread_each():
    results = list(parallel.run(thread_settings, [(0,), (1,)], jobs=2))
    assert results == [(["1", "1", "1"], 1)] * 2


def test_a_worker_that_dies_is_told():
    delivered = []
    with pytest.raises(parallel.WorkerDied, match=r"killed from outside.*memory"):
        for result in parallel.run(die, [(i,) for i in range(8)], jobs=2):
            delivered.append(result)
    assert 3 not in delivered
    assert sorted(parallel.run(count_up, [(0, 1), (5, 1)], jobs=2)) == [0, 5]  # works again


def test_stopping_early_kills_workers_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = parallel.run(sleep, [(0.01,), *[(30,)] * 3], jobs=2)
        assert next(results) == 0.01
        started = time.monotonic()
        results.close()
        assert time.monotonic() - started < 10


def test_a_safe_point_behind_every_result_here():
    results = []
    with pytest.raises(Stopped):
        for result in parallel.run(count_up, [(0, 2), (2, 2)], 1, stop_when(lambda: results)):
            results.append(result)
    assert results == [0]
    with pytest.raises(Stopped):
        next(parallel.run(count_up, [(0, 2)], 1, stop_when(lambda: True)))


def test_safe_points_while_workers_are_waited_for():
    """Workers are killed where they are, and nothing of theirs is shown."""
    alive = set()

    def some_time_passed():
        alive.update(children())
        return time.monotonic() > started + 2

    started = time.monotonic()
    with pytest.raises(Stopped):
        list(parallel.run(sleep, [(60,)] * 5, 2, stop_when(some_time_passed)))
    assert time.monotonic() - started < 10
    assert len(alive) >= 2 and not alive & children()


def children():
    """Worker processes of this one."""
    mine = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            command = status.with_name("cmdline").read_bytes()
            if int(fields[1]) == os.getpid() and b"popen_loky" in command:
                mine.add(int(status.parent.name))
    return mine


def test_stopping_while_tasks_are_handed_out_is_no_error(monkeypatch):
    """loky's thread would end with a KeyError where it shall kill before it has passed them on."""
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    for _ in range(20):
        with pytest.raises(Stopped):
            list(parallel.run(sleep, [(60,)] * 9, 2, stop_when(lambda: True)))
    assert failed == []


def test_no_more_tasks_are_handed_out_than_workers_need(tmp_path):
    results = parallel.run(touch, [(tmp_path / str(i),) for i in range(20)], jobs=2)
    next(results)
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) <= 1 + 2 * parallel.TASKS_A_WORKER
    assert len(list(results)) == 19


def touch(path):
    path.touch()
    yield path


def test_workers_leave_signals_to_their_parent():
    assert sorted(parallel.run(outlive_signals, [(i,) for i in range(4)], jobs=2)) == [0, 1, 2, 3]


def blocked_signals(number):
    yield signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="the system has no masks")
def test_workers_start_with_stopping_signals_blocked():
    """Ctrl-C in a terminal reaches all processes, those as well that are only starting."""
    loky.get_reusable_executor().shutdown(kill_workers=True)  # so that workers must start
    masks = list(parallel.run(blocked_signals, [(i,) for i in range(4)], jobs=2))
    assert len(masks) == 4
    assert all({signal.SIGINT, signal.SIGTERM} <= mask for mask in masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_signal_while_workers_start_reaches_the_parent():
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    loky.get_reusable_executor().shutdown(kill_workers=True)
    submit = loky.ProcessPoolExecutor.submit

    def press(*arguments):
        future = submit(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return future

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loky.ProcessPoolExecutor, "submit", press)
            assert sorted(parallel.run(count_up, [(0, 1), (5, 1)], jobs=2)) == [0, 5]
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(heard) == {signal.SIGINT}


def test_a_process_that_may_have_no_children_does_the_work_itself():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=report_processes, args=(queue,), daemon=True)
    process.start()
    assert queue.get() == {process.pid}
    process.join()


def report_processes(queue):
    queue.put(set(parallel.run(own_process, [(i,) for i in range(4)], jobs=2)))


def test_cpu_count_is_what_this_process_may_use():
    assert 1 <= parallel.cpu_count() <= (os.cpu_count() or 1)
