"""What a worker does: read, compute and publish the cases of one source, and report on each."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softlabel.cache import CaseResult, Header, SeenFile, build_part
from softlabel.errors import CaseError, SoftlabelError
from softlabel.files.atomic import publish
from softlabel.generation.compute import compute
from softlabel.generation.device_server import DeviceProcess
from softlabel.generation.input_files import record_inputs
from softlabel.generation.output import cannot_write, part_of
from softlabel.generation.plan import files_of
from softlabel.generation.report import CaseReport
from softlabel.generation.settings import Settings
from softlabel.generation.superpixel_files import SuperpixelFiles
from softlabel.interrupt import SafePoint, no_safe_point
from softlabel.readers import READERS
from softlabel.types import CaseRef, Dataset

FATAL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of the output's file system that every further case would meet as well."""


def compute_source(
    dataset: Dataset,
    refs: Sequence[CaseRef],
    header: Header,
    settings: Settings,
    out: Path,
    superpixel_files: SuperpixelFiles | None,
    device: DeviceProcess | None = None,
    safe_point: SafePoint = no_safe_point,
) -> Iterator[CaseReport]:
    """Compute and publish the cases of one source; what a worker does."""
    for computed in results_of_source(
        dataset, refs, header, settings, superpixel_files, device, safe_point
    ):
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
            text = cannot_write(out, error)
            yield CaseReport(case_id, error=text, fatal=error.errno in FATAL_ERRNOS)
            if error.errno in FATAL_ERRNOS:
                return
            continue
        yield case_report(computed, computed.seconds + time.perf_counter() - started, len(data))


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
    safe_point: SafePoint = no_safe_point,
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
            safe_point()
            result = compute(case, header, settings, recorded, given, device, safe_point)
            yield Computed(result, seen, time.perf_counter() - started)
        except Exception as error:
            yield _failure(ref.id, error)
        started = time.perf_counter()


def case_report(computed: Computed, seconds: float, size: int) -> CaseReport:
    """The report on a finished case: seconds it took, bytes of its part."""
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
