"""Numeric arrays out of MATLAB files: version 5 by SciPy, version 7.3 (which is HDF5) by h5py."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import h5py
import numpy as np
import scipy.io

from softlabel.errors import CaseError
from softlabel.readers.pixels import numbers
from softlabel.readers.safety import COPY_AGAIN, MAX_DEFLATE_RATIO, check_promise, reading
from softlabel.types import Array

_FILE_HEADER_BYTES = 128
_HEAD_BYTES = 4096
"""More than name and sizes of a variable take."""

_COMPRESSED = 15
_NUMERIC_CLASSES = {
    "double", "single", "logical",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip
_PLAIN_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
}


@dataclass(frozen=True)
class Variable:
    """What the headers say of one variable.

    Attributes
    ----------
    shape : tuple of int
        In MATLAB's order of axes.
    kind : str
        MATLAB class (version 5) or HDF5 type (version 7.3).
    span : tuple of int
        First byte and the byte after the last in a file of version 5.
    """

    shape: tuple[int, ...]
    kind: str
    span: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class MatlabFile:
    """The variables of a ``.mat`` file, none of them read yet.

    Attributes
    ----------
    path : Path
    version : {"5", "7.3"}
    variables : mapping of str to Variable
    """

    path: Path
    version: str
    variables: Mapping[str, Variable]

    def __contains__(self, name: str) -> bool:
        return name in self.variables

    def read(self, name: str) -> Array:
        """Read one variable, its axes in MATLAB's order; the others are skipped.

        Raises
        ------
        CaseError
            When there is no such variable, it is not an array of numbers, or is damaged.
        """
        if name not in self.variables:
            known = ", ".join(sorted(self.variables)[:12]) or "none"
            raise CaseError(
                f"{self.path} has no variable {name!r}; its variables are: {known}. "
                "Check that it is the right file."
            )
        if self.version == "5":
            values = _read_v5(self.path, name, self.variables[name])
        else:
            values = _read_hdf5(self.path, name)
        return numbers(values, self.path, f"the variable {name!r}")


def open_matlab(path: Path) -> MatlabFile:
    """List the variables of a ``.mat`` file of version 5 or 7.3; reads headers only.

    Raises
    ------
    CaseError
        When the file is damaged, cut off, or not a MATLAB file.
    """
    with reading(path, "a MATLAB file"):
        if h5py.is_hdf5(path):
            return _open_hdf5(path)
        with path.open("rb") as stream:
            file_header = stream.read(_FILE_HEADER_BYTES)
            if file_header[126:] not in (b"IM", b"MI"):
                raise CaseError(
                    f"{path} does not begin like a MATLAB file; expected version 5 or 7.3. "
                    f"{COPY_AGAIN}"
                )
            return MatlabFile(path, "5", _list_v5(stream, file_header, path))


def _list_v5(stream: IO[bytes], file_header: bytes, path: Path) -> dict[str, Variable]:
    """Walk over the elements of a version 5 file and let SciPy read the start of each.

    SciPy's own listing inflates 128 KiB of every element at once, which for maps that are NaN
    nearly everywhere is all of their 180 MB.
    """
    byte_order: Literal["little", "big"] = "little" if file_header[126:] == b"IM" else "big"
    size = path.stat().st_size
    variables = {}
    start = _FILE_HEADER_BYTES
    while start < size:
        stream.seek(start)
        tag = stream.read(8)
        element_type = int.from_bytes(tag[:4], byte_order)
        stop = start + 8 + int.from_bytes(tag[4:], byte_order)
        if len(tag) < 8 or stop > size:
            raise CaseError(
                f"{path} ends within a variable (at byte {size} of at least {stop}); it is cut "
                f"off. {COPY_AGAIN}"
            )
        head = stream.read(min(stop - start - 8, _HEAD_BYTES))
        if element_type == _COMPRESSED:
            head = zlib.decompressobj().decompress(head, _HEAD_BYTES)
        else:
            head = tag + head
        for name, shape, kind in scipy.io.whosmat(io.BytesIO(file_header + head)):
            variables[name] = Variable(tuple(int(n) for n in shape), kind, (start, stop))
        start = stop
    return variables


def _read_v5(path: Path, name: str, variable: Variable) -> Array:
    if variable.kind not in _NUMERIC_CLASSES:
        raise CaseError(
            f"{path}: the variable {name!r} is a MATLAB {variable.kind}, which may hold objects; "
            "expected an array of numbers. Save it as a numeric array."
        )
    start, stop = variable.span
    check_promise(
        path,
        variable.shape,
        1,  # MATLAB stores whole doubles in as little as one byte each
        stop - start,
        max_ratio=MAX_DEFLATE_RATIO,
        what=f"the header of {name!r}",
    )
    with reading(path, "a MATLAB file"), path.open("rb") as stream:
        content = stream.read(_FILE_HEADER_BYTES)
        stream.seek(start)
        content += stream.read(stop - start)
        return np.asarray(scipy.io.loadmat(io.BytesIO(content), variable_names=[name])[name])


def _open_hdf5(path: Path) -> MatlabFile:
    variables = {}
    with h5py.File(path, "r") as h5:
        for name in h5:
            # A link out of the file could name any file of the machine: not followed.
            if not isinstance(h5.get(name, getlink=True), h5py.HardLink):
                continue
            if isinstance(dataset := h5[name], h5py.Dataset):
                shape = tuple(reversed(dataset.shape or ()))
                variables[name] = Variable(shape, str(dataset.dtype))
    return MatlabFile(path, "7.3", variables)


def _read_hdf5(path: Path, name: str) -> Array:
    with reading(path, "a MATLAB 7.3 file"), h5py.File(path, "r") as h5:
        dataset = h5[name]
        _require_plain(dataset, path, name)
        check_promise(
            path,
            dataset.shape,
            dataset.dtype.itemsize,
            min(dataset.id.get_storage_size(), path.stat().st_size),
            max_ratio=MAX_DEFLATE_RATIO,
            what=f"the header of {name!r}",
        )
        # MATLAB counts the first index fastest, HDF5 the last: the axes come reversed.
        return np.asarray(dataset[()]).T


def _require_plain(dataset: h5py.Dataset, path: Path, name: str) -> None:
    """Refuse object references, values kept in other files, and filters that need plugins."""
    what = f"{path}: the variable {name!r}"
    if dataset.dtype.kind not in "iufb":
        raise CaseError(
            f"{what} is of type {dataset.dtype}, a cell, text or structure; expected an array of "
            "numbers. Save it as a numeric array."
        )
    if dataset.external or dataset.is_virtual:
        raise CaseError(
            f"{what} takes its values from another file; expected a file that holds them. "
            "Save it in one piece."
        )
    if dataset.shape is None or dataset.attrs.get("MATLAB_empty", 0):
        raise CaseError(f"{what} is empty; expected an array of numbers. {COPY_AGAIN}")
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if not filters <= _PLAIN_FILTERS:
        raise CaseError(
            f"{what} is compressed by another filter than gzip (HDF5 filter numbers "
            f"{sorted(filters - _PLAIN_FILTERS)}); expected gzip or none. Save it again with "
            "MATLAB's `save -v7.3`."
        )
