"""Texts of `softlabel generate`: its plan, its result, and what failed; decides nothing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from softlabel.console.display import duration, percent, size
from softlabel.console.estimate import estimate_text
from softlabel.console.group import say
from softlabel.errors import plural
from softlabel.free_memory import shared_bytes
from softlabel.generation.failures import failures_path
from softlabel.generation.memory import worker_bytes
from softlabel.generation.plan import COMPUTE, FAILED, REGROUP, SKIP, STALE, Plan
from softlabel.generation.report import CaseReport, Report
from softlabel.generation.shards import Shard
from softlabel.ids import natural_key

NOT_ANNOTATED = 255
"""A label value that often means that a pixel was not annotated."""

SHOWN_IDS = 5
SHOWN_FAILURES = 20
SHOWN_CLASSES = 20
SHOWN_COMPILE_SECONDS = 2.0


def class_sentence(decided: Plan, recorded: bool) -> str:
    """What the scan for classes found: an antialiased label map shows in their number."""
    values = decided.header.classes.values
    shown = ", ".join(map(str, values[:SHOWN_CLASSES])) + (
        ", …" if len(values) > SHOWN_CLASSES else ""
    )
    if recorded:
        return (
            f"{plural(len(values), 'class')}, recorded when the cache was made: {shown} "
            "(--overwrite looks again)."
        )
    # grey levels such as 0, 128, 255 are classes; 0, 1, 2, 255 are three and something else
    often_ignored = (
        decided.header.ignore is None and len(values) > 2 and values[-1] == NOT_ANNOTATED
        and values[-2] < NOT_ANNOTATED // 2
    )  # fmt: skip
    hint = f" If {NOT_ANNOTATED} means 'not annotated': --ignore {NOT_ANNOTATED}."
    return (
        f"{plural(len(values), 'class')}, the values that the label maps hold: {shown} (--classes "
        f"names others).{hint if often_ignored else ''}"
    )


def plan_sentence(decided: Plan, jobs: int, scheduler: str | None = None) -> str:
    """How many cases a plan computes, and by how many workers."""
    counts = [
        f"{decided.count(action)} {words}"
        for action, words in (
            (COMPUTE, "to compute"),
            (STALE, "to compute again"),
            (REGROUP, "to write with another group"),
            (SKIP, "finished"),
            (FAILED, "unreadable"),
        )
        if decided.count(action)
    ]
    workers = min(jobs, max(1, len(decided.todo)))
    which = "" if decided.shard is None else f"Shard {decided.shard}: "
    who = plural(workers, "worker") if scheduler is None else f"Dask, {scheduler}"
    return f"{which}{', '.join(counts) or 'no cases'}; {who}."


def print_plan(
    decided: Plan, sample: CaseReport | None, jobs: int, verbose: bool, as_json: bool
) -> None:
    """Print a plan, with the time and size of the whole from a computed case."""
    count = len(decided.todo)
    workers = min(jobs, max(1, count))
    if as_json:
        steps = [{"id": s.ref.id, "action": s.action, "reason": s.reason} for s in decided.steps]
        record: dict[str, Any] = {"steps": steps, "workers": workers, "seconds": None,
                                  "bytes": None, "step_seconds": {},
                                  "worker_bytes": worker_bytes(decided)}  # fmt: skip
        if sample is not None and not sample.error:
            record["seconds"] = sample.seconds * count / workers
            record["bytes"] = sample.bytes * count
            record["step_seconds"] = {
                step: seconds * count / workers for step, seconds in sample.step_seconds.items()
            }
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
        return
    click.echo(plan_sentence(decided, jobs))
    for step in decided.steps:
        if verbose or step.action in (STALE, FAILED):
            click.echo(f"  {step.action:8} {step.ref.id}: {step.reason}")
    if sample is None:
        click.echo("Nothing to compute.")
    elif sample.error:
        click.echo(f"The first case fails, so there is no estimate: {sample.error}")
    else:
        click.echo(estimate_text(sample, count, workers))
    each = worker_bytes(decided)
    if count and each is not None:
        size_of_case = "×".join(map(str, decided.largest or ()))
        there = shared_bytes()
        free = "" if there is None else f"; {size(there)} of memory are free"
        click.echo(
            f"A worker takes up to about {size(each)} for the largest case ({size_of_case}){free}."
        )


def print_report(report: Report) -> None:
    """Print what a run did."""
    if report.cases and math.isnan(report.mean_soft_sum):  # interrupted before workers told of them
        click.echo(f"{plural(report.cases, 'case')} finished in {duration(report.seconds)}.")
    elif report.cases:
        click.echo(
            f"{plural(report.cases, 'case')} in {duration(report.seconds)} "
            f"({report.cases / report.seconds:.2f}/s), {size(report.bytes)}; "
            f"{percent(report.softened_share)} of the pixels softened, "
            f"mean Σq {report.mean_soft_sum:.4f} (Σq: sum of a pixel's soft labels)"
            + (f"; {report.n_superpixels:.0f} superpixels a case" if report.n_superpixels else "")
            + (
                f" of {report.n_superpixels_asked:.0f} asked"
                if report.n_superpixels_asked  # of superpixels from files none are
                else ""
            )
            + "."
        )
    if report.compile_seconds > SHOWN_COMPILE_SECONDS:
        click.echo(
            f"Before that, compiling the kernels took {duration(report.compile_seconds)}; the code "
            "is kept for the next runs."
        )
    if report.regrouped:
        click.echo(f"{plural(report.regrouped, 'case')} written with another group, not computed.")
    if report.skipped:
        click.echo(f"{plural(report.skipped, 'case')} finished before.")
    click.echo(f"Cache: {report.out}")
    if report.elsewhere:
        click.echo(
            f"{plural(report.elsewhere, 'case')} of other shards are not finished; the one that "
            "ends last writes the index."
        )


def print_failures(report: Report, output: Path, shard: Shard | None = None) -> None:
    """Print the warnings of a run, and its failed cases by reason."""
    for warning in report.warnings:
        say(f"Warning: {warning}")
    if report.failures:
        click.echo(f"{plural(len(report.failures), 'case')} failed:", err=True)
        reasons = _by_reason(report.failures)
        for reason, ids in list(reasons.items())[:SHOWN_FAILURES]:
            named = ", ".join(ids[:SHOWN_IDS]) + (", …" if len(ids) > SHOWN_IDS else "")
            who = named if len(ids) == 1 else f"{len(ids)} cases ({named})"
            say(f"  {who}: {reason}")
        if len(reasons) > SHOWN_FAILURES:
            click.echo(f"  … and {len(reasons) - SHOWN_FAILURES} more", err=True)
        ours = shard if report.elsewhere else None  # the last of several shards gathers the lists
        click.echo(f"The list is in {failures_path(output, ours)}.", err=True)


def _by_reason(failures: Mapping[str, str]) -> dict[str, list[str]]:
    """Ids of the cases that failed for one reason: a wrong option fails all of them alike."""
    found: dict[str, list[str]] = {}
    for case_id in sorted(failures, key=natural_key):
        found.setdefault(own_words(case_id, failures[case_id]), []).append(case_id)
    return {reason if len(ids) > 1 else failures[ids[0]]: ids for reason, ids in found.items()}


def own_words(case_id: str, reason: str) -> str:
    """A reason without the case, and its file, that it begins with."""
    return re.sub(rf"{re.escape(case_id)}( \([^()]*\))?: ", "", reason, count=1)


def print_end(report: Report, overwrite: bool) -> None:
    """Say why a run ended early, and how to go on."""
    if not (report.interrupted or report.stopped):
        return
    again = "run the same command again" + (" without --overwrite" if overwrite else "")
    say(f"Error: {report.stopped}" if report.stopped else "Interrupted.")
    click.echo(
        f"{plural(report.cases + report.skipped, 'case')} finished and kept, {report.remaining} "
        f"remain; {again} to go on.",
        err=True,
    )
