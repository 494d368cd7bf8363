"""The main job: a data set on disk becomes a cache.

:func:`generate` carries out what :func:`softlabel.pipeline.plan` has decided: workers read, compute
and publish their parts, this process keeps count and rebuilds the index at the end. Whatever
interrupts it, finished parts are complete, and running the same again computes only the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from softlabel import parallel, schema
from softlabel.cache import (
    CaseResult,
    Header,
    IndexContent,
    PartSummary,
    SeenFile,
    build_part,
    parts_folder,
    read_index,
    rebuild_index,
    version_of,
)
from softlabel.device import CPU
from softlabel.device_choice import Sample, Say, chosen_devices, named_devices
from softlabel.device_process import DeviceProcess
from softlabel.errors import CacheError, CaseError, SoftlabelError, UsageError
from softlabel.inputs import record_inputs
from softlabel.kernels import warm_up
from softlabel.pipeline import FAILED, SKIP, Plan, compute, files_of, plan
from softlabel.publish import publish, sweep, temporary_name
from softlabel.readers import READERS, list_dataset
from softlabel.settings import Settings
from softlabel.superpixel_files import SuperpixelFiles
from softlabel.types import CaseRef, Dataset

FATAL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of the output's file system that every further case would meet as well."""

ESTIMATE_ATTEMPTS = 5

LEAST_PIXELS = 4
"""Superpixels smaller than this on average soften next to nothing."""

MOST_SOFTENED = 0.95
"""A larger share of softened pixels says that superpixels are too large."""


