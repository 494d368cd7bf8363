"""Files that are complete under their final name or not there; sweeping what was left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from softlabel.errors import UsageError
from softlabel.files.processes import is_alive, machine_name

TEMPORARY_PREFIX = ".softlabel-tmp-"

STALE_TEMPORARY_SECONDS = 24 * 3600.0
"""Temporary files whose writer cannot be asked are swept when they are older than this."""


def publish(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that it is complete under its final name or not there at all.

    Raises
    ------
    OSError
        As the file system reports it (no space, not writable); nothing is left behind.
    """
    _publish(path, temporary_name(), lambda temporary: _write(temporary, data))


def publish_by(path: Path, write: Callable[[Path], object]) -> None:
    """As :func:`publish`, of a file that a function writes to the path that it is given.

    That path has the ending of ``path``, by which some writers choose the format.
    """
    _publish(path, f"{temporary_name()}{path.suffix}", write)


def _publish(path: Path, name: str, write: Callable[[Path], object]) -> None:
    temporary = path.parent / name
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # the name that its reader knows
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def folder_at_once(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder under a temporary name, which gets its own when the block ends without an error.

    Parameters
    ----------
    folder : Path
    replace : bool
        Remove a folder of that name just before.

    Raises
    ------
    OSError
        As the file system reports it, also when there is a folder of that name that is not empty;
        nothing is left behind.
    """
    unfinished = folder.parent / temporary_name()
    unfinished.mkdir()
    try:
        yield unfinished
        sync_folder(unfinished)
        if replace and folder.is_dir():
            remove_folder(folder)
        unfinished.rename(folder)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(folder), None
        raise
    sync_folder(folder.parent)


def _write(path: Path, data: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)


def temporary_name() -> str:
    """A name that no other writer has: machine, process and a random number."""
    return f"{TEMPORARY_PREFIX}{machine_name()}-{os.getpid()}-{secrets.token_hex(6)}"


def require_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be written, before hours are spent for it.

    Raises
    ------
    UsageError
        Naming the nearest folder that there is.
    """
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "may not be written to" if there.is_dir() else "is a file"
        raise UsageError(f"{there} {what}; choose another folder than {folder}.")


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where the system lets folders be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it: it is there under its name as a whole, or not at all."""
    temporary = folder.parent / temporary_name()
    folder.rename(temporary)
    shutil.rmtree(temporary, ignore_errors=True)  # the rest is swept by a later run


def sweep(folder: Path) -> int:
    """Remove temporary files and folders that no living writer owns; return how many."""
    removed = 0
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_abandoned(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
    return removed


def _is_abandoned(path: Path) -> bool:
    pattern = rf"{re.escape(TEMPORARY_PREFIX)}(.+)-(\d+)-[0-9a-f]{{12}}(\.\w+)?"
    name = re.fullmatch(pattern, path.name)
    if name is None:
        return False
    if name[1] == machine_name() and os.name == "posix" and not is_alive(int(name[2])):
        return True
    return time.time() - path.stat().st_mtime > STALE_TEMPORARY_SECONDS
