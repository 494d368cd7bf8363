"""Images whose truth is known, and simulated annotators who draw their boundaries wrong.

All laws of where the error lies have the same root mean square:

=========== ========================================================================
contrast    larger where the image shows less (w = 1 / (½ + c / median c))
uniform     the same everywhere
bias        a constant, in or out, one for each boundary
swapped     larger where the image shows *more*
curvature   larger where the boundary bends more
shadow      larger where the image is darker (OCT)
thickness   larger where the thinner neighbour is thinner
=========== ========================================================================

:mod:`softlabel.phantom.graders` has the first three; the others put another field in the place of
the contrast that its law ``contrast`` weighs by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import ndimage

from benchmarks import data
from softlabel.phantom import (
    Brain,
    Grader,
    OctSubject,
    Visibility,
    make_brain,
    make_oct_subject,
)
from softlabel.phantom import graders as law_of
from softlabel.phantom.oct import class_map
from softlabel.phantom.visibility import USUAL
from softlabel.types import Array

LAWS = ("contrast", "uniform", "bias", "swapped", "curvature", "shadow", "thickness")
REGION_LAWS = tuple(law for law in LAWS if law != "shadow")
"""Shadows are those of vessels in OCT."""

OF_GRADER = ("uniform", "bias")
"""Laws of the phantoms' graders that look at no field."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """An image and what an annotator made of it.

    Attributes
    ----------
    image : ndarray of float32, shape (C, *spatial)
    drawn, truth : ndarray of int64, shape (*spatial)
    usable : ndarray of bool, shape (*spatial)
        False in registration wedges.
    subject : int
        Whose image it is: intervals are over subjects.
    """

    image: Array
    drawn: Array
    truth: Array
    usable: Array
    subject: int


# --- annotators -----------------------------------------------------------------------------------


def habit_of(law: str, rms_px: float, correlation_px: float = 20.0) -> Grader:
    """The grader of the phantoms whose noise a law weighs."""
    return Grader(law if law in OF_GRADER else "contrast", rms_px, correlation_px)


def oct_fields(subject: OctSubject, grader: Grader) -> dict[str, Array]:
    """What each law takes for the contrast along the boundaries, (boundaries, columns, B-scans)."""
    clean = subject.clean[..., subject.bscans]
    true = subject.boundaries[..., subject.bscans]
    contrast = law_of.curve_contrast(clean, true, grader.correlation_px)
    smooth = ndimage.gaussian_filter1d(true, 6, axis=1)
    bend = np.abs(np.gradient(np.gradient(smooth, axis=1), axis=1))
    bend = ndimage.gaussian_filter1d(bend, 6, axis=1)
    rows = np.clip(np.rint(true), 0, len(clean) - 1).astype(np.intp)
    columns, bscans = np.ogrid[: clean.shape[1], : clean.shape[2]]
    bright = ndimage.gaussian_filter(clean.astype(float), (4, 2, 0))[rows, columns, bscans]
    thick = np.diff(true, axis=0, prepend=true[:1] - 100, append=true[-1:] + 100)
    return {
        "contrast": contrast,
        "swapped": inverse(contrast),
        "curvature": inverse(bend),
        "shadow": np.maximum(bright - 60, 1) ** 2,
        "thickness": np.minimum(np.minimum(thick[:-1], thick[1:]) + 0.5, 60),
    }


def inverse(field: Array) -> Array:
    """Large where a field is small."""
    return np.asarray(1 / (field + 0.1 * (np.median(field) or 1.0)))


def draw_oct(subject: OctSubject, law: str, rms_px: float) -> tuple[Array, Array]:
    """What an annotator draws of a subject, and where (columns, B-scans)."""
    grader = habit_of(law, rms_px)
    rng = np.random.default_rng([subject.seed, LAWS.index(law)])
    habit = np.where(np.random.default_rng([subject.seed, 1]).random(8) < 0.5, -1.0, 1.0)
    true = subject.boundaries[..., subject.bscans]
    column = np.arange(true.shape[1])[None, :, None]
    first, end = subject.annotated_columns.T
    where = np.broadcast_to((column >= first) & (column < end), true.shape)
    fields = oct_fields(subject, grader)
    curves = law_of.displace_curves(
        true, fields.get(law, fields["contrast"]), grader, rng, habit, where
    )
    fluid = np.moveaxis(subject.fluid[..., subject.bscans], -1, 0)
    if fluid.any():
        clean = np.moveaxis(subject.clean[..., subject.bscans], -1, 0)
        pairs = law_of.pair_habit(16, np.random.default_rng([subject.seed, 2]))
        borders = law_of.find_borders(fluid, clean[None], grader)
        fluid = law_of.displace_regions(borders, grader, rng, pairs)
    return class_map(curves, np.moveaxis(fluid, 0, -1), len(subject.images)), where[0]


def region_fields(labels: Array, borders: law_of.RegionBorders) -> dict[str, Array]:
    """What each law takes for the contrast around the borders of regions, (slices, rows, columns).

    A class has about half of a window on a straight border, less where it bulges.
    """
    share, thick = (np.zeros(labels.shape, np.float32) for _ in range(2))
    for k in np.unique(labels):
        own = labels == k
        share[own] = ndimage.gaussian_filter(own.astype(np.float32), (0, 3, 3))[own]
        depth = np.stack([
            ndimage.distance_transform_edt(np.pad(plane, 1))[1:-1, 1:-1] for plane in own
        ])  # fmt: skip
        thick[own] = ndimage.maximum_filter(depth, (1, 13, 13))[own]
    bend = ndimage.gaussian_filter(np.abs(share - 0.55), (0, 2, 2))
    edge = np.median(borders.contrast[borders.border]) if borders.border.any() else 1.0
    return {
        "contrast": borders.contrast,
        "swapped": 1 / (borders.contrast + 0.1 * edge),
        "curvature": 1 / (bend + 0.02),
        "thickness": ndimage.minimum_filter(thick, (1, 3, 3)),
    }


def draw_regions(
    labels: Array, clean: Array, law: str, rms_px: float, seed: int, correlation_px: float = 20.0
) -> Array:
    """What an annotator draws of label maps (slices, rows, columns), slice by slice."""
    grader = habit_of(law, rms_px, correlation_px)
    borders = law_of.find_borders(labels, clean, grader)
    if law not in OF_GRADER:
        field = region_fields(labels, borders)[law]
        borders = replace(borders, contrast=field.astype(np.float32))
    pairs = law_of.pair_habit(int(labels.max()) + 2, np.random.default_rng([seed, 2]))
    rng = np.random.default_rng([seed, LAWS.index(law)])
    return law_of.displace_regions(borders, grader, rng, pairs)


# --- images ---------------------------------------------------------------------------------------


@cache
def _oct_subject(seed: int, visibility: Visibility) -> OctSubject:
    return make_oct_subject(seed, 1, (320, 256, 1), 1, visibility)


@cache
def _brain(seed: int, visibility: Visibility) -> Brain:
    return make_brain(seed, 1, (120, 120, 24), visibility)


def oct_cases(law: str, seeds: Sequence[int], visibility: Visibility = USUAL) -> Iterator[Drawn]:
    """A B-scan of each seed, within the columns that were annotated."""
    for seed in seeds:
        subject = _oct_subject(seed, visibility)
        drawn, where = draw_oct(subject, law, rms_px=1.5)
        for b, bscan in enumerate(subject.bscans):
            within = np.s_[:, np.flatnonzero(where[:, b])[0] : np.flatnonzero(where[:, b])[-1] + 1]
            image = subject.images[..., bscan][within]
            labels = drawn[..., b][within], subject.labels[..., b][within]
            yield Drawn(
                image[None].astype(np.float32), *(a.astype(int) for a in labels), image < 255, seed
            )


def mri_cases(law: str, seeds: Sequence[int], visibility: Visibility = USUAL) -> Iterator[Drawn]:
    """Three slices of each seed's brain, 1.9 mm in the plane, three channels."""
    planes = [8, 12, 16]
    for seed in seeds:
        brain = _brain(seed, visibility)
        labels = np.ascontiguousarray(np.moveaxis(brain.labels, -1, 0)[planes])
        images, clean = (
            np.moveaxis(a, -1, 1)[:, planes].astype(np.float32) for a in (brain.images, brain.clean)
        )
        drawn = draw_regions(labels, clean, law, 1.0, seed)
        for i in range(len(planes)):
            usable = np.ones(labels[i].shape, bool)
            yield Drawn(images[:, i], drawn[i].astype(int), labels[i].astype(int), usable, seed)


