"""Running independent tasks on a Dask cluster; the only module that knows distributed.

Nothing here knows what the tasks are. They go to ``distributed.Client`` directly: through joblib a
task that kills its worker is waited for without end. Dask hands a task whose worker died to another
worker a few times, and so does it with tasks that only waited there; then they come back here.
"""

from __future__ import annotations

import importlib.util
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from softlabel.errors import SoftlabelError, UsageError, missing_extra
from softlabel.interrupt import SafePoint, no_safe_point
from softlabel.parallel import ONE_THREAD, SAFE_POINT_SECONDS, STOPPING

T = TypeVar("T")

LOCAL = "local"
"""Worker processes of this machine, as a cluster that ends with the run."""

CONNECT_SECONDS = 10.0

TASKS_A_THREAD = 2
"""Tasks that are handed out at a time: one is worked on, the next is there when it is done."""

COUNTING_SECONDS = 2.0
"""Time between two looks at how many workers there are."""

TRIES = 2
"""How often a task is tried by itself after workers have died of it, or beside it."""


class ClusterFailed(SoftlabelError):
    """The cluster cannot go on with a run: results that were not yet delivered are lost."""


@dataclass(frozen=True)
class Cluster:
    """A connection to a Dask cluster.

    Attributes
    ----------
    scheduler : str
        Its address.
    dashboard : str
        Address of the page on which it shows its work.
    """

    scheduler: str
    dashboard: str
    _client: Any = field(repr=False)

    def threads(self) -> dict[str, int]:
        """Threads of each worker that is there now, by its address."""
        with _failures_told():
            return dict(self._client.nthreads())

    def wait_for_worker(self, safe_point: SafePoint = no_safe_point) -> None:
        """Wait until there is a worker, which a batch system may start much later."""
        while not self.threads():
            _sleep(COUNTING_SECONDS, safe_point)

    def ask_workers(self, function: Callable[..., T], *arguments: Any) -> dict[str, T | Exception]:
        """What a function returns, or raises, on each worker that is there now."""
        with _failures_told():
            return dict(self._client.run(function, *arguments, on_error="return"))

    def run(
        self,
        function: Callable[..., Iterable[T]],
        tasks: Sequence[tuple[Any, ...]],
        safe_point: SafePoint,
        pieces: Callable[[tuple[Any, ...]], list[tuple[Any, ...]]],
        given_up: Callable[[tuple[Any, ...]], Iterable[T]],
    ) -> Generator[T, None, None]:
        """What ``function(*task)`` yields for every task, in any order; a task's results together.

        Only a few tasks for each thread are with the cluster at a time; workers that join later
        get their share, those of workers that leave go to others. A caller who closes the
        generator, and what ``safe_point`` raises, takes back what has not begun.

        Parameters
        ----------
        function : callable
            Importable on the workers.
        tasks : sequence of tuple
        safe_point : callable
            Called several times a second.
        pieces : callable
            Cuts a task whose workers died into tasks that are tried one by one.
        given_up : callable
            The results of a task that cannot be cut and whose workers died again and again.

        Raises
        ------
        ClusterFailed
            When the scheduler is gone, or a task fails in another way than its function tells.
        """
        fresh = iter(tasks)
        suspects: deque[_Tried] = deque()  # whose workers died: no two are with the cluster at once
        handed_out: dict[Any, _Tried] = {}
        done: SimpleQueue[Any] = SimpleQueue()
        try:
            for most in self._capacities(safe_point):
                for tried in _next_tasks(fresh, suspects, handed_out.values(), most):
                    future = self._submitted(function, tried.task)
                    handed_out[future] = tried
                    future.add_done_callback(done.put)
                if not handed_out:
                    return
                with suppress(Empty):
                    future = done.get(timeout=SAFE_POINT_SECONDS)
                    tried = handed_out.pop(future)
                    results = _results_of(future)
                    if results is not None:
                        yield from results
                    elif tried.times == TRIES:
                        yield from given_up(tried.task)
                    elif tried.times > 0:
                        suspects.append(_Tried(tried.task, tried.times + 1))
                    else:
                        suspects.extend(_Tried(piece, 1) for piece in pieces(tried.task))
        finally:
            if handed_out:
                with suppress(Exception):  # it may be gone
                    self._client.cancel(list(handed_out), force=True)

    def _submitted(self, function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
        with _failures_told():
            return self._client.submit(_collected, function, task, pure=False, retries=0)

    def _capacities(self, safe_point: SafePoint) -> Iterator[int]:
        """Again and again how many tasks the cluster may have, with safe points in between."""
        most, counted = 1, -COUNTING_SECONDS
        while True:
            safe_point()
            if self._client.status not in ("running", "connecting"):
                raise ClusterFailed("The connection to the scheduler of the cluster was lost.")
            if time.monotonic() - counted >= COUNTING_SECONDS:
                most = max(1, TASKS_A_THREAD * sum(self.threads().values()))
                counted = time.monotonic()
            yield most


@dataclass(frozen=True, eq=False)
class _Tried:
    """A task, and how often it was tried as one whose workers die."""

    task: tuple[Any, ...]
    times: int = 0


def _next_tasks(
    fresh: Iterator[tuple[Any, ...]],
    suspects: deque[_Tried],
    handed_out: Collection[_Tried],
    most: int,
) -> list[_Tried]:
    """What is handed out next, so that the cluster has ``most`` tasks and one suspect among them.

    Dask suspects all tasks that a worker had when it died. By itself an innocent one is cleared.
    """
    found = []
    if suspects and len(handed_out) < most and not any(tried.times for tried in handed_out):
        found.append(suspects.popleft())
    room = max(0, most - len(handed_out) - len(found))
    return found + [_Tried(task) for task in islice(fresh, room)]


def _collected(function: Callable[..., Iterable[T]], task: tuple[Any, ...]) -> list[T]:
    return list(function(*task))


def _results_of(future: Any) -> list[Any] | None:
    """Results of a task that has ended; None when its workers died."""
    from distributed import KilledWorker

    try:
        return list(future.result())
    except KilledWorker:
        return None
    except CancelledError as error:
        raise ClusterFailed("The cluster has dropped the tasks of this run.") from error
    except Exception as error:
        raise ClusterFailed(f"A worker of the cluster failed ({_in_words(error)}).") from error


@contextmanager
def _failures_told() -> Iterator[None]:
    """Errors of the connection as :class:`ClusterFailed`."""
    try:
        yield
    except (OSError, RuntimeError, CancelledError) as error:  # distributed raises any of these
        raise ClusterFailed(f"The cluster does not answer ({_in_words(error)}).") from error


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _sleep(seconds: float, safe_point: SafePoint) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        safe_point()
        time.sleep(SAFE_POINT_SECONDS)


@contextmanager
def connected(scheduler: str, workers: int) -> Iterator[Cluster]:
    """A connection to a cluster while the block runs.

    Parameters
    ----------
    scheduler : str
        Its address, such as ``tcp://host:8786``; a file that the scheduler wrote
        (``--scheduler-file``); or ``local``, which starts worker processes here and ends them.
    workers : int
        Processes of ``local``.

    Raises
    ------
    UsageError
        When the scheduler cannot be reached, or is not named.
    MissingExtraError
        When distributed is not installed.
    """
    require_named(scheduler)
    with ExitStack() as stack:
        client = stack.enter_context(_quietly(_client(scheduler, workers, stack)))
        dashboard = (
            client.dashboard_link if "dashboard" in client.scheduler_info()["services"] else ""
        )
        yield Cluster(str(client.scheduler.address), dashboard, client)


def require_named(scheduler: str) -> None:
    """Refuse what names no scheduler, and every one without distributed.

    Raises
    ------
    UsageError, MissingExtraError
    """
    if importlib.util.find_spec("distributed") is None:
        raise missing_extra(f"--scheduler {scheduler}", "distributed", "cluster")
    if scheduler == LOCAL or "://" in scheduler:
        return
    if not scheduler.endswith(".json"):
        raise UsageError(
            f"{scheduler} names no Dask scheduler; give its address such as tcp://host:8786, the "
            f"file.json that `dask scheduler --scheduler-file` writes, or {LOCAL}."
        )
    if not Path(scheduler).is_file():
        raise UsageError(
            f"There is no file {scheduler}; start `dask scheduler --scheduler-file {scheduler}`, "
            "and give the file when it is there."
        )


def require_reachable(scheduler: str) -> None:
    """As :func:`connected`, for the errors alone; ``local`` is not started."""
    require_named(scheduler)
    if scheduler != LOCAL:
        with connected(scheduler, 0):
            pass


def _client(scheduler: str, workers: int, stack: ExitStack) -> Any:
    from distributed import Client

    if scheduler == LOCAL:
        return Client(_local_cluster(workers, stack), set_as_default=False)
    where: Mapping[str, str] = (
        {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
    )
    try:
        return Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # timeouts are OSErrors
        raise UsageError(
            f"The Dask scheduler {scheduler} cannot be reached within {CONNECT_SECONDS:.0f} s "
            f"({_in_words(error)}); start `dask scheduler`, and give the address that it prints."
        ) from error


def _local_cluster(workers: int, stack: ExitStack) -> Any:
    """Worker processes here; a case may take all the memory, as it may without a cluster."""
    from distributed import LocalCluster

    return stack.enter_context(
        _quietly(
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, memory_limit=None,
                dashboard_address="localhost:0", env=ONE_THREAD, preload=__name__,
                silence_logs=logging.CRITICAL,
            )
        )
    )  # fmt: skip


@contextmanager
def _quietly(closed: Any) -> Iterator[Any]:
    """A client or cluster that is closed at the end, whatever has become of the other side."""
    try:
        yield closed
    finally:
        with suppress(Exception):
            closed.close()


def dask_setup(worker: Any) -> None:
    """Called by Dask in every worker that :func:`connected` starts itself.

    What stops a run reaches all processes of a terminal or a batch job; the client acts on it.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
