"""``softlabel generate``: a data set on disk becomes a cache."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from softlabel.cli.options import (
    SectionedCommand,
    given_reader_options,
    json_option,
    option,
    reader_options,
    verbosity_options,
)
from softlabel.console.display import duration, percent, progress, size
from softlabel.console.group import EXIT_FAILED
from softlabel.errors import UsageError, plural
from softlabel.generation.device_choice import named_devices
from softlabel.generation.output import output_path
from softlabel.generation.plan import COMPUTE, FAILED, SKIP, STALE, Plan, plan
from softlabel.generation.report import CaseReport, Report, failures_path
from softlabel.generation.run import carry_out, estimate
from softlabel.generation.settings import (
    COMPRESSIONS,
    DISTANCE_UNITS,
    MASK_MODES,
    SLIC_CODES,
    SLIC_DIMS,
    Settings,
    idle_settings,
)
from softlabel.generation.superpixel_files import SuperpixelFiles
from softlabel.ids import natural_key
from softlabel.interrupt import interrupted_status
from softlabel.parallel import cpu_count
from softlabel.readers import READERS, list_dataset
from softlabel.softening import METHODS, NORMALIZATIONS
from softlabel.types import Dataset

NOT_ANNOTATED = 255
"""A label value that often means that a pixel was not annotated."""

SHOWN_IDS = 5
SHOWN_FAILURES = 20
SHOWN_CLASSES = 20
SHOWN_COMPILE_SECONDS = 2.0

STDERR = 2
STOPPING = b"\nStopping after this case; press Ctrl-C again to stop at once.\n"
"""Begins with the end of a line, since a bar may stand there."""


@click.command(cls=SectionedCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="CACHE.h5",
    help="The cache; its parts go into CACHE.parts beside it.",
)
@click.option(
    "--format",
    "format_",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *READERS]),
    help="Format of SOURCE.",
)
@option(
    "Which cases",
    "--ids",
    multiple=True,
    metavar="ID[,ID…]",
    help="Only these cases ('Subject_01*' works too); may be repeated.",
)
@option("Which cases", "--limit", type=click.IntRange(min=1), help="Only the first N cases.")
@option(
    "Superpixels",
    "--superpixels",
    default="slic",
    show_default=True,
    metavar="slic|grid|FILE",
    help="Where superpixels come from: SLIC of the image, a regular grid, or a folder, "
    ".npz or cache with superpixels by case id.",
)
@option(
    "Superpixels",
    "--n-segments",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Superpixels asked for in an image (in a slice with --slic-dims slice).",
)
@option(
    "Superpixels",
    "--superpixel-size",
    type=float,
    metavar="PIXELS",
    help="Pixels a superpixel instead of --n-segments: scales with the image.",
)
@option(
    "Superpixels",
    "--compactness",
    type=float,
    default=0.1,
    show_default=True,
    help="Weight of space against intensity; from 0.3 on superpixels are nearly a grid.",
)
@option(
    "Superpixels",
    "--sigma",
    type=float,
    default=1.0,
    show_default=True,
    help="Smoothing before SLIC, in pixels of the finest axis.",
)
@option(
    "Superpixels",
    "--slic-dims",
    type=click.Choice(SLIC_DIMS),
    default="volume",
    show_default=True,
    help="Superpixels of whole volumes or of each slice.",
)
@option(
    "Superpixels",
    "--slice-axis",
    type=int,
    help="Axis across the slices. Default: that of the coarsest spacing.",
)
@option(
    "Superpixels",
    "--channel-percentiles",
    type=float,
    nargs=2,
    default=(0.0, 100.0),
    metavar="LOW HIGH",
    show_default=True,
    help="Percentiles of each channel that SLIC sees as 0 and 1.",
)
@option(
    "Superpixels",
    "--mask-mode",
    type=click.Choice(MASK_MODES),
    default="after",
    show_default=True,
    help="Take masked pixels out after SLIC, or by masked SLIC (slow).",
)
@option(
    "Superpixels",
    "--slic-code",
    type=click.Choice(SLIC_CODES),
    default="cpu",
    show_default=True,
    help="device: SLIC on the --device too; the same superpixels on every device, but not quite "
    "those of cpu.",
)
@option(
    "Softening",
    "--method",
    type=click.Choice(list(METHODS)),
    default="superpixel",
    show_default=True,
    help="Softening method.",
)
@option(
    "Softening",
    "--boundary",
    type=click.Choice(["inner", "outer", "edge", "symmetric"]),
    default="inner",
    show_default=True,
    help="[superpixel] What the boundary of a class is.",
)
@option(
    "Softening",
    "--distance-unit",
    type=click.Choice(DISTANCE_UNITS),
    default="pixel",
    show_default=True,
    help="Unit of distances, --scale and --blur.",
)
@option(
    "Softening",
    "--scale",
    type=float,
    help="[superpixel] Distance at which a label is 3/4 or 1/4. Default: 1 pixel, or the finest "
    "spacing.",
)
@option(
    "Softening",
    "--normalize",
    type=click.Choice(NORMALIZATIONS),
    default="none",
    show_default=True,
    help="sum: divide by the sum over the classes.",
)
@option(
    "Softening",
    "--min-minority",
    type=click.FloatRange(0, 1),
    help="[superpixel] Share of a superpixel outside its "
    "largest class, below which it stays hard. Default: 0.",
)
@option(
    "Softening",
    "--in-plane",
    is_flag=True,
    default=None,
    help="[superpixel] Distances within slices only.",
)
@option("Softening", "--blur", type=float, help="[gaussian] Standard deviation. Default: 1.")
@option(
    "Run",
    "--compression",
    type=click.Choice(COMPRESSIONS),
    default="zstd",
    show_default=True,
    help="gzip needs no plugin to be read, and is slower.",
)
@option(
    "Run", "--jobs", "-j", type=click.IntRange(min=1), help="Worker processes. Default: one a core."
)
@option(
    "Run",
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N",
    help="Where soft maps are computed, with the same bytes everywhere: cuda is all cards, auto "
    "what a measurement at the start finds faster.",
)
@option("Run", "--overwrite", is_flag=True, help="Make the cache anew, whatever settings it has.")
@option(
    "Run",
    "--check-content",
    is_flag=True,
    help="Compare inputs by content even when size and time are unchanged.",
)
@option(
    "Run",
    "--dry-run",
    is_flag=True,
    help="Print the plan with estimated time and size from one case; write nothing.",
)
@json_option
@verbosity_options
@reader_options
def generate(
    source: Path,
    output: Path,
    format_: str,
    ids: tuple[str, ...],
    limit: int | None,
    superpixels: str,
    jobs: int | None,
    device: str,
    overwrite: bool,
    check_content: bool,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Compute the soft labels of the data set SOURCE into a cache.

    Running the same command again computes only what is missing or out of date.
    """
    dataset = list_dataset(source, format_, given_reader_options(options))
    recorded = output_path(output).exists() and not overwrite
    if not quiet:
        click.echo(dataset.description, err=True)
    files = None
    if superpixels not in ("slic", "grid"):
        files, superpixels = SuperpixelFiles(Path(superpixels)), "file"
    decided = plan(
        dataset, _settings(superpixels, options), output_path(output), ids=_wanted(ids, dataset),
        limit=limit, overwrite=overwrite, check_content=check_content, superpixel_files=files,
    )  # fmt: skip
    if dataset.classes is None and not quiet:
        click.echo(_class_sentence(decided, recorded), err=True)
    named_devices(decided, device)  # a plan for a device that is not there is none
    jobs = jobs or cpu_count()
    if dry_run:
        _print_plan(decided, jobs, verbose, as_json)
        return
    if not quiet:
        click.echo(_plan_sentence(decided, jobs), err=True)
        for step in decided.steps if verbose else ():
            if step.action == STALE:
                click.echo(f"  again {step.ref.id}: {step.reason}", err=True)
    report = _carry_out(decided, jobs, device, verbose, quiet)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        _print_report(report)
    _print_failures(report, output)
    _print_end(report, overwrite)
    sys.exit(_status(report))


