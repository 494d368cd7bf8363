"""The main job: a data set on disk becomes a cache.

:func:`generate` carries out what :func:`softlabel.generation.plan.plan` has decided: workers read,
compute and publish their parts, this process keeps count and rebuilds the index at the end.
Whatever interrupts it, finished parts are complete, and running the same again computes only the
rest.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from softlabel import parallel
from softlabel.cache import (
    SeenFile,
    build_part,
    rebuild_index,
    regrouped_part,
    schema,
    version_of,
)
from softlabel.cluster import LOCAL, Cluster, ClusterFailed, connected
from softlabel.device import CPU
from softlabel.errors import CacheError, UsageError
from softlabel.files.atomic import publish, remove_folder, sweep
from softlabel.files.owner import Claim, LostClaimError
from softlabel.generation.check import checked
from softlabel.generation.device_choice import Sample, Say, chosen_devices, named_devices
from softlabel.generation.device_server import DeviceProcess
from softlabel.generation.failures import gather_failures, listed_cases, write_failures
from softlabel.generation.looks import load_check
from softlabel.generation.memory import workers_that_fit
from softlabel.generation.networks import with_weights
from softlabel.generation.on_cluster import (
    absolute,
    described,
    reports_of_cluster,
    require_fit,
    shares,
)
from softlabel.generation.output import (
    cannot_write,
    drop_foreign_parts,
    has_parts,
    keep_what_was_not_replaced,
    output_path,
    owned_output,
    remove_other_folders,
)
from softlabel.generation.plan import FAILED, SKIP, Plan, plan
from softlabel.generation.refresh import IndexRefresh
from softlabel.generation.report import CaseReport, Report, failures_of, summary_of
from softlabel.generation.settings import Settings
from softlabel.generation.shards import Shard
from softlabel.generation.source import list_source
from softlabel.generation.superpixel_files import SuperpixelFiles
from softlabel.generation.warm_up import warm_up
from softlabel.generation.worker import Computed, Task, case_report, compute_source, results_of
from softlabel.interrupt import SafePoint, stop_on_signals
from softlabel.types import CaseRef, Dataset

ESTIMATE_ATTEMPTS = 5
"""Cases that :func:`estimate` tries at most, until one can be computed."""

LOADING_MATTERS_SECONDS = 10.0

INDEX_AS_IT_WAS = (
    "Its index stays as it was; the cases finished since are taken in when the run goes on."
)

Progress = Callable[[CaseReport], None]

Computing = Callable[[Claim, SafePoint], Generator[CaseReport]]
"""Computes the cases of a plan for a run that owns the output."""


def generate(
    source: str | os.PathLike[str] | Dataset,
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    format: str = "auto",
    format_options: Mapping[str, Any] | None = None,
    superpixel_file: str | os.PathLike[str] | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    jobs: int = 1,
    overwrite: bool = False,
    check_content: bool = False,
    check_parts: bool = False,
    device: str = CPU,
    progress: Progress | None = None,
    accept: Collection[str] = (),
    saved_check: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    shard: tuple[int, int] | None = None,
    scheduler: str | None = None,
) -> Report:
    """Compute the soft labels of a data set into a cache.

    All label maps are looked at first (:func:`softlabel.generation.check.check`): what would
    certainly be wrong is an error, what may be is a warning of the report and kept in the cache.

    Parameters
    ----------
    source : path or Dataset
        The data set.
    out : path
        The cache, ``NAME.h5``; its parts go into ``NAME.parts`` beside it.
    settings : Settings, optional
        Default: the paper's.
    format : str
        A reader's name, or "auto".
    format_options : mapping, optional
        The reader's options.
    superpixel_file : path, optional
        Take the superpixels from there instead of making them; see
        :mod:`softlabel.generation.superpixel_files`.
    ids, limit, overwrite, check_content, check_parts
        See :func:`softlabel.generation.plan.plan`.
    jobs : int
        Worker processes, at most: as many as fit into the memory.
    device : {"cpu", "auto", "cuda", "cuda:1", …}
        Where soft maps are computed, with the same bytes everywhere: ``cuda`` is all cards of the
        machine, ``auto`` whatever a measurement at the start finds faster.
    progress : callable, optional
        Called with a :class:`CaseReport` as each case is done.
    accept : collection of str
        Codes of findings that are as they should be: their errors count as warnings.
    saved_check : path, optional
        What ``softlabel check -o`` wrote: label maps that have not changed since are not read for
        the check, and all that it holds are judged, whichever cases are chosen here.
    weights : path, optional
        A file that ``softlabel-train denoiser`` wrote, for ``denoise="dncnn"``, instead of the
        weights that come with softlabel.
    shard : (int, int), optional
        Number and count, such as ``(1, 8)``: compute only that part of the chosen cases. Which it
        is depends on the listing alone, and cases of one source file stay together. As many runs,
        on any machines that share the output's folder, make the cache together; the one that
        finds all cases there writes the index.
    scheduler : str, optional
        Compute on a Dask cluster, whose workers see the data set and the output under the same
        paths: the address of its scheduler, the file that it wrote, or ``local`` for ``jobs``
        processes of this machine (from a script with ``if __name__ == "__main__":``).

    Returns
    -------
    Report
        Failing cases are in it; they do not raise. Nor do Ctrl-C and SIGTERM once cases are
        computed: they end the run early, and the report says that it was interrupted. A second
        Ctrl-C stops at once. In a program that handles them in its own way its handlers stay.

    Raises
    ------
    SoftlabelError
        Before anything is computed: the data set cannot be listed, its label maps would certainly
        give a wrong cache, the settings cannot work, the output cannot be written or is of other
        settings.
    """
    dataset = source if isinstance(source, Dataset) else list_source(
        Path(source), format, format_options or {}
    )  # fmt: skip
    if settings is None:
        settings = Settings()
    if not isinstance(settings, Settings):
        raise UsageError(
            f"settings is of the type {type(settings).__name__}; give softlabel.Settings(…)."
        )
    files = None
    if superpixel_file is not None:
        files = SuperpixelFiles(Path(superpixel_file))
        settings = replace(settings, superpixels="file")
    decided = decide(
        dataset, out, settings, ids=ids, limit=limit, jobs=jobs, overwrite=overwrite,
        check_content=check_content, check_parts=check_parts, accept=accept,
        saved_check=saved_check, weights=weights, superpixel_files=files,
        shard=None if shard is None else Shard(*shard),
    )  # fmt: skip
    told = [f"[{finding['code']}] {finding['text']}" for finding in decided.findings]
    if scheduler in (None, LOCAL):
        jobs, fewer = workers_that_fit(decided, jobs)
        told += [fewer] if fewer else []
    report = carry_out(decided, jobs=jobs, device=device, scheduler=scheduler, progress=progress)
    return replace(report, warnings=(*report.warnings, *told))


def decide(
    dataset: Dataset,
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    jobs: int = 1,
    overwrite: bool = False,
    check_content: bool = False,
    check_parts: bool = False,
    accept: Collection[str] = (),
    saved_check: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    superpixel_files: SuperpixelFiles | None = None,
    shard: Shard | None = None,
) -> Plan:
    """Check a data set and decide what :func:`generate`, with the same arguments, computes.

    Writes nothing but what the check remembers of label maps.
    """
    weights_file = None if weights is None else Path(weights)
    settings = with_weights(settings, weights_file)
    path = output_path(out)
    _require_jobs(jobs)
    saved = None if saved_check is None else load_check(saved_check)
    found = checked(
        dataset, settings, ids=ids, limit=limit, accept=accept, jobs=jobs, saved=saved, shard=shard
    )
    return plan(
        found.dataset, settings, path, ids=ids, limit=limit, overwrite=overwrite,
        check_content=check_content, check_parts=check_parts, superpixel_files=superpixel_files,
        findings=[finding.as_record() for finding in found.findings], classes=found.class_table,
        weights=weights_file, shard=shard, largest=found.largest,
    )  # fmt: skip


def carry_out(
    decided: Plan,
    *,
    jobs: int = 1,
    device: str = CPU,
    scheduler: str | None = None,
    progress: Progress | None = None,
    say: Say = lambda _: None,
    stopping: Callable[[int], object] = lambda _: None,
) -> Report:
    """Do what a plan says (see :func:`generate`).

    ``say`` receives which device was chosen, ``stopping`` the number of the signal that asked to
    stop (see :func:`softlabel.interrupt.stop_on_signals`).
    """
    _require_jobs(jobs)
    require_fit(scheduler, device)
    named_devices(decided, device)  # a device that is not there is seen before anything is written
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals(stopping))
        cluster = None
        if scheduler is not None and decided.todo:
            decided = absolute(decided)
            cluster = stack.enter_context(connected(scheduler, jobs))
            say(described(cluster))
        with owned_output(decided) as claim:
            if cluster is None:
                computing: Computing = partial(_reports_of_workers, decided, jobs, device, say)
            else:
                computing = partial(_reports_of_cluster, decided, cluster)
            report = _carried_out(
                decided, computing, progress, say, stop.safe_point, claim,
                may_go_on=cluster is not None,
            )  # fmt: skip
        # a signal that came after the last safe point is reported as well
        return replace(report, interrupted=report.interrupted or stop.asked)


def _require_jobs(jobs: int) -> None:
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1; got {jobs}.")


def _carried_out(
    decided: Plan,
    computing: Computing,
    progress: Progress | None,
    say: Say,
    safe_point: SafePoint,
    claim: Claim,
    may_go_on: bool,
) -> Report:
    """As :func:`carry_out`, by a run that owns the output.

    Workers that ``may_go_on`` with the case that they have when the run is stopped.
    """
    # before workers start, so that they load the kernels instead of compiling them each
    compile_seconds = warm_up(decided.settings.method, say) if decided.todo else 0.0
    started = time.perf_counter()
    waiting = (*decided.todo, *decided.regroup)
    before = {ref.id: version_of(decided.part_of(ref.id)) for ref in waiting}
    tally = _Tally(seen=dict(decided.seen), may_go_on=may_go_on)
    refresh = IndexRefresh(decided, claim)
    try:
        with contextlib.closing(_reports(decided, computing, safe_point, claim)) as told:
            for report in told:
                if report.fatal:
                    tally.stopped = report.error
                    break
                tally.add(report)
                if refresh.is_due():
                    refresh.write(tally.seen, {r.id for r in tally.reports})
                if progress is not None:
                    progress(report)
    except KeyboardInterrupt:
        tally.interrupted = True
    except parallel.WorkerDied as error:
        tally.stopped = f"{error} Use fewer --jobs or a machine with more memory."
    except (ClusterFailed, LostClaimError) as error:
        tally.stopped = str(error)
    reported = {report.id for report in tally.reports}
    unfinished = {
        case_id
        for case_id, version in before.items()
        # workers that were stopped may have published more than they reported
        if case_id not in reported and version_of(decided.part_of(case_id)) == version
    }
    index, elsewhere = version_of(decided.out), 0
    try:
        elsewhere = _finish(decided, tally, claim, complete=not unfinished)
    except LostClaimError as error:
        tally.stopped = str(error)
    except OSError as error:
        tally.stopped = tally.stopped or cannot_write(decided.out, error)
        if version_of(decided.out) == index:
            tally.stopped += f" {INDEX_AS_IT_WAS}"
    return summary_of(
        decided, tally.reports, unfinished, tally.interrupted, tally.stopped, started,
        compile_seconds, elsewhere,
    )  # fmt: skip


def _regroup(decided: Plan, ref: CaseRef, claim: Claim) -> CaseReport:
    """Publish a part anew with the group that its case has now."""
    path = decided.part_of(ref.id)
    try:
        data = regrouped_part(path, ref.group)
        claim.require()
        publish(path, data)
    except CacheError as error:
        return CaseReport(ref.id, error=str(error))
    except LostClaimError as error:
        return CaseReport(ref.id, error=str(error), fatal=True)
    except OSError as error:
        return CaseReport(ref.id, error=cannot_write(decided.out, error), fatal=True)
    return CaseReport(ref.id, regrouped=True)


@dataclass
class _Tally:
    """Reports received so far.

    Workers that ``may_go_on`` when the run is stopped may still replace the part of a case.
    """

    seen: dict[str, SeenFile]
    may_go_on: bool
    reports: list[CaseReport] = field(default_factory=list)
    stopped: str = ""
    interrupted: bool = False

    def add(self, report: CaseReport) -> None:
        self.reports.append(report)
        self.seen |= report.seen


def _reports(
    decided: Plan, computing: Computing, safe_point: SafePoint, claim: Claim
) -> Generator[CaseReport]:
    """Regroup, then have the cases of a plan computed; closing it stops that."""
    for ref in decided.regroup:
        yield _regroup(decided, ref, claim)
        safe_point()
    safe_point()  # before a device is started
    with contextlib.closing(computing(claim, safe_point)) as done:
        yield from done


def _reports_of_workers(
    decided: Plan, jobs: int, device: str, say: Say, claim: Claim, safe_point: SafePoint
) -> Generator[CaseReport]:
    """Let worker processes of this machine compute the cases of a plan."""
    work = partial(compute_source, safe_point=safe_point)
    with chosen_devices(decided, device, jobs, lambda: _sample(decided), say) as devices:
        tasks = [(task,) for task in tasks_of(decided, decided.todo, jobs, devices, claim)]
        with contextlib.closing(parallel.run(work, tasks, jobs, safe_point)) as done:
            yield from done


def _reports_of_cluster(
    decided: Plan, cluster: Cluster, claim: Claim, safe_point: SafePoint
) -> Generator[CaseReport]:
    """Let the workers of a cluster compute the cases of a plan."""
    tasks = tasks_of(decided, decided.todo, shares(cluster), claim=claim)
    return reports_of_cluster(cluster, tasks, claim, safe_point)


def _finish(decided: Plan, tally: _Tally, claim: Claim, *, complete: bool) -> int:
    """Tidy up, rebuild the index, and list what failed.

    Where the run makes a cache anew, the index stays that of the old one until all cases are there.
    A shard leaves the index to the one that ends last.

    Returns
    -------
    int
        Cases that other shards have not settled yet.
    """
    sweep(decided.parts.path)
    failures = failures_of(decided, tally.reports)
    claim.require()
    if decided.shard is None:
        _publish_index(decided, tally, failures, complete=complete)
        _list_failures(decided, tally, failures)
        return 0
    _list_failures(decided, tally, failures)  # first: others take what is listed for settled
    elsewhere = _unsettled_elsewhere(decided)
    if complete and not elsewhere:
        failed = listed_cases(decided.out, decided.together)
        _publish_index(decided, tally, failed, complete=True)
        finished = {step.ref.id for step in decided.steps} - set(failures)
        parts = {case_id: decided.part_of(case_id) for case_id in decided.together}
        gather_failures(decided.out, parts, finished)
    return len(elsewhere)


def _publish_index(
    decided: Plan, tally: _Tally, failures: Mapping[str, str], *, complete: bool
) -> None:
    """Rebuild the index of what is there; of a cache made anew when all cases are."""
    came_to_nothing = decided.replaces is not None and not has_parts(decided)
    if came_to_nothing and (complete or tally.stopped):
        remove_folder(decided.parts.path)
    elif complete or decided.replaces is None:
        if complete:
            keep_what_was_not_replaced(decided, failures)
            drop_foreign_parts(decided, failures)
        content = decided.index_content(tally.seen)
        if tally.may_go_on:
            reported = {report.id for report in tally.reports}
            content = replace(content, unsettled=decided.unsettled - reported)
        rebuild_index(decided.out, content, decided.parts)
        if complete:
            remove_other_folders(decided)


def _list_failures(decided: Plan, tally: _Tally, failures: Mapping[str, str]) -> None:
    details = {report.id: report.details for report in tally.reports}
    others = _left_alone(decided, tally)
    write_failures(decided.out, failures, details, others, decided.shard)


def _unsettled_elsewhere(decided: Plan) -> list[str]:
    """Cases of the other shards that have no part and stand on no list of failures.

    By names alone: reading the parts of all shards at the end of each would take long.
    """
    there = set(decided.parts.versions())
    ours = {step.ref.id for step in decided.steps}
    others = [case_id for case_id in decided.together if case_id not in ours]
    absent = [case_id for case_id in others if schema.part_name(case_id) not in there]
    listed = listed_cases(decided.out, absent)
    return [case_id for case_id in absent if case_id not in listed]


def _left_alone(decided: Plan, tally: _Tally) -> set[str]:
    """Cases of the data set of which this run has found out nothing."""
    looked_at = {step.ref.id for step in decided.steps if step.action in (SKIP, FAILED)}
    return set(decided.expected) - looked_at - {report.id for report in tally.reports}


def tasks_of(
    decided: Plan,
    refs: Sequence[CaseRef],
    jobs: int,
    devices: Sequence[DeviceProcess] = (),
    claim: Claim | None = None,
) -> list[Task]:
    """The work on some cases: a task for each source, or for a share of one; devices in turn."""
    siblings = {refs[0].source: tuple(refs) for refs in by_source(decided.dataset.refs)}
    tasks = []
    for number, share in enumerate(parallel.split_evenly(by_source(refs), jobs)):
        # A task travels to its worker: of the listing it carries no more than its own source.
        listing = replace(decided.dataset, refs=siblings[share[0].source], problems={})
        device = devices[number % len(devices)] if devices else None
        tasks.append(
            Task(
                listing, tuple(share), decided.header, decided.settings, decided.out,
                decided.parts.path, claim, decided.superpixel_files, device, decided.weights,
            )
        )  # fmt: skip
    return tasks


def by_source(refs: Sequence[CaseRef]) -> list[list[CaseRef]]:
    """Cases that share a source file, together, in the order of their first case."""
    groups: dict[str, list[CaseRef]] = {}
    for ref in refs:
        groups.setdefault(ref.source, []).append(ref)
    return list(groups.values())


def estimate(decided: Plan) -> CaseReport | None:
    """Compute the first case of a plan that can be, without writing it: its time and size.

    With steps before superpixels a case that takes seconds is computed twice: libraries that the
    first one loads are not loaded for each.

    Returns
    -------
    CaseReport or None
        The failure of the first case when none of the first few can be computed; None when
        there is nothing to compute.
    """
    warm_up(decided.settings.method)  # its time is not a case's
    computed = _first_computed(decided)
    if decided.settings.preprocessing and isinstance(computed, Computed) and (
        computed.seconds < LOADING_MATTERS_SECONDS
    ):  # fmt: skip
        computed = _first_computed(decided)
    if computed is None or isinstance(computed, CaseReport):
        return computed
    started = time.perf_counter()
    data = build_part(computed.result, decided.header)
    return case_report(computed, computed.seconds + time.perf_counter() - started, len(data))


def _first_computed(decided: Plan) -> Computed | CaseReport | None:
    """The first case of a plan that can be computed, else the first failure."""
    failure = None
    for ref in decided.todo[:ESTIMATE_ATTEMPTS]:
        (task,) = tasks_of(decided, [ref], jobs=1)
        computed = next(results_of(task))
        if isinstance(computed, Computed):
            return computed
        failure = failure or computed
    return failure


def _sample(decided: Plan) -> Sample | None:
    """A computed case, to measure devices with."""
    computed = _first_computed(decided)
    if not isinstance(computed, Computed):
        return None
    result = computed.result
    return Sample(result.case, result.superpixels, computed.seconds)
