"""Imprecise graders: what happens to a true boundary when somebody draws it by hand.

A grader displaces a boundary by d, in pixels along its normal. The displacement is correlated
along the boundary, as a hand that wanders is, and comes in three kinds of equal root mean square
(RMS), so that only *where* the error lies tells them apart. With g a Gaussian field of variance 1
whose autocorrelation along the boundary is exp(−(h/ℓ)²) at lag h (ℓ = ``correlation_px``, where it
has fallen to 1/e), c ≥ 0 the local contrast across the boundary and ⟨·⟩ the mean over all
boundary pixels of a subject:

=========== ======================================= =========================================
kind        displacement                            the error is
=========== ======================================= =========================================
contrast    d = rms · w g / √⟨w² g²⟩,               larger where the image shows less: w falls
            w = 1 / (½ + c / median c)              from 2 at c = 0 to ⅔ at the median of c
uniform     d = rms · g / √⟨g²⟩                     the same everywhere
bias        d = ± rms                               constant; the sign is the grader's habit,
                                                    one for each boundary, the same in every
                                                    subject
=========== ======================================= =========================================

Contrast is the magnitude of the image gradient at a scale of 2 pixels, taken in the image without
noise: along the column (A-scan) for layer boundaries, in the plane for regions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from softlabel.errors import UsageError
from softlabel.phantom.fields import smooth_noise
from softlabel.types import Array

CONTRAST_SCALE_PX = 2.0
"""Width of the Gaussian under which the contrast across a boundary is measured."""


def _contrast_weight(contrast: Array) -> Array:
    median = np.median(contrast)
    # No contrast anywhere is equal contrast everywhere.
    if median <= 0:
        median = contrast.mean() or 1.0
    return np.asarray(1 / (0.5 + contrast / median))


def _uniform_weight(contrast: Array) -> Array:
    return np.ones_like(contrast)


WEIGHTS: MappingProxyType[str, Callable[[Array], Array] | None] = MappingProxyType(
    {"contrast": _contrast_weight, "uniform": _uniform_weight, "bias": None}
)
"""Kinds of error and how each weighs the noise by the contrast; None: no noise, a constant."""


@dataclass(frozen=True)
class Grader:
    """How one annotator errs.

    Attributes
    ----------
    kind : {"contrast", "uniform", "bias"}
        Where the error lies; see the module.
    rms_px : float
        Root mean square of the displacement, in pixels; 0 for a perfect grader.
    correlation_px : float
        Correlation length along the boundary, in pixels: the lag at which the autocorrelation
        has fallen to 1/e. Without effect on ``bias``.

    Raises
    ------
    UsageError
        When the kind is unknown or a number is outside 0 to 20 (rms) or 1 to 500 (correlation).
    """

    kind: str = "contrast"
    rms_px: float = 1.5
    correlation_px: float = 20.0

    def __post_init__(self) -> None:
        if self.kind not in WEIGHTS:
            raise UsageError(
                f"There is no kind of grader {self.kind!r}; choose one of {', '.join(WEIGHTS)}."
            )
        if not 0 <= self.rms_px <= 20:
            raise UsageError(f"The graders' RMS error is {self.rms_px} px; expected 0 to 20 px.")
        if not 1 <= self.correlation_px <= 500:
            raise UsageError(
                f"The graders' correlation length is {self.correlation_px} px; "
                "expected 1 to 500 px."
            )


def displacement(
    contrast: Array,
    grader: Grader,
    rng: np.random.Generator,
    *,
    smooth_axes: tuple[int, ...],
    signs: Array | float = 1.0,
    where: Array | None = None,
) -> Array:
    """Draw the displacement of boundary pixels.

    Parameters
    ----------
    contrast : ndarray of float
        Contrast across the boundary at each pixel.
    grader : Grader
    rng : numpy.random.Generator
    smooth_axes : tuple of int
        Axes that run along the boundary; the draw is independent along the others.
    signs : ndarray or float
        The grader's habit, ±1, broadcast against ``contrast``; used by ``bias`` only.
    where : ndarray of bool, optional
        Boundary pixels, over which the RMS is met; default all.

    Returns
    -------
    ndarray of float64, shape of ``contrast``
        In pixels. Its RMS is ``grader.rms_px``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> d = displacement(np.ones(500), Grader("uniform", rms_px=2), rng, smooth_axes=(0,))
    >>> float(np.sqrt(np.mean(d**2)).round(6))
    2.0
    """
    weigh = WEIGHTS[grader.kind]
    if weigh is None:
        return np.broadcast_to(signs * grader.rms_px, contrast.shape).astype(np.float64)
    sigma = [0.0] * contrast.ndim
    for axis in smooth_axes:
        sigma[axis] = grader.correlation_px / 2
    field = smooth_noise(contrast.shape, sigma, rng).astype(np.float64)
    field *= _weights_within(weigh, contrast, where)
    rms = np.sqrt(np.mean(np.square(field if where is None else field[where])))
    return np.asarray(field * (grader.rms_px / rms))


def _weights_within(weigh: Callable[[Array], Array], contrast: Array, where: Array | None) -> Array:
    """Weights at boundary pixels (and 1 elsewhere), with statistics of boundary pixels only."""
    if where is None:
        return weigh(contrast)
    weights = np.ones(contrast.shape)
    weights[where] = weigh(contrast[where])
    return weights


# --- boundaries that are curves -------------------------------------------------------------


def curve_contrast(clean: Array, boundaries: Array, correlation_px: float) -> Array:
    """Contrast across layer boundaries, smoothed along them.

    Parameters
    ----------
    clean : ndarray, shape (rows, columns, B-scans)
        Images without noise.
    boundaries : ndarray of float, shape (boundaries, columns, B-scans)
        0-based row coordinates.
    correlation_px : float
        The contrast is averaged over a quarter of this length: a hand does not see single pixels.

    Returns
    -------
    ndarray of float64, shape of ``boundaries``
        Grey levels per pixel.
    """
    gradient = np.abs(
        ndimage.gaussian_filter1d(
            clean.astype(np.float32), CONTRAST_SCALE_PX, axis=0, order=1, mode="nearest"
        )
    )
    rows = np.clip(np.rint(boundaries), 0, clean.shape[0] - 1).astype(np.intp)
    columns, bscans = np.ogrid[: clean.shape[1], : clean.shape[2]]
    contrast = gradient[rows, columns, bscans].astype(np.float64)
    return np.asarray(ndimage.gaussian_filter1d(contrast, correlation_px / 4, axis=1))


def displace_curves(
    boundaries: Array,
    contrast: Array,
    grader: Grader,
    rng: np.random.Generator,
    habit: Array,
    where: Array,
) -> Array:
    """Draw layer boundaries anew as a grader would: displaced, and never crossing.

    Curves that would cross are joined at their mean (isotonic regression down each column), which
    takes away from the displacement; noise is scaled up until its RMS is met again.

    Parameters
    ----------
    boundaries : ndarray of float, shape (boundaries, columns, B-scans)
        True row coordinates, descending the image.
    contrast : ndarray of float, shape of ``boundaries``
        From :func:`curve_contrast`.
    grader : Grader
    rng : numpy.random.Generator
    habit : ndarray of ±1, shape (boundaries,)
        Direction of the bias of each boundary, + towards higher rows.
    where : ndarray of bool, shape of ``boundaries``
        What is annotated; the RMS is met there.

    Returns
    -------
    ndarray of float64, shape of ``boundaries``
    """
    signs = np.reshape(habit, (-1, 1, 1))
    shift = displacement(contrast, grader, rng, smooth_axes=(1,), signs=signs)
    drawn = in_order(boundaries + shift)
    if WEIGHTS[grader.kind] is None or grader.rms_px == 0:
        return drawn
    for _ in range(4):
        rms = np.sqrt(np.mean((drawn - boundaries)[where] ** 2))
        shift *= grader.rms_px / rms
        drawn = in_order(boundaries + shift)
    return drawn


def in_order(boundaries: Array) -> Array:
    """Nearest curves (least squares) that do not cross: isotonic regression along axis 0.

    Examples
    --------
    >>> in_order(np.array([[1.0], [4.0], [2.0], [9.0]])).ravel()
    array([1., 3., 3., 9.])
    """
    n = len(boundaries)
    total = np.concatenate([np.zeros_like(boundaries[:1]), np.cumsum(boundaries, axis=0)])
    ordered = np.empty_like(boundaries)
    for i in range(n):
        # max over beginnings j ≤ i of the min over ends k ≥ i of the mean of j..k
        means = [
            np.min([(total[k + 1] - total[j]) / (k + 1 - j) for k in range(i, n)], axis=0)
            for j in range(i + 1)
        ]
        ordered[i] = np.max(means, axis=0)
    return ordered


# --- boundaries of regions ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RegionBorders:
    """Where the borders of a stack of two-dimensional label maps are, found once for all graders.

    Attributes
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    distance_px : ndarray of float32, same shape
        From a pixel's centre to the border with its nearest neighbour of another class in the
        slice (the distance between the centres less ½); infinite beyond the search radius.
    other : ndarray of uint8, same shape
        The class of that neighbour.
    contrast : ndarray of float32, same shape
        Contrast across the nearest borders, averaged along them.
    """

    labels: Array
    distance_px: Array
    other: Array
    contrast: Array

    @property
    def border(self) -> Array:
        """Pixels that touch a border."""
        return np.asarray(self.distance_px <= 0.5)


def find_borders(labels: Array, clean: Array, grader: Grader) -> RegionBorders:
    """Find the borders in a stack of label maps and the contrast across them.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slices, rows, columns)
    clean : ndarray, shape (channels, slices, rows, columns)
        Images without noise; a channel counts by its standard deviation.
    grader : Grader
        Its RMS sets how far from a border a pixel can still change hands (5 RMS).
    """
    radius = int(np.ceil(5 * grader.rms_px)) + 1
    distance, other = _nearest_other(labels, radius)
    gradient = np.zeros(labels.shape, dtype=np.float32)
    for channel in clean:
        image = channel.astype(np.float32)
        scale = image.std() or 1.0
        blurred = ndimage.gaussian_filter(image, (0, CONTRAST_SCALE_PX, CONTRAST_SCALE_PX))
        gradient += sum(np.gradient(blurred, axis=axis) ** 2 for axis in (1, 2)) / scale**2
    border = (distance <= 0.5).astype(np.float32)
    sigma = (0, grader.correlation_px / 4, grader.correlation_px / 4)
    # Normalised convolution: an average over border pixels alone, known also beside the border.
    summed = ndimage.gaussian_filter(np.sqrt(gradient) * border, sigma)
    weight = ndimage.gaussian_filter(border, sigma)
    contrast = np.divide(summed, weight, out=np.zeros_like(summed), where=weight > 1e-6)
    return RegionBorders(labels, distance, other, contrast)


def _nearest_other(labels: Array, radius: int) -> tuple[Array, Array]:
    """Distance to the border with the nearest pixel of another class, and that class.

    One shifted comparison for each offset within ``radius``, from the furthest to the nearest, so
    that the nearest has the last word.
    """
    offsets = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1).T
    length = np.hypot(*offsets.T)
    order = np.argsort(-length, kind="stable")
    distance = np.full(labels.shape, np.inf, dtype=np.float32)
    other = labels.copy()
    for (down, right), far in zip(offsets[order], length[order], strict=True):
        if 0 < far <= radius:
            here, there = _overlap(labels.shape, int(down), int(right))
            differs = labels[here] != labels[there]
            np.copyto(distance[here], far - 0.5, where=differs)
            np.copyto(other[here], labels[there], where=differs)
    return distance, other


def _overlap(
    shape: tuple[int, ...], down: int, right: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of the pixels that have a neighbour at an offset, and of those neighbours."""

    def along(n: int, step: int) -> tuple[slice, slice]:
        return slice(max(0, -step), n - max(0, step)), slice(max(0, step), n - max(0, -step))

    rows, rows_there = along(shape[1], down)
    columns, columns_there = along(shape[2], right)
    return (slice(None), rows, columns), (slice(None), rows_there, columns_there)


