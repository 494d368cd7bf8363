"""From a listed data set to soft labels: :func:`plan` decides, :func:`compute` does one case."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softlabel import schema
from softlabel.cache import (
    CaseResult,
    Header,
    IndexContent,
    InputFile,
    PartsFolder,
    PartSummary,
    SeenFile,
    Statistics,
    parts_folder,
    read_index,
    recover_header,
    software_versions,
)
from softlabel.device import TORCH_CPU, DeviceUnusable
from softlabel.device_process import DeviceProcess
from softlabel.errors import CacheError, CaseError, UsageError, nearest, plural
from softlabel.inputs import input_change, shares_input
from softlabel.readers import READERS, scan_classes
from softlabel.schema import fingerprint
from softlabel.settings import Settings
from softlabel.softening import METHODS, Backend, soften_with
from softlabel.softening.raters import majority
from softlabel.softening.superpixel import coarsest_axis
from softlabel.softmaps import SoftMaps, class_index_map
from softlabel.superpixel_files import SuperpixelFiles
from softlabel.superpixels import by_slice, grid, scale_channels, slic
from softlabel.types import Array, Case, CaseRef, Dataset, check_id, fitting_ids

COMPUTE, STALE, SKIP, FAILED = "compute", "stale", "skip", "failed"


@dataclass(frozen=True)
class Step:
    """What is to be done about a case, and why.

    Attributes
    ----------
    ref : CaseRef
    action : {"compute", "stale", "skip", "failed"}
        ``compute`` has no part yet, ``stale`` has one that is no longer right, ``skip`` is
        finished, ``failed`` could already be seen to be unreadable.
    reason : str
    """

    ref: CaseRef
    action: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """Everything that a run has decided before it computes.

    Attributes
    ----------
    dataset : Dataset
    settings : Settings
    out : Path
        The index.
    header : Header
        Of every file that is written.
    steps : tuple of Step
        One for each chosen case.
    seen : mapping of str to SeenFile
        Input files whose content is known.
    parts : PartsFolder
        The parts that are there.
    superpixel_files : SuperpixelFiles or None
        Where the superpixels are read from, when they are not made.
    overwrite : bool
        Everything is made anew.
    """

    dataset: Dataset
    settings: Settings
    out: Path
    header: Header
    steps: tuple[Step, ...]
    seen: Mapping[str, SeenFile]
    parts: PartsFolder
    superpixel_files: SuperpixelFiles | None = None
    overwrite: bool = False

    @property
    def todo(self) -> tuple[CaseRef, ...]:
        """Cases to compute."""
        return tuple(s.ref for s in self.steps if s.action in (COMPUTE, STALE))

    def count(self, action: str) -> int:
        """Number of steps with this action."""
        return sum(s.action == action for s in self.steps)


def plan(
    dataset: Dataset,
    settings: Settings,
    out: Path,
    *,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    check_content: bool = False,
    superpixel_files: SuperpixelFiles | None = None,
) -> Plan:
    """Decide for every case whether it must be computed; writes nothing.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
    out : Path
        The index, ``NAME.h5``.
    ids : sequence of str, optional
        Only these cases.
    limit : int, optional
        Only the first so many.
    overwrite : bool
        Compute everything anew, whatever is there.
    check_content : bool
        Compare inputs by content even when size and time are unchanged.
    superpixel_files : SuperpixelFiles, optional
        For ``settings.superpixels == "file"``.

    Raises
    ------
    UsageError
        When ``out`` holds a cache of other settings, something else, or an id is unknown.
    SourceError
        When the data set names no classes and none can be found.
    """
    _check_superpixels(settings, superpixel_files, out)
    source = {"format": dataset.format, "format_options": dict(dataset.options)}
    settings_json = settings.as_json(source)
    existing = _existing(out) if not overwrite else None
    if existing is not None:
        _refuse_other_settings(out, existing.header, settings_json)
    chosen = choose(dataset, ids, limit)
    header = _header(dataset, settings_json, existing)
    if existing is not None and existing.header.fingerprint != header.fingerprint:
        raise UsageError(
            f"{out} was made with the classes {_brief(existing.header)}, the data set now has "
            f"{_brief(header)}; choose another output, or --overwrite to make it anew."
        )
    seen = dict(existing.seen) if existing is not None else {}
    folder = PartsFolder(parts_folder(out))
    parts = folder.read() if not overwrite else {}
    _refuse_other_data(out, dataset, header, parts, seen)

    def step(ref: CaseRef) -> Step:
        fault = dataset.problems.get(ref.id) or _fault_of_id(ref.id)
        if fault:
            return Step(ref, FAILED, fault)
        part = parts.get(schema.part_name(ref.id))
        files = files_of(ref, dataset, superpixel_files)
        reason = _staleness(part, header, lambda p: input_change(files, p, seen, check_content))
        if part is None or reason:
            return Step(ref, COMPUTE if part is None else STALE, reason)
        return Step(ref, SKIP, "finished")

    return Plan(
        replace(dataset, classes=header.classes), settings, out, header,
        tuple(step(ref) for ref in chosen), seen, folder, superpixel_files, overwrite,
    )  # fmt: skip


def files_of(
    ref: CaseRef, dataset: Dataset, superpixel_files: SuperpixelFiles | None
) -> dict[str, Path]:
    """Recorded name and place of every file that a case is read from."""
    files = {name: dataset.root / name for name in ref.files}
    extra = superpixel_files.file(ref.id) if superpixel_files is not None else None
    return files | ({extra[0]: extra[1]} if extra is not None else {})


def choose(dataset: Dataset, ids: Sequence[str] | None, limit: int | None) -> list[CaseRef]:
    """Cases named by ``ids`` (or fitting them as patterns), or all, at most ``limit`` of them.

    Raises
    ------
    UsageError
        For an id that the data set does not have, naming the nearest ones, and for a pattern that
        no id fits.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1; got {limit}.")
    broken = [CaseRef(i, "", "", ()) for i in dataset.problems]
    everything = {ref.id: ref for ref in (*dataset.refs, *broken)}
    if ids is not None:
        wanted: list[str] = []
        for text in ids:
            if not (found := fitting_ids(text, everything)):
                near = nearest(text, everything, most=3, cutoff=0.3)
                hint = f"did you mean {', '.join(near)}?" if near else "none has a similar name."
                raise UsageError(
                    f"The data set has no case {text!r} among {len(everything)}: {hint} "
                    "`--dry-run -v` lists them."
                )
            wanted += found
        chosen = [everything[i] for i in dict.fromkeys(wanted)]
    else:
        chosen = list(everything.values())
    return chosen[:limit] if limit is not None else chosen


