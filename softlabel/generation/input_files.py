"""The input files of a case: their SHA-256, and whether they have changed since.

Size and modification time are looked at first; the content is read again only when they differ
from what was last seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from softlabel.cache import InputFile, SeenFile
from softlabel.errors import CaseError
from softlabel.files.regular import open_regular


def content_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def hash_of_version(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file that many cases share, read once while its size and time stay."""
    return content_hash(path)


def record_inputs(
    files: Mapping[str, Path], known: dict[str, tuple[InputFile, SeenFile]]
) -> tuple[InputFile, ...]:
    """Hash the input files of a case.

    Parameters
    ----------
    files : mapping of str to Path
        Recorded name and place of each.
    known : dict
        Those of its neighbours that were hashed already; the new ones are added.

    Raises
    ------
    CaseError
        When a file cannot be read.
    """
    for name, path in files.items():
        if name in known:
            continue
        try:
            status = path.stat()
            digest = hash_of_version(path, status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise CaseError(
                f"{path} cannot be read ({error.strerror or error}); check that it exists and "
                "may be read."
            ) from error
        known[name] = (
            InputFile(name, status.st_size, digest),
            SeenFile(status.st_size, status.st_mtime_ns, digest),
        )
    return tuple(known[name][0] for name in files)


def input_change(
    files: Mapping[str, Path],
    recorded: tuple[InputFile, ...],
    seen: dict[str, SeenFile],
    check_content: bool,
) -> str | None:
    """Why input files make a case stale, or None.

    Parameters
    ----------
    files : mapping of str to Path
        Recorded name and place of each file that the case is read from now.
    recorded : tuple of InputFile
        What its part was made from.
    seen : dict of str to SeenFile
        Files whose content is known; those that had to be hashed are added.
    check_content : bool
        Read the files even when size and time are unchanged.
    """
    before = {file.path: file for file in recorded}
    for name in before:
        if name not in files:
            return f"{name} is no input any more"
    for name, path in files.items():
        if name not in before:
            return f"{name} is a new input"
        change = _file_change(path, name, before[name], seen, check_content)
        if change:
            return change
    return None


def shares_input(
    files: Mapping[str, Path], recorded: tuple[InputFile, ...], seen: dict[str, SeenFile]
) -> bool:
    """Whether one of the files that a part was made from is there unchanged.

    Parameters are those of :func:`input_change`.
    """
    return any(
        file.path in files
        and _file_change(files[file.path], file.path, file, seen, check_content=False) is None
        for file in recorded
    )


def _file_change(
    path: Path, name: str, before: InputFile, seen: dict[str, SeenFile], check_content: bool
) -> str | None:
    try:
        status = path.stat()
        if status.st_size != before.size:
            return f"{name} has another size than before"
        last = seen.get(name)
        unchanged = last is not None and (last.size, last.mtime_ns) == (
            status.st_size,
            status.st_mtime_ns,
        )
        if last is None or not unchanged or check_content:
            digest = content_hash(path)
            last = seen[name] = SeenFile(status.st_size, status.st_mtime_ns, digest)
    except OSError as error:
        return f"{name} cannot be read ({error.strerror or error})"
    return None if last.sha256 == before.sha256 else f"{name} has changed"
