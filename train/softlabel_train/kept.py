"""Cases that were read once, for all loading processes of a run.

Decoding a case takes many times as long as cutting a patch out of it. What was decoded is written
into a file in the system's temporary folder and mapped into memory, so that no process reads it
again, all of them share its pages, and the system may drop those when memory is short.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import warnings
import weakref
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from softlabel.files.processes import is_alive, machine_name
from softlabel_train.compact import CompactCase

PREFIX = "softlabel-train-"
ALIGNMENT = 64
HEAD_BYTES = 4096
"""More than the first line of a file ever has."""
MOST_MAPPED = 10_000
"""Files that a process has mapped at a time; systems allow some ten thousand mappings."""


class KeptCases:
    """Compact cases in mapped files of one folder, which goes when the process that made it does.

    The object can be pickled and survives forks: other processes use the same folder.

    Parameters
    ----------
    limit_mb : int
        Size of all files; never more than half of the space that is free.

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
        name = f"{PREFIX}{machine_name()}-{os.getpid()}-{secrets.token_hex(8)}"
        self.folder = Path(tempfile.gettempdir()) / name
        self._limit = limit_mb << 20
        self._reset()
        weakref.finalize(self, _remove, self.folder, os.getpid())

    def _reset(self) -> None:
        self._opened: dict[str, CompactCase] = {}
        self._written = 0
        self._ready = False

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
            self._prepare()
            self._written += _write(self._path(case_id), case)
        except OSError as error:
            self._limit = 0
            warnings.warn(
                f"Cases cannot be kept in {self.folder} ({error.strerror or error}) and are read "
                "anew every time, which is slower; set TMPDIR to a folder with space.",
                RuntimeWarning,
                stacklevel=2,
            )
            return case
        return self.get(case_id) or case

    def _path(self, case_id: str) -> Path:
        return self.folder / f"{hashlib.sha256(case_id.encode()).hexdigest()[:32]}.case"

    def _prepare(self) -> None:
        """Make the folder, before this process writes into it for the first time."""
        if self._ready:
            return
        _sweep(self.folder.parent)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._limit = min(self._limit, shutil.disk_usage(self.folder).free // 2)
        self._ready = True


def _write(path: Path, case: CompactCase) -> int:
    """Write a file that is complete under its name; return its size.

    Its first line is JSON: plain values, and type, shape and place of the arrays behind it.
    """
    head: dict[str, Any] = {}
    arrays = []
    offset = 0
    for field in fields(CompactCase):
        value = getattr(case, field.name)
        if not isinstance(value, np.ndarray):
            head[field.name] = value
            continue
        head[field.name] = [value.dtype.str, value.shape, offset]
        arrays.append((offset, np.ascontiguousarray(value)))
        offset += -(-value.nbytes // ALIGNMENT) * ALIGNMENT
    line = json.dumps(head).encode()
    line += b" " * (-(len(line) + 1) % ALIGNMENT) + b"\n"
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(line)
            for start, array in arrays:
                file.seek(len(line) + start)
                file.write(array.tobytes())
            file.truncate(len(line) + offset)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return len(line) + offset


def _mapped(path: Path) -> CompactCase:
    # Copy on write: nobody writes, but kernels are compiled for arrays that could be written.
    memory = np.memmap(path, np.uint8, "c").view(np.ndarray)
    length = int(np.argmax(memory[:HEAD_BYTES] == ord("\n"))) + 1
    values = json.loads(memory[:length].tobytes())
    for name, value in values.items():
        if isinstance(value, list):
            dtype, shape, offset = np.dtype(value[0]), tuple(value[1]), length + value[2]
            size = int(np.prod(shape)) * dtype.itemsize
            values[name] = memory[offset : offset + size].view(dtype).reshape(shape)
    return CompactCase(**values)


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork has the same object, and not the same right
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove folders of processes of this machine that were killed."""
    if os.name != "posix":
        return
    for folder in parent.glob(f"{PREFIX}{machine_name()}-*"):
        owner = re.fullmatch(rf"{PREFIX}.*-(\d+)-[0-9a-f]{{16}}", folder.name)
        if owner is not None and not is_alive(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)
