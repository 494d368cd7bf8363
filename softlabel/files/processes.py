"""Names of machines, and whether a process of this one is alive.

Knows nothing of the files that carry these names."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from functools import lru_cache
from pathlib import Path


@lru_cache
def machine_name() -> str:
    """Name of what numbers processes: the host, or a container on it.

    Two containers may share a host name and a folder, but not the numbers of their processes.
    """
    marks = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        marks.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    host = re.sub(r"[^\w.]", "_", marks[0])[:60]
    return f"{host}-{hashlib.sha256(' '.join(marks).encode()).hexdigest()[:8]}"


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs (POSIX)."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
