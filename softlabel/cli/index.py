"""``softlabel index``: rebuild the index of a cache from its parts."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from softlabel.cache import (
    Header,
    IndexContent,
    PartsFolder,
    PartSummary,
    folder_of,
    followed_link,
    is_damaged_index,
    is_packed,
    packed_is_read_only,
    parts_folder,
    purpose_of,
    read_index,
    rebuild_index,
    recover,
)
from softlabel.cli.options import cache_argument
from softlabel.console.group import EXIT_FAILED, say
from softlabel.errors import CacheError, plural
from softlabel.files.owner import claimed


@click.command()
@cache_argument
def index(cache: Path) -> None:
    """Rebuild the index CACHE.h5 from the parts in the folder beside it.

    The exit status is 1 when a part had to be left out.
    """
    cache = followed_link(cache)
    if is_packed(cache):
        raise CacheError(packed_is_read_only(cache))
    folder = parts_folder(cache)
    if not folder.is_dir():
        raise CacheError(
            f"There is no folder {folder} with parts to make an index of; give the .h5 file "
            "beside the .parts folder."
        )
    content = _content(cache)
    with claimed(cache, purpose_of(content.header.fingerprint, content.number)):
        content = _content(cache)  # as whoever had it before has left it
        parts = PartsFolder(folder_of(cache, content.number))
        linked = rebuild_index(cache, content, parts)
    taken = {part.file for part in linked}
    click.echo(f"{cache}: {plural(len(linked), 'case')}.")
    for name, part in parts.read().items():
        if name not in taken:
            say(f"left out {name}: {_reason(part, content.header)}")
    if len(taken) < len(parts.read()):
        sys.exit(EXIT_FAILED)


def _reason(part: PartSummary | CacheError, header: Header) -> str:
    if isinstance(part, CacheError):
        return str(part)
    if part.fingerprint != header.fingerprint:
        return "it is of other settings."
    return f"it is of version {part.algorithm} of the algorithm, the index of {header.algorithm}."


def _content(cache: Path) -> IndexContent:
    """What the index says, or the parts without one."""
    try:
        return read_index(cache)
    except CacheError:
        if cache.exists() and not is_damaged_index(cache):
            raise CacheError(
                f"{cache} exists and is no softlabel cache; move it away, and run this again."
            ) from None
        return recover(cache)
