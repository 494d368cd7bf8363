"""Numerical kernels: compiled by numba once, kept on disk, loaded by every process after that.

numba keeps compiled code beside the source or, when that folder is read-only, in a folder of the
user. Where neither can be written (a cluster node without a home folder, a locked-down container)
it refuses to cache at all; :func:`kernel` then turns to a private folder among the temporary
files, so that the workers of a run need not compile everything again each.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function to machine code that releases the GIL, and keep the code on disk.

    What Python calls may return numbers only; arrays are given to be filled. numba runs Python to
    make an array or a named tuple of a result, and the first line of Python after a signal raises
    its KeyboardInterrupt: there the process would crash, or go on with the error in hand.

    No fast-math: results do not depend on how the compiler would reorder them.
    """
    return _compiled(function, inline="never")


def inlined_kernel(function: F) -> F:
    """As :func:`kernel`, for a small function that is to become part of its callers."""
    return _compiled(function, inline="always")


def _compiled(function: F, inline: str) -> F:
    try:
        return _jit(function, cache=True, inline=inline)
    except RuntimeError:  # numba found no folder that it may write
        folder = _private_folder()
        if folder is None:
            return _jit(function, cache=False, inline=inline)
        numba.config.CACHE_DIR = str(folder)
        return _jit(function, cache=True, inline=inline)


def _jit(function: F, **options: Any) -> F:
    return numba.njit(nogil=True, **options)(function)  # type: ignore[no-any-return]


@cache
def _private_folder() -> Path | None:
    """A folder that only this user can write: the cached code is executed when it is loaded."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"softlabel-kernels-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    foreign = hasattr(os, "getuid") and status.st_uid != user
    if foreign or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
        return None
    return folder
