"""What a worker does: read, compute and publish the cases of one source, and report on each."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softlabel.cache import CaseResult, Header, InputFile, SeenFile, build_part, schema
from softlabel.errors import CaseError, SoftlabelError
from softlabel.files.atomic import publish
from softlabel.files.owner import Claim, LostClaimError
from softlabel.generation.compute import compute
from softlabel.generation.device_server import DeviceProcess
from softlabel.generation.input_files import record_inputs
from softlabel.generation.networks import networks_for
from softlabel.generation.output import cannot_write
from softlabel.generation.plan import files_of
from softlabel.generation.report import CaseReport
from softlabel.generation.settings import Settings
from softlabel.generation.superpixel_files import SuperpixelFiles
from softlabel.interrupt import SafePoint, no_safe_point
from softlabel.readers import READERS, read_case
from softlabel.superpixels.quality import box_fill
from softlabel.types import CaseRef, Dataset

FATAL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of the output's file system that every further case would meet as well."""


@dataclass(frozen=True)
class Task:
    """Cases of one source, and all that a worker needs to compute and publish them.

    Attributes
    ----------
    dataset : Dataset
        Its ``refs`` are those of the source only, since a task travels to its worker.
    refs : tuple of CaseRef
        The cases to compute.
    header : Header
    settings : Settings
    out : Path
        The index of the cache.
    folder : Path
        The folder of its parts.
    claim : Claim or None
        The right to write there; None when nothing is written.
    superpixel_files : SuperpixelFiles or None
    device : DeviceProcess or None
        Where the cases are softened; None is the CPU of the worker.
    weights : Path or None
        The file of the network of the steps, where it does not come with softlabel.
    """

    dataset: Dataset
    refs: tuple[CaseRef, ...]
    header: Header
    settings: Settings
    out: Path
    folder: Path
    claim: Claim | None = None
    superpixel_files: SuperpixelFiles | None = None
    device: DeviceProcess | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class Computed:
    """A case that was read and computed, not yet written."""

    result: CaseResult
    seen: Mapping[str, SeenFile]
    seconds: float


def compute_source(task: Task, safe_point: SafePoint = no_safe_point) -> Iterator[CaseReport]:
    """Compute and publish the cases of a task; stops where no further case could be written."""
    for computed in results_of(task, safe_point):
        report = computed if isinstance(computed, CaseReport) else _published(task, computed)
        yield report
        if report.fatal:
            return


def results_of(
    task: Task, safe_point: SafePoint = no_safe_point
) -> Iterator[Computed | CaseReport]:
    """Read and compute the cases of a task, failures as reports instead of exceptions."""
    started = time.perf_counter()
    inputs = _hashed(task)  # before anything is read: a file that changes meanwhile is seen later
    opened = _opened(task)
    for ref in task.refs:
        try:
            result, seen = _computed(task, ref, inputs[ref.id], opened, safe_point)
            yield Computed(result, seen, time.perf_counter() - started)
        except Exception as error:
            yield _failure(ref.id, error)
        started = time.perf_counter()


Inputs = tuple[tuple[InputFile, ...], Mapping[str, SeenFile]]
"""What a case is read from: as its part records it, and as it was seen."""


def _hashed(task: Task) -> dict[str, Inputs | CaseError]:
    """Inputs of every case, or why they cannot be read; shared files are read once."""
    known: dict[str, tuple[InputFile, SeenFile]] = {}
    inputs: dict[str, Inputs | CaseError] = {}
    for ref in task.refs:
        files = files_of(ref, task.dataset, task.superpixel_files)
        try:
            inputs[ref.id] = record_inputs(files, known), {n: known[n][1] for n in files}
        except CaseError as error:
            inputs[ref.id] = error
    return inputs


def _opened(task: Task) -> Any:
    """What the cases of the source share, or the error that each of them meets."""
    try:
        return READERS[task.dataset.format].open_source(task.dataset, task.refs[0].source)
    except Exception as error:
        return error


def _computed(
    task: Task, ref: CaseRef, inputs: Inputs | CaseError, opened: Any, safe_point: SafePoint
) -> tuple[CaseResult, Mapping[str, SeenFile]]:
    """Read and compute one case; whatever is wrong with it is raised."""
    for found in (opened, inputs):
        if isinstance(found, Exception):
            raise found
    recorded, seen = inputs  # type: ignore[misc]  # an error was raised
    given = task.superpixel_files.read(ref.id) if task.superpixel_files is not None else None
    case = read_case(READERS[task.dataset.format], task.dataset, ref, opened)
    safe_point()
    networks = networks_for(task.settings.preprocessing, task.weights)
    return compute(
        case, task.header, task.settings, recorded, given, task.device, safe_point, networks
    ), seen


def _published(task: Task, computed: Computed) -> CaseReport:
    """Write a computed case to its final name, and report on it."""
    case_id = computed.result.case.id
    started = time.perf_counter()
    try:
        data = build_part(computed.result, task.header)
    except Exception as error:
        return _failure(case_id, error)
    try:
        if task.claim is not None:
            task.claim.require()
        publish(task.folder / schema.part_name(case_id), data)
    except LostClaimError as error:
        return CaseReport(case_id, error=str(error), fatal=True)
    except OSError as error:
        fatal = error.errno in FATAL_ERRNOS
        return CaseReport(case_id, error=cannot_write(task.out, error), fatal=fatal)
    return case_report(computed, computed.seconds + time.perf_counter() - started, len(data))


def case_report(computed: Computed, seconds: float, size: int) -> CaseReport:
    """The report on a finished case: seconds it took, bytes of its part."""
    numbers, before = computed.result.statistics, computed.result.before
    ids = computed.result.superpixels
    return CaseReport(
        computed.result.case.id,
        seconds=seconds,
        bytes=size,
        pixels=int(numbers.class_pixels.sum()),
        softened_pixels=numbers.softened_pixels,
        pixels_but_largest=int(numbers.class_pixels.sum() - numbers.class_pixels.max()),
        soft_sum=numbers.soft_sum,
        n_superpixels=numbers.n_superpixels,
        n_superpixels_asked=numbers.n_superpixels_asked,
        box_fill=0.0 if ids is None else box_fill(ids),
        seen=computed.seen,
        note=computed.result.note,
        step_notes=() if before is None else before.notes,
        step_seconds=computed.result.step_seconds,
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
