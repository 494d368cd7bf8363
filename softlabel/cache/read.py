"""Reading a cache: a mapping from ids to cases whose arrays are read on access."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from softlabel import schema
from softlabel.cache.files import Header, check_header, get_text, open_file, read_header
from softlabel.errors import CacheError
from softlabel.types import Array, ClassTable, natural_key

OPEN_FILES = 64
"""Handles of parts that a process keeps open at a time."""


def open_cache(path: str | os.PathLike[str]) -> Cache:
    """Open a cache for reading.

    Nothing but the index is read at once; arrays are read when they are indexed. The object can
    be pickled and sent to other processes, and survives a fork: every process opens files of its
    own on first use.

    Parameters
    ----------
    path : path of the index, ``NAME.h5``

    Returns
    -------
    Cache
        A mapping from id to :class:`CachedCase`, in natural order of the ids.

    Raises
    ------
    CacheError
        When the file is missing, damaged, or not a cache.
    """
    return Cache(Path(path))


class Cache(Mapping[str, "CachedCase"]):
    """A softlabel cache (see :func:`open_cache`).

    Attributes
    ----------
    path : Path
    header : Header
        Settings, class table, software.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handles = Handles()
        file = self._handles.open(path)
        check_header(file, path, (schema.INDEX, schema.PACKED))
        try:
            self.header: Header = read_header(file)
            self._ids = sorted(file["cases"], key=natural_key)
        except (KeyError, OSError, ValueError) as error:
            raise CacheError(
                f"The index {path} is damaged ({error}); rebuild it with `softlabel index {path}`."
            ) from error

    @property
    def classes(self) -> ClassTable:
        """Classes along axis 0 of the soft maps."""
        return self.header.classes

    @property
    def ignore(self) -> int | None:
        """Label value of pixels that were not annotated."""
        return self.header.ignore

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the image channels."""
        return self.header.channels

    @cached_property
    def statistics(self) -> Mapping[str, Mapping[str, Array]]:
        """Per group: cases, class_pixels (K,), pixels, intensity_* (C,); see FORMAT.md."""
        file = self._handles.open(self.path)
        if "statistics" not in file:
            return {}
        tables = {name: file[f"statistics/{name}"][...] for name in file["statistics"]}
        groups = [g.decode() for g in tables.pop("groups")]
        return {
            group: {name: table[row] for name, table in tables.items()}
            for row, group in enumerate(groups)
        }

    def __getitem__(self, case_id: str) -> CachedCase:
        if case_id not in self._ids:
            raise KeyError(f"{self.path} has no case {case_id!r}; it has {len(self)} others.")
        link = self._handles.open(self.path).get(f"cases/{case_id}", getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return CachedCase(
                case_id, part_path(self.path, link.filename, case_id), link.path, self._handles
            )
        return CachedCase(case_id, self.path, f"/cases/{case_id}", self._handles)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<softlabel cache {self.path}: {len(self)} cases, {len(self.classes)} classes>"

    def close(self) -> None:
        """Close the files that this process has open; they open again on the next access."""
        self._handles.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True)
class CachedCase:
    """One case of a cache; arrays are read when they are indexed.

    Attributes
    ----------
    id : str
    path : Path
        File that holds it.
    node : str
        Its group in the file.
    """

    id: str
    path: Path
    node: str
    _handles: Handles

    @property
    def image(self) -> StoredArray:
        """Intensities, (C, *spatial)."""
        return self._array("image")

    @property
    def labels(self) -> StoredArray:
        """Hard labels, (*spatial)."""
        return self._array("labels")

    @property
    def soft(self) -> StoredArray:
        """Soft labels, float32 (K, *spatial)."""
        return self._array("soft")

    @property
    def superpixels(self) -> StoredArray | None:
        """Superpixel ids, (*spatial); −1 where there is none."""
        return self._optional("superpixels")

    @property
    def mask(self) -> StoredArray | None:
        """1 where the image means something, (*spatial)."""
        return self._optional("mask")

    @property
    def truth(self) -> StoredArray | None:
        """True labels of a phantom, (*spatial)."""
        return self._optional("truth")

    @property
    def label_maps(self) -> Mapping[str, StoredArray]:
        """Further label maps by name."""
        names = self._group.get(schema.LABEL_MAPS, ())
        return {name: self._array(f"{schema.LABEL_MAPS}/{name}") for name in names}

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.labels.shape

    @property
    def group(self) -> str:
        """The patient."""
        return get_text(self._group, "group")

    @property
    def source(self) -> str:
        """File that it came from, relative to the data set."""
        return get_text(self._group, "source")

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Distance between pixel centres along each spatial axis."""
        value = self._group.attrs.get("spacing_mm")
        return None if value is None else tuple(float(v) for v in value)

    @property
    def affine(self) -> Array | None:
        """Voxel indices to millimetres, (4, 4)."""
        value = self._group.attrs.get("affine")
        return None if value is None else np.asarray(value)

    @property
    def statistics(self) -> Mapping[str, Any]:
        """Numbers of this case (the attributes of ``/case`` in FORMAT.md)."""
        skip = {"id", "group", "source", "inputs", "spacing_mm", "affine", "preprocess"}
        return {name: value for name, value in self._group.attrs.items() if name not in skip}

    @property
    def datasets(self) -> tuple[str, ...]:
        """Paths of all arrays of this case."""
        found: list[str] = []
        self._group.visititems(
            lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None
        )
        return tuple(found)

    @property
    def _group(self) -> h5py.Group:
        return self._handles.node(self.path, self.node)

    def _array(self, name: str) -> StoredArray:
        return StoredArray(self.path, f"{self.node}/{name}", self._handles)

    def _optional(self, name: str) -> StoredArray | None:
        return self._array(name) if name in self._group else None


