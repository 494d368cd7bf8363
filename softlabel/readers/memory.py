"""How much memory is free, as far as the system tells."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from softlabel.files.regular import open_regular

_MEMINFO = Path("/proc/meminfo")
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
_OF_THIS_PROCESS = Path("/proc/self/statm")


def free_bytes() -> int | None:
    """Bytes that a process can take at most, None where the system does not tell (not Linux).

    The least of what the machine has free, of the limit of a container, and of what ``ulimit -v``
    leaves to this process.
    """
    bounds = []
    with contextlib.suppress(OSError):
        if found := re.search(r"MemAvailable:\s+(\d+) kB", _text(_MEMINFO)):
            bounds.append(int(found[1]) << 10)
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        bounds.append(int(_text(_CONTAINER_LIMIT)))
    with contextlib.suppress(OSError, ImportError):
        bounds += _left_by_ulimit()
    return min(bounds, default=None)


def _text(path: Path) -> str:
    with open_regular(path) as stream:
        return stream.read().decode("ascii")


def _left_by_ulimit() -> list[int]:
    import resource  # POSIX

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    pages = int(_text(_OF_THIS_PROCESS).split()[0])
    return [max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))]
