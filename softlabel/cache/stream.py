"""HDF5 files that are too large for memory, written to disk so that a full disk is an error.

When a write of HDF5's own drivers fails, HDF5 ends the process (SIGSEGV while it closes the file).
So it writes through an object of Python that keeps the error to itself; whoever wrote looks at it
where a run may stop, and throws the file away.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from softlabel.cache.files import without_times


class Disk:
    """The file that HDF5 writes to, as its driver for Python objects asks for it.

    After an error, what is written is kept in memory and read from there, until HDF5 has closed the
    file: an error while it closes would leave the file open, and end the process when Python does.

    Attributes
    ----------
    failure : OSError or None
        The first one.
    """

    def __init__(self, handle: int) -> None:
        self._handle, self._at, self._end = handle, 0, 0
        self._kept: list[tuple[int, bytes]] = []
        self.failure: OSError | None = None

    def require(self) -> None:
        """Raise the error that a write met, if any."""
        if self.failure is not None:
            raise self.failure

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Choose where the next read or write begins."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Where the next read or write begins."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Read, and go on behind it; what was never written is 0."""
        target = memoryview(buffer).cast("B")
        count = os.preadv(self._handle, [target], self._at)
        target[count:] = bytes(len(target) - count)
        for start, data in self._kept:
            first, last = max(start, self._at), min(start + len(data), self._at + len(target))
            if first < last:
                target[first - self._at : last - self._at] = data[first - start : last - start]
        self._at += len(target)
        return len(target)

    def write(self, data: bytes | memoryview) -> int:
        """Write all, and go on behind it."""
        left = memoryview(data).cast("B")
        start = self._at
        while left and self.failure is None:
            try:
                count = os.pwrite(self._handle, left, start)
            except OSError as error:
                self.failure = error
                break
            start, left = start + count, left[count:]
        if left:
            self._kept.append((start, bytes(left)))
        self._at = start + len(left)
        self._end = max(self._end, self._at)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        self._end = self._at if size is None else size
        if self.failure is None:
            try:
                os.ftruncate(self._handle, self._end)
            except OSError as error:
                self.failure = error
        return self._end

    def flush(self) -> None:
        """Nothing is held back here."""


@contextlib.contextmanager
def build_on_disk(path: Path) -> Iterator[tuple[h5py.File, Disk]]:
    """Open a new file on disk for writing; it is complete when the block ends without an error.

    Raises
    ------
    OSError
        When the disk is full, or refuses; the file is there and worth nothing.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
    disk = Disk(handle)
    try:
        try:
            with h5py.File(_create(disk)) as file:
                yield file, disk
        except (OSError, RuntimeError):
            disk.require()  # what went wrong first
            raise
        disk.require()
    finally:
        os.close(handle)


def _create(disk: Disk) -> Any:
    """Make an HDF5 file on a disk.

    Properties that name the object must be gone when Python ends, which would crash otherwise: the
    frames of a traceback would keep them.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, disk)
    created = without_times(h5py.h5p.FILE_CREATE)
    # HDF5 takes the name for its own messages only
    return h5py.h5f.create(b"packed", h5py.h5f.ACC_TRUNC, created, access)
