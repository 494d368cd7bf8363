"""Brains in three MR sequences, after the MRBrainS18 data set.

:mod:`~softlabel.phantom.head` fills a head with tissues on slices thinner than the scan's.
Here every tissue gets the signal that the sequence's equation gives for its proton density and
relaxation times; thin slices are averaged into thick ones (partial volume), blurred in the plane,
shaded by the coil, and seen through Rician noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from softlabel.errors import UsageError
from softlabel.phantom.fields import smooth_noise
from softlabel.phantom.graders import Grader, displace_regions, find_borders, pair_habit
from softlabel.phantom.head import N_LABELS, TISSUES, Grid, draw_head
from softlabel.phantom.visibility import USUAL, Visibility
from softlabel.types import Array

FULL_SHAPE = (240, 240, 48)
"""Voxels of the real data set, right, anterior, superior."""

MIN_SHAPE = (64, 64, 16)

IDS = ("1", "4", "5", "7", "14", "070", "148")
"""Names of the folders in the real training set."""

SEQUENCES = ("FLAIR", "reg_T1", "reg_IR")


def _inversion_recovery(
    density: Array, t1_ms: Array, t2_ms: Array, *, tr: float, ti: float, te: float
) -> Array:
    """Magnitude signal of an inversion recovery sequence; all times in ms."""
    recovery = 1 - 2 * np.exp(-ti / t1_ms) + np.exp(-tr / t1_ms)
    return np.asarray(density * np.abs(recovery) * np.exp(-te / t2_ms))


# The protocol of the real data at 3 T; T1 as a magnetisation-prepared gradient echo.
_TIMES_MS = MappingProxyType(
    {
        "FLAIR": MappingProxyType({"tr": 11000.0, "ti": 2800.0, "te": 125.0}),
        "reg_T1": MappingProxyType({"tr": 2300.0, "ti": 1050.0, "te": 4.5}),
        "reg_IR": MappingProxyType({"tr": 4416.0, "ti": 400.0, "te": 15.0}),
    }
)


@dataclass(frozen=True, eq=False)
class Brain:
    """One subject with its truth.

    Attributes
    ----------
    images : ndarray of int16, shape (3, x, y, z)
        FLAIR, T1 and IR in the order of :data:`SEQUENCES`; axes towards right, anterior, superior.
    clean : ndarray of int16, shape (3, x, y, z)
        The same without noise.
    labels : ndarray of uint8, shape (x, y, z)
        True labels 0..10; of the thin slices in a voxel the majority, else the
        middle one.
    spacing_mm : tuple of float
    affine : ndarray of float64, shape (4, 4)
    seed, number : int
        What the subject was drawn from.
    """

    images: Array
    clean: Array
    labels: Array
    spacing_mm: tuple[float, float, float]
    affine: Array
    seed: int
    number: int


def brain_id(number: int) -> str:
    """Name of subject ``number`` (from 1): those of the real set, then 201, 202, …

    Examples
    --------
    >>> [brain_id(n) for n in (1, 6, 7, 8)]
    ['1', '070', '148', '201']
    """
    return IDS[number - 1] if number <= len(IDS) else str(201 + number - len(IDS) - 1)


def make_brain(
    seed: int,
    number: int,
    shape: tuple[int, int, int] = FULL_SHAPE,
    visibility: Visibility = USUAL,
) -> Brain:
    """Draw one brain.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    number : int
        Number of the subject, from 1. A subject depends on ``seed``, ``number`` and ``shape``,
        not on how many others there are.
    shape : tuple of int
        Voxels along right, anterior, superior. The field of view stays 230 × 230 × 144 mm, so
        that fewer voxels are larger ones.
    visibility : Visibility
        The truth does not depend on it.

    Returns
    -------
    Brain

    Raises
    ------
    UsageError
        When ``shape`` is too small or too large for a brain.
    """
    check_shape(shape)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0)))
    grid = Grid.of(shape)
    tissue = draw_head(grid, rng)
    labels = majority(TISSUES.label[tissue], grid)
    clean = np.stack([_expected(tissue, name, grid, rng, visibility) for name in SEQUENCES])
    images = np.stack([_noisy(channel, rng, visibility) for channel in clean])
    affine = np.diag([*grid.spacing_mm, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(shape, grid.spacing_mm, strict=True)]
    return Brain(
        images=np.rint(images).astype(np.int16),
        clean=np.rint(clean).astype(np.int16),
        labels=labels,
        spacing_mm=grid.spacing_mm,
        affine=affine,
        seed=seed,
        number=number,
    )


def check_shape(shape: tuple[int, int, int]) -> None:
    """Raise UsageError unless ``shape`` can hold a brain."""
    text = " × ".join(str(n) for n in shape)
    if any(n < least for n, least in zip(shape, MIN_SHAPE, strict=True)):
        raise UsageError(
            f"An MRI phantom of {text} voxels is too small for a brain of eleven labels; "
            f"give at least {' × '.join(str(n) for n in MIN_SHAPE)}."
        )
    if max(shape) > 512:
        raise UsageError(
            f"An MRI phantom of {text} voxels is larger than any scan of its kind; "
            "give at most 512 voxels along each axis."
        )


def majority(thin: Array, grid: Grid) -> Array:
    """Label of each voxel: the one that most of its thin slices show, ties to the middle."""
    slices = thin.reshape(*thin.shape[:2], -1, grid.thin)
    inside: Array = slices[..., grid.thin // 2].copy()
    most = np.asarray((slices == inside[..., None]).sum(axis=-1))
    for k in range(grid.thin):
        votes = np.asarray((slices == slices[..., k, None]).sum(axis=-1))
        better = votes > most
        inside[better] = slices[..., k][better]
        most[better] = votes[better]
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[grid.box] = inside
    return labels


def _expected(
    tissue: Array, sequence: str, grid: Grid, rng: np.random.Generator, visibility: Visibility
) -> Array:
    """Signal without noise of one sequence, float32 (x, y, z); its brightest tissue near 500."""
    signal = _inversion_recovery(
        TISSUES.density, TISSUES.t1_ms, TISSUES.t2_ms, **_TIMES_MS[sequence]
    ).astype(np.float32)
    white = signal[TISSUES.index["white matter"]]
    grey = signal[TISSUES.index["cortex"]]
    signal *= 500 / max(white, grey)
    if visibility.contrast != 1:  # air stays dark
        middle, matter = signal[signal > 0].mean(), signal > 0
        signal[matter] = middle + visibility.contrast * (signal[matter] - middle)
        signal = signal.clip(min=0)
    box_shape = (*tissue.shape[:2], tissue.shape[2] // grid.thin)
    inside = signal[tissue].reshape(*box_shape, grid.thin).mean(axis=-1)
    # Tissue is not uniform: myelin, iron and vessels below the resolution.
    fine = smooth_noise(box_shape, tuple(2.5 / s for s in grid.spacing_mm), rng)
    broad = smooth_noise(box_shape, tuple(14 / s for s in grid.spacing_mm), rng)
    inside *= 1 + 0.018 * fine + 0.022 * broad
    image = np.zeros(grid.shape, dtype=np.float32)
    image[grid.box] = inside
    blur_mm = 0.62 if sequence != "reg_T1" else 0.5
    image = ndimage.gaussian_filter(image, [blur_mm / s for s in grid.spacing_mm[:2]] + [0])
    # What is left of the coil's shading after correction: smooth, about a tenth either way.
    shading = smooth_noise(grid.shape, tuple(45 / s for s in grid.spacing_mm), rng)
    return np.asarray(image * np.exp(0.06 * shading))


def _noisy(clean: Array, rng: np.random.Generator, visibility: Visibility) -> Array:
    """Rician noise: the magnitude of the signal plus complex Gaussian noise (σ = 13 as usual)."""
    sigma = 13.0 * visibility.noise
    real = clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(clean.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary))


def annotate_brain(brain: Brain, grader: Grader, who: int = 1) -> Array:
    """Draw what grader number ``who`` makes of a brain, slice by slice.

    Parameters
    ----------
    brain : Brain
    grader : Grader
        Its RMS and correlation length are in in-plane voxels. The cortex is about three of them
        wide: an RMS much above one erases it in places.
    who : int
        Number of the grader: another number is an independent draw, and another habit.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
    """
    rng = np.random.default_rng(
        np.random.SeedSequence(brain.seed, spawn_key=(brain.number, 1, who))
    )
    habits = np.random.default_rng(np.random.SeedSequence(brain.seed, spawn_key=(0, who)))
    slices = np.ascontiguousarray(np.moveaxis(brain.labels, -1, 0))
    borders = find_borders(slices, np.moveaxis(brain.clean, -1, 1), grader)
    drawn = displace_regions(borders, grader, rng, pair_habit(N_LABELS, habits))
    return np.ascontiguousarray(np.moveaxis(drawn, 0, -1))