@dataclass(frozen=True)
class CaseReport:
    """What became of one case.

    Attributes
    ----------
    id : str
    error : str
        Why it failed; empty when it is finished.
    details : str
        Traceback of an unexpected error.
    fatal : bool
        Every further case would fail alike.
    seconds : float
        Reading, computing and writing.
    bytes : int
        Size of its part.
    pixels, softened_pixels : int
        Known pixels, and those of them with a value that is not hard.
    soft_sum : float
        Σ over known pixels of Σ_c q_c.
    n_superpixels, n_superpixels_asked : int
    seen : mapping of str to SeenFile
    note : str
        Why it was softened on the CPU though a device was to do it.
    """

    id: str
    error: str = ""
    details: str = ""
    fatal: bool = False
    seconds: float = 0.0
    bytes: int = 0
    pixels: int = 0
    softened_pixels: int = 0
    soft_sum: float = 0.0
    n_superpixels: int = 0
    n_superpixels_asked: int = 0
    seen: Mapping[str, SeenFile] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes
    ----------
    out : str
        The cache.
    cases : int
        Cases computed in this run.
    skipped : int
        Cases that were finished before.
    failures : mapping of str to str
        Id to reason.
    remaining : int
        Cases that were not finished, because the run was stopped.
    interrupted : bool
        Stopped by Ctrl-C.
    stopped : str
        Why the run was stopped otherwise; empty when it was not.
    seconds : float
        Wall-clock time of the run, without compiling.
    compile_seconds : float
        Compiling the kernels on their first use, or loading them.
    bytes : int
        Of the parts that it wrote.
    softened_share : float
        Share of the known pixels with a value that is not hard; NaN when nothing was computed.
    mean_soft_sum : float
        Mean of Σ_c q_c over known pixels; NaN when nothing was computed.
    n_superpixels, n_superpixels_asked : float
        Means over the computed cases.
    warnings : tuple of str
    """

    out: str
    cases: int
    skipped: int
    failures: Mapping[str, str]
    remaining: int
    interrupted: bool
    stopped: str
    seconds: float
    compile_seconds: float
    bytes: int
    softened_share: float
    mean_soft_sum: float
    n_superpixels: float
    n_superpixels_asked: float
    warnings: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every chosen case is in the cache."""
        return not (self.failures or self.remaining or self.interrupted or self.stopped)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN becomes None."""
        record = asdict(self) | {"complete": self.complete}
        return {
            k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in record.items()
        }


Progress = Callable[[CaseReport], None]


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
    device: str = CPU,
    progress: Progress | None = None,
) -> Report:
    """Compute the soft labels of a data set into a cache.

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
        :mod:`softlabel.superpixel_files`.
    ids, limit, overwrite, check_content
        See :func:`softlabel.pipeline.plan`.
    jobs : int
        Worker processes.
    device : {"cpu", "auto", "cuda", "cuda:1", …}
        Where soft maps are computed, with the same bytes everywhere: ``cuda`` is all cards of the
        machine, ``auto`` whatever a measurement at the start finds faster.
    progress : callable, optional
        Called with a :class:`CaseReport` as each case is done.

    Returns
    -------
    Report
        Failing cases are in it; they do not raise.

    Raises
    ------
    SoftlabelError
        Before anything is computed: the data set cannot be listed, the settings cannot work, the
        output cannot be written or is of other settings.
    """
    dataset = source if isinstance(source, Dataset) else list_dataset(
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
    decided = plan(
        dataset, settings, output_path(out), ids=ids, limit=limit, overwrite=overwrite,
        check_content=check_content, superpixel_files=files,
    )  # fmt: skip
    return carry_out(decided, jobs=jobs, device=device, progress=progress)


def output_path(out: str | os.PathLike[str]) -> Path:
    """The index path, which must end in ``.h5``."""
    path = Path(out)
    if path.suffix != ".h5":
        name = path.stem if path.suffix in (".hdf5", ".hdf", ".H5") else path.name
        raise UsageError(f"The output {path} must end in .h5; for example {name or 'cache'}.h5.")
    return path


def carry_out(
    decided: Plan,
    *,
    jobs: int = 1,
    device: str = CPU,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Report:
    """Do what a plan says (see :func:`generate`); ``say`` is told which device was chosen."""
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1; got {jobs}.")
    named_devices(decided, device)  # a device that is not there is seen before anything is written
    replaced = _prepare_output(decided)
    # before workers start, so that they load the kernels instead of compiling them each
    compile_seconds = warm_up() if decided.todo else 0.0
    started = time.perf_counter()
    before = {ref.id: version_of(part_of(decided.out, ref.id)) for ref in decided.todo}
    reports: list[CaseReport] = []
    seen = dict(decided.seen)
    stopped, interrupted = "", False
    try:
        with (
            chosen_devices(
                decided, device, jobs, lambda: _sample(decided), say or (lambda _: None)
            ) as devices,
            contextlib.closing(
                parallel.run(
                    compute_source, _on_devices(_tasks(decided, decided.todo, jobs), devices), jobs
                )
            ) as done,
        ):
            for report in done:
                if report.fatal:
                    stopped = report.error
                    break
                reports.append(report)
                seen |= report.seen
                if progress is not None:
                    progress(report)
    except KeyboardInterrupt:
        interrupted = True
    except parallel.WorkerDied as error:
        stopped = f"{error} Use fewer --jobs or a machine with more memory."
    told = {report.id for report in reports}
    unfinished = {
        case_id
        for case_id, version in before.items()
        # workers that were stopped may have published more than they told of
        if case_id not in told and version_of(part_of(decided.out, case_id)) == version
    }
    try:
        sweep(parts_folder(decided.out))
        failures = _failures(decided, reports)
        content = IndexContent(decided.header, seen)
        if not unfinished and replaced is not None and not _has_parts(decided, content):
            content = replaced  # nothing came of the overwriting: what was there stays
        elif not unfinished:
            _drop_foreign_parts(decided, failures)
        rebuild_index(decided.out, content, decided.parts)
        _write_failures(decided.out, failures, reports)
    except OSError as error:
        stopped = stopped or _cannot_write(decided.out, error)
    return _summary(decided, reports, unfinished, interrupted, stopped, started, compile_seconds)


def _failures(decided: Plan, reports: list[CaseReport]) -> dict[str, str]:
    """Id and reason of the cases that were listed as unreadable, or failed."""
    failures = {s.ref.id: s.reason for s in decided.steps if s.action == FAILED}
    return failures | {r.id: r.error for r in reports if r.error}


def part_of(out: Path, case_id: str) -> Path:
    """File of a case's part."""
    return parts_folder(out) / schema.part_name(case_id)


