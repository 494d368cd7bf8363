"""Check an untrusted file against docs/format.md without reading a value.

Links to other files and external storage are refused and never opened, so that a cache from a
stranger cannot make this machine read its own files into a result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.files.frames import DEFLATE, FLETCHER32, SHUFFLE, ZSTD, chunk_problem

LARGEST_CHUNK = 1 << 26
"""Bytes of a chunk that a reader takes memory for; ours are below 1 MiB."""

FILTERS = ((SHUFFLE,), (ZSTD, DEFLATE), (FLETCHER32,))
"""One of each at most, in this order; any other decoder could take any memory, or none be there."""

MOST_TEXTS, LARGEST_TEXTS = 64, 1 << 26
"""Texts of a dataset of a case, and bytes of all of them."""

Problem = tuple[str, str]
"""Where (dataset, or attribute of the case), and what is wrong with it."""


def own(node: h5py.Group, path: str) -> Any:
    """The group or dataset at a path, which no link may lead out of the file.

    Raises
    ------
    KeyError
        When there is none.
    ValueError
        When a link leads elsewhere, or a dataset's values lie elsewhere.
    """
    for name in path.split("/"):
        link = node.get(name, getlink=True)
        if link is None:
            raise KeyError(f"there is no {path}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"the link {path} leads elsewhere; all arrays must be in the file")
        node = node[name]
    if isinstance(node, h5py.Dataset) and (problem := layout_problem(node)) is not None:
        raise ValueError(f"{path} {problem}")
    return node


def datasets_below(group: h5py.Group, leave_out: str = "") -> dict[str, h5py.Dataset]:
    """All datasets below a group by their path, sorted, but for those below one name.

    Raises
    ------
    ValueError
        When a link leads out of the file.
    """
    found: dict[str, h5py.Dataset] = {}
    waiting, seen = [("", group)], set()
    while waiting:
        prefix, parent = waiting.pop()
        for name in parent:
            path = f"{prefix}{name}"
            if path == leave_out:
                continue
            if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"the link {path} leads elsewhere; all arrays must be in the file")
            node = parent[name]
            address = h5py.h5o.get_info(node.id).addr
            if isinstance(node, h5py.Dataset):
                found[path] = node
            elif address not in seen:  # groups may hold each other
                seen.add(address)
                waiting.append((f"{path}/", node))
    return dict(sorted(found.items()))


def layout_problem(dataset: h5py.Dataset) -> str | None:
    """What is wrong with how a dataset is stored; None when nothing is."""
    storage = dataset.id.get_create_plist()
    if storage.get_layout() != h5py.h5d.CHUNKED:  # chunks are never in another file
        foreign = dataset.external or dataset.is_virtual
        return "takes its values from another file" if foreign else "is not stored in chunks"
    size = math.prod(storage.get_chunk()) * dataset.id.get_type().get_size()
    if size > LARGEST_CHUNK:
        return f"has chunks of {size} bytes, expected at most {LARGEST_CHUNK}"
    filters = filters_of(dataset)
    left = list(FILTERS)
    for number in filters:
        while left and number not in left[0]:
            left.pop(0)
        if not left:
            return f"has the HDF5 filters {filters}, expected shuffle, zstd or gzip, fletcher32"
        left.pop(0)
    return None


def filters_of(dataset: h5py.Dataset) -> list[int]:
    """HDF5's numbers of the filters of a dataset, in the order of writing."""
    storage = dataset.id.get_create_plist()
    return [storage.get_filter(n)[0] for n in range(storage.get_nfilters())]


