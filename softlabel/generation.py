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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    publish,
    read_index,
    read_parts,
    rebuild_index,
    sweep,
)
from softlabel.errors import CacheError, CaseError, SoftlabelError, UsageError
from softlabel.pipeline import FAILED, SKIP, Plan, compute, input_files, plan
from softlabel.readers import READERS, list_dataset
from softlabel.settings import Settings
from softlabel.superpixel_files import SuperpixelFiles
from softlabel.types import CaseRef, Dataset, check_id

FATAL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of the output's file system that every further case would meet as well."""


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
        Cases that were not tried, because the run was stopped.
    interrupted : bool
        Stopped by Ctrl-C.
    seconds : float
        Wall-clock time of the run.
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
    seconds: float
    bytes: int
    softened_share: float
    mean_soft_sum: float
    n_superpixels: float
    n_superpixels_asked: float
    warnings: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every chosen case is in the cache."""
        return not self.failures and not self.remaining and not self.interrupted

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
        For ``settings.superpixels == "file"``; see :mod:`softlabel.superpixel_files`.
    ids, limit, overwrite, check_content
        See :func:`softlabel.pipeline.plan`.
    jobs : int
        Worker processes.
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
    decided = plan(
        dataset, settings or Settings(), output_path(out),
        ids=ids, limit=limit, overwrite=overwrite, check_content=check_content,
    )  # fmt: skip
    files = None if superpixel_file is None else SuperpixelFiles(Path(superpixel_file))
    return carry_out(decided, jobs=jobs, superpixel_files=files, progress=progress)


def output_path(out: str | os.PathLike[str]) -> Path:
    """The index path, which must end in ``.h5``."""
    path = Path(out)
    if path.suffix != ".h5":
        raise UsageError(
            f"The output {path} must end in .h5; for example {path.name or 'cache'}.h5."
        )
    return path


def carry_out(
    decided: Plan,
    *,
    jobs: int = 1,
    superpixel_files: SuperpixelFiles | None = None,
    progress: Progress | None = None,
) -> Report:
    """Do what a plan says (see :func:`generate`)."""
    started = time.perf_counter()
    _prepare_output(decided)
    tasks = [
        (decided.dataset, tuple(refs), decided.header, decided.settings, decided.out,
         superpixel_files)
        for refs in parallel.split_evenly(by_source(decided.todo), jobs)
    ]  # fmt: skip
    reports: list[CaseReport] = []
    seen = dict(decided.seen)
    note, interrupted = "", False
    try:
        for batch in parallel.run(compute_source, tasks, jobs):
            for report in batch:
                reports.append(report)
                seen |= report.seen
                if progress is not None:
                    progress(report)
            if any(r.fatal for r in batch):
                break
    except KeyboardInterrupt:
        interrupted = True
        parallel.stop_workers()
    except parallel.WorkerDied as error:
        note = f"{error} Use fewer --jobs and run the same again: finished cases are kept."
    parts = rebuild_index(decided.out, IndexContent(decided.header, seen))
    if not interrupted and len(reports) == len(decided.todo):
        _drop_foreign_parts(decided)
    finished = {part.id for part in parts}
    remaining = sum(
        ref.id not in finished and not any(r.id == ref.id for r in reports) for ref in decided.todo
    )
    summary = _summary(decided, reports, remaining, interrupted, note, started)
    _write_failures(decided.out, summary.failures, reports)
    return summary


def by_source(refs: Sequence[CaseRef]) -> list[list[CaseRef]]:
    """Cases that share a source file, together, in the order of their first case."""
    groups: dict[str, list[CaseRef]] = {}
    for ref in refs:
        groups.setdefault(ref.source, []).append(ref)
    return list(groups.values())


def compute_source(
    dataset: Dataset,
    refs: tuple[CaseRef, ...],
    header: Header,
    settings: Settings,
    out: Path,
    superpixel_files: SuperpixelFiles | None,
) -> list[CaseReport]:
    """Compute and publish the cases of one source; what a worker does."""
    reports = []
    for case_id, result, seconds, failure in results_of_source(
        dataset, refs, header, settings, superpixel_files
    ):
        if result is None:
            reports.append(failure or CaseReport(case_id, error="not computed"))
            continue
        started = time.perf_counter()
        try:
            data = build_part(result[0], header)
            publish(parts_folder(out) / schema.part_name(case_id), data)
        except OSError as error:
            reports.append(_output_failure(case_id, out, error))
            if reports[-1].fatal:
                break
            continue
        except Exception as error:
            reports.append(_unexpected(case_id, error))
            continue
        seconds += time.perf_counter() - started
        reports.append(_case_report(result[0], result[1], seconds, len(data)))
    return reports


def results_of_source(
    dataset: Dataset,
    refs: Sequence[CaseRef],
    header: Header,
    settings: Settings,
    superpixel_files: SuperpixelFiles | None,
) -> Iterator[tuple[str, tuple[CaseResult, dict[str, SeenFile]] | None, float, CaseReport | None]]:
    """Read and compute the cases of one source, failures as reports instead of exceptions."""
    reader = READERS[dataset.format]
    hashed: dict[str, Any] = {}
    opened, broken = None, ""
    started = time.perf_counter()
    try:
        opened = reader.open_source(dataset, refs[0].source)
    except SoftlabelError as error:
        broken = str(error)
    except Exception as error:
        for ref in refs:
            yield ref.id, None, 0.0, _unexpected(ref.id, error)
        return
    for ref in refs:
        try:
            if broken:
                raise CaseError(broken)
            check_id(ref.id)
            inputs = input_files(dataset, ref, hashed)
            given = None
            if superpixel_files is not None:
                given, extra = superpixel_files.read(ref.id)
                inputs = (*inputs, extra)
            case = reader.read_case(dataset, ref, opened)
            result = compute(case, header, settings, inputs, given)
            seen = {name: hashed[name][1] for name in ref.files}
            yield ref.id, (result, seen), time.perf_counter() - started, None
        except SoftlabelError as error:
            yield ref.id, None, 0.0, CaseReport(ref.id, error=str(error))
        except MemoryError:
            yield (
                ref.id,
                None,
                0.0,
                CaseReport(
                    ref.id,
                    error=f"{ref.id}: the memory ran out; use fewer --jobs or a machine with more.",
                ),
            )
        except Exception as error:
            yield ref.id, None, 0.0, _unexpected(ref.id, error)
        started = time.perf_counter()


def estimate(decided: Plan, superpixel_files: SuperpixelFiles | None = None) -> CaseReport | None:
    """Compute the first case of a plan without writing it: its time and size."""
    for ref in decided.todo:
        for _, result, seconds, failure in results_of_source(
            decided.dataset, [ref], decided.header, decided.settings, superpixel_files
        ):
            if result is None:
                return failure
            started = time.perf_counter()
            data = build_part(result[0], decided.header)
            seconds += time.perf_counter() - started
            return _case_report(result[0], result[1], seconds, len(data))
    return None


def _case_report(
    result: CaseResult, seen: dict[str, SeenFile], seconds: float, size: int
) -> CaseReport:
    numbers = result.statistics
    return CaseReport(
        result.case.id,
        seconds=seconds,
        bytes=size,
        pixels=int(numbers.class_pixels.sum()),
        softened_pixels=numbers.softened_pixels,
        soft_sum=numbers.soft_sum,
        n_superpixels=numbers.n_superpixels,
        n_superpixels_asked=numbers.n_superpixels_asked,
        seen=seen,
    )


def _unexpected(case_id: str, error: BaseException) -> CaseReport:
    return CaseReport(
        case_id,
        error=f"{case_id}: unexpected {type(error).__name__}: {error}. Please report it with the "
        "traceback that stands in the list of failed cases.",
        details="".join(traceback.format_exception(error)),
    )


def _output_failure(case_id: str, out: Path, error: OSError) -> CaseReport:
    fatal = error.errno in FATAL_ERRNOS
    mend = (
        "free some space"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else "mend the output folder"
    )
    return CaseReport(
        case_id,
        error=f"{case_id}: {parts_folder(out)} cannot be written ({error.strerror or error}); "
        f"{mend} and run the same command again: finished cases are kept.",
        fatal=fatal,
    )


def _prepare_output(decided: Plan) -> None:
    """Make the folders, pin the settings by an index, and see that both can be written."""
    folder = parts_folder(decided.out)
    if decided.out.exists() and not _is_ours(decided.out):
        raise UsageError(
            f"{decided.out} exists and is no softlabel cache; give another output or delete it."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        if not decided.out.exists() or read_index(decided.out).header != decided.header:
            rebuild_index(decided.out, IndexContent(decided.header, decided.seen))
        probe = folder / f"{schema.TEMPORARY_PREFIX}probe-{os.getpid()}-0"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"The output {decided.out} cannot be written ({error.strerror or error}); give a path "
            "in a folder that exists or can be made, is writable and has space."
        ) from error


def _is_ours(path: Path) -> bool:
    try:
        read_index(path)
    except CacheError:
        # damaged, yet with parts beside it: it is rebuilt from them
        return any(parts_folder(path).glob("*.h5"))
    return True


def _drop_foreign_parts(decided: Plan) -> None:
    """After a complete run, remove parts of other settings that an overwritten cache left."""
    for path, part in read_parts(parts_folder(decided.out)):
        if isinstance(part, PartSummary) and part.fingerprint != decided.header.fingerprint:
            with contextlib.suppress(OSError):
                path.unlink()


def _summary(
    decided: Plan,
    reports: list[CaseReport],
    remaining: int,
    interrupted: bool,
    note: str,
    started: float,
) -> Report:
    done = [r for r in reports if not r.error]
    failures = {s.ref.id: s.reason for s in decided.steps if s.action == FAILED}
    failures |= {r.id: r.error for r in reports if r.error}
    pixels = sum(r.pixels for r in done)

    def mean(total: float, count: float) -> float:
        return total / count if count else float("nan")

    warnings = [note] if note else []
    few = [r for r in done if 0 < r.n_superpixels < r.n_superpixels_asked / 2]
    if few:
        warnings.append(
            f"{len(few)} of {len(done)} cases have fewer than half of the superpixels asked for "
            f"(for example {few[0].id}: {few[0].n_superpixels} of {few[0].n_superpixels_asked}); "
            "a larger image area, fewer n_segments or another compactness would mend that."
        )
    return Report(
        out=str(decided.out),
        cases=len(done),
        skipped=decided.count(SKIP),
        failures=failures,
        remaining=remaining,
        interrupted=interrupted,
        seconds=time.perf_counter() - started,
        bytes=sum(r.bytes for r in done),
        softened_share=mean(sum(r.softened_pixels for r in done), pixels),
        mean_soft_sum=mean(sum(r.soft_sum for r in done), pixels),
        n_superpixels=mean(sum(r.n_superpixels for r in done), len(done)),
        n_superpixels_asked=mean(sum(r.n_superpixels_asked for r in done), len(done)),
        warnings=tuple(warnings),
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
    publish(path, "".join(lines).encode())
