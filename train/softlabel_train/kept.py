"""Decoded cases, kept on disk for all loading processes of a run.

Decoding a case takes many times as long as cutting a patch out of it. Its arrays are written once
as .npy files into the system's temporary folder and mapped into memory: the processes share the
pages, and the system may drop them when memory is short.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
import warnings
import weakref
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from torch.utils.data import get_worker_info

from softlabel.files.processes import machine_name
from softlabel_train.compact import CompactCase

PREFIX = "softlabel-train-"
MOST_MAPPED = 5_000
"""Cases that a process has mapped at a time, in five files each; systems allow some 65,000."""


class KeptCases:
    """Compact cases in a temporary folder, which goes when the process that made it does.

    The object can be pickled and survives forks: other processes use the same folder.

    Parameters
    ----------
    limit_mb : int
        Size of all files; never more than half of the space that is free. 0 keeps nothing.

    Examples
    --------
    >>> import numpy as np
    >>> index = np.zeros((1, 4), np.uint8)
    >>> case = CompactCase(index[None], index, 1, 1.0, 0.0, np.array([0, 1]),
    ...                    np.array([2], np.uint16), np.array([0.5], np.float32))
    >>> kept = KeptCases(limit_mb=1)
    >>> kept.get("a"), kept.keep("a", case).dense().tolist()
    (None, [[[1.0, 1.0, 0.5, 1.0]]])
    >>> kept.get("a").values.tolist()
    [0.5]
    """

    def __init__(self, limit_mb: int) -> None:
        self._limit = limit_mb << 20
        name = f"{PREFIX}{machine_name()}-{secrets.token_hex(8)}"
        self.folder = Path(tempfile.gettempdir()) / name
        self._reset()
        if limit_mb:
            try:
                _make(self.folder, self)
            except OSError as error:
                self._give_up(error)

    def _reset(self) -> None:
        self._opened: dict[str, CompactCase] = {}
        self._written = 0
        self._limit_is_checked = False

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        """Cases that are kept, by any process."""
        return sum(1 for _ in self.folder.glob("*.case"))

    def get(self, case_id: str) -> CompactCase | None:
        """A case that is kept, else None."""
        case = self._opened.get(case_id)
        if case is None:
            with contextlib.suppress(FileNotFoundError):
                case = self._opened[case_id] = _mapped(self._path(case_id))
            if len(self._opened) > MOST_MAPPED:
                del self._opened[next(iter(self._opened))]
        return case

    def has_room(self) -> bool:
        """Whether this process may keep another case: each one has an equal share of the space."""
        worker = get_worker_info()
        return self._written < self._limit // (worker.num_workers if worker else 1)

    def keep(self, case_id: str, case: CompactCase) -> CompactCase:
        """Keep a case and return it as it is kept; without space for it, return it as it is."""
        try:
            if not self._limit_is_checked:
                self._limit = min(self._limit, shutil.disk_usage(self.folder).free // 2)
                self._limit_is_checked = True
            self._written += _write(self._path(case_id), case)
        except OSError as error:
            self._give_up(error)
            return case
        return self.get(case_id) or case

    def _give_up(self, error: OSError) -> None:
        self._limit = 0
        warnings.warn(
            f"Cases cannot be kept in {self.folder} ({error.strerror or error}) and are read "
            "anew every time, which is slower; set TMPDIR to a folder with space.",
            RuntimeWarning,
            stacklevel=3,
        )

    def _path(self, case_id: str) -> Path:
        return self.folder / f"{hashlib.sha256(case_id.encode()).hexdigest()[:32]}.case"


def _write(path: Path, case: CompactCase) -> int:
    """Write the folder of a case, complete under its name; return its bytes."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.mkdir()
        for field in fields(CompactCase):
            np.save(temporary / f"{field.name}.npy", getattr(case, field.name), allow_pickle=False)
        size = sum(file.stat().st_size for file in temporary.iterdir())
        temporary.rename(path)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if path.is_dir():  # another process kept the case meanwhile
            return 0
        raise
    return size


def _mapped(path: Path) -> CompactCase:
    values: dict[str, Any] = {}
    for field in fields(CompactCase):
        # Copy on write: nothing is written, but read-only arrays would have kernels compiled again.
        array = np.load(path / f"{field.name}.npy", mmap_mode="c", allow_pickle=False)
        values[field.name] = array.view(np.ndarray) if array.ndim else array.item()
    return CompactCase(**values)


def _make(folder: Path, owner: KeptCases) -> None:
    """Make a folder that goes with its owner, and with its owner's process at the latest.

    The process holds a lock beside the folder for as long. Folders that killed processes
    left, whose locks are free, are removed first.
    """
    for left in folder.parent.glob(f"{PREFIX}{machine_name()}-*.lock"):
        # Timeout, an OSError: its owner lives; PermissionError: it is of another user
        with contextlib.suppress(OSError), FileLock(left).acquire(blocking=False):
            _remove(left.with_suffix(""), left)
    lock = FileLock(f"{folder}.lock", thread_local=False)  # any thread may finalize the owner
    lock.acquire()
    weakref.finalize(owner, _end, folder, lock, os.getpid())
    folder.mkdir(mode=0o700)


def _end(folder: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() == owner:  # a fork has the same object, and not the same right
        _remove(folder, Path(lock.lock_file))
        lock.release()


def _remove(folder: Path, lock: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        lock.unlink()
