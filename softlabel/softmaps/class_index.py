"""Between label values and class indices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from softlabel.types import Array, ClassTable


def ignored_index(dtype: npt.DTypeLike) -> int:
    """Class index that stands for an ignored pixel: the largest value of the type."""
    return int(np.iinfo(dtype).max)


def class_positions(labels: Array, table: ClassTable) -> tuple[Array, Array]:
    """Where label values stand in a class table, and whether they do stand there.

    Parameters
    ----------
    labels : ndarray of an integer type
    table : ClassTable

    Returns
    -------
    position : ndarray of int64, same shape
        Some position where the value is not in the table.
    known : ndarray of bool, same shape

    Examples
    --------
    >>> table = ClassTable.from_values([0, 2**60, 2**60 + 1])
    >>> class_positions(np.array([2**60 + 1, 2**60 + 2], np.uint64), table)
    (array([2, 2]), array([ True, False]))
    """
    values = np.array(table.values, np.int64)
    if labels.dtype == np.uint64:
        # NumPy compares int64 with uint64 as float64, which takes neighbours beyond 2^53 for
        # equal. What int64 cannot hold becomes negative, as no class is.
        labels = labels.astype(np.int64)
    position = np.searchsorted(values, labels).clip(max=len(values) - 1)
    return position, values[position] == labels


def class_index_map(labels: Array, table: ClassTable, ignore: int | None) -> Array:
    """Translate label values into class indices, ignored pixels into :func:`ignored_index`.

    Returns
    -------
    ndarray of uint8 (fewer than 255 classes) or uint16, same shape, C order

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
    dtype = np.uint8 if len(table) < 255 else np.uint16
    if labels.size == 0:
        return np.zeros(labels.shape, dtype)
    if table.values[-1] <= 1 << 16 and (ignore is None or 0 <= ignore <= 1 << 16):
        lookup = np.full(max(table.values[-1], ignore or 0) + 1, -1, np.int32)
        lookup[list(table.values)] = np.arange(len(table))
        if ignore is not None:
            lookup[ignore] = ignored_index(dtype)
        low, high = int(labels.min()), int(labels.max())
        if low >= 0 and high < len(lookup):
            index = lookup[labels]
            if index.min() >= 0:
                return index.astype(dtype, order="C")
    position, known = class_positions(labels, table)
    ignored = np.zeros(labels.shape, np.bool_) if ignore is None else labels == ignore
    if not (known | ignored).all():
        strange = np.unique(labels[~(known | ignored)])
        raise ValueError(
            f"The label map holds {strange[:10].tolist()}, which are not among the classes "
            f"{list(table.values)[:20]}; give a class table that names them, or ignore=."
        )
    return np.where(ignored, ignored_index(dtype), position).astype(dtype, order="C")
