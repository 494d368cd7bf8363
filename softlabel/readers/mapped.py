"""Data sets whose label values are mapped: the same readers, and other labels.

A reader lists and reads what its source says. :func:`with_mapping` says how its label values are to
be read; :func:`read_case` and :func:`read_labels` hand the source's own table to the reader, and
the mapped labels to whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from softlabel.errors import UsageError
from softlabel.mapping import LabelMapping
from softlabel.readers.labelfacts import Box, LabelFacts
from softlabel.readers.registry import Reader
from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset


def with_mapping(dataset: Dataset, mapping: LabelMapping | None) -> Dataset:
    """A data set whose label values are read by a mapping.

    Raises
    ------
    UsageError
        When a class would be another one as well, or rules are to change soft labels.
    """
    if not mapping:
        return dataset
    soft = dataset.soft and mapping.threshold is None
    if soft:
        raise UsageError(
            f"{dataset.root} holds soft labels, and a label mapping (--map, or values and colours "
            "of a class table) is about hard ones; leave it out, and name the classes with a table "
            "of {value: name}."
        )
    return replace(
        dataset,
        soft=soft,
        mapping=mapping,
        source_classes=dataset.classes,
        source_ignore=dataset.ignore,
        classes=None if dataset.classes is None else mapped_classes(dataset.classes, mapping),
        ignore=mapping.ignore if dataset.ignore is None else dataset.ignore,
        options={**dataset.options, "mapping": mapping.as_record()},
    )


def mapped_classes(classes: ClassTable, mapping: LabelMapping) -> ClassTable:
    """The class table after a mapping: names of the mapping, else those of the source.

    Raises
    ------
    UsageError
        When a rule turns values into one that another class has already.

    Examples
    --------
    >>> from softlabel.mapping import parse_mapping
    >>> table = ClassTable.from_values([0, 3, 7, 255])
    >>> dict(mapped_classes(table, parse_mapping("3-7=lesion,255=ignore")))
    {0: 'label 0', 3: 'lesion'}
    """
    for target, values in mapping.collisions(classes.values).items():
        raise UsageError(
            f"The label mapping turns {', '.join(map(str, values))} into {target}, which is the "
            f"class {classes.names[classes.values.index(target)]!r} already; name {target} in the "
            "rule as well if they are one class, or give them another value."
        )
    source = dict(classes)
    names = mapping.names()
    table = {}
    for value in classes.values:
        target = mapping.target_of(value)
        if target != mapping.ignore:
            table[target] = names.get(target) or source.get(target) or f"label {target}"
    return ClassTable.from_mapping(table)


def read_case(reader: Reader, dataset: Dataset, ref: CaseRef, opened: Any) -> Case:
    """Read a case with its labels mapped.

    Raises
    ------
    CaseError
        As the reader's.
    """
    mapping = dataset.mapping
    if mapping is None:
        return reader.read_case(dataset, ref, opened)
    case = reader.read_case(as_source(dataset), ref, opened)
    return replace(
        case,
        labels=_mapped(case.labels, dataset),
        truth=None if case.truth is None else _mapped(case.truth, dataset),
        label_maps={n: _mapped(m, dataset) for n, m in case.label_maps.items()},
        classes=dataset.classes,
        ignore=dataset.ignore,
    )


def read_labels(reader: Reader, dataset: Dataset, ref: CaseRef, opened: Any) -> Array:
    """Read only the label map of a case, mapped."""
    if dataset.mapping is None:
        return reader.read_labels(dataset, ref, opened)
    return _mapped(reader.read_labels(as_source(dataset), ref, opened), dataset)


def as_source(dataset: Dataset) -> Dataset:
    """The data set with its source's table: what the reader's own functions take.

    Colours and the threshold of the mapping are left for the reader, which knows the files.
    """
    if dataset.mapping is None:
        return dataset
    return replace(dataset, classes=dataset.source_classes, ignore=dataset.source_ignore)


def _mapped(labels: Array, dataset: Dataset) -> Array:
    assert dataset.mapping is not None
    mapping = dataset.mapping
    mapped = mapping.apply(labels)
    if mapping.ignore is not None and dataset.ignore not in (None, mapping.ignore):
        if dataset.ignore is not None and dataset.ignore > np.iinfo(mapped.dtype).max:
            mapped = mapped.astype(np.min_scalar_type(dataset.ignore))
        mapped = np.where(mapped == mapping.ignore, mapped.dtype.type(dataset.ignore or 0), mapped)
    if stays_ignored(dataset):
        mapped = np.where(labels == dataset.source_ignore, labels, mapped)
    return mapped


def mapped_value(dataset: Dataset, value: int) -> int:
    """What one value of the source is read as."""
    mapping = dataset.mapping
    if mapping is None or (value == dataset.source_ignore and stays_ignored(dataset)):
        return value
    target = mapping.target_of(value)
    return dataset.ignore if target == mapping.ignore and dataset.ignore is not None else target


def mapped_facts(facts: LabelFacts, dataset: Dataset) -> LabelFacts:
    """Counts of values that become one are added; edges and pieces count twice where they touch."""
    if dataset.mapping is None:
        return facts
    members: dict[int, list[int]] = {}
    for position, value in enumerate(facts.values):
        members.setdefault(mapped_value(dataset, value), []).append(position)
    values = tuple(sorted(members))

    def added(counts: Sequence[int]) -> tuple[int, ...]:
        return tuple(sum(counts[n] for n in members[v]) for v in values) if counts else ()

    return LabelFacts(
        facts.shape,
        values,
        added(facts.pixels),
        added(facts.pieces),
        tuple(_joined([facts.boxes[n] for n in members[v]]) for v in values if facts.boxes),
        added(facts.edges),
        facts.between,
    )


def _joined(boxes: Sequence[Box]) -> Box:
    """The box around boxes."""
    return tuple(
        (min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*boxes, strict=True)
    )


def stays_ignored(dataset: Dataset) -> bool:
    """Whether pixels that the source ignores stay so: no range of a mapping means them.

    The range ``1-`` of a mask is what was marked; 255 for "not annotated" lies in it by chance.
    """
    mapping, ignore = dataset.mapping, dataset.source_ignore
    return mapping is not None and ignore is not None and not mapping.names_exactly(ignore)
