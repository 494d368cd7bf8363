"""Numerical kernels: compiled by numba once, kept on disk, loaded by every process after that.

numba keeps compiled code beside the source or, when that folder is read-only, in a folder of the
user. Where neither can be written (a cluster node without a home folder, a locked-down container)
it refuses to cache at all; :func:`kernel` then turns to a private folder among the temporary
files, so that the workers of a run need not compile everything again each.

numba itself is imported when a kernel is first called: commands that compute nothing do without.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Callable
from functools import cache, update_wrapper
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function to machine code that releases the GIL, and keep the code on disk.

    What Python calls may return numbers only; arrays are given to be filled. numba runs Python to
    make an array or a named tuple of a result, and the first line of Python after a signal raises
    its KeyboardInterrupt: there the process would crash, or go on with the error in hand.

    No fast-math: results do not depend on how the compiler would reorder them.
    """
    return cast(F, _Kernel(function, inline="never"))


def inlined_kernel(function: F) -> F:
    """As :func:`kernel`, for a small function that is to become part of its callers."""
    return cast(F, _Kernel(function, inline="always"))


def inner_kernel(function: F) -> F:
    """As :func:`kernel`, for a function that only kernels call and that makes no array.

    It is compiled without numba's memory management. That counts, with atomic instructions, who
    holds an array: at every call that passes one on, for every field of a named tuple, at every
    slice. Where functions are short and called by the million, that is a third of the time. The
    arrays live on, since the kernel outside holds them.
    """
    return cast(F, _Kernel(function, inline="never", _nrt=False))


_making = threading.RLock()


class _Kernel:
    """A function that becomes numba's when it is first called, or asked for what numba adds.

    numba looks up what a function calls in its module, and knows its own functions only. So all
    kernels that a module holds are replaced there together.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.py_func = function
        self._options = options
        self._made: Any = None
        self._ready = False
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        return self._numbas()(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._numbas(), name)

    def _numbas(self) -> Any:
        """The function as numba has it; other threads wait until its module is complete."""
        if self._ready:
            return self._made
        with _making:
            if self._made is None:
                self._made = _compiled(self.py_func, **self._options)
                names = self.py_func.__globals__
                for name, value in list(names.items()):
                    if isinstance(value, _Kernel):
                        names[name] = value._numbas()
                self._ready = True
            return self._made


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    import numba

    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it may write
        folder = _private_folder()
        if folder is None:
            return numba.njit(nogil=True, cache=False, **options)(function)
        numba.config.CACHE_DIR = str(folder)
        return numba.njit(nogil=True, cache=True, **options)(function)


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