def compute(
    case: Case,
    header: Header,
    settings: Settings,
    inputs: tuple[InputFile, ...] = (),
    superpixels: Array | None = None,
    device: DeviceProcess | None = None,
) -> CaseResult:
    """Superpixels and soft maps of one case.

    Parameters
    ----------
    case : Case
    header : Header
        Its class table and ignored value hold for the whole cache.
    settings : Settings
    inputs : tuple of InputFile
        Recorded in the part.
    superpixels : ndarray of int, shape (*spatial), optional
        For ``settings.superpixels == "file"``.
    device : DeviceProcess, optional
        Where it is softened; what it cannot do is done here, on the CPU, and noted in the result.

    Raises
    ------
    CaseError
        When this case cannot be computed with these settings.
    """
    try:
        return _compute(case, header, settings, inputs, superpixels, device)
    except ValueError as error:
        raise CaseError(f"{case.id} ({case.source}): {error}") from error


def _compute(
    case: Case,
    header: Header,
    settings: Settings,
    inputs: tuple[InputFile, ...],
    superpixels: Array | None,
    device: DeviceProcess | None,
) -> CaseResult:
    _check_channels(case, header)
    method = METHODS[settings.method]
    asked = 0
    ids = None
    if method.needs_superpixels:
        ids, asked = make_superpixels(case, settings, superpixels, device)
    soft, note = soften_case(case, ids, header, settings, device)
    labels, label_maps = case.labels, dict(case.label_maps)
    if case.rater_axis is not None:
        names = case.raters or tuple(f"rater{r + 1}" for r in range(len(case.labels)))
        label_maps |= dict(zip(names, case.labels, strict=True))
        labels = _majority_labels(case.labels, header)
    statistics = measure(case, soft, labels, ids, asked, header)
    return CaseResult(case, labels, ids, soft, label_maps, statistics, inputs, note)


