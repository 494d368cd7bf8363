"""Running independent tasks in worker processes; the only module that knows joblib.

Nothing here knows what the tasks are. The processes are loky's, which is part of joblib: a script
needs no ``if __name__ == "__main__"`` for them, and a worker that is killed is noticed. joblib's
own ``Parallel`` cannot be asked to look at something else while it waits for results.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

ONE_THREAD = {
    f"{library}_NUM_THREADS": "1"
    for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA", "NUMEXPR")
} | {"VECLIB_MAXIMUM_THREADS": "1"}
"""Environment of a worker: every core has a task of its own."""

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that may reach every process of a terminal or a batch job; the parent acts on them."""

TASKS_A_WORKER = 2
"""Tasks that are handed out at a time: one is worked on, the next is there when it is done."""

SAFE_POINT_SECONDS = 0.2
"""Time between two safe points while workers are waited for."""

IDLE_SECONDS = 300
"""How long workers wait for the next run: starting them takes longer than many a run."""

HANDING_OUT_SECONDS = 1.0
PARENT_CHECK_SECONDS = 1.0


class WorkerDied(Exception):
    """A worker process was killed from outside, usually for want of memory."""


def cpu_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def split_evenly(groups: Sequence[Sequence[T]], workers: int) -> list[list[T]]:
    """Cut groups that belong together so that every worker has something to do.

    Groups stay whole when there are at least as many of them as workers.

    Examples
    --------
    >>> split_evenly([["a1", "a2", "a3", "a4"]], workers=2)
    [['a1', 'a2'], ['a3', 'a4']]
    >>> split_evenly([["a1", "a2"], ["b1"]], workers=2)
    [['a1', 'a2'], ['b1']]
    """
    pieces = -(-workers // max(1, len(groups)))
    tasks: list[list[T]] = []
    for group in groups:
        size = -(-len(group) // pieces)
        tasks.extend(list(group[i : i + size]) for i in range(0, len(group), max(1, size)))
    return tasks


def run(
    function: Callable[..., Iterable[T]],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int,
    safe_point: Callable[[], None] = lambda: None,
) -> Generator[T, None, None]:
    """What ``function(*task)`` yields for every task, as it is ready, in any order.

    With one job everything runs in this process, and every result is delivered at once; a worker
    delivers those of a task together. Each worker process is limited to one thread in the
    numerical libraries, since every core has a task of its own.

    ``safe_point`` is called after every result and, while workers are waited for, several times a
    second. What it raises ends the run, as does a caller who closes the generator; workers are then
    killed where they are.

    Raises
    ------
    WorkerDied
        When a worker process disappears; results that were not yet delivered are lost.
    """
    may_start_workers = not multiprocessing.current_process().daemon
    if jobs > 1 and len(tasks) > 1 and may_start_workers:
        yield from _run_in_workers(function, tasks, min(jobs, len(tasks)), safe_point)
        return
    safe_point()
    for task in tasks:
        for result in function(*task):
            yield result
            safe_point()


def _run_in_workers(
    function: Callable[..., Iterable[T]],
    tasks: Sequence[tuple[Any, ...]],
    workers: int,
    safe_point: Callable[[], None],
) -> Iterator[T]:
    from joblib.externals.loky import BrokenProcessPool, get_reusable_executor

    with _stopping_signals_blocked():  # a worker that starts inherits it
        executor = get_reusable_executor(
            workers, timeout=IDLE_SECONDS, env=ONE_THREAD,
            initializer=_start_worker, initargs=(os.getpid(),),
        )  # fmt: skip
    waiting = iter(tasks)
    handed_out: set[Future[list[T]]] = set()
    done: SimpleQueue[Future[list[T]]] = SimpleQueue()

    def hand_out(count: int) -> None:
        with _stopping_signals_blocked():
            for task in islice(waiting, count):
                future = executor.submit(_collected, function, task)
                handed_out.add(future)
                future.add_done_callback(done.put)

    try:
        hand_out(TASKS_A_WORKER * workers)
        while handed_out:
            future = _next_done(done, safe_point)
            handed_out.remove(future)
            yield from future.result()
            hand_out(1)
    except BrokenProcessPool as error:
        raise WorkerDied(
            "A worker process was killed from outside, most likely because the memory ran out."
        ) from error
    finally:
        if handed_out:
            _wait_until_running(handed_out)
            with warnings.catch_warnings():  # that it was stopped early is what we want
                warnings.simplefilter("ignore")
                executor.shutdown(kill_workers=True)


def _next_done(done: SimpleQueue[Future[T]], safe_point: Callable[[], None]) -> Future[T]:
    while True:
        safe_point()
        with suppress(Empty):
            return done.get(timeout=SAFE_POINT_SECONDS)


def _wait_until_running(handed_out: Iterable[Future[Any]]) -> None:
    """Let loky pass on what it was given: its thread fails when it shall kill before that."""
    deadline = time.monotonic() + HANDING_OUT_SECONDS
    for future in handed_out:
        while not (future.running() or future.done()) and time.monotonic() < deadline:
            time.sleep(0.001)


def _collected(function: Callable[..., Iterable[T]], task: tuple[Any, ...]) -> list[T]:
    return list(function(*task))


@contextmanager
def _stopping_signals_blocked() -> Iterator[None]:
    """Put signals off that would stop a process that is only starting; none gets lost."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(parent: int) -> None:
    """Leave the signals that stop a run to the parent, and end with it."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if os.name == "posix":
        threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """Without this, workers of a killed parent would hold their memory for minutes."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)
