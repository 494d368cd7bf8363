"""Take out of a cache what :func:`softlabel.cache.verify.verify` found wrong.

A repaired cache holds sound cases only, and its index tells which are missing: ``softlabel
generate`` computes those, and only those, again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from softlabel.cache import schema
from softlabel.cache.files import followed_link, is_packed, packed_is_read_only
from softlabel.cache.index import (
    IndexContent,
    folder_of,
    purpose_of,
    read_index,
    rebuild_index,
    recover,
    version_of,
)
from softlabel.cache.verify import Finding
from softlabel.errors import CacheError
from softlabel.files.owner import claimed


def repair(path: Path, findings: Iterable[Finding]) -> list[str]:
    """Delete the parts of the cases that findings name, and rebuild the index from the others.

    Parameters
    ----------
    path : Path
        The index.
    findings : iterable of Finding

    Returns
    -------
    list of str
        Ids of the cases that are computed anew by the next ``softlabel generate``.

    Raises
    ------
    CacheError
        When the index is damaged, and cannot be rebuilt from the parts, or the cache is packed.
    OwnedError
        When a run of other settings, or an ``--overwrite``, is writing the cache.
    """
    path = followed_link(path)
    if is_packed(path):
        raise CacheError(packed_is_read_only(path))
    content = _content(path)
    cases = sorted({finding.case for finding in findings if finding.case})
    with claimed(path, purpose_of(content.header.fingerprint, content.number)):
        content = _content(path)
        folder = folder_of(path, content.number)
        for case_id in cases:
            part = folder / schema.part_name(case_id)
            if version_of(part) is not None:
                part.unlink()
        rebuild_index(path, content)
    return cases


def _content(path: Path) -> IndexContent:
    """What the index says, or the parts where something is wrong with it."""
    try:
        return read_index(path)
    except CacheError:
        return recover(path)