def soften_case(
    case: Case,
    ids: Array | None,
    header: Header,
    settings: Settings,
    device: DeviceProcess | None,
) -> tuple[SoftMaps, str]:
    """Soft maps of a case, and why its device did not make them."""
    options = dict(settings.method_options)
    if (
        METHODS[settings.method].needs_superpixels
        and options.get("in_plane")
        and settings.slice_axis is not None
    ):
        options["slice_axis"] = settings.slice_axis

    def soften_by(backend: Backend | None) -> SoftMaps:
        return soften_with(
            backend,
            case.labels,
            ids,
            method=settings.method,
            classes=header.classes,
            spacing=_distance_spacing(case, settings),
            boundary=settings.boundary,
            scale=settings.scale,
            normalize=settings.normalize,
            ignore=header.ignore,
            rater_axis=case.rater_axis,
            **options,
        )

    if device is None:
        return soften_by(None), ""
    try:
        return soften_by(device.soften), ""
    except DeviceUnusable as error:
        return soften_by(None), str(error)


def make_superpixels(
    case: Case,
    settings: Settings,
    given: Array | None = None,
    device: DeviceProcess | None = None,
) -> tuple[Array, int]:
    """Superpixels of a case (int32, −1 outside the mask), and how many were asked for."""
    shape = case.shape
    spacing = case.spacing_mm or (1.0,) * len(shape)
    spacing = tuple(s / min(spacing) for s in spacing)
    per_slice = settings.slic_dims == "slice" and len(shape) == 3
    axis = coarsest_axis(spacing) if settings.slice_axis is None else settings.slice_axis
    if not 0 <= axis < len(shape):
        raise ValueError(f"slice_axis must lie in 0..{len(shape) - 1}; got {axis}.")
    pieces = shape[axis] if per_slice else 1
    asked = settings.n_segments
    if settings.superpixel_size is not None:
        asked = max(1, round(int(np.prod(shape)) / pieces / settings.superpixel_size))
    in_slic = case.mask if settings.mask_mode == "slic" else None

    def make(image: Array, steps: tuple[float, ...]) -> Array:
        if settings.superpixels == "grid":
            return grid(image.shape[1:], asked, steps)
        options: dict[str, Any] = {
            "spacing": steps,
            "channel_axis": 0,
            "max_num_iter": settings.max_num_iter,
        }
        strength = (asked, settings.compactness, settings.sigma)
        if settings.slic_code == "device":
            return _slic_by_device(device, image, *strength, **options)
        if in_slic is None:
            return slic(image, *strength, **options)
        return slic(image[:-1], *strength, mask=image[-1] > 0, **options)

    if settings.superpixels == "file":
        if given is None or given.shape != shape:
            raise ValueError(
                f"the superpixels of the file have shape {None if given is None else given.shape}"
                f", the image has {shape}; give superpixels of the same grid."
            )
        ids, asked, pieces = given, 0, 1
    else:
        image = scale_channels(case.image, case.mask, settings.channel_percentiles)
        if in_slic is not None:  # travels as a last channel, so that slices cut it alike
            image = np.concatenate([image, in_slic[None].astype(np.float32)])
        ids = by_slice(make, image, spacing, axis) if per_slice else make(image, spacing)
    return _renumbered(ids, case.mask), asked * pieces


