"""Running independent tasks in worker processes; the only module that knows joblib.

Nothing here knows what the tasks are.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

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
    function: Callable[..., Iterable[T]], tasks: Sequence[tuple[Any, ...]], jobs: int
) -> Generator[T, None, None]:
    """What ``function(*task)`` yields for every task, as it is ready, in any order.

    With one job everything runs in this process, and every result is delivered at once; a worker
    delivers those of a task together. Each worker process is limited to one thread in the
    numerical libraries, since every core has a task of its own. When the caller stops early, or
    Ctrl-C is pressed, workers are killed where they are.

    Raises
    ------
    WorkerDied
        When a worker process disappears; results that were not yet delivered are lost.
    """
    if jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            yield from function(*task)
        return
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import BrokenProcessPool

    with parallel_config(
        backend="loky", inner_max_num_threads=1, initializer=_start_worker, initargs=(os.getpid(),)
    ):
        pool = Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered", batch_size=1)
    try:
        with _interrupts_ignored():  # workers that are starting inherit it
            batches = pool(delayed(_collected)(function, task) for task in tasks)
        try:
            for batch in batches:
                yield from batch
        finally:
            with warnings.catch_warnings():  # that it was stopped early is what we want
                warnings.simplefilter("ignore")
                batches.close()
    except BrokenProcessPool as error:
        raise WorkerDied(
            "A worker process was killed from outside, most likely because the memory ran out."
        ) from error


def _collected(function: Callable[..., Iterable[T]], task: tuple[Any, ...]) -> list[T]:
    return list(function(*task))


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent; end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """Without this, workers of a killed parent would hold their memory for minutes."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if before is not None:  # None: installed by something else than Python
            signal.signal(signal.SIGINT, before)
