"""``softlabel generate``: a data set on disk becomes a cache."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from softlabel.cli.check import print_findings
from softlabel.cli.options import (
    accept_option,
    format_option,
    given_reader_options,
    json_option,
    label_options,
    mapping_of,
    option,
    reader_options,
    verbosity_options,
)
from softlabel.cli.plugin_options import MethodCommand
from softlabel.cli.run_text import (
    class_sentence,
    own_words,
    plan_sentence,
    print_end,
    print_failures,
    print_plan,
    print_report,
)
from softlabel.cli.setting_options import (
    given_step_options,
    method_options,
    preprocessing_settings,
    setting,
    settings_of,
    softening_settings,
    superpixel_settings,
)
from softlabel.cluster import LOCAL, require_reachable
from softlabel.console.display import duration, progress
from softlabel.console.group import EXIT_FAILED
from softlabel.errors import UsageError, plural
from softlabel.generation.check import Check, checked, readable
from softlabel.generation.device_choice import named_devices
from softlabel.generation.looks import SavedCheck, load_check
from softlabel.generation.memory import workers_that_fit
from softlabel.generation.networks import with_weights
from softlabel.generation.on_cluster import require_fit
from softlabel.generation.output import output_path
from softlabel.generation.plan import STALE, Plan, check_method, plan
from softlabel.generation.report import CaseReport, Report
from softlabel.generation.run import carry_out, estimate
from softlabel.generation.settings import Settings
from softlabel.generation.shards import Shard, shard_of
from softlabel.generation.source import list_source
from softlabel.generation.superpixel_files import SuperpixelFiles
from softlabel.interrupt import interrupted_status
from softlabel.parallel import cpu_count
from softlabel.types import Dataset

WEDGES = "wedges"
"""An option of the Duke reader and a step."""

STDERR = 2
STOPPING = b"\nStopping after this case; press Ctrl-C again to stop at once.\n"
"""Begins with the end of a line, since a bar may stand there."""


@click.command(cls=MethodCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="CACHE.h5",
    help="The cache; its parts go into CACHE.parts beside it.",
)
@format_option
@option(
    "Which cases",
    "--ids",
    multiple=True,
    metavar="ID[,ID…]",
    help="Only these cases ('Subject_01*' works too); may be repeated.",
)
@option("Which cases", "--limit", type=click.IntRange(min=1), help="Only the first N cases.")
@option(
    "Which cases",
    "--shard",
    metavar="I/N|slurm",
    help="Of the cases chosen, only those of the I-th of N runs that make the cache together; "
    "slurm takes I and N from a job array.",
)
@option(
    "Superpixels",
    "--superpixels",
    default="slic",
    show_default=True,
    metavar="slic|grid|FILE",
    help="Where superpixels come from: SLIC of the image, a regular grid, or a folder, "
    ".npz or cache with superpixels by case id.",
)
@label_options
@accept_option
@click.option(
    "--checked",
    "saved_check",
    type=click.Path(path_type=Path),
    metavar="CHECK.json",
    help="What `softlabel check -o` wrote: label maps that have not changed since are not read "
    "for the check.",
)
@preprocessing_settings("Preprocessing")
@superpixel_settings
@softening_settings
@method_options("Softening")
@setting("Run", "compression", "gzip needs no plugin to be read, and is slower.")
@option(
    "Run",
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    help="Worker processes, at most: as many as fit into the memory. Default: one a core.",
)
@option(
    "Run",
    "--device",
    default="cpu",
    show_default=True,
    metavar="cpu|auto|cuda|cuda:N",
    help="Where soft maps are computed, with the same bytes everywhere: cuda is all cards, auto "
    "what a measurement at the start finds faster.",
)
@option(
    "Run",
    "--scheduler",
    metavar="tcp://HOST:PORT|FILE.json|local",
    help="Compute on a Dask cluster: the address of its scheduler, the file that it wrote, or "
    f"{LOCAL} for --jobs processes here.",
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
    "--check-parts",
    is_flag=True,
    help="Compare finished cases with their digests even when their files have not changed since "
    "the index was written.",
)
@option(
    "Run",
    "--dry-run",
    is_flag=True,
    help="Print the plan with estimated time and size from one case; write nothing.",
)
@json_option
@verbosity_options
@partial(reader_options, leave_out=(WEDGES,))
def generate(
    source: Path,
    output: Path,
    format_: str,
    map_: str | None,
    threshold: float | None,
    accept: tuple[str, ...],
    saved_check: Path | None,
    ids: tuple[str, ...],
    limit: int | None,
    shard: str | None,
    superpixels: str,
    jobs: int | None,
    device: str,
    scheduler: str | None,
    overwrite: bool,
    check_content: bool,
    check_parts: bool,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Compute the soft labels of the data set SOURCE into a cache.

    Running the same command again computes only what is missing or out of date.
    """
    share = None if shard is None else shard_of(shard)
    if scheduler is not None:
        require_fit(scheduler, device)
        require_reachable(scheduler)  # before all label maps are read
    dataset = list_source(
        source, format_, given_reader_options(options), mapping_of(map_, threshold)
    )
    dataset, steps = with_wedges(dataset, given_step_options(options))
    recorded = output_path(output).exists() and not overwrite
    if not quiet:
        click.echo(dataset.description, err=True)
    files = None
    if superpixels not in ("slic", "grid"):
        files, superpixels = SuperpixelFiles(Path(superpixels)), "file"
    weights = steps.pop("weights", None)
    settings = settings_of(options, superpixels=superpixels, preprocess_options=steps)
    settings = with_weights(settings, weights)
    check_method(dataset, settings)  # before all label maps are read
    wanted, jobs = _wanted(ids, dataset), jobs or cpu_count()
    saved = None if saved_check is None else load_check(saved_check)
    found = _checked(dataset, settings, wanted, limit, share, accept, jobs, quiet, saved)
    if found.changed and not quiet:
        click.echo(_changed_sentence(found.changed, saved_check), err=True)
    decided = plan(
        found.dataset, settings, output_path(output), ids=wanted, limit=limit,
        overwrite=overwrite, check_content=check_content, check_parts=check_parts,
        superpixel_files=files,
        findings=[finding.as_record() for finding in found.findings], classes=found.class_table,
        weights=weights, shard=share, largest=found.largest,
    )  # fmt: skip
    if dataset.classes is None and not quiet:
        click.echo(class_sentence(decided, recorded), err=True)
    if scheduler in (None, LOCAL):
        jobs, fewer = workers_that_fit(decided, jobs)
        if fewer and not quiet:
            click.echo(fewer, err=True)
    named_devices(decided, device)  # a plan for a device that is not there is none
    if dry_run:
        print_plan(decided, estimate(decided), jobs, verbose, as_json)
        return
    if not quiet:
        click.echo(plan_sentence(decided, jobs, scheduler), err=True)
        for step in decided.steps if verbose else ():
            if step.action == STALE:
                click.echo(f"  again {step.ref.id}: {step.reason}", err=True)
    report = _carry_out(decided, jobs, device, scheduler, verbose, quiet)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        print_report(report)
    print_failures(report, output, share)
    print_end(report, overwrite)
    sys.exit(_status(report))