def _slic_by_device(
    device: DeviceProcess | None, image: Array, *strength: Any, **options: Any
) -> Array:
    """Superpixels by the tensor code: on the device, or on torch's CPU device with equal labels."""
    if device is not None:
        with contextlib.suppress(DeviceUnusable):
            return device.slic(image, *strength, **options)
    return slic(image, *strength, **options, device=TORCH_CPU)


def _renumbered(ids: Array, mask: Array | None) -> Array:
    """Ids 0..M−1 in their old order, −1 outside the mask."""
    ids = np.maximum(ids if mask is None else np.where(mask, ids, -1), -1)
    highest = int(ids.max())
    if highest > 4 * ids.size:  # ids of a file may be anything
        values, position = np.unique(ids, return_inverse=True)
        return (position.reshape(ids.shape) - (values[0] < 0)).astype(np.int32)
    present = np.zeros(highest + 2, np.bool_)
    present[ids + 1] = True
    number = np.cumsum(present[1:], dtype=np.int32) - 1
    return np.concatenate([[-1], number]).astype(np.int32)[ids + 1]


def measure(
    case: Case, soft: SoftMaps, labels: Array, ids: Array | None, asked: int, header: Header
) -> Statistics:
    """Statistics of a computed case."""
    image = case.image.reshape(len(case.image), -1)
    inside = image if case.mask is None else image[:, case.mask.ravel()]
    if inside.shape[1] == 0:
        inside = image
    channels = [channel.astype(np.float64) for channel in inside]
    index = class_index_map(labels, header.classes, header.ignore)
    counts = np.bincount(index.ravel(), minlength=len(header.classes))
    return Statistics(
        class_pixels=counts[: len(header.classes)].astype(np.uint64),
        pixels=inside.shape[1],
        intensity_sum=np.array([c.sum() for c in channels]),
        intensity_sum_squares=np.array([np.dot(c, c) for c in channels]),
        intensity_min=np.array([c.min() for c in channels]),
        intensity_max=np.array([c.max() for c in channels]),
        softened_pixels=int(np.count_nonzero(soft.band)),
        soft_sum=soft.total(),
        n_superpixels=0 if ids is None else int(ids.max()) + 1,
        n_superpixels_asked=asked,
    )


def _distance_spacing(case: Case, settings: Settings) -> tuple[float, ...] | None:
    if settings.distance_unit == "pixel":
        return None
    if case.spacing_mm is None:
        raise ValueError(
            "the case has no pixel spacing, so distances cannot be in mm; use "
            "--distance-unit pixel, or say the spacing with --spacing-mm where the format takes it."
        )
    return case.spacing_mm


def _majority_labels(raters: Array, header: Header) -> Array:
    votes = majority([class_index_map(m, header.classes, header.ignore) for m in raters])
    lookup = np.full(int(np.iinfo(votes.dtype).max) + 1, header.ignore or 0, np.int64)
    lookup[: len(header.classes)] = header.classes.values
    return lookup[votes]


def _check_superpixels(settings: Settings, files: SuperpixelFiles | None, out: Path) -> None:
    if files is not None and files.path.exists() and out.exists() and files.path.samefile(out):
        raise UsageError(
            f"{out} is to give the superpixels and to be written at the same time; give another "
            "output."
        )
    if settings.superpixels == "file" and not METHODS[settings.method].needs_superpixels:
        raise UsageError(
            f"The method {settings.method} uses no superpixels; leave --superpixels out."
        )
    if (settings.superpixels == "file") != (files is not None):
        raise UsageError(
            'The setting superpixels="file" and superpixel files belong together; give both or '
            "neither."
        )


def _header(dataset: Dataset, settings_json: str, existing: IndexContent | None) -> Header:
    known = existing.header if existing is not None else None
    classes = dataset.classes or (known.classes if known else scan_classes(dataset))
    return Header(
        settings_json,
        fingerprint(settings_json, classes, dataset.ignore),
        classes,
        dataset.ignore,
        dataset.channels or (known.channels if known else first_channels(dataset)),
        software=software_versions(),
    )


