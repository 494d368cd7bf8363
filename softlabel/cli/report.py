"""``softlabel report``: one HTML file about a cache."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.cache import open_cache
from softlabel.cli.options import cache_argument, verbosity_options
from softlabel.console.display import progress, size
from softlabel.errors import UsageError
from softlabel.parallel import cpu_count

CASES_A_WORKER = 16
"""Starting a worker takes as long as the pictures of a few cases."""


@click.command()
@cache_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="The report.  [default: NAME.report.html beside NAME.h5]",
)
@click.option(
    "--anonymise/--no-anonymise",
    default=None,
    help="Show hashes instead of ids and groups, and no text that may name a file.  [default: "
    "where the source is DICOM]",
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Worker processes. Default: up to one a core."
)
@verbosity_options
def report(
    cache: Path,
    output: Path | None,
    anonymise: bool | None,
    jobs: int | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Write a report of a cache as one HTML file, which needs nothing else.

    Data set, settings, warnings, failed cases; distributions; a table of the cases that can be
    sorted, worst first; and a picture of each with layers to switch: image, superpixels, labels,
    soft label of a class, entropy. The more cases there are, the smaller are the pictures: the file
    stays below 20 MB. A report that is there is replaced, any other file is not.
    """
    # matplotlib takes a second to import, which --help need not wait for
    from softlabel.reports import write_report

    if (cache / "recipe.yaml").is_file():
        raise UsageError(
            f"{cache} is the folder of a run; expected the .h5 file of a cache. The report of a "
            f"run is made by `softlabel-train report {cache}`."
        )
    with open_cache(cache) as opened:
        count = len(opened)
    jobs = jobs or min(cpu_count(), 1 + count // CASES_A_WORKER)
    with progress(count, "pictures", quiet) as advance:
        path = write_report(
            cache, output, anonymise=anonymise, jobs=jobs,
            progress=lambda case_id: advance(case_id if verbose else ""),
        )  # fmt: skip
    if not quiet:
        click.echo(f"{path} ({size(path.stat().st_size)})")
