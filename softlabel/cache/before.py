"""What a part keeps of a case before the steps of preprocessing: written, read and checked.

The records of the steps undo them; the original label maps are what predictions are compared with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.files import read_texts, store, text_array
from softlabel.cache.structure import LARGEST_TEXTS
from softlabel.errors import CaseError
from softlabel.preprocess import Record
from softlabel.types import Array, Note

MOST_GROWTH = 64
"""Steps in between may enlarge a grid: flattening adds the rows that the membrane covers."""


@dataclass(frozen=True, eq=False)
class Before:
    """A case before the steps, and what they did.

    Attributes
    ----------
    records : tuple of Record
        In the order of the steps.
    notes : tuple of Note
        What the steps took one way, though it could mean another.
    image : ndarray, shape (C, *spatial before), or None
        None when it is not to be kept.
    maps : mapping of str to ndarray, shape (*spatial before)
        ``labels``, ``truth`` and ``label_maps/<name>``; empty where the steps left every pixel in
        its place.
    spacing_mm : tuple of float or None
    affine : ndarray of float64, shape (4, 4), or None
    """

    records: tuple[Record, ...]
    notes: tuple[Note, ...] = ()
    image: Array | None = None
    maps: Mapping[str, Array] = field(default_factory=dict)
    spacing_mm: tuple[float, ...] | None = None
    affine: Array | None = None


def write_before(group: h5py.Group, before: Before, compression: str) -> None:
    """Write the datasets and attributes of docs/format.md.

    Raises
    ------
    CaseError
        When the records are too large.
    """
    texts = [json.dumps(record.as_json(), sort_keys=True) for record in before.records]
    if len(texts) * max(map(len, texts), default=0) > LARGEST_TEXTS:
        raise CaseError(
            f"the records of the steps take more than {LARGEST_TEXTS} bytes; leave out a step, or "
            "divide the volume."
        )
    _write_texts(group, schema.RECORDS, texts, compression)
    notes = [json.dumps({"code": n.code, "text": n.text}, sort_keys=True) for n in before.notes]
    _write_texts(group, schema.NOTES, notes, compression)
    if before.image is not None:
        image = before.image
        chunks = schema.chunk_shape(len(image), image.shape[1:], image.dtype.itemsize)
        store(group, f"{schema.ORIGINAL}/image", image, chunks, compression)
    for name, labels in sorted(before.maps.items()):
        labels = labels.astype(schema.label_dtype(labels))
        chunks = schema.chunk_shape(0, labels.shape, labels.dtype.itemsize)
        store(group, f"{schema.ORIGINAL}/{name}", labels, chunks, compression)
    for name, values in (("spacing_mm", before.spacing_mm), ("affine", before.affine)):
        if values is not None:
            group.attrs[f"original_{name}"] = np.asarray(values, np.float64)


def _write_texts(group: h5py.Group, name: str, texts: Sequence[str], compression: str) -> None:
    if texts:
        values = text_array(list(texts))
        store(group, name, values, (1,), compression)


def read_records(dataset: h5py.Dataset) -> tuple[Record, ...]:
    """The records of a case.

    Raises
    ------
    ValueError
        When one is no JSON, or no record.
    """
    return tuple(Record.from_json(_mapping(text)) for text in read_texts(dataset))


def read_notes(dataset: h5py.Dataset) -> tuple[Note, ...]:
    """The notes of a case.

    Raises
    ------
    ValueError
        When one is no JSON, or no note.
    """
    found = [_mapping(text) for text in read_texts(dataset)]
    if not all(isinstance(note.get(name), str) for note in found for name in ("code", "text")):
        raise ValueError("a note has a code and a text")
    return tuple(Note(note["code"], note["text"]) for note in found)


def _mapping(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a record is no JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise ValueError("a record is no JSON object")
    return content


def chain_problem(
    records: Sequence[Record], before: tuple[int, ...], after: tuple[int, ...]
) -> str | None:
    """What is wrong with the shapes of records that shall lead from one grid to another."""
    most = MOST_GROWTH * max(math.prod(before), math.prod(after))
    shape = before
    for record in records:
        if record.shape_before != shape:
            return f"the record of {record.step} begins at {record.shape_before}, not at {shape}"
        shape = record.shape_after
        if any(n < 1 for n in shape) or math.prod(shape) > most:
            return f"the record of {record.step} leads to the shape {shape}"
    return None if shape == after else f"the records end at {shape}, the case has {after}"


def before_problems(datasets: Mapping[str, h5py.Dataset]) -> Iterator[tuple[str, str]]:
    """Problems of records and notes: (dataset, what is wrong with it). Shapes were checked."""
    try:
        if schema.RECORDS in datasets:
            problem = chain_problem(read_records(datasets[schema.RECORDS]), *grids(datasets))
            if problem is not None:
                yield schema.RECORDS, problem
    except ValueError as error:
        yield schema.RECORDS, str(error)
    try:
        if schema.NOTES in datasets:
            read_notes(datasets[schema.NOTES])
    except ValueError as error:
        yield schema.NOTES, str(error)


def grids(datasets: Mapping[str, h5py.Dataset]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Spatial shape of a case before the steps and after them."""
    after = datasets["labels"]
    before = datasets.get(f"{schema.ORIGINAL}/labels", after)
    return tuple(before.shape), tuple(after.shape)