def first_channels(dataset: Dataset) -> tuple[str, ...]:
    """Channels of the first case that can be read, which all others must have as well."""
    reader = READERS[dataset.format]
    for ref in dataset.refs:
        try:
            return reader.read_case(dataset, ref, reader.open_source(dataset, ref.source)).channels
        except Exception:  # it fails again, with its reason, when it is computed
            continue
    return ()


def _check_channels(case: Case, header: Header) -> None:
    if header.channels and len(case.image) != len(header.channels):
        raise ValueError(
            f"the image has {len(case.image)} channels, the data set {len(header.channels)} "
            f"({', '.join(header.channels)}); give all images the same channels."
        )


def _fault_of_id(case_id: str) -> str:
    try:
        check_id(case_id)
    except CaseError as error:
        return str(error)
    return ""


def _existing(out: Path) -> IndexContent | None:
    """Index that is there already, rebuilt in memory from the parts when it is lost.

    One without parts binds nobody: a first try in which every case failed leaves it behind.
    """
    has_parts = any(parts_folder(out).glob("*.h5"))
    try:
        if out.exists() or out.is_symlink():
            try:
                index = read_index(out)
                return index if has_parts else None
            except CacheError:
                if not has_parts:
                    raise
        return IndexContent(recover_header(out)) if has_parts else None
    except CacheError as error:
        raise UsageError(str(error)) from error


def _refuse_other_settings(out: Path, existing: Header, settings_json: str) -> None:
    differences = settings_differences(existing.settings, settings_json)
    if differences:
        raise UsageError(
            f"{out} was made with other settings ({'; '.join(differences)}); give the same "
            "settings to resume it, another output for these, or --overwrite to make it anew."
        )


def _refuse_other_data(
    out: Path,
    dataset: Dataset,
    header: Header,
    parts: Mapping[str, PartSummary | CacheError],
    seen: dict[str, SeenFile],
) -> None:
    """Refuse to mix two data sets: ids like 01 are in many, and would replace each other."""
    refs = {ref.id: ref for ref in dataset.refs}
    finished, sources = 0, set()
    for part in parts.values():
        if isinstance(part, CacheError) or part.fingerprint != header.fingerprint:
            continue
        finished += 1
        ref = refs.get(part.id)
        if ref and shares_input(files_of(ref, dataset, None), part.inputs, seen):
            return
        if part.id in dataset.problems:
            return  # it is one of these, and cannot be read now
        sources.add(ref.source if ref else part.id)
    # all that was made from a single source may well have changed
    if finished and not (len(sources) == 1 and sources & {ref.source for ref in dataset.refs}):
        raise UsageError(
            f"{out} holds {plural(finished, 'case')}, and no file that they were made from is in "
            f"{dataset.root} as it was: it seems to be of another data set; give another output, "
            "or --overwrite to make it anew."
        )


def settings_differences(old: str, new: str) -> list[str]:
    """Settings that differ between two JSON records, as ``name: old → new``."""
    before, after = (_flat(json.loads(text)) for text in (old, new))
    names = sorted(set(before) | set(after))
    return [
        f"{n}: {before.get(n, 'unset')} → {after.get(n, 'unset')}"
        for n in names
        if before.get(n) != after.get(n)
    ]


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Options inside of options under their own names; those that are not set left out."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if value is not None}


def _brief(header: Header) -> str:
    ignored = "" if header.ignore is None else f", {header.ignore} ignored"
    return "{" + ", ".join(f"{v}: {n}" for v, n in header.classes) + ignored + "}"


def _staleness(
    part: PartSummary | CacheError | None,
    header: Header,
    change_of: Callable[[tuple[InputFile, ...]], str | None],
) -> str:
    """Why a case must be computed; empty when its part is right."""
    if part is None:
        return "not computed yet"
    if isinstance(part, CacheError):
        return f"its part is damaged: {part}"
    if part.fingerprint != header.fingerprint:
        return "its part was made with other settings"
    if part.algorithm != header.algorithm:
        return f"made by algorithm version {part.algorithm}, now {header.algorithm}"
    return change_of(part.inputs) or ""
