"""HDF5 files that are too large for memory, written to disk so that a full disk is an error.

When a write of HDF5's own drivers fails, HDF5 ends the process (SIGSEGV while it closes the file).
So it writes through an object of Python that keeps the error to itself and takes whatever comes
after it; whoever wrote looks at it where a run may stop, and throws the file away.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import h5py

from softlabel.cache.files import without_times


class Disk:
    """The file that HDF5 writes to, as its driver for Python objects asks for it.

    Attributes
    ----------
    failure : OSError or None
        The first one.
    """

    def __init__(self, handle: int) -> None:
        self._handle, self._at = handle, 0
        self.failure: OSError | None = None

    def require(self) -> None:
        """Raise the error that a write met, if any."""
        if self.failure is not None:
            raise self.failure

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Choose where the next read or write begins."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size()}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Where the next read or write begins."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Read, and go on behind it."""
        count = os.preadv(self._handle, [buffer], self._at)
        self._at += count
        return count

    def write(self, data: bytes | memoryview) -> int:
        """Write all, and go on behind it; after an error do as if."""
        left = memoryview(data)
        while left and self.failure is None:
            try:
                count = os.pwrite(self._handle, left, self._at)
            except OSError as error:
                self.failure = error
                break
            self._at, left = self._at + count, left[count:]
        self._at += len(left)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        size = self._at if size is None else size
        if self.failure is None:
            try:
                os.ftruncate(self._handle, size)
            except OSError as error:
                self.failure = error
        return size

    def flush(self) -> None:
        """Nothing is held back here."""

    def _size(self) -> int:
        return os.fstat(self._handle).st_size


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
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, disk)
    try:
        # HDF5 takes a name for its messages only; one in a message of ours would be temporary
        made = h5py.h5f.create(
            b"packed", h5py.h5f.ACC_TRUNC, without_times(h5py.h5p.FILE_CREATE), access
        )
        try:
            with h5py.File(made) as file:
                yield file, disk
        except (OSError, RuntimeError):
            disk.require()  # what went wrong first
            raise
        disk.require()
    finally:
        os.close(handle)
