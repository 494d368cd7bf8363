"""Macular OCT volumes with diabetic oedema, after the Duke OCT-DME data set.

:mod:`~softlabel.phantom.retina` says where boundaries and fluid are,
:mod:`~softlabel.phantom.bscan` how an instrument shows them; here they become a subject, and a
grader's annotation of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from softlabel.errors import UsageError
from softlabel.phantom.bscan import (
    acquire,
    display,
    draw_scene,
    draw_wedge,
    expected_intensity,
    noise_floor,
)
from softlabel.phantom.graders import (
    Grader,
    curve_contrast,
    displace_curves,
    displace_regions,
    find_borders,
    pair_habit,
)
from softlabel.phantom.retina import FULL_SHAPE, draw_retina, fluid_regions, place_retina, plane_of
from softlabel.phantom.visibility import USUAL, Visibility
from softlabel.types import Array

MIN_ROWS, MIN_COLUMNS = 224, 128
"""A swollen retina with tilt needs as many rows; a fovea and its slopes as many columns."""

N_BOUNDARIES = 8
FLUID = 9

_ANNOTATED = (10, 15, 20, 25, 28, 30, 32, 35, 40, 45, 50)
_ANNOTATED_SHIFT = MappingProxyType({4: -4, 5: -2, 7: 1, 8: -2})


@dataclass(frozen=True, eq=False)
class OctSubject:
    """One volume with its truth.

    Attributes
    ----------
    images : ndarray of uint8, shape (rows, columns, B-scans)
    clean : ndarray of uint8, shape (rows, columns, B-scans)
        The expected image: all but speckle and noise.
    boundaries : ndarray of float64, shape (8, columns, B-scans)
        True rows of the boundaries ILM, NFL/GCL, IPL/INL, INL/OPL, OPL/ONL, ISM/ISE, OS/RPE, BM,
        0-based: pixel row i lies below a boundary when i ≥ value.
    fluid : ndarray of uint8, shape (rows, columns, B-scans)
        0, or the number of a fluid region in its B-scan.
    bscans : ndarray of int64, shape (annotated,)
        0-based indices of the annotated B-scans.
    annotated_columns : ndarray of int64, shape (annotated, 2)
        First and one-past-last annotated column of each annotated B-scan.
    seed, number : int
        What the subject was drawn from.
    """

    images: Array
    clean: Array
    boundaries: Array
    fluid: Array
    bscans: Array
    annotated_columns: Array
    seed: int
    number: int

    @property
    def labels(self) -> Array:
        """True class maps, uint8 (rows, columns, annotated): classes 0..9."""
        return class_map(
            self.boundaries[..., self.bscans], self.fluid[..., self.bscans], len(self.images)
        )


@dataclass(frozen=True, eq=False)
class OctAnnotation:
    """What one grader drew, on the annotated B-scans.

    Attributes
    ----------
    boundaries : ndarray of float64, shape (8, columns, annotated)
        0-based rows in steps of 1/16 pixel, NaN where not annotated.
    fluid : ndarray of uint8, shape (rows, columns, annotated)
        Region numbers, 0 for none.
    """

    boundaries: Array
    fluid: Array


def class_map(boundaries: Array, fluid: Array, rows: int) -> Array:
    """Classes 0..9 from 0-based boundaries (8, columns, B-scans) and fluid: uint8 (rows, …)."""
    row = np.arange(rows, dtype=np.float64)[:, None, None]
    labels = np.zeros((rows, *boundaries.shape[1:]), dtype=np.uint8)
    for boundary in boundaries:
        labels += row >= boundary
    labels[fluid > 0] = FLUID
    return labels


def annotated_bscans(number: int, n_bscans: int, n_annotated: int) -> Array:
    """Return the 0-based indices of the annotated B-scans of subject ``number`` (from 1).

    The lists of the real subjects for 11 of 61 B-scans, evenly spread indices otherwise.
    """
    if (n_bscans, n_annotated) == (FULL_SHAPE[2], len(_ANNOTATED)):
        return np.array(_ANNOTATED, dtype=np.int64) + _ANNOTATED_SHIFT.get(number, 0)
    step = n_bscans / n_annotated
    return np.floor((np.arange(n_annotated) + 0.5) * step).astype(np.int64)


def make_oct_subject(
    seed: int,
    number: int,
    shape: tuple[int, int, int] = FULL_SHAPE,
    n_annotated: int | None = None,
    visibility: Visibility = USUAL,
) -> OctSubject:
    """Draw one subject.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    number : int
        Number of the subject, from 1. A subject depends on ``seed``, ``number`` and the sizes,
        not on how many others there are.
    shape : tuple of int
        Rows, columns, B-scans. Fewer rows and columns show less of the retina at the same pixel
        size; fewer B-scans cover the same 7.5 mm further apart.
    n_annotated : int, optional
        B-scans with annotation; default 11, or all when there are fewer.
    visibility : Visibility
        The truth does not depend on it.

    Returns
    -------
    OctSubject

    Raises
    ------
    UsageError
        When a size is too small for an eye or there are fewer B-scans than annotations.
    """
    n_annotated = min(len(_ANNOTATED), shape[2]) if n_annotated is None else n_annotated
    check_sizes(shape, n_annotated)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0)))
    plane = plane_of(shape, rng)
    thickness, cysts = draw_retina(plane, rng)
    boundaries = place_retina(plane, thickness, rng)
    bscans = annotated_bscans(number, shape[2], n_annotated)
    columns = _annotated_columns(shape[1], n_annotated, rng)
    scene = draw_scene(plane, rng, visibility)
    images, clean, fluid = (np.empty(shape, dtype=np.uint8) for _ in range(3))
    streams = rng.spawn(shape[2])
    for b, stream in enumerate(streams):
        curves = boundaries[:, b]
        fluid[..., b] = fluid_regions(plane, curves, cysts, b, stream)
        expected = expected_intensity(scene, curves, fluid[..., b], b, stream)
        wedge = draw_wedge(shape[:2], stream)
        clean[..., b] = display(expected + noise_floor(), wedge)
        images[..., b] = display(acquire(expected, stream, visibility), wedge)
    curves_last = np.moveaxis(boundaries, 1, 2).astype(np.float64)
    return OctSubject(images, clean, curves_last, fluid, bscans, columns, seed, number)


def check_sizes(shape: tuple[int, int, int], n_annotated: int) -> None:
    """Raise UsageError unless the sizes can hold a retina and its annotation."""
    rows, columns, n_bscans = shape
    if rows < MIN_ROWS or columns < MIN_COLUMNS or n_bscans < 1:
        raise UsageError(
            f"An OCT phantom of {rows} × {columns} pixels and {n_bscans} B-scans is too small for "
            f"a retina; give at least {MIN_ROWS} rows, {MIN_COLUMNS} columns and 1 B-scan."
        )
    if max(rows, columns) > 4096 or n_bscans > 1024:
        raise UsageError(
            f"An OCT phantom of {rows} × {columns} pixels and {n_bscans} B-scans is larger than "
            "any instrument's; give at most 4096 rows and columns and 1024 B-scans."
        )
    if not 1 <= n_annotated <= n_bscans:
        raise UsageError(
            f"{n_annotated} annotated B-scans were asked for among {n_bscans}; "
            f"give between 1 and {n_bscans}."
        )


def _annotated_columns(columns: int, n_annotated: int, rng: np.random.Generator) -> Array:
    """First and one-past-last annotated columns, around 86..667 of 768."""
    jitter = rng.integers(-6, 7, size=(n_annotated, 2))
    ends = np.rint(np.array([85, 667]) / FULL_SHAPE[1] * columns).astype(np.int64)
    return np.asarray(ends + jitter)


def annotate_oct(subject: OctSubject, grader: Grader, who: int = 1) -> OctAnnotation:
    """Draw what grader number ``who`` makes of a subject.

    Layers are displaced along the A-scans (:func:`~softlabel.phantom.graders.displace_curves`),
    fluid regions along their normals. Columns outside the annotated range are NaN, and so is now
    and then a short stretch of one boundary.

    Parameters
    ----------
    subject : OctSubject
    grader : Grader
    who : int
        Number of the grader: another number is an independent draw, and another habit.

    Returns
    -------
    OctAnnotation
    """
    rng = np.random.default_rng(
        np.random.SeedSequence(subject.seed, spawn_key=(subject.number, 1, who))
    )
    habits = np.random.default_rng(np.random.SeedSequence(subject.seed, spawn_key=(0, who)))
    habit = np.where(habits.random(N_BOUNDARIES) < 0.5, -1.0, 1.0)
    clean = subject.clean[..., subject.bscans]
    true = subject.boundaries[..., subject.bscans]
    column = np.arange(true.shape[1])[None, :, None]
    first, end = subject.annotated_columns.T
    annotated = np.broadcast_to((column >= first) & (column < end), true.shape)
    contrast = curve_contrast(clean, true, grader.correlation_px)
    curves = displace_curves(true, contrast, grader, rng, habit, annotated)
    # A sixteenth of a pixel is finer than any hand and compresses well.
    curves = np.rint(curves * 16) / 16
    fluid = _draw_fluid(subject, grader, rng, pair_habit(16, habits))
    fluid *= annotated[:1].astype(np.uint8)
    curves[~annotated] = np.nan
    return OctAnnotation(_with_gaps(curves, subject.annotated_columns, rng), fluid)


def _draw_fluid(
    subject: OctSubject, grader: Grader, rng: np.random.Generator, habit: Array
) -> Array:
    true = np.moveaxis(subject.fluid[..., subject.bscans], -1, 0)
    drawn = true.copy()
    if true.any():
        near = _around(true, margin_px=int(5 * grader.rms_px) + 40)
        clean = np.moveaxis(subject.clean[..., subject.bscans], -1, 0)[near]
        borders = find_borders(true[near], clean[None], grader)
        drawn[near] = displace_regions(borders, grader, rng, habit)
    return np.moveaxis(drawn, 0, -1)


def _around(fluid: Array, margin_px: int) -> tuple[slice, ...]:
    """Return the rows and columns around all fluid, since nothing else can change."""
    slices = [slice(None)]
    for axis in (1, 2):
        other_axes = tuple(a for a in range(3) if a != axis)
        wet = np.flatnonzero(fluid.any(axis=other_axes))
        slices.append(slice(max(0, wet[0] - margin_px), wet[-1] + margin_px + 1))
    return tuple(slices)


def _with_gaps(curves: Array, columns: Array, rng: np.random.Generator) -> Array:
    """Leave out a short stretch of one boundary in about a third of the B-scans."""
    for b, (first, end) in enumerate(columns):
        if rng.random() < 0.35:
            length = int(rng.integers(4, 25))
            start = int(rng.integers(first, max(first + 1, end - length)))
            curves[rng.integers(N_BOUNDARIES), start : start + length, b] = np.nan
    return curves