class UncheckedChunks:
    """The chunks of a dataset that were not yet seen to unpack to the size of a chunk.

    Only chunks that are there are looked at, and each once, before it is read.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._filters = filters_of(dataset)
        self._chunk_bytes = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
        self._left: dict[tuple[int, ...], int] = {}
        dataset.id.chunk_iter(
            lambda chunk: self._left.__setitem__(chunk.chunk_offset, chunk.filter_mask)
        )

    def require(self, dataset: h5py.Dataset, key: Any = ...) -> None:
        """Look at the chunks that reading ``dataset[key]`` would unpack.

        Raises
        ------
        ValueError
            When one would unpack to another size than it is to have.
        """
        if not self._left:
            return
        for offset in _touched(dataset, key) or [*self._left]:
            if (skipped := self._left.get(offset)) is None:
                continue
            stored = dataset.id.read_direct_chunk(offset)[1]
            problem = chunk_problem(stored, self._filters, skipped, self._chunk_bytes)
            if problem is not None:
                raise ValueError(f"{dataset.name}: a chunk at {offset} {problem}")
            del self._left[offset]


def _touched(dataset: h5py.Dataset, key: Any) -> list[tuple[int, ...]] | None:
    """Offsets of the chunks that whole numbers and slices touch; None for any other key."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(map(_is_plain, parts)):
        return None
    ranges = []
    for axis, (size, edge) in enumerate(zip(dataset.shape, dataset.chunks, strict=True)):
        part = parts[axis] if axis < len(parts) else slice(None)
        if not isinstance(part, slice):
            part = slice(int(part), int(part) + 1) if part >= 0 else slice(0, 0)
        start, stop, _ = part.indices(size)
        if not 0 <= start < stop <= size:
            return None  # empty, or wrong: HDF5 says so
        ranges.append(range(start // edge * edge, stop, edge))
    return [*itertools.product(*ranges)]


def _is_plain(part: Any) -> bool:
    """Whether it is a whole number, or a slice between such."""
    whole = int | np.integer
    if isinstance(part, slice):
        return all(bound is None or isinstance(bound, whole) for bound in (part.start, part.stop))
    return isinstance(part, whole)


def case_problems(
    case: h5py.Group, datasets: Mapping[str, h5py.Dataset], n_classes: int
) -> Iterator[Problem]:
    """Problems of a case's group: what is missing, and what has another type or shape.

    Parameters
    ----------
    case : h5py.Group
    datasets : mapping of str to h5py.Dataset
        From :func:`datasets_below`.
    n_classes : int
        Of the class table.
    """
    wrong_layout = [(n, p) for n, d in datasets.items() if (p := layout_problem(d)) is not None]
    missing = [s.name for s in schema.CASE_DATASETS.values() if s.required]
    if "superpixels" not in datasets and int(case.attrs.get("n_superpixels", 0)):
        missing.append("superpixels")
    missing = [name for name in missing if name not in datasets]
    yield from ((name, "is missing") for name in missing)
    yield from wrong_layout
    if missing or wrong_layout:
        return
    yield from _shape_problems(datasets, n_classes)
    sizes = {
        "K": n_classes, "C": datasets["image"].shape[0], "D": datasets["labels"].ndim
    }  # fmt: skip
    version = int(case.file.attrs.get("format_version", 1))
    for spec in schema.CASE_ATTRIBUTES:
        problem = _attribute_problem(case, spec, sizes, version)
        if problem is not None:
            yield spec.name, problem


def _shape_problems(datasets: Mapping[str, h5py.Dataset], n_classes: int) -> Iterator[Problem]:
    spatial = datasets["labels"].shape
    if not 1 <= len(spatial) <= 3:
        yield "labels", f"has shape {spatial}, expected one to three axes"
        return
    leading = {"": (), "C": datasets["image"].shape[:1], "K": (n_classes,)}
    original = _original_grid(datasets)
    for name, dataset in datasets.items():
        spec = schema.dataset_spec(name)
        if spec is None:
            continue
        if spec.leading == schema.TEXTS:
            yield from _text_problems(name, dataset)
            continue
        grid = original if name.startswith(f"{schema.ORIGINAL}/") else spatial
        expected = (*leading[spec.leading], *grid)
        if dataset.shape != expected:
            yield name, f"has shape {dataset.shape}, expected {expected}"
        if dataset.dtype.kind not in spec.kinds:
            yield name, f"has type {dataset.dtype}, expected a NumPy kind of {spec.kinds!r}"


def _original_grid(datasets: Mapping[str, h5py.Dataset]) -> tuple[int, ...]:
    """Grid before the steps: that of the original labels, which are there where it is another."""
    labels = datasets.get(f"{schema.ORIGINAL}/labels", datasets["labels"])
    return tuple(labels.shape) if labels.ndim == datasets["labels"].ndim else ()


def _text_problems(name: str, dataset: h5py.Dataset) -> Iterator[Problem]:
    count, size = math.prod(dataset.shape), dataset.dtype.itemsize
    if dataset.dtype.kind != "S" or dataset.ndim != 1:
        yield name, f"has type {dataset.dtype} and shape {dataset.shape}, expected a list of texts"
    elif count > MOST_TEXTS or count * size > LARGEST_TEXTS:
        yield name, f"has {count} texts of {size} bytes, expected {LARGEST_TEXTS} bytes in all"


def _attribute_problem(
    case: h5py.Group, spec: schema.AttributeSpec, sizes: dict[str, int], version: int
) -> str | None:
    if spec.name not in case.attrs:
        return "is missing" if spec.required and version >= spec.since else None
    value = np.asarray(case.attrs[spec.name])
    expected = tuple(sizes[n] if isinstance(n, str) else n for n in spec.shape)
    if value.dtype.kind not in spec.kinds or value.shape != expected:
        return (
            f"has type {value.dtype} and shape {value.shape}, expected a NumPy kind of "
            f"{spec.kinds!r} and {expected}"
        )
    if spec.finite and value.dtype.kind == "f" and not np.isfinite(value).all():
        return f"is not finite: {value.tolist()}"
    if spec.positive and not (value > 0).all():
        return f"is not positive: {value.tolist()}"
    return None


def lost_chunks(datasets: Mapping[str, h5py.Dataset]) -> Iterator[Problem]:
    """Datasets of which chunks are lost, which HDF5 would read as the fill value.

    Only soft maps may do without chunks: any other shape without them promises what is not there.
    """
    for name, dataset in datasets.items():
        expected, found = int(dataset.attrs["chunks_allocated"]), dataset.id.get_num_chunks()
        if name != "soft" and found == expected:
            axes = zip(dataset.shape, dataset.chunks, strict=True)
            expected = math.prod(-(-size // edge) for size, edge in axes)
        if found != expected:
            yield name, f"has {found} chunks, expected {expected}"