def _carry_out(decided: Plan, jobs: int, device: str, verbose: bool, quiet: bool) -> Report:
    """Carry a plan out, and show how far it is and why a case failed."""
    told: set[str] = set()
    with progress(len(decided.todo), "cases", quiet) as advance:

        def on_case(report: CaseReport) -> None:
            if not report.error:
                advance(f"{report.id}: {duration(report.seconds)}" if verbose else "")
                return
            reason = _own_words(report.id, report.error)
            advance(f"failed: {report.id}" + (", likewise" if reason in told else f": {reason}"))
            told.add(reason)

        return carry_out(
            decided, jobs=jobs, device=device, progress=on_case,
            say=lambda text: None if quiet else click.echo(text, err=True),
            stopping=_announce_stop if min(jobs, len(decided.todo)) <= 1 else lambda number: None,
        )  # fmt: skip


def _announce_stop(number: int) -> None:
    """Say that Ctrl-C was seen, where it may take as long as a case until it is acted on.

    It is called by the signal's handler, in the midst of anything: printing by Python could be what
    it is in the midst of, and fail.
    """
    if number == signal.SIGINT:
        with contextlib.suppress(OSError):
            os.write(STDERR, STOPPING)


def _refuse_idle_options(settings: Settings) -> None:
    """Refuse options on the command line that the others leave without a say."""
    context = click.get_current_context()
    for name, others in idle_settings(settings).items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(_no_say(name, others))


