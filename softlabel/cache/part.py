"""The part of one case: from arrays to the bytes of its file.

Knows no paths: who publishes the bytes, and where, is decided elsewhere.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.before import Before, write_before
from softlabel.cache.digest import case_digest
from softlabel.cache.files import (
    Header,
    build_in_memory,
    create,
    new_group,
    put_text,
    seal,
    store,
    write_header,
)
from softlabel.types import Array, Case

ADDED = 2
"""Format version of the attributes that version 1 had not."""


@dataclass(frozen=True)
class InputFile:
    """A file that a case was read from: path relative to the data set, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


class TiledSoft(Protocol):
    """Soft maps that can be had tile by tile: computed ones, or those of a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(K, *spatial)."""

    @property
    def off(self) -> float:
        """Value of a pixel outside of the class, the fill value."""

    def class_groups(self, slices: Any, size: int) -> Iterator[tuple[int, Array]]:
        """First class and dense values, float32 (size, *patch), of groups of ``size`` classes.

        Those that are :attr:`off` everywhere may be left out.
        """


@dataclass(frozen=True, eq=False)
class Statistics:
    """Numbers of a case for training and for summaries.

    Attributes
    ----------
    class_pixels : ndarray of uint64, shape (K,)
        Pixels of each class, without ignored ones.
    pixels : int
        Pixels inside the mask.
    intensity_sum, intensity_sum_squares, intensity_min, intensity_max : ndarray, shape (C,)
        Over the pixels inside the mask.
    softened_pixels : int
        Pixels with a value that is not hard.
    soft_sum : float
        Σ over known pixels of Σ_c q_c.
    own_class_sum : ndarray of float64, shape (K,)
        Σ over the pixels of each class of the soft label of that class.
    n_superpixels, n_superpixels_asked : int
        0 when the method uses none.
    """

    class_pixels: Array
    pixels: int
    intensity_sum: Array
    intensity_sum_squares: Array
    intensity_min: Array
    intensity_max: Array
    softened_pixels: int
    soft_sum: float
    own_class_sum: Array
    n_superpixels: int
    n_superpixels_asked: int


@dataclass(frozen=True, eq=False)
class CaseResult:
    """A computed case, ready to be written.

    Attributes
    ----------
    case : Case
    labels : ndarray, shape (*spatial)
        Hard labels: the case's, or the majority of its raters.
    superpixels : ndarray of int32, shape (*spatial), or None
    soft : TiledSoft
    label_maps : mapping of str to ndarray
        Further label maps: the case's, and its single raters.
    statistics : Statistics
    inputs : tuple of InputFile
    note : str
        For the report only: why it was computed on the CPU though a device was to do it.
    before : Before or None
        The case before the steps of preprocessing; None without any.
    step_seconds : mapping of str to float
        For the report only: how long each step took.
    superpixel_settings : str
        JSON of what a preset chose for the case; empty without one.
    """

    case: Case
    labels: Array
    superpixels: Array | None
    soft: TiledSoft
    label_maps: Mapping[str, Array]
    statistics: Statistics
    inputs: tuple[InputFile, ...]
    note: str = ""
    before: Before | None = None
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    superpixel_settings: str = ""


def build_part(result: CaseResult, header: Header) -> bytes:
    """Bytes of the part of docs/format.md; the same result gives the same bytes."""
    with build_in_memory() as (file, built):
        write_header(file, schema.PART, header)
        group = new_group(file, "case")
        _write_attributes(group, result)
        _write_datasets(group, result, header.compression)
        if result.before is not None:
            write_before(group, result.before, header.compression)
        if header.format_version >= ADDED:
            _write_attributes_of_2(group, result)
    return built[0]


def _write_attributes(group: h5py.Group, result: CaseResult) -> None:
    case, numbers = result.case, result.statistics
    for name, text in (("id", case.id), ("group", case.group), ("source", case.source)):
        put_text(group, name, text)
    put_text(group, "inputs", json.dumps([[f.path, f.size, f.sha256] for f in result.inputs]))
    if case.spacing_mm is not None:
        group.attrs["spacing_mm"] = np.asarray(case.spacing_mm, np.float64)
    if case.affine is not None:
        group.attrs["affine"] = np.asarray(case.affine, np.float64)
    group.attrs["class_pixels"] = np.asarray(numbers.class_pixels, np.uint64)
    for name in ("pixels", "softened_pixels"):
        group.attrs[name] = np.uint64(getattr(numbers, name))
    for name in ("n_superpixels", "n_superpixels_asked"):
        group.attrs[name] = np.int64(getattr(numbers, name))
    group.attrs["soft_sum"] = np.float64(numbers.soft_sum)
    for name in schema.INTENSITY:
        group.attrs[name] = np.asarray(getattr(numbers, name), np.float64)


def _write_attributes_of_2(group: h5py.Group, result: CaseResult) -> None:
    """What format 2 added; the digest comes last, over all the rest."""
    case = result.case
    if case.slice_axis is not None:
        group.attrs["slice_axis"] = np.int64(case.slice_axis)
    group.attrs["own_class_sum"] = np.asarray(result.statistics.own_class_sum, np.float64)
    if result.superpixel_settings:
        put_text(group, schema.SUPERPIXEL_SETTINGS, result.superpixel_settings)
    put_text(group, schema.DIGEST, case_digest(group))


def _write_datasets(group: h5py.Group, result: CaseResult, compression: str) -> None:
    case = result.case
    image = np.asarray(case.image)
    spatial = image.shape[1:]
    chunks = schema.chunk_shape(len(image), spatial, image.dtype.itemsize)
    store(group, "image", image, chunks, compression)
    _write_map(group, "labels", result.labels, compression)
    if result.superpixels is not None:
        ids = result.superpixels
        ids = ids.astype(schema.superpixel_dtype(int(ids.min()), int(ids.max())))
        chunks = schema.chunk_shape(0, spatial, ids.dtype.itemsize)
        store(group, "superpixels", ids, chunks, compression, shuffle=ids.dtype.itemsize > 2)
    if case.mask is not None:
        chunks = schema.chunk_shape(0, spatial, 1)
        store(group, "mask", case.mask.astype(np.uint8), chunks, compression)
    if case.truth is not None:
        _write_map(group, "truth", case.truth, compression)
    for name, labels in sorted(result.label_maps.items()):
        _write_map(group, f"{schema.LABEL_MAPS}/{name}", labels, compression)
    _write_soft(group, result.soft, compression)


def _write_map(group: h5py.Group, name: str, labels: Array, compression: str) -> None:
    labels = labels.astype(schema.label_dtype(labels))
    chunks = schema.chunk_shape(0, labels.shape, labels.dtype.itemsize)
    store(group, name, labels, chunks, compression)


def _write_soft(group: h5py.Group, soft: TiledSoft, compression: str) -> None:
    """Write the chunks that are not all fill value, one in memory at a time."""
    n_classes, *spatial = soft.shape
    chunks = schema.chunk_shape(n_classes, tuple(spatial), 4)
    dataset = create(
        group, "soft", soft.shape, np.float32, chunks, compression, shuffle=False, fill=soft.off
    )
    starts = [range(0, n, c) for n, c in zip(spatial, chunks[1:], strict=True)]
    for corner in itertools.product(*starts):
        where = tuple(
            slice(s, min(s + c, n)) for s, c, n in zip(corner, chunks[1:], spatial, strict=True)
        )
        for first, values in soft.class_groups(where, chunks[0]):
            if (values != np.float32(soft.off)).any():
                dataset[(slice(first, first + len(values)), *where)] = values
    seal(dataset)