def _tasks(decided: Plan, todo: Sequence[CaseRef], jobs: int) -> list[tuple[Any, ...]]:
    """Arguments of :func:`compute_source`, one set for each source, or share of one."""
    siblings = {refs[0].source: tuple(refs) for refs in by_source(decided.dataset.refs)}
    tasks = []
    for refs in parallel.split_evenly(by_source(todo), jobs):
        # A task travels to its worker: of the listing it carries no more than its own source.
        listing = replace(decided.dataset, refs=siblings[refs[0].source], problems={})
        tasks.append((listing, tuple(refs), decided.header, decided.settings, decided.out,
                      decided.superpixel_files))  # fmt: skip
    return tasks


def _on_devices(
    tasks: Sequence[tuple[Any, ...]], devices: Sequence[DeviceProcess]
) -> list[tuple[Any, ...]]:
    """Tasks with a device each, all devices alike; unchanged without devices."""
    if not devices:
        return list(tasks)
    return [(*task, devices[number % len(devices)]) for number, task in enumerate(tasks)]


def by_source(refs: Sequence[CaseRef]) -> list[list[CaseRef]]:
    """Cases that share a source file, together, in the order of their first case."""
    groups: dict[str, list[CaseRef]] = {}
    for ref in refs:
        groups.setdefault(ref.source, []).append(ref)
    return list(groups.values())


def compute_source(
    dataset: Dataset,
    refs: Sequence[CaseRef],
    header: Header,
    settings: Settings,
    out: Path,
    superpixel_files: SuperpixelFiles | None,
    device: DeviceProcess | None = None,
) -> Iterator[CaseReport]:
    """Compute and publish the cases of one source; what a worker does."""
    for computed in results_of_source(dataset, refs, header, settings, superpixel_files, device):
        if isinstance(computed, CaseReport):
            yield computed
            continue
        case_id = computed.result.case.id
        started = time.perf_counter()
        try:
            data = build_part(computed.result, header)
        except Exception as error:
            yield _failure(case_id, error)
            continue
        try:
            publish(part_of(out, case_id), data)
        except OSError as error:
            text = _cannot_write(out, error)
            yield CaseReport(case_id, error=text, fatal=error.errno in FATAL_ERRNOS)
            if error.errno in FATAL_ERRNOS:
                return
            continue
        yield _case_report(computed, computed.seconds + time.perf_counter() - started, len(data))


@dataclass(frozen=True)
class Computed:
    """A case that was read and computed, not yet written."""

    result: CaseResult
    seen: Mapping[str, SeenFile]
    seconds: float


def results_of_source(
    dataset: Dataset,
    refs: Sequence[CaseRef],
    header: Header,
    settings: Settings,
    superpixel_files: SuperpixelFiles | None,
    device: DeviceProcess | None = None,
) -> Iterator[Computed | CaseReport]:
    """Read and compute the cases of one source, failures as reports instead of exceptions."""
    reader = READERS[dataset.format]
    hashed: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    started = time.perf_counter()
    for ref in refs:
        # Hashed before anything is read: a file that changes meanwhile is found changed later.
        files = files_of(ref, dataset, superpixel_files)
        try:
            inputs[ref.id] = record_inputs(files, hashed), {n: hashed[n][1] for n in files}
        except CaseError as error:
            inputs[ref.id] = error
    opened, fault = None, None
    try:
        opened = reader.open_source(dataset, refs[0].source)
    except Exception as error:
        fault = error
    for ref in refs:
        try:
            if fault is not None:
                raise fault
            if isinstance(inputs[ref.id], CaseError):
                raise inputs[ref.id]
            recorded, seen = inputs[ref.id]
            given = superpixel_files.read(ref.id) if superpixel_files is not None else None
            case = reader.read_case(dataset, ref, opened)
            result = compute(case, header, settings, recorded, given, device)
            yield Computed(result, seen, time.perf_counter() - started)
        except Exception as error:
            yield _failure(ref.id, error)
        started = time.perf_counter()


