"""Where the retina lies in a B-scan: its inner limiting membrane and Bruch's membrane.

The intensity-gradient method of Lang et al. (Biomed. Opt. Express 4(7), 2013), with the constants
of its public tool. Along each A-scan the two largest rises of intensity are the inner limiting
membrane (ILM) and the inner/outer segment junction (IS/OS), and the largest fall soon below is
Bruch's membrane. A-scans that fluid or a vessel's shadow misleads are outvoted: a cubic curve runs
through the first guesses so that outliers count little, and the fall is looked for a second time
along that curve, where tilt no longer blurs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from softlabel.errors import plural
from softlabel.preprocess.background import fill_background
from softlabel.types import Array

SMOOTH_UM = (11.6, 16.7)
"""Standard deviations of the first smoothing, axial and lateral."""

RISES_APART_UM = (97.0, 773.0)
"""Distance between ILM and IS/OS; the larger one holds an oedema."""

MEMBRANE_BELOW_UM = (20.0, 116.0)
"""Distance from IS/OS down to Bruch's membrane."""

DEPTH_WEIGHT = 0.9
"""What a fall loses of its weight from the upper end of that stretch to the lower."""

OUTLIER_UM = 26.0
"""Further than this from the curve, or from the neighbours, an A-scan does not count."""


class Smoothing(NamedTuple):
    """How a curve is smoothed along a B-scan.

    Attributes
    ----------
    median_um : float
        Half the width of the neighbourhood whose median shows outliers.
    limit_um : float
        An A-scan further than this from that median does not count.
    sigma_um : float
        Standard deviation of the Gaussian.
    """

    median_um: float
    limit_um: float
    sigma_um: float


DEGREES = ((3, 25), (5, 15))
"""Degree of the curve, and rounds of its fit."""

RESULT = Smoothing(140.0, 13.0, 111.0)
"""Of the result."""

SECOND_SMOOTH_UM = (5.0, 35.0)
"""Standard deviations of the second smoothing: along the curve it may be wide laterally, and so
narrow axially that the membrane is not moved towards the dark vessels of the choroid."""

SECOND_REACH_UM = 40.0
"""How far from the curve the fall is looked for."""

MIN_AGREEMENT = 0.42
"""Share of A-scans near the curve below which there is no retina; noise, and scans on their side,
have 0.1 to 0.35."""

SURE_AGREEMENT = 0.8
"""Share from which nobody asks whether the image is inverted or upside down."""

CLEARLY_BETTER = 0.1
"""By how much more the A-scans must agree in an image that was turned or inverted."""

MAX_TOUCHING = 0.5
"""Share of A-scans whose retina may leave the frame."""

_CONTRAST_UM = 100.0
"""Width of the strips above and below the retina that tell which way it lies."""


@dataclass(frozen=True, eq=False)
class Retina:
    """Borders of the retina in one B-scan.

    Attributes
    ----------
    ilm, membrane : ndarray of float64, shape (columns,)
        Rows of the inner limiting membrane and of Bruch's membrane. The membrane may leave the
        frame.
    agreement : float
        Share of the A-scans whose first guess lies near the curve.
    touches_border : int
        A-scans whose retina reaches the first row, or whose membrane the last ones. What is said
        of the retina is less certain there.
    """

    ilm: Array
    membrane: Array
    agreement: float
    touches_border: int


def find_retina(image: Array, spacing_um: tuple[float, float], mask: Array | None = None) -> Retina:
    """Find the borders of the retina in a B-scan.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Grey levels, bright tissue on dark ground, the vitreous at the top.
    spacing_um : (float, float)
        Axial and lateral distance of pixels.
    mask : ndarray of bool, shape (rows, columns), optional
        Where the image means something. A-scans without such pixels take the curve of the others.

    Returns
    -------
    Retina

    Raises
    ------
    ValueError
        When there is no retina in the frame, most of it leaves the frame, or the image is inverted
        or upside down.
    """
    _check_size(image, spacing_um)
    if image.min() == image.max():
        raise ValueError("the image has one intensity everywhere; check the file.")
    if mask is not None and not mask.any():
        raise ValueError(
            "every A-scan of the image is masked, so that no retina can be found; check the mask."
        )
    known = np.ones(image.shape, np.bool_) if mask is None else mask
    filled = fill_background(image.astype(np.float32), ~known)
    used = np.asarray(known.any(axis=0))
    found = _search(filled, spacing_um, used)
    if found.agreement < SURE_AGREEMENT or not is_upright(filled, found, spacing_um[0]):
        _check_orientation(filled, found, spacing_um, used)
    if found.touches_border > MAX_TOUCHING * np.count_nonzero(used):
        raise ValueError(
            f"the retina leaves the frame in {found.touches_border} of "
            f"{plural(int(np.count_nonzero(used)), 'A-scan')}, too many to find Bruch's membrane; "
            "leave flattening and cropping out for this B-scan."
        )
    return found


