"""Reading a cache: a mapping from ids to cases whose arrays are read on access."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.before import chain_problem, grids, read_notes, read_records
from softlabel.cache.damage import index_problem
from softlabel.cache.digest import case_digest
from softlabel.cache.facts import CaseFacts, read_facts, superpixel_settings_of
from softlabel.cache.files import (
    FIX_PACKED,
    FIX_PART,
    Header,
    check_header,
    damage_as_error,
    first_line,
    followed_link,
    from_bytes,
    get_text,
    index_fix,
    open_file,
    read_header,
    read_table,
    read_texts,
    require_known_link,
)
from softlabel.cache.index import (
    Entry,
    read_expected,
    read_facts_texts,
    read_findings,
    read_manifest,
    version_of,
)
from softlabel.cache.intact import Intact, outside_of_0_to_1
from softlabel.cache.structure import (
    UncheckedChunks,
    case_problems,
    datasets_below,
    lost_chunks,
    own,
)
from softlabel.errors import CacheError, UsageError, did_you_mean, first_of, plural
from softlabel.ids import fitting_ids, natural_key
from softlabel.preprocess import Record
from softlabel.raters import recorded_raters
from softlabel.types import Array, ClassTable, Note

SHOWN_IDS = 10
"""Cases that an error names of those that there are."""

OPEN_FILES = 64
"""Handles of parts that a process keeps open at a time."""

KNOWN_CASES = 1024
"""Cases of a packed file that a process keeps open at a time."""


PART_NODE = "/case"
"""The group of the case in a part."""


def open_cache(path: str | os.PathLike[str], *, verify: bool = True) -> Cache:
    """Open a cache for reading.

    Nothing but the index is read at once; arrays are read when they are indexed. The object can
    be pickled and sent to other processes, and survives a fork: every process opens files of its
    own on first use.

    Parameters
    ----------
    path : path of the index, ``NAME.h5``
    verify : bool
        Compare every array with its SHA-256 the first time that a process reads of it, and the
        case with its digest; see that what is read of soft labels is finite and within 0..1.
        Without it, only the checksums of HDF5 stand between a damaged file and its reader.

    Returns
    -------
    Cache
        A mapping from id to :class:`CachedCase`, in natural order of the ids.

    Raises
    ------
    CacheError
        When the file is missing, damaged, or not a cache.
    """
    return Cache(Path(path), verify=verify)


class Cache(Mapping[str, "CachedCase"]):
    """A softlabel cache (see :func:`open_cache`).

    Attributes
    ----------
    path : Path
        Its index; of a symbolic link to one the index itself, beside which the parts lie.
    header : Header
        Settings, class table, software.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        path = followed_link(path)
        self.path = path
        self._handles = Handles(verify)
        try:
            file = self._handles.open(path)
            check_header(file, path, (schema.INDEX, schema.PACKED))
            require_known_link(file, path)
            self._kind = get_text(file, "kind")
            self._fix = FIX_PACKED if self.is_packed else index_fix(path)
            with damage_as_error(path, self._fix):
                if (problem := index_problem(file)) is not None:
                    raise ValueError(problem)
                self.header: Header = read_header(file)
                # the values say nothing; a dict keeps the order and finds an id at once
                self._ids = dict.fromkeys(sorted(own(file, "cases"), key=natural_key))
                self._written = path.stat().st_mtime_ns
        except BaseException:
            self._handles.close()  # the error may be kept, and the file with it
            raise

    @property
    def is_packed(self) -> bool:
        """Whether it is one self-contained file."""
        return self._kind == schema.PACKED

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

    @property
    def raters(self) -> tuple[str, ...]:
        """Names of the annotators whose label maps were combined; empty for a single one.

        Their maps are among the ``label_maps`` of each case.
        """
        return recorded_raters(json.loads(self.header.settings))

    @cached_property
    def statistics(self) -> Mapping[str, Mapping[str, Array]]:
        """Per group: cases, class_pixels (K,), pixels, intensity_* (C,); see docs/format.md."""
        with self._handles.lock, damage_as_error(self.path, self._fix):
            file = self._handles.open(self.path)
            if "statistics" not in file:
                return {}
            names = [name for name in own(file, "statistics") if name != "groups"]
            tables = {name: read_table(own(file, f"statistics/{name}")) for name in names}
            groups = read_texts(own(file, "statistics/groups"))
            return {
                group: {name: table[row] for name, table in tables.items()}
                for row, group in enumerate(groups)
            }

    @cached_property
    def findings(self) -> tuple[Mapping[str, Any], ...]:
        """What the check of the data set found before the cache was made, as records."""
        with self._handles.lock, damage_as_error(self.path, self._fix):
            return read_findings(self._handles.open(self.path))

    @cached_property
    def missing(self) -> tuple[str, ...] | None:
        """Cases that the data set has and the cache has not; None when it does not tell."""
        with self._handles.lock, damage_as_error(self.path, self._fix):
            expected = read_expected(self._handles.open(self.path))
        return tuple(i for i in expected if i not in self._ids) if expected else None

    @cached_property
    def _manifest(self) -> Mapping[str, Entry]:
        with self._handles.lock, damage_as_error(self.path, self._fix):
            return read_manifest(self._handles.open(self.path))

    @cached_property
    def _facts(self) -> Mapping[str, str]:
        with self._handles.lock, damage_as_error(self.path, self._fix):
            return read_facts_texts(self._handles.open(self.path))

    def facts(self, case_id: str) -> CaseFacts:
        """Facts of a case: of the index while its part has not changed since, else of the part.

        Raises
        ------
        CacheError
            When the part is missing or damaged, or not the one that the index was written for.
        """
        case = self[case_id]
        told = self._facts.get(case_id)
        if told and self._is_as_indexed(case):
            with damage_as_error(self.path, self._fix):
                return CaseFacts.from_json(told)
        with self.group(case) as group, damage_as_error(case.path, case.fix):
            return read_facts(group)

    def _is_as_indexed(self, case: CachedCase) -> bool:
        """Whether the part of a case has not changed since the index was written."""
        if case.is_packed:
            return True
        entry, version = self._manifest.get(case.id), version_of(case.path)
        if entry is None or version is None:
            return False
        return version[1] == entry.bytes and version[2] < self._written

    def is_unsettled(self, case_id: str) -> bool:
        """Whether a run is replacing the part of a case, or was when it was killed."""
        entry = self._manifest.get(case_id)
        return entry is not None and not entry.digest

    @contextmanager
    def group(self, case: CachedCase) -> Iterator[h5py.Group]:
        """The HDF5 group of a sound case, for use in the block only."""
        with self._handles.group(case) as group:
            yield group

    def stored_bytes(self, case_id: str) -> int:
        """Bytes of the part of a case, or of the one that it was packed from.

        Raises
        ------
        CacheError
            When it is missing or damaged.
        """
        case = self[case_id]
        if not case.is_packed:
            return case.path.stat().st_size
        entry = self._manifest.get(case_id)
        if entry is not None:
            return entry.bytes
        with self.group(case) as group:  # of format 1, which has no manifest
            return sum(int(d.id.get_storage_size()) for d in datasets_below(group).values())

    def __getitem__(self, case_id: str) -> CachedCase:
        if case_id not in self._ids:
            raise KeyError(f"{self.path} has no case {case_id!r}; it has {len(self)} others.")
        with self._handles.lock, damage_as_error(self.path, self._fix):
            link = self._handles.open(self.path).get(f"cases/{case_id}", getlink=True)
        if isinstance(link, h5py.ExternalLink):
            path, node = part_path(self.path, link, case_id), PART_NODE
        else:
            path, node = self.path, f"/cases/{case_id}"
        entry = self._manifest.get(case_id)
        return CachedCase(
            case_id, path, node, self.header.fingerprint, self.header.algorithm,
            "" if entry is None else entry.digest, self._handles,
        )  # fmt: skip

    def chosen(self, texts: Sequence[str] = ()) -> list[str]:
        """Ids that are one of some texts or fit one as a pattern, or all, in the cache's order.

        Raises
        ------
        UsageError
            When the cache is empty, or has none for one of the texts.
        """
        if not len(self):
            raise UsageError(f"{self.path} holds no case; run `softlabel generate` first.")
        wanted: set[str] = set()
        for text in texts:
            found = fitting_ids(text, self)
            if not found:
                known = did_you_mean(text, self) or f"; it has {first_of(self, SHOWN_IDS)}"
                raise UsageError(
                    f"{self.path} has no case {text!r}{known} (`softlabel info -v` lists them)."
                )
            wanted.update(found)
        return [case_id for case_id in self if not texts or case_id in wanted]

    def __contains__(self, case_id: object) -> bool:
        return case_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        held = f"{plural(len(self), 'case')}, {plural(len(self.classes), 'class')}"
        return f"<softlabel cache {self.path}: {held}>"

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
    fingerprint : str
        Of the settings that it must have been made with.
    algorithm : int
        Version of the results that it must be of.
    digest : str
        Of the part that the index was written for; "" when it does not tell.
    """

    id: str
    path: Path
    node: str
    fingerprint: str
    algorithm: int
    digest: str
    _handles: Handles

    def __repr__(self) -> str:
        return f"<case {self.id!r} of the cache file {self.path}>"

    @property
    def is_packed(self) -> bool:
        """Whether it lies in one file with all other cases."""
        return self.node != PART_NODE

    @property
    def place(self) -> str:
        """Where it lies, for the beginning of a message."""
        return f"The case {self.id!r} of {self.path}" if self.is_packed else str(self.path)

    @property
    def fix(self) -> str:
        """The end of a message about damage: how to fix it."""
        return FIX_PACKED if self.is_packed else FIX_PART

    @property
    def header(self) -> Header:
        """Settings, class table and value of ignored pixels, of its own file."""
        with self._handles.lock:
            self._handles.contents(self)
            with damage_as_error(self.path, self.fix):
                return read_header(self._handles.open(self.path))

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
        prefix = f"{schema.LABEL_MAPS}/"
        return {
            n.removeprefix(prefix): self._array(n) for n in self.datasets if n.startswith(prefix)
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.labels.shape

    @property
    def preprocessing(self) -> tuple[Record, ...]:
        """What the steps before superpixels did, in order: :func:`softlabel.preprocess.restore`
        undoes it.

        Raises
        ------
        CacheError
            When a record is damaged, or does not lead to the grid of the case.
        """
        if schema.RECORDS not in self.datasets:
            return ()
        with (
            self._handles.decoding(self, schema.RECORDS) as stored,
            damage_as_error(self.path, self.fix),
        ):
            datasets = {
                name: self._handles.open(self.path)[f"{self.node}/{name}"] for name in self.datasets
            }
            records = read_records(stored)
            problem = chain_problem(records, *grids(datasets))
            if problem is not None:
                raise ValueError(problem)
            return records

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the steps before superpixels took one way, though it could mean another."""
        if schema.NOTES not in self.datasets:
            return ()
        with (
            self._handles.decoding(self, schema.NOTES) as dataset,
            damage_as_error(self.path, self.fix),
        ):
            return read_notes(dataset)

    @property
    def original_image(self) -> StoredArray | None:
        """The image before those steps, (C, *spatial before); None where it was not kept."""
        if schema.RECORDS not in self.datasets:
            return self.image
        return self._optional(f"{schema.ORIGINAL}/image")

    @property
    def original_labels(self) -> StoredArray:
        """The hard labels before those steps, (*spatial before)."""
        return self._original("labels")

    @property
    def original_truth(self) -> StoredArray | None:
        """The true labels of a phantom before those steps, (*spatial before)."""
        return None if self.truth is None else self._original("truth")

    @property
    def original_label_maps(self) -> Mapping[str, StoredArray]:
        """Further label maps by name, before those steps."""
        return {name: self._original(f"{schema.LABEL_MAPS}/{name}") for name in self.label_maps}

    @property
    def original_shape(self) -> tuple[int, ...]:
        """Spatial shape before those steps."""
        return self.original_labels.shape

    @property
    def original_spacing_mm(self) -> tuple[float, ...] | None:
        """Distance between pixel centres before those steps."""
        return self._spacing(self._of_original("spacing_mm"))

    @property
    def original_affine(self) -> Array | None:
        """Voxel indices to millimetres before those steps, (4, 4)."""
        value = self._attributes.get(self._of_original("affine"))
        return None if value is None else np.asarray(value)

    def _of_original(self, name: str) -> str:
        return f"original_{name}" if schema.RECORDS in self.datasets else name

    def _original(self, name: str) -> StoredArray:
        """A map of the original grid; where the steps left that, the map itself."""
        return self._optional(f"{schema.ORIGINAL}/{name}") or self._array(name)

    @property
    def group(self) -> str:
        """The patient."""
        return str(self._attributes["group"])

    @property
    def source(self) -> str:
        """File that it came from, relative to the data set."""
        return str(self._attributes["source"])

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths of the files that it was read from, relative to the data set; ``superpixels:`` and
        its name for a file of given superpixels.

        Raises
        ------
        CacheError
            When they are no list of paths.
        """
        with damage_as_error(self.path, self.fix):
            return tuple(str(path) for path, _, _ in json.loads(self._attributes["inputs"]))

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Distance between pixel centres along each spatial axis."""
        return self._spacing("spacing_mm")

    @property
    def slice_axis(self) -> int | None:
        """Spatial axis across the slices, where something told it."""
        value = self._attributes.get("slice_axis")
        return None if value is None else int(value)

    @property
    def superpixel_settings(self) -> Mapping[str, Any]:
        """What a preset of the settings became for this case; empty without one.

        Raises
        ------
        CacheError
            When they are no JSON object.
        """
        with damage_as_error(self.path, self.fix):
            text = self._attributes.get(schema.SUPERPIXEL_SETTINGS, "")
            return superpixel_settings_of(str(text))

    @property
    def affine(self) -> Array | None:
        """Voxel indices to millimetres, (4, 4)."""
        value = self._attributes.get("affine")
        return None if value is None else np.asarray(value)

    @property
    def statistics(self) -> Mapping[str, Any]:
        """Numbers of this case (the attributes of ``/case`` in docs/format.md)."""
        skip = {"id", "group", "source", "inputs", "spacing_mm", "affine", "slice_axis",
                "original_spacing_mm", "original_affine", schema.SUPERPIXEL_SETTINGS,
                schema.DIGEST}  # fmt: skip
        return {name: value for name, value in self._attributes.items() if name not in skip}

    def content_digest(self) -> str:
        """SHA-256 of all that the case holds, hexadecimal: another one after any change.

        That of the index, or of the part where the index tells none.
        """
        if self.digest:
            return self.digest
        with self._handles.lock:
            self._handles.contents(self)
            with damage_as_error(self.path, self.fix):
                return case_digest(own(self._handles.open(self.path), self.node.strip("/")))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Paths of all arrays of this case."""
        return self._handles.contents(self).datasets

    def _spacing(self, name: str) -> tuple[float, ...] | None:
        value = self._attributes.get(name)
        return None if value is None else tuple(float(v) for v in value)

    @property
    def _attributes(self) -> Mapping[str, Any]:
        return self._handles.contents(self).attributes

    def _array(self, name: str) -> StoredArray:
        return StoredArray(self, name)

    def _optional(self, name: str) -> StoredArray | None:
        return self._array(name) if name in self.datasets else None


@dataclass(frozen=True)
class StoredArray:
    """An array in the file: index it like an array, or give it to ``np.asarray``.

    Every access reads and checks the chunks that it needs.

    Attributes
    ----------
    case : CachedCase
    name : str
        Path of the dataset below the case.
    """

    case: CachedCase
    name: str

    def __repr__(self) -> str:
        return f"<array {self.name} of {self.case.id!r}: {self.dtype} {self.shape}, in the file>"

    @property
    def path(self) -> Path:
        """File that holds it."""
        return self.case.path

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape."""
        with self.case._handles.dataset(self.case, self.name) as dataset:
            return tuple(dataset.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type."""
        with self.case._handles.dataset(self.case, self.name) as dataset:
            return np.dtype(dataset.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of the pieces that are stored; reading part of one decodes all of it."""
        with self.case._handles.dataset(self.case, self.name) as dataset:
            return None if dataset.chunks is None else tuple(dataset.chunks)

    @property
    def fillvalue(self) -> float:
        """Value of the chunks that are not stored."""
        with self.case._handles.dataset(self.case, self.name) as dataset:
            return float(dataset.fillvalue)

    def __getitem__(self, key: Any) -> Array:
        with self._reading(key) as dataset:
            values = np.asarray(dataset[key])
        self._require_soft_labels(values)
        return values

    def read_into(self, out: Array, key: Any) -> None:
        """Read ``self[key]`` into memory that is there already: C-contiguous, of that shape."""
        with self._reading(key) as dataset:
            dataset.read_direct(out, key)
        self._require_soft_labels(out)

    def _require_soft_labels(self, values: Array) -> None:
        """Refuse soft labels that are none, though they are what was written."""
        if self.name != "soft" or not self.case._handles.verify:
            return
        if count := outside_of_0_to_1(values):
            raise CacheError(
                f"{self.path} holds {count} soft labels that are not within 0..1 in what was read "
                f"of {self.name}; {self.case.fix}."
            )

    @contextmanager
    def _reading(self, key: Any) -> Iterator[h5py.Dataset]:
        handles = self.case._handles
        with handles.decoding(self.case, self.name) as dataset:
            with damage_as_error(self.path, self.case.fix):
                handles.unchecked(self.case, self.name, dataset).require(dataset, key)
            try:
                yield dataset
            except OSError as error:  # a wrong key raises something else
                raise CacheError(
                    f"{self.case.place} is damaged in {self.name} ({first_line(error)}); "
                    f"{self.case.fix}."
                ) from error
            except MemoryError as error:
                raise CacheError(
                    f"{self.name} of {self.path}, {self.dtype} of {self.shape}, does not fit into "
                    "memory; read a patch of it, or use a machine with more."
                ) from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(
                "An array in a file cannot become a NumPy array without a copy; use np.asarray, "
                "or index it."
            )
        values = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)