def _no_say(name: str, others: Iterable[str]) -> str:
    """That an option has no meaning beside others, with what was given for them."""
    given = click.get_current_context().params
    reasons = [
        f"with {_flag(other)} {given[other]}" if given[other] else f"without {_flag(other)}"
        for other in others
    ]
    return f"{_flag(name)} has no meaning {' and '.join(reasons)}; leave it out, or change that."


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _class_sentence(decided: Plan, recorded: bool) -> str:
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


def _settings(superpixels: str, options: dict[str, Any]) -> Settings:
    method = METHODS[options["method"]]
    method_options = {name: options.pop(name) for name in ("min_minority", "in_plane", "blur")}
    given = {name: value for name, value in method_options.items() if value is not None}
    for name in given:
        if name not in {f.name for f in fields(method.options)}:
            raise UsageError(_no_say(name, ["method"]))
    settings = Settings(superpixels=superpixels, method_options=given, **options)
    _refuse_idle_options(settings)
    return settings


def _wanted(texts: tuple[str, ...], dataset: Dataset) -> list[str] | None:
    """Ids of ``--ids``: a whole text that is an id, else what its commas separate."""
    if not texts:
        return None
    known = {ref.id for ref in dataset.refs} | set(dataset.problems)
    wanted: list[str] = []
    for text in texts:
        pieces = [text] if text in known else [part.strip() for part in text.split(",")]
        wanted.extend(piece for piece in pieces if piece)
    if not wanted:
        raise UsageError("--ids names no case; give ids separated by commas, or leave it out.")
    return wanted


def _plan_sentence(decided: Plan, jobs: int) -> str:
    counts = [
        f"{decided.count(action)} {words}"
        for action, words in (
            (COMPUTE, "to compute"),
            (STALE, "to compute again"),
            (SKIP, "finished"),
            (FAILED, "unreadable"),
        )
        if decided.count(action)
    ]
    workers = min(jobs, max(1, len(decided.todo)))
    return f"{', '.join(counts) or 'no cases'}; {plural(workers, 'worker')}."


