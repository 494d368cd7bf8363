"""From a listed data set to soft labels: :func:`plan` decides, :func:`compute` does one case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from softlabel.cache import (
    Header,
    IndexContent,
    InputFile,
    PartsFolder,
    PartSummary,
    SeenFile,
    damage,
    folder_of,
    schema,
    software_versions,
    version_of,
)
from softlabel.cache.schema import fingerprint
from softlabel.errors import CacheError, CaseError, UsageError, nearest, plural
from softlabel.generation.input_files import input_change, shares_input
from softlabel.generation.networks import networks_for
from softlabel.generation.present import look, refuse_other_settings
from softlabel.generation.records import source_record
from softlabel.generation.settings import Settings
from softlabel.generation.shards import Shard
from softlabel.generation.superpixel_files import SuperpixelFiles
from softlabel.ids import check_id, fitting_ids, natural_key
from softlabel.readers import READERS, scan_classes
from softlabel.softening import method_named
from softlabel.types import CaseRef, ClassTable, Dataset

AGREEING_IMAGES, DIFFERING_IMAGES = 3, 9
"""Images that are read for the names of their channels, where they agree and where they do not."""

COMPUTE, STALE, REGROUP, SKIP, FAILED = "compute", "stale", "regroup", "skip", "failed"


@dataclass(frozen=True)
class Step:
    """What is to be done about a case, and why.

    Attributes
    ----------
    ref : CaseRef
    action : {"compute", "stale", "regroup", "skip", "failed"}
        ``compute`` has no part yet, ``stale`` has one that is no longer right, ``regroup`` has
        one that is right but for its group, which is written without computing, ``skip`` is
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
        The folder that the run writes, and the parts that are there.
    superpixel_files : SuperpixelFiles or None
        Where the superpixels are read from, when they are not made.
    replaces : Path or None
        The folder of parts whose place :attr:`parts` takes once all cases are there.
    findings : tuple of mapping
        What the check of the data set found, for the index.
    weights : Path or None
        The file of the network of the steps, where it does not come with softlabel.
    shard : Shard or None
        Which of several runs that compute the chosen cases together.
    together : tuple of str
        Ids of the cases of all these runs.
    largest : tuple of int or None
        Shape of the largest label map that was looked at; None when none was.
    """

    dataset: Dataset
    settings: Settings
    out: Path
    header: Header
    steps: tuple[Step, ...]
    seen: Mapping[str, SeenFile]
    parts: PartsFolder
    superpixel_files: SuperpixelFiles | None = None
    replaces: Path | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
    weights: Path | None = None
    shard: Shard | None = None
    together: tuple[str, ...] = ()
    largest: tuple[int, ...] | None = None

    @property
    def todo(self) -> tuple[CaseRef, ...]:
        """Cases to compute."""
        return tuple(s.ref for s in self.steps if s.action in (COMPUTE, STALE))

    @property
    def regroup(self) -> tuple[CaseRef, ...]:
        """Cases whose parts get another group."""
        return tuple(s.ref for s in self.steps if s.action == REGROUP)

    @cached_property
    def expected(self) -> tuple[str, ...]:
        """Ids of all cases of the data set, chosen or not, in natural order."""
        ids = {*(ref.id for ref in self.dataset.refs), *self.dataset.problems}
        return tuple(sorted((i for i in ids if not _fault_of_id(i)), key=natural_key))

    @property
    def unsettled(self) -> frozenset[str]:
        """Ids of the cases whose parts are replaced."""
        return frozenset(s.ref.id for s in self.steps if s.action in (STALE, REGROUP))

    @property
    def number(self) -> int:
        """Of the folder that the run writes."""
        return schema.parts_number(self.parts.path.name) or 1

    def index_content(self, seen: Mapping[str, SeenFile]) -> IndexContent:
        """What the index of the run says, with the input files as seen by now."""
        return IndexContent(self.header, seen, self.findings, self.number, self.expected)

    def part_of(self, case_id: str) -> Path:
        """File of a case's part."""
        return self.parts.path / schema.part_name(case_id)

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
    check_parts: bool = False,
    superpixel_files: SuperpixelFiles | None = None,
    findings: Sequence[Mapping[str, Any]] | None = None,
    classes: ClassTable | None = None,
    weights: Path | None = None,
    shard: Shard | None = None,
    largest: tuple[int, ...] | None = None,
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
    check_parts : bool
        Compare finished parts with their digests even when they are older than the index and have
        the size that it names.
    superpixel_files : SuperpixelFiles, optional
        For ``settings.superpixels == "file"``.
    findings : sequence of mapping, optional
        Records of what the check of the data set found; without them those of the index stay.
    classes : ClassTable, optional
        What the check found in the label maps of a data set that names no classes; without it
        they are read for that.
    weights : Path, optional
        The file of weights that the settings name, where it does not come with softlabel.
    shard : Shard, optional
        Only this part of the cases that ``ids`` and ``limit`` choose.
    largest : tuple of int, optional
        Shape of the largest label map that the check has seen.

    Raises
    ------
    UsageError
        When ``out`` holds a cache of other settings, something else, an id is unknown, or the
        method does not take such labels.
    SourceError
        When the data set names no classes and none can be found.
    """
    check_method(dataset, settings)
    _check_superpixels(settings, superpixel_files, out)
    _check_shard(shard, overwrite)
    networks_for(settings.preprocessing, weights)  # what is not there is seen now
    settings_json = settings.as_json(source_record(dataset))
    present = look(out, settings_json, overwrite)
    existing = present.content
    if existing is not None:
        refuse_other_settings(out, existing.header.settings, settings_json)
    together = choose(dataset, ids, limit)
    chosen = together if shard is None else shard.of(together)
    header = _header(dataset, settings_json, existing, classes)
    if existing is not None and existing.header.fingerprint != header.fingerprint:
        raise UsageError(
            f"{out} was made with the classes {_brief(existing.header)}, the data set now has "
            f"{_brief(header)}; choose another output, or --overwrite to make it anew."
        )
    seen = dict(existing.seen) if existing is not None else {}
    folder = PartsFolder(folder_of(out, present.number))
    parts = folder.read()
    _refuse_other_data(out, dataset, header, parts, seen)
    index = version_of(out)
    written = 0 if index is None or present.replaces is not None else index[2]
    if findings is None:
        findings = existing.findings if existing is not None else ()

    def step(ref: CaseRef) -> Step:
        fault = dataset.problems.get(ref.id) or _fault_of_id(ref.id)
        if fault:
            return Step(ref, FAILED, fault)
        part = parts.get(schema.part_name(ref.id))
        files = files_of(ref, dataset, superpixel_files)
        reason = _staleness(part, header, lambda p: input_change(files, p, seen, check_content))
        if isinstance(part, PartSummary) and not reason:
            reason = part_change(folder.path, part, existing, written, check_parts) or ""
        if part is None or reason:
            return Step(ref, COMPUTE if part is None else STALE, reason)
        if isinstance(part, PartSummary) and part.group != ref.group:
            return Step(ref, REGROUP, f"group: {part.group} → {ref.group}")
        return Step(ref, SKIP, "finished")

    return Plan(
        replace(dataset, classes=header.classes), settings, out, header,
        tuple(step(ref) for ref in chosen), seen, folder, superpixel_files, present.replaces,
        tuple(findings), weights, shard, tuple(ref.id for ref in together), largest,
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
                    "`softlabel generate --dry-run -v` lists them."
                )
            wanted += found
        chosen = [everything[i] for i in dict.fromkeys(wanted)]
    else:
        chosen = list(everything.values())
    return chosen[:limit] if limit is not None else chosen


def check_method(dataset: Dataset, settings: Settings) -> None:
    """Refuse a method that does not take the labels of a data set.

    Raises
    ------
    UsageError
        Naming the options that settle it.
    """
    takes_soft = method_named(settings.method).takes_soft_labels
    if dataset.soft and not takes_soft:
        raise UsageError(
            f"{dataset.root} holds soft labels, which the method {settings.method} cannot soften "
            "once more; cache them as they are with --method given, or make hard labels of them "
            "with --threshold, such as half of the value that means 1."
        )
    if takes_soft and not dataset.soft:
        raise UsageError(
            f"{dataset.root} is read as hard labels, which the method {settings.method} does not "
            "take; soften them by another --method, or, where label maps hold probabilities, give "
            "the stored value that means 1 with --soft-range (1 or 255) and leave --threshold out."
        )


def _check_superpixels(settings: Settings, files: SuperpixelFiles | None, out: Path) -> None:
    if files is not None and files.path.exists() and out.exists() and files.path.samefile(out):
        raise UsageError(
            f"{out} is to give the superpixels and to be written at the same time; give another "
            "output."
        )
    if settings.superpixels == "file" and not method_named(settings.method).needs_superpixels:
        raise UsageError(
            f"The method {settings.method} uses no superpixels; leave --superpixels out."
        )
    if (settings.superpixels == "file") != (files is not None):
        raise UsageError(
            'The setting superpixels="file" and superpixel files belong together; give both or '
            "neither."
        )


def _check_shard(shard: Shard | None, overwrite: bool) -> None:
    if shard is not None and overwrite:
        raise UsageError(
            "Shards cannot make a cache anew together, since each would begin one of its own; give "
            "another output, or delete the cache and leave --overwrite out."
        )


def _header(
    dataset: Dataset,
    settings_json: str,
    existing: IndexContent | None,
    found: ClassTable | None,
) -> Header:
    """The header of every file of the run: a cache that is there goes on as it was begun."""
    known = existing.header if existing is not None else None
    if known is not None:
        settings_json = known.settings
    classes = dataset.classes or (known.classes if known else found or scan_classes(dataset))
    return Header(
        settings_json,
        fingerprint(settings_json, classes, dataset.ignore),
        classes,
        dataset.ignore,
        dataset.channels or (known.channels if known else common_channels(dataset)),
        software=software_versions(),
        format_version=known.format_version if known is not None else schema.FORMAT_VERSION,
    )


def common_channels(dataset: Dataset) -> tuple[str, ...]:
    """Channels that most images have, which all others must have as well.

    The first few images that can be read tell it, and some more where they differ.
    """
    found: Counter[tuple[str, ...]] = Counter()
    reader = READERS[dataset.format]
    for ref in dataset.refs:
        try:
            case = reader.read_case(dataset, ref, reader.open_source(dataset, ref.source))
        except Exception:  # it fails again, with its reason, when it is computed
            continue
        found[case.channels] += 1
        if found.total() >= (AGREEING_IMAGES if len(found) == 1 else DIFFERING_IMAGES):
            break
    return found.most_common(1)[0][0] if found else ()


def _fault_of_id(case_id: str) -> str:
    try:
        check_id(case_id)
    except CaseError as error:
        return str(error)
    return ""


def _refuse_other_data(
    out: Path,
    dataset: Dataset,
    header: Header,
    parts: Mapping[str, PartSummary | CacheError],
    seen: dict[str, SeenFile],
) -> None:
    """Refuse to mix two data sets: common ids such as 01 would replace each other."""
    refs = {ref.id: ref for ref in dataset.refs}
    finished, sources, unlabelled = 0, set(), set(dataset.unlabelled)
    for part in parts.values():
        if isinstance(part, CacheError) or part.fingerprint != header.fingerprint:
            continue
        finished += 1
        ref = refs.get(part.id)
        if ref and shares_input(files_of(ref, dataset, None), part.inputs, seen):
            return
        if part.id in dataset.problems or unlabelled & {f.path for f in part.inputs}:
            return  # it is one of these, and cannot be read now
        sources.add(ref.source if ref else part.id)
    # all that was made from a single source may well have changed
    if finished and not (len(sources) == 1 and sources & {ref.source for ref in dataset.refs}):
        raise UsageError(
            f"{out} holds {plural(finished, 'case')}, and no file that they were made from is in "
            f"{dataset.root} as it was: it seems to be of another data set; give another output, "
            "or --overwrite to make it anew."
        )


def part_change(
    folder: Path,
    part: PartSummary,
    index: IndexContent | None,
    written_ns: int,
    check_content: bool,
) -> str | None:
    """Why a finished part is not what the index was written for, or is damaged; else None.

    Parameters
    ----------
    folder : Path
    part : PartSummary
        What it says of itself.
    index : IndexContent or None
    written_ns : int
        When the index was written, by the time of the file system: what has changed since is read.
    check_content : bool
        Read it in any case.
    """
    path = folder / part.file
    entry = None if index is None else index.manifest.get(part.id)
    if entry is not None and entry.digest and entry.digest != part.digest:
        return "its part is not the one that the index was written for"
    version = version_of(path)
    unchanged = (
        version is not None
        and version[2] < written_ns
        and (entry is None or (entry.digest != "" and entry.bytes == version[1]))
    )
    found = None if unchanged and not check_content else damage(path)
    return None if found is None else f"its part is damaged: {found}"


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