@dataclass(frozen=True, eq=False)
class CaseContents:
    """What a case holds besides the values of its arrays, and those datasets that are open."""

    attributes: Mapping[str, Any]
    datasets: tuple[str, ...]
    opened: dict[str, h5py.Dataset] = field(default_factory=dict)
    unchecked: dict[str, UncheckedChunks] = field(default_factory=dict)


class Handles:
    """Open files of this process: opened on first use, dropped when pickled or forked.

    Attributes
    ----------
    verify : bool
        Whether what is decoded is compared with its digests first.
    lock : context manager
        Hold it while using what :meth:`open` returns: another thread may close the file.
    """

    def __init__(self, verify: bool = True) -> None:
        self.verify = verify
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._files: dict[Path, h5py.File] = {}
        self._checked: dict[tuple[Path, str], CaseContents] = {}
        self._intact = Intact()  # outlives the handles: an unchanged file is not hashed again

    @property
    def lock(self) -> threading.RLock:
        """The lock of this process; a fork gets a new one, and files of its own."""
        if self._pid != os.getpid():
            self._reset()
        return self._lock

    def open(self, path: Path) -> h5py.File:
        """The file, opened if it is not; the least recently used of too many is closed."""
        with self.lock:
            file = self._files.pop(path, None)
            if not file:  # never opened, or closed behind our back
                while len(self._files) >= OPEN_FILES:
                    oldest = next(iter(self._files))
                    self._forget(oldest)
                    self._files.pop(oldest).close()
                self._forget(path)
                file = open_file(path)
            self._files[path] = file
            return file

    def _forget(self, path: Path) -> None:
        """Forget a closed file."""
        self._checked = {k: v for k, v in self._checked.items() if k[0] != path}

    def contents(self, case: CachedCase) -> CaseContents:
        """Attributes and datasets of a case, after a first look whether it is sound.

        Raises
        ------
        CacheError
            When the file is damaged, is of another case or of other settings, or lacks chunks.
        """
        with self.lock:
            key = (case.path, case.node)
            file = self.open(case.path)
            known = self._checked.pop(key, None)  # and put back as the last one used
            if known is None:
                while len(self._checked) >= KNOWN_CASES:
                    del self._checked[next(iter(self._checked))]
                with damage_as_error(case.path, case.fix):
                    known = _checked_contents(file, case)
            self._checked[key] = known
            return known

    @contextmanager
    def group(self, case: CachedCase) -> Iterator[h5py.Group]:
        """The group of a sound case, while the lock is held."""
        with self.lock:
            self.contents(case)
            yield self.open(case.path)[case.node]

    @contextmanager
    def dataset(self, case: CachedCase, name: str) -> Iterator[h5py.Dataset]:
        """A dataset of a sound case, while the lock is held."""
        with self.lock:
            opened = self.contents(case).opened
            if name not in opened:  # opening one takes as long as reading a small patch
                with damage_as_error(case.path, case.fix):
                    opened[name] = self.open(case.path)[f"{case.node}/{name}"]
            yield opened[name]

    @contextmanager
    def decoding(self, case: CachedCase, name: str) -> Iterator[h5py.Dataset]:
        """As :meth:`dataset`, of one whose values are read: it is what was written.

        Raises
        ------
        CacheError
            When it is not, unless that was not to be looked at.
        """
        with self.dataset(case, name) as dataset:
            if self.verify:
                with damage_as_error(case.path, case.fix):
                    file = self.open(case.path)
                    problem = self._intact.problem(case.path, file, case.node, name, case.digest)
                if problem is not None:
                    raise CacheError(f"{case.place} {problem}; {case.fix}.")
            yield dataset

    def unchecked(self, case: CachedCase, name: str, dataset: h5py.Dataset) -> UncheckedChunks:
        """The chunks of a dataset that this process has not read yet; hold the lock."""
        known = self.contents(case).unchecked
        if name not in known:
            known[name] = UncheckedChunks(dataset)
        return known[name]

    def close(self) -> None:
        """Close all files of this process."""
        with self.lock:
            for file in self._files.values():
                file.close()
            self._files, self._checked = {}, {}

    def __getstate__(self) -> dict[str, Any]:
        return {"verify": self.verify}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.verify = state["verify"]
        self._reset()