def _print_plan(decided: Plan, jobs: int, verbose: bool, as_json: bool) -> None:
    sample = estimate(decided)
    count = len(decided.todo)
    workers = min(jobs, max(1, count))
    if as_json:
        steps = [{"id": s.ref.id, "action": s.action, "reason": s.reason} for s in decided.steps]
        record: dict[str, Any] = {"steps": steps, "workers": workers, "seconds": None,
                                  "bytes": None}  # fmt: skip
        if sample is not None and not sample.error:
            record["seconds"] = sample.seconds * count / workers
            record["bytes"] = sample.bytes * count
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
        return
    click.echo(_plan_sentence(decided, jobs))
    for step in decided.steps:
        if verbose or step.action in (STALE, FAILED):
            click.echo(f"  {step.action:8} {step.ref.id}: {step.reason}")
    if sample is None:
        click.echo("Nothing to compute.")
    elif sample.error:
        click.echo(f"The first case fails, so there is no estimate: {sample.error}")
    else:
        click.echo(
            f"From {sample.id} ({duration(sample.seconds)}, {size(sample.bytes)}, "
            f"{sample.n_superpixels} superpixels of {sample.n_superpixels_asked} asked, "
            f"{percent(sample.softened_pixels / max(1, sample.pixels))} softened): about "
            f"{duration(sample.seconds * count / workers)} with {plural(workers, 'worker')}, "
            f"{size(sample.bytes * count)}."
        )


def _print_report(report: Report) -> None:
    if report.cases:
        click.echo(
            f"{plural(report.cases, 'case')} in {duration(report.seconds)} "
            f"({report.cases / report.seconds:.2f}/s), {size(report.bytes)}; "
            f"{percent(report.softened_share)} of the pixels softened, "
            f"mean Σq {report.mean_soft_sum:.4f}"
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
    if report.skipped:
        click.echo(f"{plural(report.skipped, 'case')} finished before.")
    click.echo(f"Cache: {report.out}")


def _print_failures(report: Report, output: Path) -> None:
    for warning in report.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if report.failures:
        click.echo(f"{plural(len(report.failures), 'case')} failed:", err=True)
        reasons = _by_reason(report.failures)
        for reason, ids in list(reasons.items())[:SHOWN_FAILURES]:
            named = ", ".join(ids[:SHOWN_IDS]) + (", …" if len(ids) > SHOWN_IDS else "")
            who = named if len(ids) == 1 else f"{len(ids)} cases ({named})"
            click.echo(f"  {who}: {reason}", err=True)
        if len(reasons) > SHOWN_FAILURES:
            click.echo(f"  … and {len(reasons) - SHOWN_FAILURES} more", err=True)
        click.echo(f"The list is in {failures_path(output)}.", err=True)


def _by_reason(failures: Mapping[str, str]) -> dict[str, list[str]]:
    """Ids of the cases that failed for one reason: a wrong option fails all of them alike."""
    found: dict[str, list[str]] = {}
    for case_id in sorted(failures, key=natural_key):
        found.setdefault(_own_words(case_id, failures[case_id]), []).append(case_id)
    return {reason if len(ids) > 1 else failures[ids[0]]: ids for reason, ids in found.items()}


def _own_words(case_id: str, reason: str) -> str:
    """A reason without the case, and its file, that it begins with."""
    return re.sub(rf"{re.escape(case_id)}( \([^()]*\))?: ", "", reason, count=1)


def _print_end(report: Report, overwrite: bool) -> None:
    """Say why a run ended early, and how to go on."""
    if not (report.interrupted or report.stopped):
        return
    again = "run the same command again" + (" without --overwrite" if overwrite else "")
    click.echo(f"Error: {report.stopped}" if report.stopped else "Interrupted.", err=True)
    click.echo(
        f"{plural(report.cases + report.skipped, 'case')} finished and kept, {report.remaining} "
        f"remain; {again} to go on.",
        err=True,
    )


def _status(report: Report) -> int:
    if report.interrupted:
        return interrupted_status()
    return 0 if report.complete else EXIT_FAILED
