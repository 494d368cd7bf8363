"""Voxels that nibabel decodes out of a file of bytes, plain or compressed by gzip."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softlabel.errors import CaseError
from softlabel.files.regular import open_regular
from softlabel.readers.pixels import numbers
from softlabel.readers.safety import COPY_AGAIN, MAX_DEFLATE_RATIO, check_promise
from softlabel.types import Array

if TYPE_CHECKING:
    from nibabel.arrayproxy import ArrayProxy

_DRAIN_BYTES = 1 << 20
_MAX_SKIPPED_BYTES = 64 * _DRAIN_BYTES


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, bool]]:
    """A stream of the bytes of a file, decompressed, and whether it is compressed by gzip."""
    with ExitStack() as stack:
        stream: Any = stack.enter_context(open_regular(path))
        compressed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if compressed:
            stream = stack.enter_context(gzip.open(stream))
        yield stream, compressed


def read_values(stream: Any, compressed: bool, header: Any, path: Path) -> Array:
    """Voxels of a stream in the order of the file, scaled as the header says.

    Integers without scaling keep their type. Integers with a slope or an intercept become float32,
    as which they were meant; floating-point numbers stay what they are.

    Parameters
    ----------
    stream : binary stream
        As :func:`opened` yields it.
    compressed : bool
    header : nibabel header
        States shape, type, offset and scaling.
    path : Path
        The file of the stream.

    Raises
    ------
    CaseError
        When the header promises more than the file holds, or the stream does not end with them.
    """
    from nibabel.arrayproxy import ArrayProxy

    dataobj = ArrayProxy(stream, header, mmap=False)
    check_promise(
        path,
        dataobj.shape,
        header.get_data_dtype().itemsize,
        path.stat().st_size - (0 if compressed else int(dataobj.offset)),
        max_ratio=MAX_DEFLATE_RATIO if compressed else 1,
    )
    if compressed:
        _require_near(int(dataobj.offset), path)
    values = _scaled(dataobj, path)
    if compressed:
        _check_sum(stream, path)
    return values


def _require_near(offset: int, path: Path) -> None:
    """Refuse to decompress for minutes what lies before the first voxel."""
    if offset > _MAX_SKIPPED_BYTES:
        raise CaseError(
            f"{path} begins its voxels at byte {offset}; expected at most {_MAX_SKIPPED_BYTES} "
            "bytes of header extensions before them. Save it without extensions."
        )


def _scaled(dataobj: ArrayProxy, path: Path) -> Array:
    slope, inter = float(dataobj.slope), float(dataobj.inter)
    values = numbers(dataobj.get_unscaled(), path, "its voxel type")
    if (slope, inter) == (1.0, 0.0):
        return values
    target = np.float32 if values.dtype.kind in "iu" else values.dtype
    # Scaled in float64: integers beyond 2^24 have no float32.
    scaled: Array = (values * np.float64(slope) + np.float64(inter)).astype(target)
    return scaled


def _check_sum(stream: Any, path: Path) -> None:
    """Read to the end: only there does gzip compare its checksum."""
    drained = 0
    while block := stream.read(_DRAIN_BYTES):
        drained += len(block)
        if drained > _MAX_SKIPPED_BYTES:
            raise CaseError(
                f"{path} goes on for more than {drained} bytes after its last voxel; expected the "
                f"file to end there. {COPY_AGAIN}"
            )
