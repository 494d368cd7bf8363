"""Who writes an output: a *claim* beside it, a file whose time of change is a heartbeat.

Runs of one purpose share an output, as shards do; of two purposes only one may have it. File locks
would not do: network file systems refuse or forget them. A claim is an empty file of a name that
nobody else has, made with O_EXCL in the folder ``NAME.lock``; its name tells purpose, machine and
process. A run makes its claim *first* and looks at the others *then*: of two runs whoever looks
last sees the other. Two that see each other both withdraw, and try again after different times.

A claim is dead when its process is (seen on the same machine), or when its heartbeat has stopped.
Then whoever comes next removes it, and a process that was only suspended finds out by
:meth:`Claim.require`, which it calls before everything that it publishes.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from softlabel.errors import UsageError
from softlabel.files.processes import is_alive, machine_name

LOCK_SUFFIX = ".lock"

HEARTBEAT_SECONDS = 15.0
DEAD_SECONDS = 600.0
"""A claim without a heartbeat for so long is dead. A kernel may hold the interpreter, and with it
the heartbeat, for minutes."""

PATIENCE_SECONDS = 3.0
"""How long a claim is tried for while another purpose has the output."""

WITHDRAWN_SECONDS = (0.05, 0.3)
"""Bounds of the random time between two tries."""


class OwnedError(UsageError):
    """Another run is writing the output."""


class LostClaimError(UsageError):
    """Another run has taken the output over, because this one gave no sign of life."""


@dataclass(frozen=True)
class Claim:
    """The right to write an output; it may travel to worker processes.

    Attributes
    ----------
    output : Path
    path : Path
        The file of the claim.
    """

    output: Path
    path: Path

    def require(self) -> None:
        """Look whether the claim is still there.

        Raises
        ------
        LostClaimError
            When somebody has removed it.
        """
        if not self.path.exists():
            raise LostClaimError(
                f"{self.output} was taken over by another run, since this one gave no sign of life "
                f"for {DEAD_SECONDS / 60:.0f} minutes, or its claim {self.path} was deleted; run "
                "the same command again when the other one has ended."
            )


@contextlib.contextmanager
def claimed(output: Path, purpose: str) -> Iterator[Claim]:
    """Have the right to write an output while the block runs, with a heartbeat.

    Parameters
    ----------
    output : Path
        Its folder is made when it is missing.
    purpose : str
        What is written, of letters, digits and dashes: runs of the same purpose share the output.

    Raises
    ------
    OwnedError
        When a living run of another purpose has it.
    OSError
        When nothing can be written beside the output.
    """
    claim = _claim(output, purpose)
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(claim.path, ended), daemon=True)
    heart.start()
    try:
        yield claim
    finally:
        ended.set()
        heart.join()
        _withdraw(claim.path)


def owners(output: Path) -> list[str]:
    """Purposes of the living runs that write an output."""
    folder = _lock_folder(output)
    try:
        with _probe(folder) as now:
            return [o.purpose for o in _claims(folder, now) if not o.is_dead]
    except OSError:  # nothing may be written here: then nobody writes the output either
        return []


@dataclass(frozen=True)
class _Owner:
    """What the name of a claim and its heartbeat tell."""

    path: Path
    purpose: str
    machine: str
    pid: int
    age_seconds: float

    @property
    def is_dead(self) -> bool:
        ours = self.machine == machine_name() and os.name == "posix"
        return (ours and not is_alive(self.pid)) or self.age_seconds > DEAD_SECONDS

    def __str__(self) -> str:
        host = self.machine.rpartition("-")[0]
        return (
            f"process {self.pid} on {host}, last sign of life {max(0, self.age_seconds):.0f} s ago"
        )


def _lock_folder(output: Path) -> Path:
    return output.with_suffix(LOCK_SUFFIX)


def _claim(output: Path, purpose: str) -> Claim:
    folder = _lock_folder(output)
    name = f"{purpose}.{machine_name()}-{os.getpid()}-{secrets.token_hex(6)}"
    path = folder / name
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        _make(path)
        others = _claims(folder, path.stat().st_mtime)
        for other in others:
            if other.is_dead:
                other.path.unlink(missing_ok=True)
        rivals = [o for o in others if not o.is_dead and o.purpose != purpose]
        if not rivals:
            return Claim(output, path)
        _withdraw(path)
        if time.monotonic() > give_up:
            raise OwnedError(
                f"{output} is being written by another run, with other settings or anew "
                f"({rivals[0]}); wait for it to end, stop it, or give another output. Should that "
                f"process be gone, delete {rivals[0].path}."
            )
        time.sleep(random.uniform(*WITHDRAWN_SECONDS))


def _make(path: Path) -> None:
    """Make an empty file that is not there, and the folders above it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # who ended just now removed the folder
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            return


def _withdraw(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()  # of the last one; that of others is not empty


def _claims(folder: Path, now: float) -> list[_Owner]:
    """All claims in a folder; ``now`` is the file system's own time."""
    found = []
    for path in folder.iterdir():
        name = re.fullmatch(r"([\w-]+)\.(.+)-(\d+)-[0-9a-f]{12}", path.name)
        with contextlib.suppress(FileNotFoundError):  # it ended just now
            age = now - path.stat().st_mtime
            if name is not None:
                found.append(_Owner(path, name[1], name[2], int(name[3]), age))
    return found


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[float]:
    """The time of the file system that a folder of claims lies on."""
    probe = folder / f"probe-{os.getpid()}-{secrets.token_hex(6)}"  # no claim has such a name
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        yield probe.stat().st_mtime
    finally:
        _withdraw(probe)


def _beat(path: Path, ended: threading.Event) -> None:
    """Set the time of a claim to that of the file system, until its run has ended."""
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            os.utime(path)  # without times: the server's, on a network
        except FileNotFoundError:  # lost; making it again would take it back
            return
        except OSError:
            continue
