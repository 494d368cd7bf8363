"""``softlabel check``: what a data set is, and what would be silently wrong about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from softlabel.cli.options import (
    accept_option,
    format_option,
    given_reader_options,
    json_option,
    label_options,
    mapping_of,
    reader_options,
    verbosity_options,
)
from softlabel.cli.plugin_options import MethodCommand
from softlabel.cli.setting_options import (
    method_options,
    settings_of,
    softening_settings,
    superpixel_settings,
)
from softlabel.console import drawing
from softlabel.console.display import progress
from softlabel.console.group import EXIT_USAGE, say
from softlabel.errors import plural
from softlabel.generation.check import Check, check_dataset
from softlabel.generation.findings import ERROR, FINDINGS, Finding
from softlabel.generation.looks import require_place, save_check
from softlabel.generation.source import list_source
from softlabel.parallel import cpu_count

SHOWN_CLASSES = 60


@click.command(cls=MethodCommand)
@click.argument("source", type=click.Path(path_type=Path))
@format_option
@label_options
@superpixel_settings
@softening_settings
@method_options("Softening")
@accept_option
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Worker processes. Default: one a core."
)
@click.option("--again", is_flag=True, help="Read label maps again, though they have not changed.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="CHECK.json",
    help="Write what was seen, for `softlabel generate --checked`.",
)
@json_option
@verbosity_options
@reader_options
def check(
    source: Path,
    format_: str,
    map_: str | None,
    threshold: float | None,
    accept: tuple[str, ...],
    jobs: int | None,
    again: bool,
    output: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Show what the data set SOURCE is, and find what would be silently wrong about it.

    Reads every label map and prints what each value is. A finding tells the files, what it means
    and the option that settles it. The exit status is 2 when one would certainly give a wrong
    cache; --accept CODE takes it for a warning.
    """
    dataset = list_source(
        source, format_, given_reader_options(options), mapping_of(map_, threshold)
    )
    if output is not None:
        require_place(output)
    if not quiet:
        click.echo(dataset.description, err=True)
    with progress(len(dataset.refs), "label maps", quiet or as_json) as advance:
        found = check_dataset(
            dataset, settings_of(options), accept=accept, jobs=jobs or cpu_count(),
            remember=not again, progress=lambda case_id: advance(case_id if verbose else ""),
        )  # fmt: skip
    if output is not None:
        save_check(output, dataset, dataset.refs, found.seen)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print_classes(found)
        print_findings(found.findings)
    sys.exit(EXIT_USAGE if found.errors else 0)


def _print_classes(found: Check) -> None:
    rows = found.classes()
    if rows:
        console = drawing.console(sys.stdout)
        table = Table("value", "class", "cases", "pixels", "pieces")
        for row in rows[:SHOWN_CLASSES]:
            pieces = "–" if row.pieces is None else f"{row.pieces:,}"
            table.add_row(str(row.value), row.name, f"{row.cases:,}", f"{row.pixels:,}", pieces)
        if len(rows) > SHOWN_CLASSES:
            table.caption = f"and {len(rows) - SHOWN_CLASSES} more"
        console.print(table)
    for case_id, reason in [*found.unreadable.items()][:5]:
        say(f"unreadable: {case_id}: {reason}")
    if len(found.unreadable) > 5:
        click.echo(f"… and {len(found.unreadable) - 5} more", err=True)
    if not found.findings:
        click.echo(f"{plural(len(found.looks), 'label map')} checked, nothing found.")


def print_findings(findings: Iterable[Finding]) -> None:
    """Print findings, each with its code, what it means and the option that settles it."""
    for finding in findings:
        kind = FINDINGS[finding.code]
        word = "Error" if finding.severity == ERROR else "Warning"
        accepted = " (accepted)" if finding.accepted else ""
        say(f"{word} [{finding.code}]{accepted}: {finding.text}")
        if not finding.accepted:
            click.echo(f"  {kind.meaning} What settles it: {kind.settled_by}.", err=True)
