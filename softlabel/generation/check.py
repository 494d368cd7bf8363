"""A look at all label maps of a data set before anything is computed.

:func:`check` reads every label map once, in parallel, and draws the findings of
:mod:`softlabel.generation.findings`. What it read is remembered
(:mod:`softlabel.generation.looks`); nothing is written beside the data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from softlabel import parallel
from softlabel.errors import UsageError, did_you_mean, plural
from softlabel.generation.findings import (
    ERROR,
    FINDINGS,
    Evidence,
    Finding,
    colour_mapping,
    findings_of,
)
from softlabel.generation.looks import (
    SavedCheck,
    Seen,
    records_of,
    remember,
    remembered,
    unchanged,
)
from softlabel.generation.plan import choose
from softlabel.generation.settings import Settings
from softlabel.generation.shards import Shard
from softlabel.readers import READERS
from softlabel.readers.look import LabelLook, look_at
from softlabel.readers.mapped import as_source, mapped_facts, mapped_value, with_mapping
from softlabel.readers.scan import classes_of_values
from softlabel.types import MAX_CLASSES, CaseRef, ClassTable, Dataset

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
    seen : mapping of id to LabelLook or str
        Looks before such a mapping, and why some could not be had: what
        :func:`softlabel.generation.looks.save_check` writes.
    changed : tuple of str
        Cases that were read although a saved check was given: their files have changed since, or
        it does not hold them.
    """

    dataset: Dataset
    looks: Mapping[str, LabelLook]
    unreadable: Mapping[str, str]
    findings: tuple[Finding, ...]
    seen: Mapping[str, Seen]
    changed: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that would certainly give a wrong cache."""
        return tuple(f for f in self.findings if f.severity == ERROR)

    @property
    def largest(self) -> tuple[int, ...] | None:
        """Shape of the largest label map; None when none could be read."""
        shapes = [look.facts.shape for look in self.looks.values()]
        return max(shapes, key=math.prod, default=None)

    @property
    def class_table(self) -> ClassTable | None:
        """Classes that the label maps hold, as :func:`softlabel.readers.scan_classes` finds them.

        None where the source names them, where not all label maps were looked at, and where it
        takes another look to say what is wrong.
        """
        dataset = self.dataset
        seen = set(self.looks) | set(self.unreadable)
        if (
            dataset.classes is not None
            or dataset.soft
            or not seen.issuperset(r.id for r in dataset.refs)
        ):
            return None
        maps = [{*look.facts.values, *look.other_values} for look in self.looks.values()]
        if any(len(values) > MAX_CLASSES for values in maps):
            return None
        return classes_of_values(dataset, set[int]().union(*maps))

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


def check_dataset(
    dataset: Dataset,
    settings: Settings,
    *,
    refs: Sequence[CaseRef] | None = None,
    accept: Collection[str] = (),
    jobs: int = 1,
    remember: bool = True,
    progress: Progress | None = None,
    saved: SavedCheck | None = None,
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
    saved : SavedCheck, optional
        Takes what it holds from there, where files have not changed. Findings are then drawn from
        all cases that it holds, so that every share of a data set is judged alike.

    Raises
    ------
    UsageError
        For an unknown code, and for a saved check of label maps that were read in another way.
    """
    for code in accept:
        if code not in FINDINGS:
            raise UsageError(
                f"There is no finding {code!r}{did_you_mean(code, FINDINGS) or '.'} "
                f"The findings are: {', '.join(FINDINGS)}."
            )
    chosen = tuple(dataset.refs if refs is None else refs)
    seen: dict[str, Seen] = {}
    if saved is not None:
        saved.require_reading(dataset)
        seen = unchanged(dataset, dataset.refs, saved.records)
    unknown = [ref for ref in chosen if ref.id not in seen]
    seen |= _look_at(dataset, unknown, jobs, remember, progress or (lambda _: None))
    refs = tuple(ref for ref in dataset.refs if ref.id in seen)
    looks = {ref.id: look for ref in refs if isinstance(look := seen[ref.id], LabelLook)}
    unreadable = {case: reason for case, reason in seen.items() if isinstance(reason, str)}
    found = findings_of(Evidence(dataset, settings, refs, looks), frozenset(accept))
    if any(f.code == "palette" for f in found) and dataset.mapping is None:
        by_colour = colour_mapping(looks)
        if by_colour is not None:
            dataset = with_mapping(dataset, by_colour)
            looks = {case: look.by_colour(by_colour.colours) for case, look in looks.items()}
            found = tuple(replace(f, accepted=True) if f.code == "palette" else f for f in found)
    changed = tuple(ref.id for ref in unknown) if saved is not None else ()
    return Check(dataset, looks, unreadable, found, seen, changed)


def readable(
    dataset: Dataset, ids: Sequence[str] | None, limit: int | None, shard: Shard | None = None
) -> list[CaseRef]:
    """The chosen cases without those whose listing had a problem."""
    known = {ref.id for ref in dataset.refs}
    chosen = choose(dataset, ids, limit)
    return [ref for ref in (shard.of(chosen) if shard else chosen) if ref.id in known]


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
    saved: SavedCheck | None = None,
    shard: Shard | None = None,
) -> Check:
    """Look at the cases that a run would compute.

    Parameters
    ----------
    dataset, settings, accept, jobs, progress, saved
        See :func:`check`.
    ids, limit, shard
        See :func:`softlabel.generation.plan.plan`.
    tell : callable, optional
        Called with the findings before an error among them ends it; without it the error says
        them.

    Raises
    ------
    UsageError
        When a finding would certainly give a wrong cache.
    """
    refs = readable(dataset, ids, limit, shard)
    found = check_dataset(
        dataset, settings, refs=refs, accept=accept, jobs=jobs, progress=progress, saved=saved
    )
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
    use_memory: bool,
    progress: Progress,
) -> dict[str, Seen]:
    """Looks at all cases, and why some could not be had, in any order."""
    records = remembered(dataset) if use_memory else {}
    seen = unchanged(dataset, refs, records)
    by_source = [
        tuple(group)
        for _, group in groupby(
            sorted((r for r in refs if r.id not in seen), key=lambda r: r.source),
            key=lambda r: r.source,
        )
    ]
    source = as_source(dataset)
    tasks = [
        (replace(source, refs=tuple(share), problems={}, unlabelled=()), tuple(share))
        for share in parallel.split_evenly(by_source, jobs)
    ]
    for case_id, look in parallel.run(_look_at_source, tasks, jobs):
        seen[case_id] = look
        progress(case_id)
    if use_memory and refs:
        looks = {case: look for case, look in seen.items() if isinstance(look, LabelLook)}
        remember(dataset, {**records, **records_of(dataset, refs, looks)})
    return seen


def _look_at_source(dataset: Dataset, refs: tuple[CaseRef, ...]) -> Iterator[tuple[str, Seen]]:
    reader = READERS[dataset.format]
    opened: Any = None
    fault = ""
    try:
        opened = reader.opened_labels(dataset, refs[0].source)
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
