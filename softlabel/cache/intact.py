"""Whether what a reader decodes is what was written: each dataset once a process, not each patch.

HDF5's own checksum of a chunk, Fletcher-32, does not tell the 16-bit words 0x0000 and 0xFFFF apart.
The SHA-256 of a dataset does, and costs a fraction of decoding all of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.damage import stored_problem
from softlabel.cache.digest import case_digest
from softlabel.cache.files import get_text
from softlabel.types import Array

FileVersion = tuple[int, int, int]
"""Inode, size and time of change of an open file."""

ONE = np.float32(1).view(np.uint32)


class Intact:
    """The datasets that are as they were written, in the versions that their files had then."""

    def __init__(self) -> None:
        self._versions: dict[Path, FileVersion] = {}
        self._found: dict[Path, set[str]] = {}

    def problem(self, path: Path, file: h5py.File, node: str, name: str, digest: str) -> str | None:
        """What is wrong with a dataset of a case; None when nothing is, or was before.

        Parameters
        ----------
        path : Path
        file : h5py.File
            The open file of that path.
        node, name : str
            Path of the case in it, and of the dataset below that.
        digest : str
            Of the case, as the index names it; "" when it does not: then the case's own counts.

        Raises
        ------
        OSError, KeyError or RuntimeError
            When HDF5 cannot read it.
        """
        version = _version_of(file)
        if self._versions.get(path) != version:
            self._versions[path], self._found[path] = version, set()
        found, dataset = self._found[path], f"{node}/{name}"
        if dataset in found:
            return None
        case = file[node]
        if node not in found:
            expected = digest or get_text(case, schema.DIGEST, "")
            if expected and case_digest(case) != expected:
                return "has another digest than its attributes and arrays"
            found.add(node)
        problem = stored_problem(case[name])
        if problem is not None:
            return f"is damaged: {name} {problem}"
        found.add(dataset)
        return None


def _version_of(file: h5py.File) -> FileVersion:
    """An identity of an open file that changes when somebody writes into it."""
    status = os.fstat(file.id.get_vfd_handle())
    return status.st_ino, status.st_size, status.st_mtime_ns


def outside_of_0_to_1(values: Array) -> int:
    """How many values are no soft labels: NaN, infinite, or outside of 0..1.

    Examples
    --------
    >>> outside_of_0_to_1(np.array([0, -0.0, 0.5, 1, np.nan, -1e-9, 1.5], np.float32))
    3
    """
    if values.dtype == np.float32 and values.size:
        # as unsigned integers the floats of 0..1 are the smallest: a single pass finds no other
        largest = values.view(np.uint32).max()
        if largest <= ONE:
            return 0
    return int(np.count_nonzero(~((values >= 0) & (values <= 1))))
