"""``softlabel verify``: read and check every byte of a cache."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from softlabel.cache.repair import repair as take_out
from softlabel.cache.verify import case_ids
from softlabel.cache.verify import verify as find_problems
from softlabel.cli.options import cache_argument, json_option, verbosity_options
from softlabel.console.display import progress
from softlabel.console.group import EXIT_FAILED
from softlabel.errors import plural
from softlabel.parallel import cpu_count


@click.command()
@cache_argument
@click.option(
    "--repair",
    is_flag=True,
    help="Delete the cases in which something is wrong and rebuild the index: the same `softlabel "
    "generate` as before computes them again, and no others.",
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Worker processes. Default: up to one a core."
)
@json_option
@verbosity_options
def verify(
    cache: Path, repair: bool, jobs: int | None, as_json: bool, verbose: bool, quiet: bool
) -> None:
    """Read every chunk of a cache and compare it with its recorded checksums.

    Checks checksums, chunk counts, shapes, types and ranges. Lists what it finds; exit status 1
    when there is anything.
    """
    total = len(case_ids(cache))
    with progress(total, "verifying", quiet or as_json) as advance:
        findings = find_problems(
            cache, lambda case_id: advance(case_id if verbose else ""), jobs=jobs or cpu_count()
        )
    removed = take_out(cache, findings) if repair and findings else []
    if as_json:
        record: dict[str, Any] = {"cases": total, "findings": [f.as_dict() for f in findings]}
        record |= {"removed": removed} if repair else {}
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            label = f"{finding.case}: " if finding.case else ""
            click.echo(f"{label}{finding.where}: {finding.problem}")
        if not total and not findings and not quiet:
            click.echo(f"{cache} has no cases; nothing is wrong with its index.")
        elif not findings and not quiet:
            click.echo(f"{plural(total, 'case')} verified, nothing wrong.")
    if findings:
        if not quiet and not as_json:
            click.echo(f"{plural(len(findings), 'finding')}.", err=True)
        if repair and not quiet and not as_json:
            click.echo(
                f"{plural(len(removed), 'case')} taken out and the index rebuilt; run the same "
                "`softlabel generate` again.",
                err=True,
            )
        sys.exit(EXIT_FAILED)