def _search(image: Array, spacing_um: tuple[float, float], used: Array) -> Retina:
    axial, lateral = spacing_um
    ilm, guess = first_guess(image, spacing_um)
    curve = robust_curve(guess, used, OUTLIER_UM / 2 / axial)
    near = np.abs(guess - curve) * axial <= OUTLIER_UM
    membrane = curve
    fall = fall_near(image, membrane, spacing_um, SECOND_REACH_UM)
    membrane = membrane + smooth_without_outliers(fall - membrane, used, spacing_um, RESULT)
    median = _running_median(ilm, RESULT.median_um / lateral)
    ilm = np.where(used & (np.abs(ilm - median) * axial <= OUTLIER_UM), ilm, median)
    ilm = np.minimum(ilm, membrane)
    last = len(image) - 1 - SMOOTH_UM[0] / axial
    touches = used & ((ilm < 1) | (membrane > last))
    # A 64th of a pixel is finer than any image tells, and the same on every machine.
    membrane = np.rint(membrane * 64) / 64
    return Retina(ilm, membrane, float(near[used].mean()), int(np.count_nonzero(touches)))


def first_guess(image: Array, spacing_um: tuple[float, float]) -> tuple[Array, Array]:
    """ILM and Bruch's membrane from the gradients of each A-scan alone, as rows (columns,).

    A dark border is set above the image, so that a retina that touches its first row has its rise
    there.
    """
    from scipy import ndimage

    axial, lateral = spacing_um
    border = int(np.ceil(3 * SMOOTH_UM[0] / axial))
    dark = np.percentile(image, 10)
    padded = np.pad(image, ((border, 0), (0, 0)), constant_values=dark)
    sigma = (SMOOTH_UM[0] / axial, SMOOTH_UM[1] / lateral)
    gradient = ndimage.gaussian_filter(padded, sigma, order=(1, 0), mode="nearest")
    row = np.arange(len(padded))[:, None]
    largest = gradient.argmax(axis=0)
    apart = np.abs(row - largest) * axial
    low, high = RISES_APART_UM
    second = np.where((apart >= low) & (apart <= high), gradient, -np.inf).argmax(axis=0)
    ilm, junction = np.minimum(largest, second), np.maximum(largest, second)
    below = (row - junction) * axial
    low, high = MEMBRANE_BELOW_UM
    weight = 1 - DEPTH_WEIGHT * (below - low) / (high - low)
    membrane = np.where((below >= low) & (below <= high), weight * gradient, np.inf).argmin(axis=0)
    return np.maximum(ilm - border, 0.0), np.asarray(membrane - border, dtype=np.float64)


def robust_curve(rows: Array, used: Array, scale: float) -> Array:
    """Polynomial through rows (columns,), on which outliers have little influence.

    Reweighted least squares with the weights of Cauchy, 1 / (1 + (r/s)²). The width ``s`` begins
    with the spread of the rows and shrinks to ``scale`` while a cubic is fitted; polynomials of
    higher degree, which could follow outliers, begin with the weights that the cubic ended with.
    """
    place = np.linspace(-1, 1, len(rows))
    curve = np.full(len(rows), np.median(rows[used]))
    s = 1.4826 * float(np.median(np.abs(rows - curve)[used]))
    for degree, rounds in DEGREES:
        basis = np.polynomial.legendre.legvander(place, degree)
        for _ in range(rounds):
            s = max(scale, 0.8 * s)
            weight = np.sqrt(used / (1 + ((rows - curve) / s) ** 2))
            solution = np.linalg.lstsq(basis * weight[:, None], rows * weight, rcond=None)
            curve = basis @ solution[0]
    return curve


def fall_near(
    image: Array, curve: Array, spacing_um: tuple[float, float], reach_um: float
) -> Array:
    """Row of the largest fall of intensity near a curve, to a fraction of a pixel, (columns,).

    The image is flattened to the curve first. Falls count less with their distance from it, by a
    Gaussian of 0.7 of the reach.
    """
    from scipy import ndimage

    axial, lateral = spacing_um
    half = int(np.ceil((reach_um + 3 * SECOND_SMOOTH_UM[0]) / axial)) + 1
    offset = np.arange(-half, half + 1)
    base = np.rint(curve).astype(np.int64)
    row = (base[None] + offset[:, None]).clip(0, len(image) - 1)
    strip = np.take_along_axis(image, row, axis=0)
    sigma = (SECOND_SMOOTH_UM[0] / axial, SECOND_SMOOTH_UM[1] / lateral)
    gradient = ndimage.gaussian_filter(strip, sigma, order=(1, 0), mode="nearest")
    distance = offset * axial
    weight = np.exp(-0.5 * (distance / (0.7 * reach_um)) ** 2) * (np.abs(distance) <= reach_um)
    weighted = gradient * weight[:, None]
    deepest = weighted[1:-1].argmin(axis=0) + 1
    column = np.arange(image.shape[1])
    above, at, below = (gradient[deepest + k, column] for k in (-1, 0, 1))
    bend = above - 2 * at + below
    shift = np.where(bend > 0, 0.5 * (above - below) / np.where(bend > 0, bend, 1), 0)
    return np.asarray(base + offset[deepest] + shift.clip(-0.5, 0.5))