@cache
def _real_oct() -> list[tuple[Array, Array]]:
    """Real B-scans around the retina, every second row: pixels of 4 µm."""
    found = []
    for image, labels in data.real_bscans().values():
        rows = np.flatnonzero((labels != 8).any(axis=1))
        within = slice(max(rows[0] - 30, 0), rows[-1] + 31, 2)
        found.append((image[within], labels[within].astype(np.uint8)))
    return found


def real_oct_cases(law: str, seeds: Sequence[int], visibility: Visibility) -> Iterator[Drawn]:
    """Each real B-scan by some annotators, who err as in the phantoms."""
    for number, (image, labels) in enumerate(_real_oct()):
        clean = ndimage.gaussian_filter(image, 1)[None, None]
        for seed in seeds:
            drawn = draw_regions(labels[None], clean, law, 1.5, 100 * seed + number, 10.0)[0]
            usable = np.ones(labels.shape, bool)
            yield Drawn(image[None], drawn.astype(int), labels.astype(int), usable, number)


TISSUES = {2: 1, 41: 1, 3: 2, 42: 2, 4: 3, 43: 3, 5: 3, 44: 3, 14: 3, 15: 3, 24: 3, 10: 4, 49: 4,
           11: 5, 50: 5, 12: 6, 51: 6, 13: 7, 52: 7, 17: 8, 53: 8, 18: 9, 54: 9, 0: 0}  # fmt: skip
"""FreeSurfer's labels without sides; the rest is class 10."""


@cache
def _real_slices() -> list[tuple[Array, Array]]:
    """Slices of a real brain and their tissues."""
    brain = data.real_brain()
    if brain is None:
        return []
    tissue = np.full(256, 10, np.uint8)
    tissue[list(TISSUES)] = list(TISSUES.values())
    labels = tissue[brain[1]]
    return [(1000 * brain[0][:, z], labels[:, z]) for z in (95, 105, 115, 125)]


def real_mri_cases(law: str, seeds: Sequence[int], visibility: Visibility) -> Iterator[Drawn]:
    """Each real slice by some annotators, who err as in the phantoms."""
    for number, (image, labels) in enumerate(_real_slices()):
        clean = ndimage.gaussian_filter(image, 0.7)[None, None]
        for seed in seeds:
            drawn = draw_regions(labels[None], clean, law, 1.0, 100 * seed + number)[0]
            usable = np.ones(labels.shape, bool)
            yield Drawn(image[None], drawn.astype(int), labels.astype(int), usable, number)
