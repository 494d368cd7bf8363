"""B-scans that a denoiser is trained on: phantoms with their clean images, or any scans.

Without clean images there are two ways. A pixel that the network does not see is guessed from
those around it (blind spots, after Krull et al. 2019, *Noise2Void*); the speckle of neighbouring
pixels is correlated, so a square around it is hidden as well. Or a neighbouring B-scan is guessed
(Lehtinen et al. 2018, *Noise2Noise*), where it lies close enough to show the same tissue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from softlabel.errors import CaseError, UsageError, plural
from softlabel.phantom import make_oct_subject
from softlabel.preprocess import STEPS, axes_of, fill_background, noise_sigma
from softlabel.readers.imagefiles import ENDINGS, images_in, read_pixels
from softlabel.readers.pixels import Pixels, require_finite
from softlabel.types import Array, Case, ClassTable
from softlabel_train.steps import scan_case

PHANTOM_SHAPE = (496, 768, 4)
"""Rows, columns and B-scans of each phantom."""

LEAST_NOISE, MOST_NOISE = 0.6, 2.0
"""A phantom's noise is made weaker or stronger by a factor in between."""

MOST_ZOOM, MOST_EVERY = 2.5, 3
"""Half of the phantoms are drawn out along the A-scans by up to so much, and of all up to every
third A-scan is kept: other instruments have other pixels, and speckle that is correlated over more
or fewer of them."""

CLOSE_MM = 0.020
"""B-scans farther apart show other tissue."""

SPOTS_OF_PIXELS = 64
"""One blind spot for so many pixels of a patch."""

VALIDATED = 10
"""One of so many B-scans of files is not trained on."""

TRIES = 20
"""Patches that are cut to find one with enough pixels that mean something."""


@dataclass(frozen=True, eq=False)
class TrainingScan:
    """A B-scan, and what is to come out of it.

    Attributes
    ----------
    image : ndarray, shape (rows, columns)
        With its noise; what means nothing is filled.
    target : ndarray, shape (rows, columns), or None
        The clean image, or a neighbouring B-scan; None is the image itself, by blind spots.
    known : ndarray of bool, shape (rows, columns)
    low, unit : float
        The network sees ``(image - low) / unit``.
    clean : bool
        Whether the target is the clean image.
    """

    image: Array
    target: Array | None
    known: Array
    low: float
    unit: float
    clean: bool = False

    def scaled(self, image: Array) -> Array:
        """An image in the units that the network sees, float32."""
        return ((image.astype(np.float32) - self.low) / self.unit).astype(np.float32)


@dataclass(frozen=True, eq=False)
class DenoiserData:
    """What a denoiser is trained on and validated with.

    Attributes
    ----------
    scans, validation : tuple of TrainingScan
        Of different phantoms, or different B-scans.
    trained_on : str
        In words.
    """

    scans: tuple[TrainingScan, ...]
    validation: tuple[TrainingScan, ...]
    trained_on: str


@dataclass(frozen=True, eq=False)
class Patch:
    """What the network gets, what it shall give, and where that counts; float32 of one shape."""

    image: Array
    target: Array
    weight: Array


def training_scan(
    image: Array, target: Array | None, known: Array, scaling: str, clean: bool = False
) -> TrainingScan | None:
    """A scan in the units of a scaling; None where it has no noise to learn."""
    sigma = noise_sigma(image, known)
    if sigma == 0 or not known.any():
        return None
    low = float(image.min())
    unit = sigma if scaling == "noise" else float(image.max()) - low
    return TrainingScan(image, target, known, low, unit, clean)


