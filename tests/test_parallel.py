"""Tasks in worker processes, and what happens when they end otherwise."""

from __future__ import annotations

import os
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_cpu_count_is_what_this_process_may_use():
    assert 1 <= parallel.cpu_count() <= (os.cpu_count() or 1)
