"""Find the classes of a data set that does not name them, by reading every label map once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from softlabel.errors import SourceError, plural
from softlabel.readers.catalogue import READERS
from softlabel.readers.labels import distinct_values
from softlabel.readers.mapped import as_source, mapped_classes
from softlabel.types import MAX_CLASSES, ClassTable, Dataset


def scan_classes(dataset: Dataset) -> ClassTable:
    """Return the class table of a data set, collecting label values if it has none.

    Cases that cannot be read are left out; they fail again, with their reason, when they are
    computed. The ignore label is no class.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    ClassTable
        The data set's own, or one with a name such as ``label 7`` for each value that occurs.

    Raises
    ------
    SourceError
        When no label map can be read, no value but the ignore label occurs, or one file has so
        many values that it must be an image.
    """
    if dataset.classes is not None:
        return dataset.classes
    reader, source = READERS[dataset.format], as_source(dataset)
    if dataset.soft:
        return _classes_of_soft_labels(source)
    values: set[int] = set()
    first_error: Exception | None = None
    for file, refs in groupby(sorted(dataset.refs, key=lambda r: r.source), lambda r: r.source):
        try:
            opened = reader.opened_labels(source, file)
        except Exception as error:
            first_error = first_error or error
            continue
        for ref in refs:
            try:
                found = distinct_values(reader.read_labels(source, ref, opened))
            except Exception as error:
                first_error = first_error or error
                continue
            if len(found) > MAX_CLASSES:
                raise SourceError(
                    f"{dataset.root / ref.files[-1]} has {len(found)} distinct label values; "
                    f"expected at most {MAX_CLASSES}. Check that it is a label map, and that "
                    "images and labels are not exchanged."
                )
            values.update(found)
    table = classes_of_values(dataset, values)
    if table is None:
        reason = f" The first reason: {first_error}" if first_error else ""
        raise SourceError(
            f"{dataset.root}: no class was found in the label maps of "
            f"{plural(len(dataset.refs), 'case')}; "
            f"expected label values. Check the labels.{reason}"
        )
    return table


def classes_of_values(dataset: Dataset, values: Iterable[int]) -> ClassTable | None:
    """The class table of label values that occur in the files; None when no class does.

    Parameters
    ----------
    dataset : Dataset
        Its mapping is applied. What its source ignores is no class.
    values : iterable of int
    """
    found = set(values) - {as_source(dataset).ignore}
    if not found:
        return None
    table = ClassTable.from_values(found)
    return table if dataset.mapping is None else mapped_classes(table, dataset.mapping)


def _classes_of_soft_labels(dataset: Dataset) -> ClassTable:
    """Classes numbered as the soft labels of the first case that can be read."""
    reader = READERS[dataset.format]
    first_error: Exception | None = None
    for ref in dataset.refs:
        try:
            soft = reader.read_case(dataset, ref, reader.open_source(dataset, ref.source)).soft
        except Exception as error:
            first_error = first_error or error
            continue
        assert soft is not None, "cases of soft data sets have soft labels"
        return ClassTable.from_values(range(len(soft)))
    raise SourceError(
        f"{dataset.root}: the soft labels of {len(dataset.refs)} cases cannot be read, so that the "
        f"number of classes is not known; expected one case at least. The first reason: "
        f"{first_error}"
    )
