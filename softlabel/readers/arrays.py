"""NumPy's own files: ``.npy``, and ``.npz`` with named arrays. Nothing is ever unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from softlabel.errors import CaseError
from softlabel.files.regular import open_regular
from softlabel.readers.pixels import Pixels, numbers
from softlabel.readers.safety import COPY_AGAIN, MAX_DEFLATE_RATIO, check_promise, reading
from softlabel.types import Array

MAX_HEADER_BYTES = 10_000
"""Of a ``.npy`` file, as NumPy has it."""

IMAGE_KEYS = ("image", "img", "images", "vol", "volume", "data", "scan", "x")
LABEL_KEYS = ("label", "labels", "seg", "segmentation", "mask", "masks", "gt", "y")
"""Names under which ``.npz`` files usually keep their arrays, looked for in this order."""


def read_npy(path: Path) -> Pixels:
    """Read a ``.npy`` file.

    Raises
    ------
    CaseError
        When it holds Python objects, is damaged, or promises more than it holds.
    """
    with reading(path, "a .npy file"), open_regular(path) as stream:
        header_shape, dtype = _header(stream, path)
        check_promise(path, header_shape, dtype.itemsize, path.stat().st_size - stream.tell())
        stream.seek(0)
        values = np.lib.format.read_array(stream, allow_pickle=False)
    return Pixels(numbers(values, path), axes_known=False)


def read_npz(path: Path, key: str | None, usual_keys: Sequence[str]) -> Pixels:
    """Read one array of a ``.npz`` file.

    Parameters
    ----------
    path : Path
    key : str or None
        Name of the array; None takes the only one, or the first of ``usual_keys`` that is there.
    usual_keys : sequence of str
        :data:`IMAGE_KEYS` or :data:`LABEL_KEYS`.

    Raises
    ------
    CaseError
        When there is no such array, it holds Python objects, is damaged, or promises more than
        it holds.
    """
    with reading(path, "a .npz file"):
        names = npz_keys(path)
        chosen = _choose(path, names, key, usual_keys)
        values = read_npz_array(path, chosen)
    return Pixels(numbers(values, path, f"the array {chosen!r}"), axes_known=False)


def npz_keys(path: Path) -> list[str]:
    """Names of the arrays in a ``.npz`` file; reads only its table of contents.

    Raises
    ------
    CaseError
        When it is not a ``.npz`` file.
    """
    with (
        reading(path, "a .npz file"),
        open_regular(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_npz_array(path: Path, key: str) -> Array:
    """Read the array ``key`` of a ``.npz`` file, whatever its numeric type and shape.

    Raises
    ------
    CaseError
        As :func:`read_npz`.
    """
    with (
        reading(path, "a .npz file"),
        open_regular(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        if f"{key}.npy" not in archive.namelist():
            raise CaseError(
                f"{path} has no array {key!r}; it holds {_quoted(npz_keys(path))}. "
                "Name one of those."
            )
        entry = archive.getinfo(f"{key}.npy")
        what = f"the header of {key!r}"
        with archive.open(entry) as stream:
            shape, dtype = _header(stream, path)
            # The size that the archive states is a promise as well; the packed bytes are not.
            packed = min(entry.compress_size, path.stat().st_size)
            check_promise(
                path, shape, dtype.itemsize, packed, max_ratio=MAX_DEFLATE_RATIO, what=what
            )
        if math.prod(shape) * dtype.itemsize > entry.file_size:
            raise CaseError(f"{path}: {what} promises more bytes than are stored. {COPY_AGAIN}")
        with archive.open(entry) as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def find_key(names: Sequence[str], usual_keys: Sequence[str]) -> str | None:
    """The array meant among ``names``: the first usual name, else the only one, else None.

    Examples
    --------
    >>> find_key(["vol", "seg"], LABEL_KEYS)
    'seg'
    """
    by_lower = {name.lower(): name for name in names}
    for usual in usual_keys:
        if usual in by_lower:
            return by_lower[usual]
    return names[0] if len(names) == 1 else None


def _choose(path: Path, names: list[str], key: str | None, usual_keys: Sequence[str]) -> str:
    chosen = key if key is not None else find_key(names, usual_keys)
    if chosen is None:
        option = "label_key" if tuple(usual_keys) == LABEL_KEYS else "image_key"
        raise CaseError(
            f"{path} holds the arrays {_quoted(names)}; expected one, or one named "
            f"{_quoted(usual_keys)}. Name the array with the option {option}."
        )
    return chosen


def _header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that a ``.npy`` header states, with Python objects refused."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(_header_text(stream, 2, path))
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(_header_text(stream, 4, path))
    else:
        raise CaseError(
            f"{path} is of .npy version {version}, which only arrays of structures use; expected "
            "an array of numbers. Save the array as numbers."
        )
    if dtype.hasobject:
        raise CaseError(
            f"{path} holds Python objects (pickled), which softlabel never loads, since they can "
            "run code; expected an array of numbers. Save it with a numeric dtype."
        )
    return shape, dtype


def _header_text(stream: IO[bytes], length_bytes: int, path: Path) -> IO[bytes]:
    """The rest of a header: NumPy would take memory for any length that one states."""
    stated = stream.read(length_bytes)
    length = int.from_bytes(stated, "little")
    if length > MAX_HEADER_BYTES:
        raise CaseError(
            f"{path} states a header of {length} bytes; expected at most {MAX_HEADER_BYTES}. "
            f"{COPY_AGAIN}"
        )
    return io.BytesIO(stated + stream.read(length))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:12]) or "nothing"
