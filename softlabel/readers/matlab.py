"""Numeric arrays out of MATLAB files of version 5, and of version 7.3, which is HDF5."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from softlabel.errors import CaseError
from softlabel.files.frames import HARMLESS_BYTES, chunk_problem
from softlabel.files.regular import open_regular, require_regular
from softlabel.readers.matlab5 import (
    FILE_HEADER_BYTES,
    ByteOrder,
    Element,
    list_elements,
    read_element,
)
from softlabel.readers.pixels import numbers
from softlabel.readers.safety import COPY_AGAIN, MAX_DEFLATE_RATIO, check_promise, reading
from softlabel.types import Array

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
    element : Element or None
        Where it lies in a file of version 5.
    """

    shape: tuple[int, ...]
    element: Element | None = None


@dataclass(frozen=True)
class MatlabFile:
    """The variables of a ``.mat`` file, none of them read yet.

    Attributes
    ----------
    path : Path
    order : {"little", "big"} or None
        Byte order of a file of version 5; None for version 7.3.
    variables : mapping of str to Variable
    """

    path: Path
    order: ByteOrder | None
    variables: Mapping[str, Variable]

    def __contains__(self, name: str) -> bool:
        return name in self.variables

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape that the header of a variable states, axes in MATLAB's order.

        Raises
        ------
        CaseError
            When there is no such variable.
        """
        if name not in self.variables:
            known = ", ".join(sorted(self.variables)[:12]) or "none"
            raise CaseError(
                f"{self.path} has no variable {name!r}; its variables are: {known}. "
                "Check that it is the right file."
            )
        return self.variables[name].shape

    def read(self, name: str, last: Sequence[int] | None = None) -> Array:
        """Read one variable, its axes in MATLAB's order; the others are skipped.

        Parameters
        ----------
        name : str
        last : sequence of int or None
            Ascending positions on the last axis, which only are kept in memory; None for all.

        Raises
        ------
        CaseError
            When there is no such variable, it is not an array of numbers, or is damaged.
        """
        shape = self.shape_of(name)
        if last and last[-1] >= shape[-1]:
            raise IndexError(f"{name} has the shape {shape}, and no position {last[-1]}")
        element = self.variables[name].element
        if self.order is None or element is None:
            values = _read_hdf5(self.path, name, last)
        else:
            with reading(self.path, "a MATLAB file"), open_regular(self.path) as stream:
                values = read_element(stream, element, self.order, self.path, last)
        return numbers(values, self.path, f"the variable {name!r}")


def open_matlab(path: Path) -> MatlabFile:
    """List the variables of a ``.mat`` file of version 5 or 7.3; reads headers only.

    Raises
    ------
    CaseError
        When the file is damaged, cut off, or not a MATLAB file.
    """
    with reading(path, "a MATLAB file"):
        require_regular(path)
        if h5py.is_hdf5(path):
            return _open_hdf5(path)
        with open_regular(path) as stream:
            file_header = stream.read(FILE_HEADER_BYTES)
            if file_header[126:] not in (b"IM", b"MI"):
                raise CaseError(
                    f"{path} does not begin like a MATLAB file; expected version 5 or 7.3. "
                    f"{COPY_AGAIN}"
                )
            order = _byte_order(file_header)
            elements = list_elements(stream, path.stat().st_size, order, path)
            named = {e.name: Variable(e.shape, e) for e in elements if e.name}
            return MatlabFile(path, order, named)


def _byte_order(file_header: bytes) -> ByteOrder:
    return "little" if file_header[126:] == b"IM" else "big"


def _open_hdf5(path: Path) -> MatlabFile:
    variables = {}
    with _hdf5(path) as h5:
        for name in h5:
            # A link out of the file could name any file of the machine: not followed.
            if not isinstance(h5.get(name, getlink=True), h5py.HardLink):
                continue
            if isinstance(dataset := h5[name], h5py.Dataset):
                shape = tuple(reversed(dataset.shape or ()))
                variables[name] = Variable(shape)
    return MatlabFile(path, None, variables)


def _hdf5(path: Path) -> h5py.File:
    require_regular(path)
    return h5py.File(path, "r")


def _read_hdf5(path: Path, name: str, last: Sequence[int] | None) -> Array:
    with reading(path, "a MATLAB 7.3 file"), _hdf5(path) as h5:
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
        _require_chunks(dataset, path, name)
        # MATLAB counts the first index fastest, HDF5 the last: the axes come reversed.
        return np.asarray(dataset[()] if last is None else dataset[list(last)]).T


def _require_chunks(dataset: h5py.Dataset, path: Path, name: str) -> None:
    """Refuse chunks that would unpack to more than they promise, before HDF5 unpacks them."""
    if dataset.chunks is None:
        return
    storage = dataset.id.get_create_plist()
    filters = [storage.get_filter(i)[0] for i in range(storage.get_nfilters())]
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    problem = f"has {size} bytes" if size > max(dataset.nbytes, HARMLESS_BYTES) else None
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        problem = problem or chunk_problem(
            dataset.id.read_direct_chunk(chunk.chunk_offset)[1], filters, chunk.filter_mask, size
        )
        if problem is not None:
            raise CaseError(
                f"{path}: the variable {name!r} has a chunk at {chunk.chunk_offset} that {problem}"
                f"; it is damaged. {COPY_AGAIN}"
            )


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
