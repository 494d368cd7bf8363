"""``softlabel index``: rebuild the index of a cache from its parts."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from softlabel.cache import (
    IndexContent,
    PartsFolder,
    followed_link,
    is_damaged_index,
    parts_folder,
    read_index,
    rebuild_index,
    recover_header,
)
from softlabel.cli.options import cache_argument
from softlabel.console.group import EXIT_FAILED
from softlabel.errors import CacheError, plural


@click.command()
@cache_argument
def index(cache: Path) -> None:
    """Rebuild the index CACHE.h5 from the parts in the folder beside it.

    The exit status is 1 when a part had to be left out.
    """
    cache = followed_link(cache)
    folder = PartsFolder(parts_folder(cache))
    if not folder.path.is_dir():
        raise CacheError(
            f"There is no folder {folder.path} with parts to make an index of; give the .h5 file "
            "beside the .parts folder."
        )
    try:
        content = read_index(cache)
    except CacheError:
        if cache.exists() and not is_damaged_index(cache):
            raise CacheError(
                f"{cache} exists and is no softlabel cache; move it away, and run this again."
            ) from None
        content = IndexContent(recover_header(cache))
    parts = rebuild_index(cache, content, folder)
    taken = {part.file for part in parts}
    click.echo(f"{cache}: {plural(len(parts), 'case')}.")
    for name, part in folder.read().items():
        if name not in taken:
            reason = str(part) if isinstance(part, CacheError) else "it is of other settings."
            click.echo(f"left out {name}: {reason}", err=True)
    if len(taken) < len(folder.read()):
        sys.exit(EXIT_FAILED)