def estimate(decided: Plan) -> CaseReport | None:
    """Compute the first case of a plan that can be, without writing it: its time and size.

    Returns
    -------
    CaseReport or None
        The failure of the first case when none of the first few can be computed; None when
        there is nothing to compute.
    """
    warm_up()  # its time is not a case's
    computed = _first_computed(decided)
    if computed is None or isinstance(computed, CaseReport):
        return computed
    started = time.perf_counter()
    data = build_part(computed.result, decided.header)
    return _case_report(computed, computed.seconds + time.perf_counter() - started, len(data))


def _first_computed(decided: Plan) -> Computed | CaseReport | None:
    """The first case of a plan that can be computed, else the first failure."""
    failure = None
    for ref in decided.todo[:ESTIMATE_ATTEMPTS]:
        for dataset, refs, header, settings, _, files in _tasks(decided, [ref], 1):
            computed = next(results_of_source(dataset, refs, header, settings, files))
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


def _case_report(computed: Computed, seconds: float, size: int) -> CaseReport:
    numbers = computed.result.statistics
    return CaseReport(
        computed.result.case.id,
        seconds=seconds,
        bytes=size,
        pixels=int(numbers.class_pixels.sum()),
        softened_pixels=numbers.softened_pixels,
        soft_sum=numbers.soft_sum,
        n_superpixels=numbers.n_superpixels,
        n_superpixels_asked=numbers.n_superpixels_asked,
        seen=computed.seen,
        note=computed.result.note,
    )


def _failure(case_id: str, error: Exception) -> CaseReport:
    if isinstance(error, SoftlabelError):
        return CaseReport(case_id, error=str(error))
    if isinstance(error, MemoryError):
        return CaseReport(
            case_id,
            error=f"{case_id}: the memory ran out; use fewer --jobs or a machine with more.",
        )
    return CaseReport(
        case_id,
        error=f"{case_id}: unexpected {type(error).__name__}: {error}. Please report it with the "
        "traceback that stands in the list of failed cases.",
        details="".join(traceback.format_exception(error)),
    )


def _cannot_write(out: Path, error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (
        f"The cache {out} cannot be written ({error.strerror or error}); "
        f"{'free some space' if full else 'make its folder writable'}."
    )


def _prepare_output(decided: Plan) -> IndexContent | None:
    """Make the folders, pin the settings by an index, and see that both can be written.

    Returns what the index said before when it was of other settings.
    """
    folder = parts_folder(decided.out)
    present = _present_index(decided.out)
    other = present is not None and present.header.fingerprint != decided.header.fingerprint
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        sweep(decided.out.parent)
        if present is None or present.header != decided.header:
            rebuild_index(decided.out, IndexContent(decided.header, decided.seen), decided.parts)
        probe = folder / temporary_name()
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"The output {decided.out} cannot be written ({error.strerror or error}); give a path "
            "in a folder that exists or can be made, is writable and has space."
        ) from error
    return present if other else None


def _present_index(out: Path) -> IndexContent | None:
    """What the index that is there says; None when there is none, or a damaged one."""
    if not out.exists():
        return None
    try:
        return read_index(out)
    except CacheError as error:
        if any(parts_folder(out).glob("*.h5")) and not out.is_dir():
            return None  # its parts say that it is a damaged index of ours
        raise UsageError(
            f"{out} exists and is no softlabel cache; give another output or delete it."
        ) from error


def _has_parts(decided: Plan, content: IndexContent) -> bool:
    """Whether an index of this content would link a part."""
    return any(
        isinstance(part, PartSummary) and part.fingerprint == content.header.fingerprint
        for part in decided.parts.read().values()
    )


def _drop_foreign_parts(decided: Plan, failures: Mapping[str, str]) -> None:
    """Remove what an overwritten cache left: parts of other settings or of vanished cases.

    A case that failed keeps what it had: nothing has taken its place.
    """
    known = {schema.part_name(ref.id) for ref in decided.dataset.refs}
    failed = {schema.part_name(case_id) for case_id in failures}
    for name, part in decided.parts.read().items():
        if isinstance(part, CacheError) or name in failed:
            continue
        vanished = decided.overwrite and name not in known
        if vanished or part.fingerprint != decided.header.fingerprint:
            with contextlib.suppress(OSError):
                (parts_folder(decided.out) / name).unlink()


