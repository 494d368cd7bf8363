"""DICOM files by pydicom, an optional dependency: found by their first bytes, read with bounds."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, missing_extra
from softlabel.files.regular import open_regular, require_regular
from softlabel.readers.safety import check_promise, reading
from softlabel.types import Array

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURES_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"

_DEFLATED = "1.2.840.10008.1.2.1.99"
_MAX_ENTRIES = 5000
_MAX_LOOKED_AT = 50
_PREAMBLE_BYTES = 132


def pydicom() -> Any:
    """The library.

    Raises
    ------
    MissingExtraError
        When it is not installed.
    """
    try:
        import pydicom as library
    except ImportError as error:
        raise missing_extra("Reading DICOM", "pydicom", "dicom") from error
    return library


def is_dicom(path: Path) -> bool:
    """Whether a file begins like DICOM: 128 bytes of anything and ``DICM``."""
    try:
        with open_regular(path) as stream:
            return stream.read(_PREAMBLE_BYTES)[128:] == b"DICM"
    except OSError:
        return False


def first_dicom(root: Path) -> Path | None:
    """A DICOM file of a folder, looking at some of the files that may be one."""
    entries = itertools.islice(root.rglob("*"), _MAX_ENTRIES) if root.is_dir() else ()
    likely = (path for path in entries if path.suffix.lower() in (".dcm", ".ima", ""))
    files = (path for path in likely if path.is_file())
    return next((path for path in itertools.islice(files, _MAX_LOOKED_AT) if is_dicom(path)), None)


@contextmanager
def reading_dicom(path: Path) -> Iterator[None]:
    """Turn what pydicom raises and warns about inside the block into a :class:`CaseError`."""
    with reading(path, "a DICOM file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of values that softlabel does not use
        yield


def read_header(path: Path, tags: Sequence[str] | None = None) -> Any:
    """Read a DICOM file without its pixels.

    Parameters
    ----------
    path : Path
    tags : sequence of str or None
        Keywords of what to read; None for everything.

    Raises
    ------
    CaseError
        When it is damaged, or compressed as a whole (the deflated transfer syntax), which may
        grow without bounds.
    """
    return _read(path, tags, stop_before_pixels=True)


def read_file(path: Path) -> Any:
    """Read a DICOM file with its pixels as bytes, not decoded yet.

    Raises
    ------
    CaseError
        As :func:`read_header`.
    """
    return _read(path, None, stop_before_pixels=False)


def frames(dataset: Any, path: Path) -> Iterator[Array]:
    """Stored values of each frame, (rows, columns), one frame at a time.

    Raises
    ------
    CaseError
        When the header promises more than the file holds, pixels have several samples, or they
        are compressed in a way that needs a plugin of pydicom.
    """
    with reading_dicom(path):  # entries of a damaged file are missing, or lists
        shape = (int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns))
        if dataset.get("SamplesPerPixel", 1) != 1:
            raise CaseError(
                f"{path} has {dataset.SamplesPerPixel} samples a pixel "
                f"({dataset.get('PhotometricInterpretation')}); expected grey values. Convert it."
            )
        packed = dataset.file_meta.TransferSyntaxUID.is_compressed
        bits = int(dataset.BitsAllocated)
        stored = len(dataset.get("PixelData") or b"")
    # A compressed frame is decoded alone: what all of them take is the caller's.
    ratio = math.inf if packed and stored else 8 / max(1, bits)
    check_promise(path, shape, 1, stored, max_ratio=ratio, what="the header")
    with reading_dicom(path):
        if bits == 1 and not packed:
            yield from _bits(dataset.PixelData, shape)
            return
        from pydicom.pixels import iter_pixels

        yield from iter_pixels(dataset, raw=True)


def _bits(packed: bytes, shape: tuple[int, int, int]) -> Iterator[Array]:
    """Frames of one bit a pixel, which follow each other without padding.

    pydicom 3.0.2 raises on some of them when they are read one at a time
    (``findings/pydicom-one-bit-frames.sh``).
    """
    content, size = np.frombuffer(packed, np.uint8), shape[1] * shape[2]
    for start in range(0, shape[0] * size, size):
        first, stop = start // 8, -(-(start + size) // 8)
        bits = np.unpackbits(content[first:stop], bitorder="little")
        yield bits[start - 8 * first :][:size].reshape(shape[1:])


def _read(path: Path, tags: Sequence[str] | None, *, stop_before_pixels: bool) -> Any:
    library = pydicom()
    with reading_dicom(path):
        require_regular(path)
        meta = library.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == _DEFLATED:
            raise CaseError(
                f"{path} is compressed as a whole (deflated transfer syntax); expected a file "
                "whose header is plain. Convert it, for example with DCMTK's dcmconv +te."
            )
        return library.dcmread(
            path, specific_tags=None if tags is None else list(tags),
            stop_before_pixels=stop_before_pixels,
        )  # fmt: skip
