"""Numbers that tell soft maps apart. Knows arrays and soft maps only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.entropy import entropy_bits
from softlabel.softmaps.maps import SoftMaps
from softlabel.superpixels.quality import boundary_pixels
from softlabel.types import Array

FLOOR = 1e-3
"""Smallest probability that the log score knows: a hard label that is wrong would cost infinitely
much, and one such pixel would hide all others."""

SLAB_VALUES = 1 << 24
"""Dense values that are looked at at once."""


@dataclass(frozen=True)
class Scores:
    """What one method does to the labels of one case.

    Attributes
    ----------
    softened : float
        Share of the known pixels whose soft labels are not those of the hard one, 1 in its class
        and 0 in all others; with label smoothing all of them, whatever a cache stores of them.
    entropy_bits : float
        Mean entropy over the classes, of soft labels divided by their sum.
    changed : float
        Share of the known pixels in which another class has a larger soft label than the hard one.
    brier, log : float
        Mean of Σ_c (p_c − t_c)² and of −ln max(p_t, :data:`FLOOR`) over the pixels whose truth is
        known, p the soft labels divided by their sum; NaN without a truth. Lower is better.
    near_brier, near_log : float
        The same over the pixels near a boundary of the hard labels.
    """

    softened: float
    entropy_bits: float
    changed: float
    brier: float = float("nan")
    log: float = float("nan")
    near_brier: float = float("nan")
    near_log: float = float("nan")


def score_maps(
    maps: SoftMaps, hard: Array, truth: Array | None = None, near: Array | None = None
) -> Scores:
    """Score the soft maps of one case.

    Parameters
    ----------
    maps : SoftMaps
    hard : ndarray of the type of ``maps.index``, shape (*spatial)
        Class index of every pixel before it was softened.
    truth : ndarray of the type of ``maps.index``, shape (*spatial), optional
        Class index of every pixel as it should be; ignored pixels have no score.
    near : ndarray of bool, shape (*spatial), optional
        Pixels of the second pair of scores.

    Returns
    -------
    Scores

    Examples
    --------
    >>> import softlabel
    >>> hard = np.array([1, 1, 0, 0], np.uint8)
    >>> maps = softlabel.soften(hard, np.zeros(4, int), boundary="symmetric")
    >>> scores = score_maps(maps, hard, truth=np.array([1, 0, 0, 0], np.uint8))
    >>> scores.softened, scores.changed, round(scores.brier, 3)
    (1.0, 0.0, 0.34)
    """
    ignored = ignored_index(maps.index.dtype)
    known_pixels = softened = changed = 0
    entropy = 0.0
    everywhere, nearby = _Mean(), _Mean()
    for part, soft in _slabs(maps):
        known = (hard[part] != ignored) & maps.known[part]
        entropy += float(entropy_bits(soft)[known].sum(dtype=np.float64))
        known_pixels += int(known.sum())
        own = _values_of(soft, np.where(known, hard[part], 0))
        is_hard = (own == 1) & (np.count_nonzero(soft, axis=0) == 1)
        softened += int((known & ~is_hard).sum())
        changed += int(((soft.max(axis=0) > own) & known).sum())
        if truth is not None:
            judged = known & (truth[part] != ignored)
            brier, log = _pixel_scores(soft[:, judged], truth[part][judged])
            everywhere.add(brier, log)
            if near is not None:
                chosen = near[part][judged]
                nearby.add(brier[chosen], log[chosen])
    count = max(1, known_pixels)
    return Scores(
        softened / count, entropy / count, changed / count, *everywhere.values(), *nearby.values()
    )


class _Mean:
    """Means of two scores over pixels that come in pieces."""

    def __init__(self) -> None:
        self._sums, self._count = np.zeros(2), 0

    def add(self, brier: Array, log: Array) -> None:
        self._sums += brier.sum(), log.sum()
        self._count += len(brier)

    def values(self) -> tuple[float, float]:
        if not self._count:
            return float("nan"), float("nan")
        brier, log = (self._sums / self._count).tolist()
        return brier, log


def _slabs(maps: SoftMaps) -> Iterator[tuple[slice, Array]]:
    """Some rows at a time: which, and their dense values (K, rows, …)."""
    rows = max(1, SLAB_VALUES // (maps.index[:1].size * len(maps.table)))
    for first in range(0, len(maps.index), rows):
        part = slice(first, first + rows)
        yield part, maps.patch(part)


def _values_of(soft: Array, index: Array) -> Array:
    """The value of one class at each pixel, which ``index`` names."""
    return np.take_along_axis(soft, index[None].astype(np.intp), axis=0)[0]


def _pixel_scores(soft: Array, truth: Array) -> tuple[Array, Array]:
    """Brier and log score of pixels: soft labels (K, N), their true class indices (N,)."""
    p = soft.astype(np.float64)
    total = p.sum(axis=0)
    p /= np.where(total > 0, total, 1)
    of_truth = _values_of(p, truth)
    brier = (p**2).sum(axis=0) - 2 * of_truth + 1
    return brier, -np.log(np.maximum(of_truth, FLOOR))


def near_boundary(
    index: Array, width_px: float, spacing: tuple[float, ...] | None = None
) -> npt.NDArray[np.bool_]:
    """Known pixels at most so far from a pixel that has a face neighbour of another known class.

    Parameters
    ----------
    index : ndarray of an unsigned type, shape (*spatial)
        Class indices; the largest value of the type is ignored.
    width_px : float
        In pixels of the finest axis.
    spacing : tuple of float, optional

    Examples
    --------
    >>> near_boundary(np.array([0, 0, 0, 1, 1, 1, 255], np.uint8), 1).tolist()
    [False, True, True, True, True, False, False]
    """
    known = index != ignored_index(index.dtype)
    edge = boundary_pixels(index, known)
    if not edge.any():
        return np.zeros(index.shape, np.bool_)
    step = None if spacing is None else [s / min(spacing) for s in spacing]
    distance = distance_transform_edt(~edge, sampling=step)
    return np.asarray(known & (distance <= width_px + 1e-6))


def roc_area(scores: Array, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive pixel has the larger score, equal ones half.

    Parameters
    ----------
    scores : ndarray, shape (N,)
    positive : ndarray of bool, shape (N,)

    Returns
    -------
    float
        NaN where all pixels are of one kind.

    Examples
    --------
    >>> roc_area(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    positives = int(np.count_nonzero(positive))
    negatives = len(scores) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))