def _checked_contents(file: h5py.File, case: CachedCase) -> CaseContents:
    group = own(file, case.node.strip("/"))
    attributes = {
        name: from_bytes(value) if isinstance(value, bytes) else value
        for name, value in group.attrs.items()
    }
    if attributes["id"] != case.id:
        raise CacheError(f"{case.path} holds the case {attributes['id']!r}, expected {case.id!r}; "
                         f"{case.fix}.")  # fmt: skip
    if get_text(file, "fingerprint") != case.fingerprint:
        raise CacheError(
            f"{case.path} was made with other settings than its index records; run "
            "`softlabel generate` again."
        )
    other = other_part(file, group, case.algorithm, case.digest)
    if other is not None:
        raise CacheError(f"{case.path} {other}.")
    datasets = datasets_below(group)
    n_classes = len(own(file, "classes/values"))
    problem = next(case_problems(group, datasets, n_classes), None)
    problem = problem or next(lost_chunks(datasets), None)
    if problem is not None:
        raise CacheError(f"{case.place} is damaged: {' '.join(problem)}; {case.fix}.")
    return CaseContents(attributes, tuple(datasets))


def other_part(file: h5py.File, case: h5py.Group, algorithm: int, digest: str) -> str | None:
    """Why a part is not the one that the index was written for; None when it is.

    Parameters
    ----------
    file, case : h5py objects
        Root and case of the part.
    algorithm : int
        Of the index.
    digest : str
        That the index names; "" when it names none.
    """
    made_by = int(file.attrs["algorithm"])
    if made_by != algorithm:
        return (
            f"was made by version {made_by} of the algorithm and its index by {algorithm}; run "
            "`softlabel generate` again"
        )
    if digest and get_text(case, schema.DIGEST, "") != digest:
        return (
            "is not the part that the index was written for (it was exchanged, or is of a run that "
            "has not ended); run `softlabel generate` again"
        )
    return None


def part_path(index: Path, link: h5py.ExternalLink, case_id: str) -> Path:
    """Path of a part, which must lie in a folder of parts beside the index.

    Raises
    ------
    CacheError
        When the link points elsewhere.
    """
    folder, _, name = link.filename.partition("/")
    if (
        name != schema.part_name(case_id)
        or link.path != "/case"
        or schema.parts_number(folder) is None
        or any(ch in folder for ch in "\\:")  # a path on Windows
    ):
        expected = index.with_suffix(schema.PARTS_SUFFIX).name
        raise CacheError(
            f"The case {case_id!r} of {index} points to {link.filename!r}, expected "
            f"'{expected}/{schema.part_name(case_id)}'; rebuild the index with "
            f"`softlabel index {index}`."
        )
    return index.parent / folder / name
