"""The door through which files of others are opened: regular files only.

Opening a pipe for reading waits until somebody writes into it, and a device may never end. A path
is therefore looked at before it is opened, and what was opened is looked at again: it may have been
exchanged in between.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)
"""Has no effect on regular files; opening a pipe returns at once."""


class IrregularFileError(OSError):
    """A path that is a folder, a pipe, a socket or a device; ``strerror`` says which."""


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading.

    Raises
    ------
    IrregularFileError
        For folders, pipes, sockets and devices; links to regular files are followed.
    OSError
        As the system reports it.
    """
    require_regular(path)
    return open(path, "rb", opener=_handle_of)


def _handle_of(path: str, flags: int) -> int:
    handle = os.open(path, flags | _WITHOUT_WAITING)
    try:
        _require(os.fstat(handle).st_mode, path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def require_regular(path: Path) -> None:
    """Refuse what is no regular file, where a library is to open it.

    Raises
    ------
    IrregularFileError, OSError
        As :func:`open_regular`.
    """
    _require(path.stat().st_mode, path)


def _require(mode: int, path: Path | str) -> None:
    if not stat.S_ISREG(mode):
        raise IrregularFileError(errno.EINVAL, f"is {_kind(mode)}, not a regular file", str(path))


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
