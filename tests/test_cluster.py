"""Tasks on a Dask cluster: all of them are done, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from softlabel import cluster as cluster_module
from softlabel.cluster import Cluster, ClusterFailed, connected, require_named, require_reachable
from softlabel.errors import MissingExtraError, UsageError
from softlabel.interrupt import no_safe_point

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    with connected("local", 2) as made:
        made._client.cluster.scheduler.allowed_failures = 0  # a death is told at once
        yield made


def run(cluster, function, tasks, safe_point=no_safe_point, pieces=lambda task: [task]):
    return cluster.run(function, tasks, safe_point, pieces, lambda task: [("given up", *task)])


# What runs on the workers


def square(*numbers):
    yield from ((number, number**2) for number in numbers)


def surroundings(_):
    yield os.environ.get("NUMBA_NUM_THREADS"), signal.getsignal(signal.SIGINT)


def nap(number):
    time.sleep(0.3)
    yield os.getpid()


def die_of(deadly, *numbers):
    for number in numbers:
        if number == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        yield number


def fail(number):
    raise ZeroDivisionError("by zero")
    yield number


def test_everything_is_delivered(cluster):
    found = list(run(cluster, square, [(n, n + 100) for n in range(30)]))
    assert sorted(found) == [(n, n**2) for n in (*range(30), *range(100, 130))]


def test_own_workers_have_one_thread_and_leave_signals_alone(cluster):
    assert set(run(cluster, surroundings, [(n,) for n in range(4)])) == {("1", signal.SIG_IGN)}
    assert set(cluster.threads().values()) == {1} and len(cluster.threads()) == 2


def test_only_a_few_tasks_are_with_the_cluster_at_a_time(cluster, monkeypatch):
    handed_out = []
    submitted = Cluster._submitted
    monkeypatch.setattr(
        Cluster, "_submitted", lambda self, *task: handed_out.append(1) or submitted(self, *task)
    )
    with closing(run(cluster, square, [(n,) for n in range(1000)])) as results:
        for count, _ in enumerate(results, start=1):
            assert len(handed_out) - count < 2 * cluster_module.TASKS_A_THREAD
            if count == 20:
                break
    assert len(handed_out) < 30


@pytest.mark.slow
def test_of_tasks_whose_workers_die_only_the_deadly_piece_is_given_up(cluster):
    tasks = [(3, n, n + 1, n + 2) for n in (0, 3, 6)]
    pieces = lambda task: [(task[0], number) for number in task[1:]]  # noqa: E731
    found = list(run(cluster, die_of, tasks, pieces=pieces))
    assert set(found) == {0, 1, 2, 4, 5, 6, 7, 8, ("given up", 3, 3)}


def test_a_task_that_fails_in_its_own_way_ends_the_run(cluster):
    with pytest.raises(ClusterFailed, match=r"A worker of the cluster failed .*by zero"):
        list(run(cluster, fail, [(1,)]))


def test_a_run_that_is_stopped_leaves_the_cluster_to_others(cluster):
    def stop():
        if time.monotonic() > begun + 0.5:
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(run(cluster, nap, [(n,) for n in range(100)], stop))
    assert time.monotonic() < begun + 5
    assert list(run(cluster, square, [(5,)])) == [(5, 25)]


@pytest.mark.slow
def test_workers_that_join_get_their_share():
    with connected("local", 1) as cluster:
        done = run(cluster, nap, [(n,) for n in range(100)])
        found = {next(done)}
        cluster._client.cluster.scale(2)
        for pid in done:
            found.add(pid)
            if len(found) == 2:
                break
        done.close()
    assert len(found) == 2


# Other people's clusters


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler in a process of its own, and the file that it wrote."""
    file = tmp_path / "scheduler.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
         "0", "--no-dashboard", "--scheduler-file", file],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not file.is_file() or not file.read_text().endswith("}"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    yield process, str(file)
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_scheduler_without_workers_is_waited_for_until_it_is_gone(scheduler):
    process, file = scheduler
    require_reachable(file)

    def stop():
        if time.monotonic() > begun + 0.5:
            raise KeyboardInterrupt

    with connected(file, 0) as cluster:
        assert cluster.threads() == {}
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            cluster.wait_for_worker(stop)
        process.kill()
        with pytest.raises(ClusterFailed, match=r"does not answer|was lost|dropped"):
            list(run(cluster, square, [(1,)]))


def test_a_scheduler_that_cannot_be_reached_is_a_sentence(monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 0.5)
    with pytest.raises(UsageError, match=r"tcp://127.0.0.1:9 cannot be reached within"):
        require_reachable("tcp://127.0.0.1:9")


def test_what_names_no_scheduler(tmp_path):
    with pytest.raises(UsageError, match="host:8786 names no Dask scheduler; give its address"):
        require_named("host:8786")
    with pytest.raises(UsageError, match=r"There is no file .*x\.json; start `dask scheduler"):
        require_named(str(tmp_path / "x.json"))


def test_without_distributed_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(cluster_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[cluster\]'"):
        require_named("local")
