"""``softlabel export``: soft labels in formats that other software reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from softlabel.cache import open_cache
from softlabel.cli.options import cache_argument, verbosity_options
from softlabel.console.display import progress
from softlabel.console.group import EXIT_FAILED, fail
from softlabel.errors import plural
from softlabel.exports import FORMATS, GRIDS, ExportInterrupted, export_cache
from softlabel.interrupt import interrupted_status


@click.command()
@cache_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder; it is made when it is missing.",
)
@click.option(
    "--to",
    type=click.Choice(list(FORMATS)),
    required=True,
    help=". ".join(f"{name}: {format_.title}" for name, format_ in FORMATS.items()) + ".",
)
@click.option(
    "--ids",
    multiple=True,
    metavar="ID",
    help="Only this case; may be repeated, and 'Subject_01*' works too.",
)
@click.option(
    "--grid",
    type=click.Choice(list(GRIDS)),
    default="scanner",
    show_default=True,
    help="Where the labels lie: as the scanner made the image, or as the steps before superpixels "
    "left it in the cache.",
)
@click.option("--per-class", is_flag=True, help="nifti: one file a class.")
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="dicom-seg: the data set, with the series that the cases were read from.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@verbosity_options
def export(cache: Path, output: Path, verbose: bool, quiet: bool, **options: Any) -> None:
    """Write the soft and hard labels of CACHE.h5 as files that other software reads.

    The values are pseudo-probabilities, made of a label map and its image, and not calibrated.
    Exit status 1 when a case could not be exported; the others are.
    """
    with open_cache(cache) as opened:
        total = len(opened.chosen(options["ids"]))
    try:
        with progress(total, "exporting", quiet) as advance:
            report = export_cache(
                cache, output, progress=lambda case_id: advance(case_id if verbose else ""),
                **options,
            )  # fmt: skip
    except ExportInterrupted as stopped:
        fail(_how_to_go_on(stopped, output), interrupted_status())
    if not quiet:
        click.echo(f"{plural(len(report.written), 'file')} written to {output}.")
    for case_id, reason in report.failures.items():
        click.echo(f"failed: {case_id}: {reason}", err=True)
    if report.failures:
        fail(f"{plural(len(report.failures), 'case')} could not be exported.", EXIT_FAILED)


def _how_to_go_on(stopped: ExportInterrupted, output: Path) -> str:
    done, total = len(stopped.done), len(stopped.done) + len(stopped.left)
    if not done:
        return "Interrupted before the first case was written; the same command starts anew."
    return (
        f"Interrupted. {done} of {plural(total, 'case')} are done, and all files in {output} are "
        "complete; the same command with --overwrite writes all cases anew."
    )
