"""``softlabel unpack``: a cache of parts from one packed file."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.cache import open_cache, unpack_cache
from softlabel.cli.options import cache_argument, verbosity_options
from softlabel.console.display import progress
from softlabel.errors import plural


@click.command()
@cache_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="NAME.h5",
    help="The index to write, beside the folder NAME.parts; neither may exist.",
)
@verbosity_options
def unpack(cache: Path, output: Path, verbose: bool, quiet: bool) -> None:
    """Turn a packed file into a cache of parts again, which `softlabel generate` goes on with.

    What is stored is copied and compared with its checksums, and nothing is computed.
    """
    with open_cache(cache) as opened:
        total = len(opened)
    with progress(total, "unpacking", quiet) as advance:
        written = unpack_cache(cache, output, lambda case_id: advance(case_id if verbose else ""))
    if not quiet:
        click.echo(f"{written}: {plural(total, 'case')}.")