def smooth_without_outliers(
    rows: Array, used: Array, spacing_um: tuple[float, float], how: Smoothing = RESULT
) -> Array:
    """Smooth rows (columns,) laterally, without those far from the median of their neighbours."""
    from scipy import ndimage

    axial, lateral = spacing_um
    median = _running_median(rows, how.median_um / lateral)
    near = used & (np.abs(rows - median) * axial <= how.limit_um)
    if not near.any():
        return np.zeros_like(rows)
    sigma = how.sigma_um / lateral
    weight = ndimage.gaussian_filter1d(near.astype(np.float64), sigma, mode="nearest", truncate=8)
    total = ndimage.gaussian_filter1d(rows * near, sigma, mode="nearest", truncate=8)
    # Where a gap is wider than the kernel nothing is known, and the curve stands.
    return np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), 0)


def _running_median(rows: Array, half: float) -> Array:
    from scipy import ndimage

    width = 2 * max(1, round(half)) + 1
    return np.asarray(ndimage.median_filter(rows, width, mode="nearest"))


def _check_size(image: Array, spacing_um: tuple[float, float]) -> None:
    needed = RISES_APART_UM[0] + MEMBRANE_BELOW_UM[1]
    height = len(image) * spacing_um[0]
    if height < needed or image.shape[1] < 5:
        raise ValueError(
            f"a B-scan of {plural(len(image), 'row')} ({height:.0f} µm) and "
            f"{plural(image.shape[1], 'column')} cannot hold a retina; expected at least "
            f"{needed:.0f} µm and 5 columns. Check the spacing and the order of the axes."
        )


def _strips(image: Array, found: Retina, axial: float) -> tuple[float, float, float]:
    """Mean intensity of a strip above the retina, of the retina, and of a strip below it."""
    row = np.arange(len(image))[:, None]
    width = _CONTRAST_UM / axial
    gap = SMOOTH_UM[0] / axial
    above = (row < found.ilm - gap) & (row >= found.ilm - gap - width)
    inside = (row >= found.ilm) & (row <= found.membrane)
    below = (row > found.membrane + gap) & (row <= found.membrane + gap + width)
    means = [float(image[m].mean()) if m.any() else np.nan for m in (above, inside, below)]
    return means[0], means[1], means[2]


def is_upright(image: Array, found: Retina, axial: float) -> bool:
    """Whether the vitreous is the darkest, and the retina nearer to the choroid than to it.

    What is not in the frame is not asked.
    """
    above, inside, below = _strips(image, found, axial)
    if np.isnan(inside) or above >= inside or above >= below:
        return False
    return bool(not 2 * inside < above + below)


def _check_orientation(
    image: Array, found: Retina, spacing_um: tuple[float, float], used: Array
) -> None:
    """Raise ValueError when an image shows no retina, or shows a better one the other way round."""
    own = _score(image, found, spacing_um, used)
    best, what = max(own + CLEARLY_BETTER, MIN_AGREEMENT), ""
    bright = image.max()
    for name, other in (
        ("inverted (dark tissue on bright ground); invert its grey levels", bright - image),
        ("upside down (the vitreous at the bottom); turn it over", image[::-1]),
        ("inverted and upside down; invert its grey levels and turn it over", bright - image[::-1]),
    ):
        score = _score(other, _search(other, spacing_um, used), spacing_um, used)
        if score > best:
            best, what = score, name
    if what:
        raise ValueError(f"the B-scan seems to be {what}, or leave flattening and cropping out.")
    if found.agreement < MIN_AGREEMENT or not is_upright(image, found, spacing_um[0]):
        raise ValueError(
            f"no retina was found in the frame: the gradients of {found.agreement:.0%} of the "
            f"A-scans lie on one curve, expected at least {MIN_AGREEMENT:.0%} and a dark vitreous "
            "above. Check the image and its spacing, or leave flattening and cropping out."
        )


def _score(image: Array, found: Retina, spacing_um: tuple[float, float], used: Array) -> float:
    """Agreement of the A-scans, or 0 when what was found cannot be a retina."""
    few_touch = found.touches_border <= MAX_TOUCHING * np.count_nonzero(used)
    sound = found.agreement >= MIN_AGREEMENT and is_upright(image, found, spacing_um[0])
    return found.agreement if sound and few_touch else 0.0
