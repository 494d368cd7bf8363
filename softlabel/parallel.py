"""Running independent tasks in worker processes; the only module that knows joblib.

Nothing here knows what the tasks are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


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


def run(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[T]:
    """Results of ``function(*task)`` as they are ready, in any order.

    With one job everything runs in this process. With more, each worker process is limited to
    one thread in the numerical libraries, since every core has a task of its own.

    Raises
    ------
    WorkerDied
        When a worker process disappears; results that were not yet delivered are lost.
    """
    if jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            yield function(*task)
        return
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with parallel_config(backend="loky", inner_max_num_threads=1):
        pool = Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered", batch_size=1)
        results = pool(delayed(function)(*task) for task in tasks)
        try:
            yield from results
        except TerminatedWorkerError as error:
            raise WorkerDied(
                "A worker process was killed from outside, most likely because the memory ran out."
            ) from error
        finally:
            results.close()


def stop_workers() -> None:
    """End the worker processes that joblib keeps for reuse."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True, kill_workers=True)