def with_wedges(dataset: Dataset, steps: dict[str, Any]) -> tuple[Dataset, dict[str, Any]]:
    """``--wedges keep`` and ``mask`` are the reader's where it has the option, ``fill`` the step's.

    A reader that keeps or masks them as it was told leaves the step nothing to do.
    """
    word = steps.get(WEDGES)
    if word in (None, "fill") or WEDGES not in dataset.options:
        return dataset, steps
    return (
        replace(dataset, options={**dataset.options, WEDGES: word}),
        steps | {WEDGES: "keep"},
    )


def _checked(
    dataset: Dataset,
    settings: Settings,
    ids: list[str] | None,
    limit: int | None,
    shard: Shard | None,
    accept: tuple[str, ...],
    jobs: int,
    quiet: bool,
    saved: SavedCheck | None,
) -> Check:
    """Look at the label maps of the chosen cases; what would certainly be wrong ends the command.

    Raises
    ------
    UsageError
        When there is a finding that is an error and was not accepted.
    """
    count = len(readable(dataset, ids, limit, shard))
    with progress(count, "label maps checked", quiet) as advance:
        return checked(
            dataset, settings, ids=ids, limit=limit, accept=accept, jobs=jobs,
            progress=lambda case_id: advance(""), tell=print_findings, saved=saved,
            shard=shard,
        )  # fmt: skip


def _changed_sentence(changed: tuple[str, ...], saved_check: Path | None) -> str:
    return (
        f"{plural(len(changed), 'label map')} read again, since {saved_check} holds none of that "
        f"size and time, for example {changed[0]}."
    )


def _carry_out(
    decided: Plan, jobs: int, device: str, scheduler: str | None, verbose: bool, quiet: bool
) -> Report:
    """Carry a plan out, and show how far it is and why a case failed."""
    told: set[str] = set()
    here = scheduler is None and min(jobs, len(decided.todo)) <= 1
    with progress(len(decided.todo) + len(decided.regroup), "cases", quiet) as advance:

        def on_case(report: CaseReport) -> None:
            if not report.error:
                advance(f"{report.id}: {duration(report.seconds)}" if verbose else "")
                return
            reason = own_words(report.id, report.error)
            advance(f"failed: {report.id}" + (", likewise" if reason in told else f": {reason}"))
            told.add(reason)

        return carry_out(
            decided, jobs=jobs, device=device, scheduler=scheduler, progress=on_case,
            say=lambda text: None if quiet else click.echo(text, err=True),
            stopping=_announce_stop if here else lambda number: None,
        )  # fmt: skip


def _announce_stop(number: int) -> None:
    """Confirm Ctrl-C at once, where acting on it may take as long as a case.

    The signal handler calls this at any moment, in the middle of a ``print`` too: Python's printing
    is not reentrant, ``os.write`` is.
    """
    if number == signal.SIGINT:
        with contextlib.suppress(OSError):
            os.write(STDERR, STOPPING)


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


def _status(report: Report) -> int:
    if report.interrupted:
        return interrupted_status()
    return 0 if report.complete else EXIT_FAILED
