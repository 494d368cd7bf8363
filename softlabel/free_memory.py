"""How much memory is free, as far as the system tells."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUPS, _GROUP_FILES = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_OF_THIS_PROCESS = Path("/proc/self/statm")


def free_bytes() -> int | None:
    """Bytes that this process can still take; None where the system does not tell (not Linux).

    The least of what :func:`shared_bytes` tells and of what ``ulimit -v`` leaves to the process.
    """
    bounds = [*_shared_bounds()]
    with contextlib.suppress(OSError, ImportError):
        bounds += _left_by_ulimit()
    return min(bounds, default=None)


def shared_bytes() -> int | None:
    """Bytes that processes can take together; None where the system does not tell.

    The least of what the machine has free and of what the control groups above this process leave.
    """
    return min(_shared_bounds(), default=None)


def _shared_bounds() -> Iterator[int]:
    with contextlib.suppress(OSError):
        if found := re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text()):
            yield int(found[1]) << 10
    yield from _left_by_groups()


def _left_by_groups() -> Iterator[int]:
    """What each limit above this process leaves: batch systems set them, and containers do."""
    try:
        lines = _GROUPS.read_text().splitlines()
    except OSError:  # a system without control groups
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":  # version 2
            root, limit, used = _GROUP_FILES, "memory.max", "anon"
        elif "memory" in controllers.split(","):
            root, limit, used = _GROUP_FILES / "memory", "memory.limit_in_bytes", "total_rss"
        else:
            continue
        folder = root / name.lstrip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(root):
                yield from _left_by_group(group / limit, group / "memory.stat", used)


def _left_by_group(limit: Path, statistics: Path, used: str) -> Iterator[int]:
    try:
        most = limit.read_text().strip()
        numbers = dict(line.split() for line in statistics.read_text().splitlines())
    except (OSError, ValueError):  # another layout, or hidden by a container
        return
    if most.isdecimal():  # "max" is none
        yield max(0, int(most) - int(numbers.get(used, 0)))


def _left_by_ulimit() -> list[int]:
    import resource  # POSIX

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    pages = int(_OF_THIS_PROCESS.read_text().split()[0])
    return [max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))]
