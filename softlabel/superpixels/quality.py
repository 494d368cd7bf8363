"""How well superpixels fit a label map: three figures that need no segmentation network.

And :func:`box_fill`, which tells a grid from superpixels that follow the image, without any labels.

* *Boundary recall over chance*: the share of the label map's boundary that has a superpixel's
  boundary nearby, less the share of all pixels that has. Small superpixels have a boundary near
  everything, so that recall alone says nothing.
* *Under-segmentation error* (Neubert & Protzel 2012): how much superpixels leak over the boundary.
* *Achievable accuracy*: what a segmentation could reach that gives each superpixel one class.

Ignored pixels and pixels of superpixel −1 count nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.kernels import kernel
from softlabel.types import Array


@dataclass(frozen=True)
class BoundaryRecall:
    """How much of a boundary superpixels find.

    Attributes
    ----------
    recall : float
        Share of the label map's boundary pixels with a superpixel boundary within the tolerance;
        NaN without a boundary.
    chance : float
        Share of all pixels with one.
    """

    recall: float
    chance: float

    @property
    def over_chance(self) -> float:
        """``recall`` − ``chance``."""
        return self.recall - self.chance


def boundary_recall(
    labels: Array, superpixels: Array, tolerance: int = 1, ignore: int | None = None
) -> BoundaryRecall:
    """Boundary recall of superpixels, and what chance would give.

    Parameters
    ----------
    labels : ndarray of an integer type, shape (*spatial)
    superpixels : ndarray of an integer type, shape (*spatial)
        −1 where there is none.
    tolerance : int
        Distance in pixels, along the axes and diagonals, at which a boundary still counts.
    ignore : int, optional
        Label value of pixels that were not annotated.

    Raises
    ------
    ValueError
        For shapes that differ or a negative tolerance.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    >>> found = boundary_recall(labels, np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]), tolerance=0)
    >>> found.recall, round(found.chance, 3)
    (1.0, 0.444)
    """
    if tolerance < 0:
        raise ValueError(f"tolerance must not be negative; got {tolerance}.")
    used = _used(labels, superpixels, ignore)
    near = near_boundaries(superpixels, used, tolerance)
    edge = boundary_pixels(labels, used)
    recall = float(near[edge].mean()) if edge.any() else float("nan")
    return BoundaryRecall(recall, float(near[used].mean()) if used.any() else float("nan"))


def near_boundaries(
    superpixels: Array, used: npt.NDArray[np.bool_] | None = None, tolerance: int = 1
) -> Array:
    """Pixels with a superpixel boundary within the tolerance, shape (*spatial), bool.

    Parameters
    ----------
    superpixels : ndarray, shape (*spatial)
    used : ndarray of bool, shape (*spatial), optional
        Pixels whose boundaries count.
    tolerance : int
        Distance in pixels, along the axes and diagonals.

    Examples
    --------
    >>> near_boundaries(np.array([3, 3, 3, 7, 7, 7])).tolist()
    [False, True, True, True, True, False]
    """
    near = boundary_pixels(superpixels, used)
    for axis in range(near.ndim):
        near = _widened(near, axis, tolerance)
    return near


def boundary_pixels(values: Array, used: npt.NDArray[np.bool_] | None = None) -> Array:
    """Pixels with a face neighbour of another value, shape (*spatial), bool.

    Parameters
    ----------
    values : ndarray, shape (*spatial)
    used : ndarray of bool, shape (*spatial), optional
        Pixels and neighbours that count.

    Examples
    --------
    >>> boundary_pixels(np.array([3, 3, 3, 7, 7])).tolist()
    [False, False, True, True, False]
    """
    edge = np.zeros(values.shape, np.bool_)
    for axis in range(values.ndim):
        before, after = _neighbours(values.ndim, axis, 1)
        differs = values[before] != values[after]
        if used is not None:
            differs &= used[before] & used[after]
        edge[before] |= differs
        edge[after] |= differs
    return edge


def undersegmentation_error(labels: Array, superpixels: Array, ignore: int | None = None) -> float:
    """Share of the pixels by which superpixels leak over boundaries; NaN when no pixel counts.

    The sum over every superpixel P and class S that it meets of the smaller of P∩S and P∖S, in
    pixels, divided by the number of pixels: 0 when no superpixel crosses a boundary.

    Examples
    --------
    >>> undersegmentation_error(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    0.5
    """
    counts, _ = overlaps(labels, superpixels, ignore)
    total = counts.sum()
    sizes = counts.sum(axis=1, keepdims=True)
    return float(np.minimum(counts, sizes - counts).sum() / total) if total else float("nan")


@dataclass(frozen=True)
class AchievableAccuracy:
    """Accuracy of the segmentation that gives each superpixel the class most of its pixels have.

    Attributes
    ----------
    overall : float
        Share of the pixels that it gets right.
    recall, dice : mapping of int to float
        By label value: share of the class's pixels that it finds, and Dice of the class.
    """

    overall: float
    recall: dict[int, float]
    dice: dict[int, float]


def achievable_accuracy(
    labels: Array, superpixels: Array, ignore: int | None = None
) -> AchievableAccuracy:
    """What a segmentation of whole superpixels could reach at best, overall and for each class.

    Of classes that a superpixel holds equally many pixels of, the smallest value wins.

    Examples
    --------
    >>> found = achievable_accuracy(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1]))
    >>> round(found.overall, 3), {k: round(v, 3) for k, v in found.recall.items()}
    (0.833, {0: 0.667, 1: 1.0})
    """
    return accuracy_of(*overlaps(labels, superpixels, ignore))


def accuracy_of(counts: npt.NDArray[np.int64], values: Array) -> AchievableAccuracy:
    """The same, from the pixels that superpixels share with classes.

    Parameters
    ----------
    counts : ndarray of int64, shape (M, K)
        As of :func:`overlaps`; classes without pixels are left out.
    values : ndarray of int, shape (K,)
    """
    total = counts.sum()
    if not total:
        return AchievableAccuracy(float("nan"), {}, {})
    there = counts.any(axis=0)
    counts, values = counts[:, there], values[there]
    given = counts.argmax(axis=1)
    right = np.bincount(given, counts.max(axis=1), len(values))
    predicted = np.bincount(given, counts.sum(axis=1), len(values))
    true = counts.sum(axis=0)
    recall, dice = right / true, 2 * right / (true + predicted)
    return AchievableAccuracy(
        float(right.sum() / total),
        {int(v): float(r) for v, r in zip(values, recall, strict=True)},
        {int(v): float(d) for v, d in zip(values, dice, strict=True)},
    )


def box_fill(superpixels: Array) -> float:
    """Share of its bounding box that the median superpixel fills; 1 for a regular grid.

    Superpixels that follow an image are ragged. Where the weight of space leaves intensities no say
    they are the boxes that SLIC started from.

    Parameters
    ----------
    superpixels : ndarray of an integer type, shape (*spatial)
        One to three spatial axes; −1 where there is none.

    Returns
    -------
    float
        0 without any superpixel.

    Examples
    --------
    >>> box_fill(np.array([[0, 0, 1, 1], [0, 0, 1, 1]])), box_fill(np.array([[0, 0], [0, 1]]))
    (1.0, 0.875)
    """
    ids = np.ascontiguousarray(superpixels, np.int32)
    ids = ids.reshape((1,) * (3 - ids.ndim) + ids.shape)
    n = int(ids.max(initial=-1)) + 1
    low, high = np.full((n, 3), np.iinfo(np.int64).max), np.full((n, 3), -1)
    sizes = np.zeros(n, np.int64)
    _measure_boxes(ids, low, high, sizes)
    there = sizes > 0
    if not there.any():
        return 0.0
    boxes = (high - low + 1)[there].prod(axis=1)
    return float(np.median(sizes[there] / boxes))


@kernel
def _measure_boxes(
    ids: npt.NDArray[np.int32],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    """First and last index of each superpixel along each axis, and its pixels."""
    for z in range(ids.shape[0]):
        for y in range(ids.shape[1]):
            for x in range(ids.shape[2]):
                one = ids[z, y, x]
                if one < 0:
                    continue
                sizes[one] += 1
                low[one, 0], high[one, 0] = min(low[one, 0], z), max(high[one, 0], z)
                low[one, 1], high[one, 1] = min(low[one, 1], y), max(high[one, 1], y)
                low[one, 2], high[one, 2] = min(low[one, 2], x), max(high[one, 2], x)


def overlaps(
    labels: Array, superpixels: Array, ignore: int | None = None
) -> tuple[npt.NDArray[np.int64], Array]:
    """Pixels that each superpixel shares with each class.

    Returns
    -------
    counts : ndarray of int64, shape (M, K)
        For superpixels and label values that occur, ascending.
    values : ndarray, shape (K,)
    """
    used = _used(labels, superpixels, ignore)
    values, classes = np.unique(labels[used], return_inverse=True)
    _, rows = np.unique(superpixels[used], return_inverse=True)
    return overlap_counts(classes, rows, len(values)), values


def overlap_counts(classes: Array, superpixels: Array, n_classes: int) -> npt.NDArray[np.int64]:
    """Pixels that each superpixel shares with each class, of ids that are not negative.

    Parameters
    ----------
    classes : ndarray of int64, shape (N,)
        Position of each pixel's class.
    superpixels : ndarray of int, shape (N,)
    n_classes : int

    Returns
    -------
    ndarray of int64, shape (highest id + 1, n_classes)

    Examples
    --------
    >>> overlap_counts(np.array([0, 0, 1]), np.array([0, 2, 2]), 2).tolist()
    [[1, 0], [0, 0], [1, 1]]
    """
    rows = int(superpixels.max(initial=-1)) + 1
    cells = np.bincount(superpixels * n_classes + classes, minlength=rows * n_classes)
    return cells.reshape(rows, n_classes).astype(np.int64)


def _used(labels: Array, superpixels: Array, ignore: int | None) -> npt.NDArray[np.bool_]:
    if labels.shape != superpixels.shape:
        raise ValueError(
            f"labels and superpixels must have one shape; got {labels.shape} and "
            f"{superpixels.shape}."
        )
    used = np.asarray(superpixels >= 0)
    return used if ignore is None else used & (labels != ignore)


def _widened(near: Array, axis: int, tolerance: int) -> Array:
    """True up to ``tolerance`` pixels away along an axis as well."""
    wide = near.copy()
    for distance in range(1, min(tolerance, near.shape[axis] - 1) + 1):
        before, after = _neighbours(near.ndim, axis, distance)
        wide[before] |= near[after]
        wide[after] |= near[before]
    return wide


def _neighbours(ndim: int, axis: int, distance: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices that pair every pixel with the one ``distance`` further along an axis."""
    whole = (slice(None),) * axis
    rest = (slice(None),) * (ndim - axis - 1)
    return (*whole, slice(None, -distance), *rest), (*whole, slice(distance, None), *rest)
