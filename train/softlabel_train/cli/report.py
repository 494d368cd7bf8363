"""``softlabel-train report``."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.console.display import size
from softlabel_train.report import MOST_PICTURES, PICTURES, write_run_report
from softlabel_train.runfolder import PARTS


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.html",
    help="The report.  [default: report.html in RUN]",
)  # fmt: skip
@click.option("--cache", type=click.Path(path_type=Path), help="Another cache than the run's.")
@click.option(
    "--part", type=click.Choice(PARTS), default="evaluation", show_default=True,
    help="Patients whose scores are shown.",
)  # fmt: skip
@click.option(
    "--pictures", type=click.IntRange(0, MOST_PICTURES), default=PICTURES, show_default=True,
    help="Worst cases that are predicted anew and shown.",
)  # fmt: skip
@click.option(
    "--anonymise/--no-anonymise", default=None,
    help="Show hashes instead of ids and patients, and no text that may name a file.  [default: "
    "where the source is DICOM or the cache is gone]",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def report(
    run: Path,
    output: Path | None,
    cache: Path | None,
    part: str,
    pictures: int,
    anonymise: bool | None,
    device: str,
    quiet: bool,
) -> None:
    """Write a report of the run in the folder RUN as one HTML file, which needs nothing else.

    Curves; the scores that evaluate wrote, by class with intervals and by case; and the worst
    cases with layers to switch: image, prediction, labels, where they differ.
    """
    path = write_run_report(
        run, output, cache=cache, part=part, pictures=pictures, anonymise=anonymise, device=device,
        progress=None if quiet else lambda case: click.echo(f"{case} done", err=True),
    )  # fmt: skip
    if not quiet:
        click.echo(f"{path} ({size(path.stat().st_size)})")