def _summary(
    decided: Plan,
    reports: list[CaseReport],
    unfinished: Set[str],
    interrupted: bool,
    stopped: str,
    started: float,
    compile_seconds: float,
) -> Report:
    done = [r for r in reports if not r.error]
    failures = _failures(decided, reports)
    pixels = sum(r.pixels for r in done)

    def mean(total: float, count: float) -> float:
        return total / count if count else float("nan")

    return Report(
        out=str(decided.out),
        cases=len(decided.todo) - len(unfinished) - sum(bool(r.error) for r in reports),
        skipped=decided.count(SKIP),
        failures=failures,
        remaining=len(unfinished),
        interrupted=interrupted,
        stopped=stopped,
        seconds=time.perf_counter() - started,
        compile_seconds=compile_seconds,
        bytes=sum(r.bytes for r in done),
        softened_share=mean(sum(r.softened_pixels for r in done), pixels),
        mean_soft_sum=mean(sum(r.soft_sum for r in done), pixels),
        n_superpixels=mean(sum(r.n_superpixels for r in done), len(done)),
        n_superpixels_asked=mean(sum(r.n_superpixels_asked for r in done), len(done)),
        warnings=tuple(_warnings(decided, done, failures)),
    )


def _warnings(decided: Plan, done: list[CaseReport], failures: Mapping[str, str]) -> Iterator[str]:
    few = [r for r in done if 0 < r.n_superpixels < r.n_superpixels_asked / 2]
    if few:
        yield (
            f"{len(few)} of {len(done)} cases have fewer than half of the superpixels asked for "
            f"(for example {few[0].id}: {few[0].n_superpixels} of {few[0].n_superpixels_asked}); "
            "a larger image area, fewer n_segments or another compactness would mend that."
        )
    tiny = [r for r in done if r.n_superpixels > r.pixels / LEAST_PIXELS]
    if tiny:
        yield (
            f"{len(tiny)} of {len(done)} cases have superpixels of fewer than {LEAST_PIXELS} "
            f"pixels (for example {tiny[0].id}: {tiny[0].n_superpixels} in {tiny[0].pixels} known "
            "pixels), too small to lie across a boundary; ask for fewer or larger ones."
        )
    blurred = [r for r in done if r.n_superpixels and r.softened_pixels > MOST_SOFTENED * r.pixels]
    if blurred:
        yield (
            f"In {len(blurred)} of {len(done)} cases nearly every pixel is softened (for example "
            f"{blurred[0].id}), so that the image has no say; ask for more or smaller superpixels."
        )
    noted = [r for r in done if r.note]
    if noted:
        yield (
            f"{len(noted)} of {len(done)} cases were softened on the CPU instead of the device, "
            f"with the same result (for example {noted[0].id}: {noted[0].note})."
        )
    linked = {
        part.id
        for part in decided.parts.read().values()
        if isinstance(part, PartSummary) and part.fingerprint == decided.header.fingerprint
    }
    outdated = sorted(linked & set(failures))
    if outdated:
        yield (
            f"{len(outdated)} of the failed cases still have an earlier result in the cache (for "
            f"example {outdated[0]}); mend them and run the same again, or leave them out."
        )
    vanished = sorted(linked - {r.id for r in decided.dataset.refs} - set(failures))
    if vanished:
        yield (
            f"The cache holds {len(vanished)} cases that the data set does not have any more (for "
            f"example {vanished[0]}); --overwrite makes it anew without them."
        )


def failures_path(out: Path) -> Path:
    """File that lists the failed cases of the last run."""
    return out.with_suffix(".failed.tsv")


def _write_failures(out: Path, failures: Mapping[str, str], reports: list[CaseReport]) -> None:
    path = failures_path(out)
    if not failures:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return
    details = {r.id: r.details for r in reports}
    lines = ["id\treason\n"]
    for case_id, reason in failures.items():
        safe_id = (
            case_id.encode("unicode_escape").decode() if not case_id.isprintable() else case_id
        )
        lines.append(f"{safe_id}\t{' '.join(reason.split())}\n")
        lines.extend(f"# {line}\n" for line in details.get(case_id, "").splitlines())
    publish(path, "".join(lines).encode("utf-8", "backslashreplace"))
