"""Label values and class indices: the one place that knows their types and the ignored index."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from softlabel.types import Array, ClassTable

LOOKUP_VALUES = 1 << 16
"""Label maps whose values lie this close together are translated by a table of all values."""


def index_dtype(n_classes: int) -> np.dtype[np.unsignedinteger]:
    """Smallest type of class indices: uint8 for fewer than 255 classes, else uint16.

    Its largest value stays free for ignored pixels, and the one below for unknown labels.
    """
    return np.dtype(np.uint8 if n_classes < 255 else np.uint16)


def ignored_index(dtype: npt.DTypeLike) -> int:
    """Class index that stands for an ignored pixel: the largest value of the type."""
    return int(np.iinfo(dtype).max)


def translate_labels(
    labels: Array, numbers: Mapping[int, int], rest: int, dtype: npt.DTypeLike
) -> Array:
    """Replace each label value by its number, and values that have none by ``rest``.

    Parameters
    ----------
    labels : ndarray of an integer type
    numbers : mapping of int to int
        Label value → number; the values may be of any size.
    rest : int
    dtype : dtype
        Type of the result; it must hold all numbers and ``rest``.

    Returns
    -------
    ndarray of ``dtype``, same shape, C order

    Examples
    --------
    >>> translate_labels(np.array([5, 128, 7]), {5: 1, 128: 2}, 0, np.uint8)
    array([1, 2, 0], dtype=uint8)
    >>> labels = np.array([2**60 + 1, 0, 2**60 + 2], np.uint64)
    >>> translate_labels(labels, {0: 0, 2**60 + 1: 1}, -1, np.int32)
    array([ 1,  0, -1], dtype=int32)
    """
    if labels.size == 0:
        return np.zeros(labels.shape, dtype)
    low, high = (0, 255) if labels.dtype == np.uint8 else (int(labels.min()), int(labels.max()))
    if high - low <= LOOKUP_VALUES:
        table = np.full(high - low + 1, rest, dtype)
        for value, number in numbers.items():
            if low <= value <= high:
                table[value - low] = number
        if labels.dtype == np.uint64:  # before the cast: intp does not hold all of it
            return np.take(table, (labels - np.uint64(low)).astype(np.intp))
        places = labels.astype(np.intp)
        if low:
            places -= low
        return np.take(table, places)
    # Python's integers: NumPy compares int64 with uint64 as float64, which is exact below 2^53
    found, place = np.unique(labels, return_inverse=True)
    table = np.array([numbers.get(value, rest) for value in found.tolist()], dtype)
    return np.take(table, place).reshape(labels.shape)


def class_index_map(labels: Array, table: ClassTable, ignore: int | None) -> Array:
    """Translate label values into class indices, ignored pixels into :func:`ignored_index`.

    Returns
    -------
    ndarray of :func:`index_dtype`, same shape, C order
        Its own memory, not that of ``labels``.

    Raises
    ------
    ValueError
        When a label is neither in the table nor the ignored value.

    Examples
    --------
    >>> table = ClassTable.from_values([0, 128])
    >>> class_index_map(np.array([0, 128, 9]), table, ignore=9).tolist()
    [0, 1, 255]
    """
    dtype = index_dtype(len(table))
    ignored = ignored_index(dtype)
    if labels.dtype == dtype and _are_indices(labels, table, ignore, ignored):
        return labels.copy(order="C")
    numbers = {value: index for index, value in enumerate(table.values)}
    if ignore is not None:
        numbers[ignore] = ignored
    unknown = ignored - 1
    index = translate_labels(labels, numbers, unknown, dtype)
    if (index == unknown).any():
        strange = np.unique(labels[index == unknown])
        raise ValueError(
            f"The label map holds {strange[:10].tolist()}, which are not among the classes "
            f"{list(table.values)[:20]}; give a class table that names them, or ignore=."
        )
    return index


def _are_indices(labels: Array, table: ClassTable, ignore: int | None, ignored: int) -> bool:
    """Whether labels are class indices already, as those of most data sets."""
    if table.values != tuple(range(len(table))) or ignore not in (None, ignored):
        return False
    known = labels < len(table)
    if ignore is not None:
        known |= labels == ignored
    return bool(known.all())
