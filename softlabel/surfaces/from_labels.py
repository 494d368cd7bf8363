"""Layer boundaries from a label map: in each A-scan the ordered rows that fit its labels best.

Layers lie in order: class k is what lies below exactly k boundaries. A label map that keeps the
order has one answer. One that does not, as a network may predict, is repaired A-scan by A-scan:
boundary k lies where the fewest pixels are on its wrong side, those of classes below k under it and
those of classes from k on above it. The smallest such rows of all boundaries are in order by
themselves (isotonic regression of the labels by absolute error, taken apart by thresholds).

One A-scan of nine rows, two boundaries, the second pixel of class 2 out of order:

>>> labels = np.array([0, 0, 2, 1, 1, 1, 2, 2, 2], np.uint8)
>>> found = surfaces_of_labels(labels[:, None], n_boundaries=2)
>>> found.rows[:, 0], found.violations
(array([1.5, 5.5]), array([1]))
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from softlabel.types import Array

N_BOUNDARIES = 8
"""Of Duke OCT-DME: ILM, NFL/GCL, IPL/INL, INL/OPL, OPL/ONL, ISM/ISE, OS/RPE, Bruch's membrane."""

FLUID = 9


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Layer boundaries of a B-scan, or of the B-scans of a volume.

    Attributes
    ----------
    rows : ndarray of float64, shape (L, columns) or (L, columns, B-scans)
        From the top downwards, 0-based, at the edge between two pixels: 4.5 lies between the rows
        4 and 5. NaN where unknown. A layer that an A-scan lacks has two boundaries in one place.
    seen : ndarray of bool, same shape
        Where the labels show the boundary. Elsewhere it runs through fluid, and its row is
        interpolated between neighbouring A-scans, or it is NaN.
    violations : ndarray of int64, shape (columns,) or (columns, B-scans)
        Steps along the A-scan from a class to one of a layer above it, before they were repaired.
    """

    rows: Array
    seen: Array
    violations: Array

    @property
    def shown(self) -> Array:
        """``rows`` where the labels show the boundary, NaN elsewhere: what errors are of."""
        return np.where(self.seen, self.rows, np.nan)

    @property
    def coverage(self) -> Array:
        """Share of the A-scans that have a row, of each boundary, shape (L,)."""
        return np.asarray(np.isfinite(self.rows).reshape(len(self.rows), -1).mean(axis=1))


def surfaces_of_labels(
    labels: Array,
    n_boundaries: int = N_BOUNDARIES,
    fluid: int | Collection[int] | None = FLUID,
    ignore: int | None = 255,
) -> Surfaces:
    """Find the boundaries between the layers of a label map.

    Parameters
    ----------
    labels : ndarray of integers, shape (rows, columns) or (rows, columns, B-scans)
        Classes 0 to ``n_boundaries`` in order of depth.
    n_boundaries : int
    fluid : int, collection of int, or None
        Classes that lie over the layers and tell nothing about them.
    ignore : int or None
        Value of pixels that were not annotated.

    Returns
    -------
    Surfaces
        A boundary is NaN where its A-scan lies on one side of it altogether (it is outside of the
        frame), where the place that it must be in was not annotated, and where it runs through
        fluid and no A-scan of its B-scan shows it.

    Raises
    ------
    ValueError
        When the labels hold other values, or have another number of axes.

    Examples
    --------
    A layer that an A-scan lacks, fluid between two layers, and an A-scan that was not annotated:

    >>> labels = np.array([[0, 0, 0, 255], [1, 2, 1, 255], [1, 2, 9, 255], [2, 2, 2, 255]])
    >>> surfaces_of_labels(labels, n_boundaries=2).rows
    array([[0.5, 0.5, 0.5, nan],
           [2.5, 0.5, 1.5, nan]])
    """
    if labels.ndim not in (2, 3):
        raise ValueError(
            f"the label map has {labels.ndim} axes; expected (rows, columns) or "
            "(rows, columns, B-scans)."
        )
    no_layer = {fluid} if isinstance(fluid, int) else set(fluid or ())
    _check_values(labels, n_boundaries, no_layer | ({ignore} - {None}))
    unknown = np.zeros(labels.shape, np.bool_) if ignore is None else labels == ignore
    hidden = np.isin(labels, list(no_layer)) & ~unknown
    low, high = _best_rows(labels, n_boundaries, hidden | unknown)
    inside = (high > 0) & (low < len(labels))
    inside &= _count_between(unknown, low, high) == 0
    through_fluid = _count_between(hidden, low, high) > 0
    seen = inside & ~through_fluid
    rows = np.where(seen, low.astype(np.float64), np.nan)
    rows = _interpolated(rows, low, high, inside & through_fluid)
    violations = _count_violations(labels, hidden | unknown)
    return Surfaces(rows - 0.5, seen, violations)


def _check_values(labels: Array, n_boundaries: int, others: Collection[int | None]) -> None:
    for value in np.unique(labels):
        if not 0 <= value <= n_boundaries and value not in others:
            raise ValueError(
                f"the label map holds the value {value}; expected the layers 0 to {n_boundaries}, "
                "fluid, or the ignored value. Map its classes to layers first."
            )


def _best_rows(labels: Array, n_boundaries: int, outside: Array) -> tuple[Array, Array]:
    """First and last row of each boundary with the fewest pixels on its wrong side.

    A row r of a boundary splits the A-scan into the pixels above, ``< r``, and those from r on.
    """
    shape = (n_boundaries, *labels.shape[1:])
    low, high = np.empty(shape, np.int64), np.empty(shape, np.int64)
    n_rows = len(labels)
    wrong = np.zeros((n_rows + 1, *labels.shape[1:]), np.int32)
    for k in range(1, n_boundaries + 1):
        # One row further down, a pixel of the layers above is no longer wrong, others become so.
        change = np.where(labels >= k, 1, -1).astype(np.int32)
        change[outside] = 0
        np.cumsum(change, axis=0, out=wrong[1:])
        low[k - 1] = wrong.argmin(axis=0)
        high[k - 1] = n_rows - wrong[::-1].argmin(axis=0)
    return low, high


def _count_between(mask: Array, low: Array, high: Array) -> Array:
    """Pixels of a mask in the rows from ``low`` to before ``high``, of every boundary."""
    total = np.zeros((len(mask) + 1, *mask.shape[1:]), np.int64)
    np.cumsum(mask, axis=0, out=total[1:])
    return np.asarray(
        np.take_along_axis(total, high, axis=0) - np.take_along_axis(total, low, axis=0)
    )


def _interpolated(rows: Array, low: Array, high: Array, missing: Array) -> Array:
    """Rows in fluid by a line between the neighbouring A-scans, within where they may be."""
    flat = rows.reshape(*rows.shape[:2], -1).copy()
    wanted = missing.reshape(flat.shape)
    column = np.arange(flat.shape[1])
    for k in range(flat.shape[0]):
        for b in range(flat.shape[2]):
            gap, known = wanted[k, :, b], np.isfinite(flat[k, :, b])
            if gap.any() and known.any():
                flat[k, gap, b] = np.interp(column[gap], column[known], flat[k, known, b])
    filled = np.where(missing, flat.reshape(rows.shape).clip(low, high), rows)
    known = np.isfinite(filled)
    ordered = np.maximum.accumulate(np.where(known, filled, -np.inf), axis=0)
    return np.where(known, ordered, np.nan)


def _count_violations(labels: Array, outside: Array) -> Array:
    """Steps upwards in each A-scan, from one pixel of a layer to the next, across all others."""
    values = np.where(outside, -1, labels.astype(np.int64))
    # A pixel that is outside of the layers takes the class above, so that no step begins or ends.
    row = np.arange(len(values)).reshape((-1,) + (1,) * (values.ndim - 1))
    last = np.maximum.accumulate(np.where(outside, 0, row), axis=0)
    carried = np.take_along_axis(values, last, axis=0)
    return np.asarray((np.diff(carried, axis=0) < 0).sum(axis=0))
