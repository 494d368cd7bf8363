"""What lies at an output before a run: the cache that the run goes on with, or takes the place of.

An ``--overwrite`` writes into a folder of parts of its own, ``NAME.parts.N``; the index names
another one until all cases are there. Then the index is replaced, which is the exchange, and the
old folder goes. A run that did not get that far has left both, and is gone on with by a run of the
same settings.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from softlabel.cache import (
    IndexContent,
    folder_of,
    is_packed,
    packed_is_read_only,
    parts_folder,
    parts_folders,
    read_index,
    recover,
)
from softlabel.cache.files import refuse_new_link
from softlabel.errors import CacheError, UsageError
from softlabel.generation.records import settings_differences


@dataclass(frozen=True)
class Present:
    """The part of an output that a run has to do with.

    Attributes
    ----------
    content : IndexContent or None
        The cache to go on with; None for one to begin.
    number : int
        Of the folder of parts to write.
    replaces : Path or None
        The folder of parts whose place that takes when all cases are there.
    """

    content: IndexContent | None
    number: int = 1
    replaces: Path | None = None


def look(out: Path, settings_json: str, overwrite: bool) -> Present:
    """What a run of these settings finds.

    Raises
    ------
    UsageError
        When the output is a packed cache; unless it overwrites also when it is no cache, or one
        that cannot be told.
    """
    if is_packed(out):
        raise UsageError(packed_is_read_only(out))
    folders = parts_folders(out)
    if overwrite:
        numbers = [*folders, *_named(out)]
        if not numbers:
            return Present(None)
        return Present(None, max(numbers) + 1, parts_folder(out))
    content = existing(out)
    current = content.number if content is not None else max(_named(out), default=1)
    for number in sorted((n for n in folders if n > current), reverse=True):
        with contextlib.suppress(CacheError):
            begun = recover(out, number)
            if not settings_differences(begun.header.settings, settings_json):
                return Present(begun, number, folder_of(out, current))
    return Present(content, current)


def existing(out: Path) -> IndexContent | None:
    """The existing index, rebuilt in memory from the parts when it is lost.

    An index without parts is ignored: a run in which every case failed leaves one behind.

    Raises
    ------
    UsageError
        When the output is something else, or its parts are of different settings.
    """
    has_parts = any(parts_folder(out).glob("*.h5"))
    try:
        if out.exists() or out.is_symlink():
            try:
                index = read_index(out)
            except CacheError:
                if not has_parts:
                    raise
            else:
                refuse_new_link(out)
                return index if has_parts else None
        return recover(out) if has_parts else None
    except CacheError as error:
        raise UsageError(str(error)) from error


def refuse_other_settings(out: Path, existing: str, wanted: str) -> None:
    """Refuse to go on with a cache of other settings; both are records.

    Raises
    ------
    UsageError
        Naming the settings that differ.
    """
    differences = settings_differences(existing, wanted)
    if differences:
        raise UsageError(
            f"{out} was made with other settings ({'; '.join(differences)}); give the same "
            "settings to resume it, another output for these, or --overwrite to make it anew."
        )


def _named(out: Path) -> tuple[int, ...]:
    """The number of the folder that the index names, where there is an index."""
    try:
        return (read_index(out).number,)
    except CacheError:
        return (1,) if out.exists() else ()
