"""A case from one file to another: chunks go as they are stored, and are checked on the way.

Nothing is decoded, so that values, checksums and digests stay what they are, and a copy is as quick
as the disk. Attributes and datasets are made in the order of :mod:`softlabel.cache.part`: where
HDF5 laid the chunks of a part one behind the other, as it does for slices, the copy of a copy has
the bytes of the part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.digest import case_digest
from softlabel.cache.files import chunk_offsets, get_attribute, get_text, new_group
from softlabel.cache.structure import datasets_below

WRITTEN_FIRST = (
    "id", "group", "source", "inputs", "spacing_mm", "affine", "class_pixels", "pixels",
    "softened_pixels", "n_superpixels", "n_superpixels_asked", "soft_sum", *schema.INTENSITY,
)  # fmt: skip
"""Attributes of a case that a part gets before its datasets; the others come after them."""

WRITTEN_LAST = (
    "original_spacing_mm", "original_affine", "slice_axis", "own_class_sum",
    schema.SUPERPIXEL_SETTINGS,
)  # fmt: skip

DATASET_ORDER = (
    "image", "labels", "superpixels", "mask", "truth", schema.LABEL_MAPS, "soft",
    schema.RECORDS, schema.NOTES, schema.ORIGINAL,
)  # fmt: skip
"""Datasets of a case, or groups of them, in the order in which a part gets them."""


def copy_case(source: h5py.Group, target: h5py.Group, *, as_part: bool) -> None:
    """Copy the attributes and datasets of a case into an empty group of another file.

    Parameters
    ----------
    source : h5py.Group
        A case that was checked by :func:`softlabel.cache.structure.case_problems`.
    target : h5py.Group
    as_part : bool
        Flush after each dataset, as the writer of parts does: HDF5 lays out a small file in
        memory otherwise, and a large one on disk far more slowly, with it.

    Raises
    ------
    ValueError
        When the stored bytes are not those that were written, or the digest of the case is not that
        of what it holds.
    OSError or RuntimeError
        When HDF5 cannot read or write.
    """
    names = [name for name in source.attrs if name != schema.DIGEST]
    first = [name for name in WRITTEN_FIRST if name in names]
    last = [name for name in WRITTEN_LAST if name in names]
    _copy_attributes(source, target, first)
    for name, dataset in sorted(datasets_below(source).items(), key=_dataset_order):
        copy_dataset(dataset, target, name, flush=as_part)
    _copy_attributes(source, target, [*last, *sorted(set(names) - {*first, *last})])
    if schema.DIGEST in source.attrs:
        _copy_attributes(source, target, [schema.DIGEST])
        if get_text(target, schema.DIGEST) != case_digest(target):
            raise ValueError("the digest is not that of the attributes and arrays")


def copy_dataset(dataset: h5py.Dataset, target: h5py.Group, name: str, *, flush: bool) -> None:
    """Copy a sealed dataset to a path below a group, chunk by chunk.

    Raises
    ------
    ValueError
        When chunks are lost, or have other bytes than were written.
    """
    *folders, name = name.split("/")
    for folder in folders:
        target = target[folder] if folder in target else new_group(target, folder)
    properties = dataset.id.get_create_plist()
    properties.set_obj_track_times(False)
    made = h5py.h5d.create(
        target.id, name.encode(), dataset.id.get_type(), h5py.h5s.create_simple(dataset.shape),
        properties,
    )  # fmt: skip
    offsets, digest = chunk_offsets(dataset), hashlib.sha256()
    for offset in offsets:
        mask, stored = dataset.id.read_direct_chunk(offset)
        digest.update(np.asarray(offset, "<i8").tobytes())
        digest.update(stored)
        made.write_direct_chunk(offset, stored, mask)
    expected = int(get_attribute(dataset, "chunks_allocated"))
    if len(offsets) != expected:
        raise ValueError(f"{dataset.name} has {len(offsets)} chunks, expected {expected}")
    if digest.hexdigest() != get_text(dataset, "sha256"):
        raise ValueError(f"{dataset.name} has other bytes than were written (SHA-256 differs)")
    if flush:
        target.file.flush()
    order = ("chunks_allocated", "sha256", "ignore")
    names = sorted(dataset.attrs, key=lambda n: order.index(n) if n in order else len(order))
    _copy_attributes(dataset, h5py.Dataset(made), names)


def _copy_attributes(source: h5py.HLObject, target: h5py.HLObject, names: Iterable[str]) -> None:
    """Copy attributes as they are stored: of the same type, text of the same length."""
    for name in names:
        stored = h5py.h5a.open(source.id, name.encode("utf-8", "surrogateescape"))
        made = h5py.h5a.create(target.id, stored.name, stored.get_type(), stored.get_space())
        value = np.empty(stored.shape, stored.dtype)
        stored.read(value)
        made.write(value)


def _dataset_order(item: tuple[str, h5py.Dataset]) -> tuple[int, bool, str]:
    """The writer's order; of what it does not know, by name at the end."""
    name = item[0]
    first = name.partition("/")[0]
    position = DATASET_ORDER.index(first) if first in DATASET_ORDER else len(DATASET_ORDER)
    return position, name != f"{schema.ORIGINAL}/image", name
