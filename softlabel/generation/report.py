"""What a run did: each case, all of them, and what to warn about."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from softlabel.cache import SeenFile, belongs
from softlabel.errors import plural
from softlabel.generation.plan import FAILED, SKIP, Plan
from softlabel.generation.preset import preset_hint
from softlabel.types import Note

LEAST_PIXELS = 4
"""Superpixels smaller than this on average soften next to nothing."""

MOST_SOFTENED = 0.95
"""A larger share of softened pixels is a sign of superpixels that are too large."""

FEWEST = 8
"""So few superpixels may be boxes for another reason: one takes the whole image."""

GRID_FILL = 0.95
"""Superpixels of which the median fills more of its bounding box are a grid in disguise. Seen on
phantoms and real scans: .36 to .74 with compactness 0.1, 1.00 where space alone decided."""


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
    pixels_but_largest : int
        Known pixels of all classes but the largest.
    soft_sum : float
        Σ over known pixels of Σ_c q_c.
    n_superpixels, n_superpixels_asked : int
    box_fill : float
        Share of its bounding box that the median superpixel fills; 0 without superpixels.
    seen : mapping of str to SeenFile
    note : str
        Why it was softened on the CPU though a device was to do it.
    regrouped : bool
        It was finished, and was written again with another group.
    step_notes : tuple of Note
        What the steps before superpixels took one way, though it could mean another.
    step_seconds : mapping of str to float
        How many of its seconds each of these steps took.
    """

    id: str
    error: str = ""
    details: str = ""
    fatal: bool = False
    seconds: float = 0.0
    bytes: int = 0
    pixels: int = 0
    softened_pixels: int = 0
    pixels_but_largest: int = 0
    soft_sum: float = 0.0
    n_superpixels: int = 0
    n_superpixels_asked: int = 0
    box_fill: float = 0.0
    seen: Mapping[str, SeenFile] = field(default_factory=dict)
    note: str = ""
    regrouped: bool = False
    step_notes: tuple[Note, ...] = ()
    step_seconds: Mapping[str, float] = field(default_factory=dict)


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
    regrouped : int
        Cases whose group changed: written again, not computed.
    elsewhere : int
        Cases that other shards of the run have not finished yet; as long as there are any, the
        index does not link what this one has computed.
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
    regrouped: int = 0
    elsewhere: int = 0

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


# --- making them ----------------------------------------------------------------------------------


def failures_of(decided: Plan, reports: list[CaseReport]) -> dict[str, str]:
    """Id and reason of the cases that were listed as unreadable, or failed."""
    failures = {s.ref.id: s.reason for s in decided.steps if s.action == FAILED}
    return failures | {r.id: r.error for r in reports if r.error}


def summary_of(
    decided: Plan,
    reports: list[CaseReport],
    unfinished: Set[str],
    interrupted: bool,
    stopped: str,
    started: float,
    compile_seconds: float,
    elsewhere: int = 0,
) -> Report:
    """The report on a run, from the reports on its cases."""
    done = [r for r in reports if not r.error and not r.regrouped]
    failed = {r.id for r in reports if r.error}
    failures = failures_of(decided, reports)
    pixels = sum(r.pixels for r in done)

    def mean(total: float, count: float) -> float:
        return total / count if count else float("nan")

    return Report(
        out=str(decided.out),
        cases=sum(r.id not in unfinished and r.id not in failed for r in decided.todo),
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
        warnings=tuple(_warnings(decided, done, failures, elsewhere)),
        regrouped=sum(r.regrouped for r in reports),
        elsewhere=elsewhere,
    )


def _warnings(
    decided: Plan, done: list[CaseReport], failures: Mapping[str, str], elsewhere: int
) -> Iterator[str]:
    hint = preset_hint(decided.settings)
    for warning in size_warnings(done, structures=bool(hint)):
        yield f"{warning}{hint}"
    for check in (_not_on_the_device, _noted_by_steps):
        yield from check(done)
    if decided.settings.superpixels == "slic":
        yield from _a_grid(done, decided.settings.preset)
    if elsewhere:  # only the last of several shards reads the parts of all
        return
    linked = {part.id for part in decided.parts.read().values() if belongs(part, decided.header)}
    outdated = sorted(linked & set(failures))
    if outdated:
        yield (
            f"{len(outdated)} of the failed cases still have an earlier result in the cache (for "
            f"example {outdated[0]}); fix them and run the same again, or leave them out."
        )
    vanished = sorted(linked - {r.id for r in decided.dataset.refs} - set(failures))
    if vanished:
        yield (
            f"The cache holds {plural(len(vanished), 'case')} that the data set does not have any "
            f"more (for example {vanished[0]}); --overwrite makes it anew without them."
        )


