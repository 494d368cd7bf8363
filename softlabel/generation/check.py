"""A look at all label maps of a data set before anything is computed.

:func:`check` reads every label map once, in parallel, and draws the findings of
:mod:`softlabel.generation.findings`. What it read is remembered in the user's cache folder by the
size and time of the files; nothing is written beside the data.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from softlabel import parallel
from softlabel.errors import UsageError, did_you_mean, plural
from softlabel.files.atomic import temporary_name
from softlabel.generation.findings import (
    ERROR,
    FINDINGS,
    Evidence,
    Finding,
    colour_mapping,
    findings_of,
)
from softlabel.generation.plan import choose
from softlabel.generation.settings import Settings
from softlabel.readers import READERS
from softlabel.readers.look import LabelLook, look_at
from softlabel.readers.mapped import as_source, mapped_facts, mapped_value, with_mapping
from softlabel.types import CaseRef, Dataset

FOLDER_VARIABLE = "SOFTLABEL_CACHE_DIR"
"""Environment variable that names another folder for what is remembered."""

RECORD_VERSION = 2

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ClassRow:
    """One value of the label maps.

    Attributes
    ----------
    value : int
    name : str
        Empty where nothing names it.
    cases : int
        Label maps that hold it.
    pixels : int
    pieces : int or None
        Connected pieces in all of them; None when they were not counted.
    """

    value: int
    name: str
    cases: int
    pixels: int
    pieces: int | None


@dataclass(frozen=True)
class Check:
    """What was found in a data set.

    Attributes
    ----------
    dataset : Dataset
        With a mapping by colour where palettes differ in order only.
    looks : mapping of id to LabelLook
    unreadable : mapping of id to str
        Label maps that could not be read, and why.
    findings : tuple of Finding
        Errors first.
    """

    dataset: Dataset
    looks: Mapping[str, LabelLook]
    unreadable: Mapping[str, str]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that would certainly give a wrong cache."""
        return tuple(f for f in self.findings if f.severity == ERROR)

    def classes(self) -> list[ClassRow]:
        """What each value of the label maps is, after the mapping."""
        mapping = self.dataset.mapping
        names = {} if mapping is None else mapping.names()
        names |= dict(self.dataset.classes) if self.dataset.classes is not None else {}
        if self.dataset.ignore is not None:
            names[self.dataset.ignore] = "ignore"
        cases: Counter[int] = Counter()
        pixels: Counter[int] = Counter()
        pieces: Counter[int] = Counter()
        counted = True
        for look in self.looks.values():
            facts = mapped_facts(look.facts, self.dataset)
            cases.update(facts.values)
            pixels.update(dict(zip(facts.values, facts.pixels, strict=True)))
            pieces.update(dict(zip(facts.values, facts.pieces, strict=False)))
            counted &= len(facts.pieces) == len(facts.values)
            for value, name in (look.names or {}).items():
                names.setdefault(mapped_value(self.dataset, value), name)
        return [
            ClassRow(v, names.get(v, ""), cases[v], pixels[v], pieces[v] if counted else None)
            for v in sorted(set(cases) | set(names))
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "description": self.dataset.description,
            "format": self.dataset.format,
            "cases": len(self.dataset.refs),
            "unlabelled": len(self.dataset.unlabelled),
            "problems": {**self.dataset.problems, **self.unreadable},
            "classes": [vars(row) for row in self.classes()],
            "findings": [finding.as_record() for finding in self.findings],
        }


def check(
    dataset: Dataset,
    settings: Settings,
    *,
    refs: Sequence[CaseRef] | None = None,
    accept: Collection[str] = (),
    jobs: int = 1,
    remember: bool = True,
    progress: Progress | None = None,
) -> Check:
    """Look at the label maps of a data set.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
        Those of superpixels and distances are judged too.
    refs : sequence of CaseRef, optional
        Only these cases.
    accept : collection of str
        Codes of findings that the user knows; their errors count as warnings.
    jobs : int
        Worker processes.
    remember : bool
        Keep what was read in the user's cache folder, and take from there what has not changed.
    progress : callable, optional
        Called with the id of each case that was looked at.

    Raises
    ------
    UsageError
        For an unknown code.
    """
    for code in accept:
        if code not in FINDINGS:
            raise UsageError(
                f"There is no finding {code!r}{did_you_mean(code, FINDINGS) or '.'} "
                f"The findings are: {', '.join(FINDINGS)}."
            )
    chosen = tuple(dataset.refs if refs is None else refs)
    looks, unreadable = _look_at(dataset, chosen, jobs, remember, progress or (lambda _: None))
    evidence = Evidence(dataset, settings, chosen, looks)
    found = findings_of(evidence, frozenset(accept))
    if any(f.code == "palette" for f in found) and dataset.mapping is None:
        by_colour = colour_mapping(looks)
        if by_colour is not None:
            settled = with_mapping(dataset, by_colour)
            looks, unreadable = _look_at(settled, chosen, jobs, remember, lambda _: None)
            found = tuple(replace(f, accepted=True) if f.code == "palette" else f for f in found)
            return Check(settled, looks, unreadable, found)
    return Check(dataset, looks, unreadable, found)


def readable(dataset: Dataset, ids: Sequence[str] | None, limit: int | None) -> list[CaseRef]:
    """The chosen cases without those whose listing had a problem."""
    known = {ref.id for ref in dataset.refs}
    return [ref for ref in choose(dataset, ids, limit) if ref.id in known]