def phantom_scans(
    seed: int, numbers: Sequence[int], scaling: str, vary: bool = True
) -> Iterator[TrainingScan]:
    """B-scans of phantoms with their clean images.

    Parameters
    ----------
    seed : int
    numbers : sequence of int
        Of the subjects, from 1.
    scaling : {"noise", "range"}
    vary : bool
        Stronger and weaker noise, larger and smaller pixels.
    """
    for number in numbers:
        subject = make_oct_subject(seed, number, PHANTOM_SHAPE)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 2)))
        for b in range(PHANTOM_SHAPE[2]):
            noisy, clean = subject.images[..., b], subject.clean[..., b]
            wedge = clean == 255
            if vary:
                noisy, clean, wedge = _varied(noisy, clean, wedge, rng)
            noisy, clean = (fill_background(x, wedge) for x in (noisy, clean))
            scan = training_scan(noisy, clean, ~wedge, scaling, clean=True)
            if scan is not None:
                yield scan


def _varied(
    noisy: Array, clean: Array, wedge: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """A B-scan and its clean image with other noise and other pixels."""
    zoom = rng.uniform(1, MOST_ZOOM) if rng.random() < 0.5 else 1.0
    every = int(rng.integers(1, MOST_EVERY + 1))
    noise = (noisy.astype(np.float32) - clean) * rng.uniform(LEAST_NOISE, MOST_NOISE)
    images = []
    for image in (clean + noise, clean.astype(np.float32)):
        drawn_out = ndimage.zoom(image[:, ::every], (zoom, 1), order=3)
        images.append(np.rint(drawn_out).clip(0, 254).astype(np.uint8))
    return images[0], images[1], ndimage.zoom(wedge[:, ::every], (zoom, 1), order=0)


def image_files(inputs: Sequence[Path]) -> list[Path]:
    """The image files among paths and in folders, in natural order.

    Raises
    ------
    UsageError
        When there is none, or a path does not exist.
    """
    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            files += images_in(path)
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"The input {path} does not exist.")
    if not files:
        raise UsageError(
            f"There is no image in {', '.join(map(str, inputs))}; expected files that end in "
            f"{', '.join(ENDINGS)}."
        )
    return files


def file_scans(path: Path, scaling: str, distance_mm: float | None = None) -> list[TrainingScan]:
    """B-scans of a file, to be trained on without clean images.

    Parameters
    ----------
    path : Path
        An image, whose rows go along the A-scans, or a volume: (rows, columns, B-scans), or
        (B-scans, rows, columns) where its file says that the slices lie along the first axis, as
        the pages of a TIFF do.
    scaling : {"noise", "range"}
    distance_mm : float, optional
        Of neighbouring B-scans, where the file does not say. At :data:`CLOSE_MM` or less a B-scan
        is trained to become its neighbour.

    Raises
    ------
    CaseError
        When the file cannot be read, or is no B-scan and no volume of them.
    """
    pixels = read_pixels(path)
    channels = pixels.channels_first()
    require_finite(channels, path)
    image = channels[0]
    if image.ndim not in (2, 3) or not all(np.array_equal(image, c) for c in channels[1:]):
        raise CaseError(
            f"{path} has {len(channels)} channels and {image.ndim} spatial axes; expected B-scans "
            "in grey levels, of two axes or three."
        )
    axial_axis = 1 if pixels.slice_axis == 0 else 0
    case = _without_wedges(path, image, pixels, axial_axis)
    known = np.ones(image.shape, np.bool_) if case.mask is None else case.mask
    axes = axes_of(case, axial_axis)
    stack, inside = axes.stack(case.image[0]), axes.stack(known)
    if axes.bscans is not None and pixels.spacing_mm is not None:
        distance_mm = pixels.spacing_mm[axes.bscans]
    close = len(stack) > 1 and distance_mm is not None and distance_mm <= CLOSE_MM
    scans = []
    for b, bscan in enumerate(stack):
        near = b + 1 if b + 1 < len(stack) else b - 1
        both = inside[b] & inside[near] if close else inside[b]
        scan = training_scan(bscan, stack[near] if close else None, both, scaling)
        if scan is not None:
            scans.append(scan)
    return scans


