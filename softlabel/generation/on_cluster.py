"""The work of a plan on a Dask cluster: what must be true before it, and what a worker does.

Workers hold nothing: a task says all, the parts are written by them into the folder that they share
with this process, and reports come back.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Generator, Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

from softlabel._version import __version__
from softlabel.cluster import Cluster, ClusterFailed
from softlabel.device import CPU
from softlabel.errors import UsageError, plural
from softlabel.files.atomic import temporary_name
from softlabel.files.owner import Claim
from softlabel.generation.attempts import DEATHS, Attempts, attempts_of
from softlabel.generation.plan import Plan
from softlabel.generation.report import CaseReport
from softlabel.generation.worker import Task, compute_source
from softlabel.interrupt import SafePoint

SHARED_SECONDS = 10.0
"""How long a file may take to be seen on another machine: network file systems remember folders."""

SHARES_A_THREAD = 4
"""A source of many cases is cut into tasks so that each thread gets as many of them."""


class NotUsable(Exception):
    """A worker cannot do anything for this run."""


def reports_of_cluster(
    cluster: Cluster, tasks: Sequence[Task], claim: Claim, safe_point: SafePoint
) -> Generator[CaseReport, None, None]:
    """The reports on all cases of the tasks, as they are ready; closing it stops the run.

    Raises
    ------
    ClusterFailed
        When the workers cannot do it, or the cluster ends.
    """
    if not tasks:
        return
    cluster.wait_for_worker(safe_point)
    _require_usable(cluster, tasks[0])
    with attempts_of(claim) as attempts:
        work = [(task, attempts, __version__) for task in tasks]
        done = cluster.run(compute_apart, work, safe_point, _single_cases, _set_aside)
        with contextlib.closing(done):
            yield from done


def described(cluster: Cluster) -> str:
    """Which cluster a run is on, and where its work is shown."""
    threads = cluster.threads()
    there = (
        f"{plural(len(threads), 'worker')} with {plural(sum(threads.values()), 'thread')}"
        if threads
        else "no worker yet, waiting for one"
    )
    return f"Dask scheduler {cluster.scheduler}, dashboard {cluster.dashboard}: {there}."


def shares(cluster: Cluster) -> int:
    """Into how many tasks the cases of a plan are cut at least, when sources hold many."""
    return SHARES_A_THREAD * max(1, sum(cluster.threads().values()))


def require_fit(scheduler: str | None, device: str) -> None:
    """Refuse devices of this machine for workers of others.

    Raises
    ------
    UsageError
    """
    if scheduler is not None and device != CPU:
        raise UsageError(
            f"--device {device} is a device of this machine, and --scheduler {scheduler} computes "
            "with workers that may be on others; leave one of the two out."
        )


def absolute(decided: Plan) -> Plan:
    """A plan with absolute paths: a worker may run in another folder."""
    parts = copy(decided.parts)  # with what it has read
    parts.path = parts.path.absolute()
    files = decided.superpixel_files
    if files is not None:
        files = type(files)(files.path.absolute())
    return replace(
        decided,
        dataset=replace(decided.dataset, root=decided.dataset.root.absolute()),
        out=decided.out.absolute(),
        parts=parts,
        replaces=None if decided.replaces is None else decided.replaces.absolute(),
        superpixel_files=files,
        weights=None if decided.weights is None else decided.weights.absolute(),
    )


# --- before the run -------------------------------------------------------------------------------


def _require_usable(cluster: Cluster, task: Task) -> None:
    """See that every worker has this softlabel, and reads and writes where this process does."""
    probe = task.folder / temporary_name()
    answers = cluster.ask_workers(look_around, task, __version__, probe.name)
    try:
        for worker, answer in answers.items():
            if isinstance(answer, Exception):
                raise ClusterFailed(_refusal(worker, answer))
            if not _appears(task.folder / answer):
                raise ClusterFailed(
                    f"What the worker {worker} writes into {task.folder} does not arrive here; "
                    "give an output on a file system that all machines share."
                )
    finally:
        for path in task.folder.glob(f"{probe.name}*"):
            path.unlink(missing_ok=True)


def _refusal(worker: str, error: Exception) -> str:
    if isinstance(error, NotUsable):
        return f"The worker {worker} cannot compute for this run: {error}"
    return (
        f"The worker {worker} cannot load softlabel {__version__} ({type(error).__name__}: "
        f"{error}); install the same version there as here."
    )


def look_around(task: Task, version: str, name: str) -> str:
    """What a worker does before a run: look for the files of a task, and leave one of its own.

    Returns
    -------
    str
        Name of the file that it has left.
    """
    _require_same(task, version)
    name = f"{name}-{platform.node()}-{time.monotonic_ns()}"
    try:
        (task.folder / name).write_bytes(b"")
    except OSError as error:
        raise NotUsable(f"it may not write into {task.folder} ({error.strerror}).") from error
    return name


def _require_same(task: Task, version: str) -> None:
    """Refuse to work with another softlabel, or beside another folder, than those of the run.

    Raises
    ------
    NotUsable
    """
    if version != __version__:
        raise NotUsable(
            f"it has softlabel {__version__}, the run is of {version}; install the same version "
            "on all machines."
        )
    if task.claim is not None and not _appears(task.claim.path):
        raise NotUsable(
            f"it does not see the folder of {task.out} as the run does (there is no "
            f"{task.claim.path}); give an output on a file system that all machines share."
        )
    if not task.dataset.root.exists():
        raise NotUsable(
            f"it does not see the data set {task.dataset.root}; give one on a file system that "
            "all machines share."
        )


def _appears(path: Path) -> bool:
    """Whether a file is there, or is within a few seconds."""
    end = time.monotonic() + SHARED_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
        with contextlib.suppress(OSError):
            os.listdir(path.parent)  # noqa: PTH208  # makes network file systems look again
    return True


# --- what a worker does ---------------------------------------------------------------------------


def compute_apart(task: Task, attempts: Attempts, version: str) -> Iterator[CaseReport]:
    """Compute the cases of a task, but not those of which workers have died again and again."""
    _require_same(task, version)
    deadly = [ref for ref in task.refs if attempts.deaths(ref.id) >= DEATHS]
    for ref in deadly:
        yield _died(ref.id)
    rest = tuple(ref for ref in task.refs if ref not in deadly)
    if not rest:
        return
    reports = compute_source(replace(task, refs=rest))
    for ref in rest:
        with attempts.attempt(ref.id):
            report = next(reports, None)
        if report is None:
            return
        yield report


def _single_cases(work: tuple[Task, Attempts, str]) -> list[tuple[Task, Attempts, str]]:
    task, attempts, version = work
    return [(replace(task, refs=(ref,)), attempts, version) for ref in task.refs]


def _set_aside(work: tuple[Task, Attempts, str]) -> list[CaseReport]:
    return [_died(ref.id) for ref in work[0].refs]


def _died(case_id: str) -> CaseReport:
    return CaseReport(
        case_id,
        error=f"{case_id}: workers died while they computed it, most likely because the memory ran "
        "out; run the same command again with workers that have more.",
    )