def size_warnings(done: list[CaseReport], *, structures: bool = True) -> Iterator[str]:
    """What is odd about the number and size of superpixels, in sentences.

    Parameters
    ----------
    done : list of CaseReport
    structures : bool
        Look at the classes but the largest by themselves too.
    """
    yield from _too_few(done)
    yield from _too_small(done)
    yield from _too_blurred(done)
    if structures:
        yield from _structures_blurred(done)


def _too_few(done: list[CaseReport]) -> Iterator[str]:
    few = [r for r in done if 0 < r.n_superpixels < r.n_superpixels_asked / 2]
    if few:
        yield (
            f"{len(few)} of {len(done)} cases have fewer than half of the superpixels asked for "
            f"(for example {few[0].id}: {few[0].n_superpixels} of {few[0].n_superpixels_asked}); "
            "a larger image area, fewer n_segments or another compactness would fix that."
        )


def _too_small(done: list[CaseReport]) -> Iterator[str]:
    tiny = [r for r in done if r.n_superpixels > r.pixels / LEAST_PIXELS]
    if tiny:
        yield (
            f"{len(tiny)} of {len(done)} cases have superpixels of fewer than {LEAST_PIXELS} "
            f"pixels (for example {tiny[0].id}: {tiny[0].n_superpixels} in {tiny[0].pixels} known "
            "pixels), too small to lie across a boundary; ask for fewer or larger ones."
        )


def _too_blurred(done: list[CaseReport]) -> Iterator[str]:
    blurred = [r for r in done if r.n_superpixels and r.softened_pixels > MOST_SOFTENED * r.pixels]
    if blurred:
        yield (
            f"In {len(blurred)} of {len(done)} cases nearly every pixel is softened (for example "
            f"{blurred[0].id}), so that the image has no say; ask for more or smaller superpixels."
        )


def _structures_blurred(done: list[CaseReport]) -> Iterator[str]:
    """Where most of the image is one class, as in volumes, the others may all be soft already."""
    blurred = [
        r for r in done
        if r.n_superpixels
        and 0 < r.pixels_but_largest <= r.softened_pixels <= MOST_SOFTENED * r.pixels
    ]  # fmt: skip
    if blurred:
        yield (
            f"In {len(blurred)} of {len(done)} cases more pixels are softened than all classes but "
            f"the largest have (for example {blurred[0].id}: {blurred[0].softened_pixels} and "
            f"{blurred[0].pixels_but_largest}), so that little is left of what was drawn; ask for "
            "more or smaller superpixels."
        )


def _a_grid(done: list[CaseReport], preset: str) -> Iterator[str]:
    boxes = [
        r for r in done
        if r.box_fill > GRID_FILL and FEWEST < r.n_superpixels <= r.pixels / LEAST_PIXELS
    ]  # fmt: skip
    if boxes:
        no_preset = f", given with --superpixel-size instead of --preset {preset},"
        instead = "" if preset == "none" else no_preset
        yield (
            f"In {len(boxes)} of {len(done)} cases superpixels are a regular grid in all but name "
            f"(for example {boxes[0].id}), so that the image has no say; a smaller --compactness"
            f"{instead} lets intensities decide."
        )


def _not_on_the_device(done: list[CaseReport]) -> Iterator[str]:
    noted = [r for r in done if r.note]
    if noted:
        yield (
            f"{len(noted)} of {len(done)} cases were softened on the CPU instead of the device, "
            f"with the same result (for example {noted[0].id}: {noted[0].note})."
        )


def _noted_by_steps(done: list[CaseReport]) -> Iterator[str]:
    """One warning for each kind of note, with the text of the first case."""
    codes = dict.fromkeys(note.code for r in done for note in r.step_notes)
    for code in codes:
        noted = [n.text for r in done for n in r.step_notes if n.code == code]
        yield f"[{code}] In {len(noted)} of {len(done)} cases, for example: {noted[0]}"
