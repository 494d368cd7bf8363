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


def process_mark(pid: int) -> str:
    """Number and start of a process: another one that was given the number later has another mark.

    Where the system does not tell when it started, the number alone.
    """
    started = ""
    with contextlib.suppress(OSError, IndexError):  # Linux; the name in brackets may have spaces
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        started = status.rpartition(")")[2].split()[19]
    return f"{pid}.{started}"


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs (POSIX)."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
