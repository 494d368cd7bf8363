"""``softlabel pack``: a cache as one self-contained file."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.cache import open_cache, pack_cache
from softlabel.cli.options import cache_argument, verbosity_options
from softlabel.console.display import progress, size
from softlabel.errors import plural


@click.command()
@cache_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.h5",
    help="The file to write, which must not exist.",
)
@verbosity_options
def pack(cache: Path, output: Path, verbose: bool, quiet: bool) -> None:
    """Put all parts of a cache into one file, to copy or to publish.

    The file is read as the cache is. What is stored is copied and compared with its checksums, and
    nothing is computed; `softlabel unpack` turns it into a cache of parts again.
    """
    with open_cache(cache) as opened:
        total = len(opened)
    with progress(total, "packing", quiet) as advance:
        written = pack_cache(cache, output, lambda case_id: advance(case_id if verbose else ""))
    if not quiet:
        click.echo(f"{written}: {plural(total, 'case')}, {size(written.stat().st_size)}.")