def displace_regions(
    borders: RegionBorders, grader: Grader, rng: np.random.Generator, habit: Array
) -> Array:
    """Draw the regions of each slice anew as a grader would.

    A displacement d > 0 moves the border between two classes so that the class of the lower value
    grows by d pixels: a pixel of the higher one that is nearer than d to the border changes hands,
    and the other way round for d < 0. Slices are independent: graders draw slice by slice.

    Parameters
    ----------
    borders : RegionBorders
    grader : Grader
    rng : numpy.random.Generator
    habit : ndarray of ±1, shape (n, n) with n above the highest label
        Direction of the bias for each pair of classes; symmetric.

    Returns
    -------
    ndarray of uint8, shape (slices, rows, columns)
    """
    if not borders.border.any():
        return borders.labels.copy()
    shift = region_displacement(borders, grader, rng, habit)
    outward = np.where(borders.labels > borders.other, shift, -shift)
    return np.where(outward > borders.distance_px, borders.other, borders.labels)


def region_displacement(
    borders: RegionBorders, grader: Grader, rng: np.random.Generator, habit: Array
) -> Array:
    """Displacement of the nearest border at each pixel, as :func:`displace_regions` applies it.

    Its RMS over the pixels that touch a border is ``grader.rms_px``. Away from borders, where no
    contrast is known, it means nothing.
    """
    near = np.isfinite(borders.distance_px)
    signs = habit[borders.labels, borders.other]
    field = displacement(borders.contrast, grader, rng, smooth_axes=(1, 2), signs=signs, where=near)
    if WEIGHTS[grader.kind] is not None and grader.rms_px > 0:
        field *= grader.rms_px / np.sqrt(np.mean(field[borders.border] ** 2))
    return field


def pair_habit(n: int, rng: np.random.Generator) -> Array:
    """Draw a grader's bias for every pair of ``n`` classes: a symmetric matrix of ±1."""
    signs = np.where(rng.random((n, n)) < 0.5, -1, 1)
    return np.triu(signs) + np.triu(signs, 1).T
