"""How well superpixels of some settings fit the labels of an excerpt, against a regular grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.generation.settings import Settings
from softlabel.superpixels.quality import (
    accuracy_of,
    boundary_pixels,
    box_fill,
    near_boundaries,
    overlap_counts,
)
from softlabel.tuning.pieces import Excerpt, Piece
from softlabel.types import Array

TOLERANCE = 1
"""Pixels, along axes and diagonals, at which a superpixel boundary counts as found."""


@dataclass(frozen=True)
class Trial:
    """Settings that are tried.

    Attributes
    ----------
    size : float or None
        Pixels a superpixel; None for as many superpixels of the image, or slice, as
        ``softlabel generate`` asks for by default.
    compactness, sigma : float
    """

    size: float | None
    compactness: float
    sigma: float


@dataclass(frozen=True)
class Fit:
    """What superpixels do to an excerpt.

    Attributes
    ----------
    pixels : int
    made : int
        Superpixels returned that have a known pixel.
    recall : float
        Share of the labels' boundary pixels with a superpixel boundary within
        :data:`TOLERANCE`; NaN without a boundary.
    grid_recall : float
        The same of a regular grid of as many superpixels.
    near : float
        Share of all pixels with a superpixel boundary so near.
    dice, grid_dice : mapping of int to float
        By label value: Dice of the class in the best segmentation of whole superpixels, or of
        whole boxes of the grid.
    softened : float
        Share of the known pixels in superpixels that hold several classes: those that become soft.
    softened_of_classes : float
        The same of the pixels of all classes but the largest of the case; NaN without any.
    fill : float
        Share of its bounding box that the median superpixel fills.
    """

    pixels: int
    made: int
    recall: float
    grid_recall: float
    near: float
    dice: Mapping[int, float]
    grid_dice: Mapping[int, float]
    softened: float
    softened_of_classes: float
    fill: float

    @property
    def over_chance(self) -> float:
        """Recall less what chance gives: the grid's recall or ``near``, whichever is larger.

        Ragged superpixels have longer boundaries than boxes have, and meet more of everything.
        """
        return self.recall - max(self.grid_recall, self.near)


def fit(excerpt: Excerpt, trial: Trial) -> Fit:
    """Make the superpixels of some settings in an excerpt, and measure them."""
    own, control = _Sums(excerpt), _Sums(excerpt)
    fills = []
    for piece in excerpt.pieces:
        size = trial.size or piece.whole_pixels / Settings().n_segments
        ids = piece.slic(size, trial.compactness, trial.sigma)
        made = own.add(piece, ids)
        control.add(piece, piece.grid(made))
        fills.append(box_fill(ids))
    return Fit(
        pixels=own.pixels,
        made=own.made,
        recall=_ratio(own.found, own.edges),
        grid_recall=_ratio(control.found, control.edges),
        near=_ratio(own.near, own.pixels),
        dice=own.dice(),
        grid_dice=control.dice(),
        softened=_ratio(own.mixed.sum(), own.pixels),
        softened_of_classes=own.softened_of_classes(),
        fill=float(np.mean(fills)),
    )


class _Sums:
    """Counts over the pieces of an excerpt."""

    def __init__(self, excerpt: Excerpt) -> None:
        self.values, self.largest = excerpt.pieces[0].values, excerpt.largest
        self.pixels = self.made = self.found = self.edges = self.near = 0
        self.mixed = np.zeros(len(self.values), np.int64)
        self.counts: list[npt.NDArray[np.int64]] = []

    def add(self, piece: Piece, ids: Array) -> int:
        """Count a piece with its superpixels; the number of those."""
        used = (piece.index >= 0) & (ids >= 0)
        near = near_boundaries(ids, used, TOLERANCE)
        edge = boundary_pixels(piece.index, used)
        counts = overlap_counts(piece.index[used], ids[used], len(self.values))
        made = int(ids.max(initial=-1)) + 1
        self.pixels += int(used.sum())
        self.found += int(near[edge].sum())
        self.edges += int(edge.sum())
        self.near += int(near[used].sum())
        self.mixed += counts[np.count_nonzero(counts, axis=1) > 1].sum(axis=0)
        self.counts.append(counts)
        self.made += int(np.count_nonzero(counts.any(axis=1)))  # others lie outside of the mask
        return made

    def dice(self) -> dict[int, float]:
        return accuracy_of(np.concatenate(self.counts), np.array(self.values)).dice

    def softened_of_classes(self) -> float:
        """Share of softened pixels without the largest class of the case."""
        totals = np.sum([counts.sum(axis=0) for counts in self.counts], axis=0)
        others = np.arange(len(self.values)) != self.largest
        return _ratio(self.mixed[others].sum(), totals[others].sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
