"""Disks that fill up while a run writes: a small file system in memory, of random sizes."""

from __future__ import annotations

import contextlib
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories

from faults import runs
from softlabel.cache import parts_folder
from softlabel.cache.verify import verify


class NoMountError(Exception):
    """No file system can be mounted here: that takes the rights of an administrator."""


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """A file system of so many KiB, mounted on a folder.

    Raises
    ------
    NoMountError
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoMountError(str(error)) from error
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


def rows(fills: int = 40, n_cases: int = 12) -> list[dict[str, Any]]:
    """Fill a disk so many times; each time it is made larger afterwards, and the run goes on."""
    rng = random.Random(0)
    sound = resumed = kept = 0
    with tempfile.TemporaryDirectory() as folder:
        data, calm = runs.data_set(Path(folder), n_cases), Path(folder, "calm.h5")
        assert runs.ended(runs.start(data, calm))[0] == 0
        whole = sum(len(b) for b in factories.files_of(calm).values()) // 1024
        for fill in range(fills):
            jobs = 1 + fill % 2
            with small_disk(Path(folder, "disk"), rng.randint(whole // 5, whole)) as disk:
                out = disk / "c.h5"
                status, said = runs.ended(runs.start(data, out, jobs))
                assert status == 1 and "free some space" in said, (status, said)
                assert not runs.wrong_files(out)
                kept += len(list(parts_folder(out).glob("*.h5")))
                sound += 1
                _mount("-o", f"remount,size={20 * whole}k", disk)
                assert runs.ended(runs.start(data, out, jobs))[0] == 0
                assert factories.files_of(out) == factories.files_of(calm) and not verify(out)
                assert not runs.stray_files(out)
                resumed += 1
    return [
        {
            "disks filled": fills, "said so, all parts sound": sound, "cases kept": kept,
            "went on to the same bytes with more space": resumed,
        }
    ]  # fmt: skip