def _without_wedges(path: Path, image: Array, pixels: Pixels, axial_axis: int) -> Case:
    """A B-scan, or a volume of them, with filled wedges."""
    case = scan_case(
        path.name, str(path), image[None], ClassTable.from_values([0]), None, pixels.spacing_mm,
        pixels.affine, pixels.slice_axis,
    )  # fmt: skip
    step = STEPS["wedges"]
    try:
        done, _ = step.apply(case, step.options(axial_axis=axial_axis))
    except ValueError as error:
        raise CaseError(f"{path}: {error}") from error
    return done


def phantom_data(count: int, seed: int, scaling: str) -> DenoiserData:
    """B-scans of so many phantoms, and of one more as they are to validate with."""
    if count < 1:
        raise UsageError(f"--phantoms is {count}; give 1 or more.")
    scans = phantom_scans(seed, range(1, count + 1), scaling)
    validation = phantom_scans(seed, [count + 1], scaling, vary=False)
    words = f"{plural(count, 'OCT phantom')} of {PHANTOM_SHAPE[2]} B-scans, seed {seed}"
    return DenoiserData(tuple(scans), tuple(validation), words)


def file_data(
    inputs: Sequence[Path], seed: int, scaling: str, distance_mm: float | None = None
) -> DenoiserData:
    """B-scans of files; a tenth of them, drawn by the seed, to validate with.

    Raises
    ------
    SoftlabelError
        When there is no image, or one cannot be read.
    """
    files = image_files(inputs)
    scans = [scan for file in files for scan in file_scans(file, scaling, distance_mm)]
    order = np.random.default_rng(seed).permutation(len(scans))
    held_out = set(order[: max(len(scans) // VALIDATED, 1)].tolist())
    near = sum(scan.target is not None for scan in scans)
    words = f"{plural(len(scans), 'B-scan')} of files, {near} by their neighbours, seed {seed}"
    return DenoiserData(
        tuple(scan for i, scan in enumerate(scans) if i not in held_out),
        tuple(scan for i, scan in enumerate(scans) if i in held_out),
        words,
    )


def cut_patch(scan: TrainingScan, size_px: int, mask_px: int, rng: np.random.Generator) -> Patch:
    """A patch of a scan, mirrored or not; smaller where the scan is.

    Parameters
    ----------
    scan : TrainingScan
    size_px : int
    mask_px : int
        Side of the square that is hidden around a blind spot, odd.
    rng : Generator
    """
    rows, columns = scan.image.shape
    for _ in range(TRIES):
        row, column = (int(rng.integers(max(n - size_px, 0) + 1)) for n in (rows, columns))
        place = np.s_[row : row + size_px, column : column + size_px]
        if scan.known[place].mean() > 0.5:
            break

    def cut(values: Array) -> Array:
        return values[place][:, ::turn]

    turn = 1 if rng.random() < 0.5 else -1
    image, weight = scan.scaled(cut(scan.image)), cut(scan.known).astype(np.float32)
    if scan.target is not None:
        return Patch(image, scan.scaled(cut(scan.target)), weight)
    hidden, spots = hide_spots(image, mask_px, rng)
    return Patch(hidden, image, weight * spots)


def hide_spots(image: Array, mask_px: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Replace squares by pixels from elsewhere in the patch; 1 in the middle of each, else 0.

    Whoever guesses a middle sees none of the pixels whose speckle is correlated with it.
    """
    rows, columns = image.shape
    count = max(image.size // (SPOTS_OF_PIXELS * max(mask_px // 3, 1)), 1)
    reach = mask_px // 2
    hidden, spots = image.copy(), np.zeros_like(image)
    for row, column in zip(rng.integers(rows, size=count), rng.integers(columns, size=count),
                           strict=True):  # fmt: skip
        square = np.s_[
            max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1
        ]
        hidden[square] = rng.choice(image.ravel(), hidden[square].shape)
        spots[row, column] = 1
    return hidden, spots