@dataclass(frozen=True)
class StoredArray:
    """An array in the file: index it like an array, or give it to ``np.asarray``.

    Every access reads and checks the chunks that it needs.
    """

    path: Path
    node: str
    _handles: Handles

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape."""
        return tuple(self._dataset.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type."""
        return np.dtype(self._dataset.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        try:
            return np.asarray(self._dataset[key])
        except OSError as error:
            raise CacheError(
                f"{self.path} is damaged in {self.node} ({error}); delete the file and run "
                "`softlabel generate` again: only this case is computed anew."
            ) from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        values = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)

    @property
    def _dataset(self) -> h5py.Dataset:
        return self._handles.dataset(self.path, self.node)


class Handles:
    """Open files of this process: opened on first use, dropped when pickled or forked."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._files: dict[Path, h5py.File] = {}
        self._checked: set[tuple[Path, str]] = set()

    def open(self, path: Path) -> h5py.File:
        """The file, opened if it is not; the least recently used of too many is closed."""
        if self._pid != os.getpid():  # a fork must not share file positions with its parent
            self._pid, self._files, self._checked = os.getpid(), {}, set()
        file = self._files.pop(path, None)
        if file is None or not file:
            while len(self._files) >= OPEN_FILES:
                oldest = next(iter(self._files))
                self._files.pop(oldest).close()
            file = open_file(path)
        self._files[path] = file
        return file

    def node(self, path: Path, name: str) -> Any:
        """A group or dataset of a file."""
        file = self.open(path)
        try:
            return file[name]
        except KeyError as error:
            raise CacheError(
                f"{path} has no {name}; it is damaged or of another format. Delete it and run "
                "`softlabel generate` again."
            ) from error

    def dataset(self, path: Path, name: str) -> h5py.Dataset:
        """A dataset, after a first look whether all its chunks are there."""
        dataset = self.node(path, name)
        if (path, name) not in self._checked:
            expected = int(dataset.attrs.get("chunks_allocated", -1))
            if dataset.id.get_num_chunks() != expected:
                raise CacheError(
                    f"{path} holds {dataset.id.get_num_chunks()} chunks of {name}, expected "
                    f"{expected}: the file is incomplete. Delete it and run `softlabel generate` "
                    "again."
                )
            self._checked.add((path, name))
        return dataset

    def close(self) -> None:
        """Close all files of this process."""
        if self._pid == os.getpid():
            for file in self._files.values():
                file.close()
        self._files, self._checked = {}, set()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Handles.__init__(self)


def part_path(index: Path, link: str, case_id: str) -> Path:
    """Path of a part, which must lie in the folder beside the index."""
    expected = f"{index.with_suffix(schema.PARTS_SUFFIX).name}/{schema.part_name(case_id)}"
    folder, _, name = link.partition("/")
    if "/" in name or name != schema.part_name(case_id) or folder in {"", ".", ".."}:
        raise CacheError(
            f"The case {case_id!r} of {index} points to {link!r}, expected {expected!r}; rebuild "
            f"the index with `softlabel index {index}`."
        )
    return index.parent / folder / name