def checked(
    dataset: Dataset,
    settings: Settings,
    *,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    accept: Collection[str] = (),
    jobs: int = 1,
    progress: Progress | None = None,
    tell: Callable[[Sequence[Finding]], None] | None = None,
) -> Check:
    """Look at the cases that a run would compute.

    Parameters
    ----------
    dataset, settings, accept, jobs, progress
        See :func:`check`.
    ids, limit
        See :func:`softlabel.generation.plan.plan`.
    tell : callable, optional
        Called with the findings before an error among them ends it; without it the error says
        them.

    Raises
    ------
    UsageError
        When a finding would certainly give a wrong cache.
    """
    refs = readable(dataset, ids, limit)
    found = check(dataset, settings, refs=refs, accept=accept, jobs=jobs, progress=progress)
    if tell is not None:
        tell(found.findings)
    if found.errors:
        codes = ",".join(dict.fromkeys(finding.code for finding in found.errors))
        if tell is None:
            what = " ".join(f"[{f.code}] {f.text}" for f in found.errors)
            settled = "; ".join(dict.fromkeys(FINDINGS[f.code].settled_by for f in found.errors))
        else:
            what, settled = plural(len(found.errors), "finding"), "what settles it"
        raise UsageError(
            f"{what} would certainly give a wrong cache, so nothing was computed; use {settled}, "
            f"or --accept {codes} (accept= in Python) if the labels are as they should be."
        )
    return found


# --- looking --------------------------------------------------------------------------------------


def _look_at(
    dataset: Dataset,
    refs: Sequence[CaseRef],
    jobs: int,
    remember: bool,
    progress: Progress,
) -> tuple[dict[str, LabelLook], dict[str, str]]:
    """Looks at all cases, and why some could not be had."""
    memory = _Memory(dataset) if remember else None
    known = memory.looks(refs) if memory is not None else {}
    by_source = [
        tuple(group)
        for _, group in groupby(
            sorted((r for r in refs if r.id not in known), key=lambda r: r.source),
            key=lambda r: r.source,
        )
    ]
    source = as_source(dataset)
    tasks = [
        (replace(source, refs=tuple(share), problems={}, unlabelled=()), tuple(share))
        for share in parallel.split_evenly(by_source, jobs)
    ]
    looks, unreadable = dict(known), {}
    for case_id, look in parallel.run(_look_at_source, tasks, jobs):
        if isinstance(look, str):
            unreadable[case_id] = look
        else:
            looks[case_id] = look
        progress(case_id)
    if memory is not None:
        memory.keep(refs, looks)
    return {ref.id: looks[ref.id] for ref in refs if ref.id in looks}, unreadable


def _look_at_source(
    dataset: Dataset, refs: tuple[CaseRef, ...]
) -> Iterator[tuple[str, LabelLook | str]]:
    reader = READERS[dataset.format]
    opened: Any = None
    fault = ""
    try:
        opened = reader.open_source(dataset, refs[0].source)
    except Exception as error:
        fault = str(error)
    for ref in refs:
        if fault:
            yield ref.id, fault
            continue
        try:
            if reader.look is None:
                yield ref.id, look_at(reader.read_labels(dataset, ref, opened))
            else:
                yield ref.id, reader.look(dataset, ref, opened)
        except Exception as error:
            yield ref.id, str(error) or type(error).__name__


# --- remembering ----------------------------------------------------------------------------------


def memory_folder() -> Path:
    """Where what was read of label maps is remembered: a folder of the user's."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "softlabel"


class _Memory:
    """Looks at a data set that were had before, by the size and time of each case's files."""

    def __init__(self, dataset: Dataset) -> None:
        self.root = dataset.root
        mapping = dataset.mapping
        of_files = [] if mapping is None else [mapping.threshold, sorted(mapping.colours.items())]
        options = {k: v for k, v in dataset.options.items() if k not in ("mapping", "group")}
        what = [str(dataset.root.absolute()), dataset.format, options, of_files]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode())
        self.path: Path | None = None
        with contextlib.suppress(RuntimeError):  # a user without a home
            self.path = memory_folder() / "labels" / f"{digest.hexdigest()[:32]}.json"
        self.record = self._read()

    def _read(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return dict(content["cases"]) if content["version"] == RECORD_VERSION else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # lost or damaged: looked at again

    def looks(self, refs: Sequence[CaseRef]) -> dict[str, LabelLook]:
        """Those whose files have not changed since."""
        found = {}
        for ref in refs:
            with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
                versions, record = self.record[ref.id]
                if versions == self._versions(ref):
                    found[ref.id] = LabelLook.from_record(record)
        return found

    def keep(self, refs: Sequence[CaseRef], looks: Mapping[str, LabelLook]) -> None:
        """Write what was seen; a folder that cannot be written is left alone."""
        if self.path is None:
            return
        for ref in refs:
            if ref.id in looks:
                with contextlib.suppress(OSError):
                    self.record[ref.id] = [self._versions(ref), looks[ref.id].as_record()]
        content = {"version": RECORD_VERSION, "cases": self.record}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # not flushed to the disk: what is lost is looked at again
            new = self.path.with_name(temporary_name())
            new.write_text(json.dumps(content), encoding="utf-8")
            new.replace(self.path)

    def _versions(self, ref: CaseRef) -> list[list[Any]]:
        statuses = [(name, (self.root / name).stat()) for name in ref.files]
        return [[name, status.st_size, status.st_mtime_ns] for name, status in statuses]
