"""Marks of machines and processes, by which a file's writer is told alive or dead."""

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
    """Name of what gives out the numbers of processes: the host, or a container on it.

    Two containers may have one host name and share a folder; a process of the one is none of the
    other's.
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
