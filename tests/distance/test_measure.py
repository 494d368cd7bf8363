"""Distances to class boundaries against all pairs of pixels, straight from their definition.

Distances are seen through the soft labels of one superpixel over the whole image, from which
Eq. 1 gives them back; a scale as large as the image keeps that accurate.
"""

from __future__ import annotations

import itertools
import tracemalloc
from functools import partial

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import scenes, smooth_field

import softlabel
from softlabel.distance import groups, measure, number_types
from softlabel.distance.boundary import BOUNDARIES

IGNORED = 9

few = settings(max_examples=settings.default.max_examples // 4)


def distances(labels, boundary, spacing=None):
    """Signed distances of the pixels of class 1 and of all others; ±inf where there is none."""
    step = np.ones(labels.ndim) if spacing is None else np.asarray(spacing)
    scale = float(np.sqrt(((np.array(labels.shape) * step) ** 2).sum()))
    q = softlabel.soften(
        labels, np.zeros(labels.shape, int), classes=(0, 1), ignore=IGNORED, boundary=boundary,
        spacing=spacing, scale=scale,
    ).dense(np.float64)[1]  # fmt: skip
    with np.errstate(divide="ignore"):
        return scale * (2 * q - 1) / (1 - np.abs(2 * q - 1))


def all_pairs(labels, boundary, spacing):
    """The table of the four conventions, word by word, one pixel after another."""
    pixels = list(np.ndindex(labels.shape))

    def face_neighbour(pixel, wanted):
        for axis, step in itertools.product(range(labels.ndim), (-1, 1)):
            other = tuple(p + step * (a == axis) for a, p in enumerate(pixel))
            if other in on_grid and labels[other] == wanted:
                return True
        return False

    def measure(a, b):
        gaps = [abs(i - j) for i, j in zip(a, b, strict=True)]
        if boundary == "edge":
            gaps = [max(g - 0.5, 0) for g in gaps]
        return np.sqrt(sum((g * s) ** 2 for g, s in zip(gaps, spacing, strict=True)))

    on_grid = set(pixels)
    inside = [p for p in pixels if labels[p] == 1]
    outside = [p for p in pixels if labels[p] == 0]
    targets = {
        "inner": ([p for p in inside if face_neighbour(p, 0)], inside),
        "outer": (outside, [p for p in outside if face_neighbour(p, 1)]),
        "edge": (outside, inside),
        "symmetric": (outside, inside),
    }[boundary]
    found = np.full(labels.shape, -np.inf)
    for p in inside:
        found[p] = min((measure(p, t) for t in targets[0]), default=np.inf)
    for p in outside:
        found[p] = -min((measure(p, t) for t in targets[1]), default=np.inf)
    return found


@st.composite
def two_classes(draw):
    """Small label maps of two classes, with ignored pixels or without, and a spacing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(9,), (1,), (5, 6), (2, 9), (3, 3, 4), (2, 1, 7)]))
    labels = (rng.random(shape) < draw(st.sampled_from([0.5, 0.1, 0.9]))).astype(int)
    labels[rng.random(shape) < draw(st.sampled_from([0.0, 0.2, 0.6]))] = IGNORED
    spacing = tuple(float(s) for s in rng.choice([1.0, 0.4, 2.5], len(shape)))
    return labels, spacing


@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(case=two_classes())
def test_distances_equal_those_of_all_pairs(boundary, case):
    labels, spacing = case
    wanted = all_pairs(labels, boundary, spacing)
    diagonal = np.sqrt((((np.array(labels.shape) - 1) * spacing) ** 2).sum())
    if not {0, 1} <= set(labels.ravel().tolist()):  # one class only: nothing is measured
        wanted = np.where(labels == 1, np.inf, -np.inf)
    assert (np.abs(wanted[np.isfinite(wanted)]) <= diagonal * (1 + 1e-9)).all()
    np.testing.assert_allclose(distances(labels, boundary, spacing), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(case=two_classes())
def test_the_reference_equals_all_pairs(boundary, case):
    """tests/reference.py is what everything else is compared with."""
    labels, spacing = case
    found = reference.signed_distance(labels == 1, labels != IGNORED, boundary, np.asarray(spacing))
    wanted = all_pairs(labels, boundary, spacing)
    np.testing.assert_allclose(np.where(labels == IGNORED, -np.inf, found), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("boundary", "first"), [("inner", 1.0), ("outer", 0.0), ("edge", 0.5), ("symmetric", 1.0)]
)
def test_every_distance_in_a_long_row(boundary, first):
    """Far beyond the first radius, where the search widens again and again."""
    labels = np.zeros(700, int)
    labels[0] = 1
    found = distances(labels, boundary)[1:]
    np.testing.assert_allclose(found, -(np.arange(699) + first), rtol=1e-4)


@pytest.mark.parametrize("shape", [(80, 90), (64, 1, 70), (5, 12, 70)])
@pytest.mark.parametrize("last", [False, True])
def test_every_distance_from_a_corner(shape, last):
    corner = tuple(n - 1 if last else 0 for n in shape)
    labels = np.zeros(shape, int)
    labels[corner] = 1
    offsets = np.moveaxis(np.indices(shape), 0, -1) - corner
    wanted = -np.sqrt((offsets**2).sum(axis=-1))
    wanted[corner] = 1
    np.testing.assert_allclose(distances(labels, "symmetric"), wanted, rtol=1e-4)


@given(scene=scenes(ndim=(2, 3), ignore=("none",)), boundary=st.sampled_from(list(BOUNDARIES)))
def test_mirroring_and_turning_the_image_mirrors_and_turns_the_distances(scene, boundary):
    labels = (scene.labels == scene.classes[0]).astype(int)
    found = distances(labels, boundary)
    for axis in range(labels.ndim):
        mirrored = distances(np.flip(labels, axis), boundary)
        np.testing.assert_allclose(np.flip(mirrored, axis), found, rtol=1e-6)
    np.testing.assert_allclose(distances(labels.T, boundary).T, found, rtol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(37, 150), (20, 18, 70)])
def test_distances_in_a_large_image_equal_the_reference(shape, boundary):
    rng = np.random.default_rng(0)
    labels = (smooth_field(rng, shape, 3) < 0.3).astype(int)
    labels[smooth_field(rng, shape, 2) < 0.2] = IGNORED
    wanted = reference.signed_distance(
        labels == 1, labels != IGNORED, boundary, np.ones(labels.ndim)
    )
    found = distances(labels, boundary)
    np.testing.assert_allclose(found[labels != IGNORED], wanted[labels != IGNORED], rtol=1e-4)


@st.composite
def tilings(draw):
    """Label maps under superpixels of every size, from single pixels to the whole image."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(70,), (23, 31), (40, 7), (9, 12, 14), (3, 20, 5), (15, 1, 37)]))
    edges = [draw(st.sampled_from([1, 3, 8, 100])) for _ in shape]
    cells = [i // e for i, e in zip(np.indices(shape), edges, strict=True)]
    superpixels = np.ravel_multi_index(tuple(cells), [c.max() + 1 for c in cells])
    if draw(st.booleans()):
        superpixels = np.where(smooth_field(rng, shape, 1) < 0.3, 0, superpixels)  # of any form
    labels = np.minimum((smooth_field(rng, shape, 3) ** 2 * 4).astype(int), 3)
    labels[rng.random(shape) < draw(st.sampled_from([0.0, 0.0, 0.1, 0.6]))] = IGNORED
    spacing = draw(st.sampled_from([None, (0.7,) * 3, (2.0, 1.0, 1.0), (1.0, 0.9, 3.0)]))
    return labels, superpixels, spacing and spacing[: len(shape)]


@few
@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(case=tilings(), in_plane=st.booleans(), dtype=st.sampled_from([np.uint8, np.int64]))
def test_superpixels_of_every_size(boundary, case, in_plane, dtype):
    labels, superpixels, spacing = case
    axis = 0 if in_plane and labels.ndim > 1 else None
    found = softlabel.soften(
        labels.astype(dtype), superpixels, classes=range(4), ignore=IGNORED, boundary=boundary,
        spacing=spacing, in_plane=axis is not None, slice_axis=axis,
    ).dense()  # fmt: skip
    wanted = reference.soften(
        labels, superpixels, range(4), ignore=IGNORED, boundary=boundary, spacing=spacing,
        slice_axis=axis,
    )  # fmt: skip
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def values(labels, superpixels, **options):
    return softlabel.soften(labels, superpixels, ignore=IGNORED, **options).values


@few
@given(case=tilings(), boundary=st.sampled_from(list(BOUNDARIES)))
def test_no_setting_of_the_search_changes_a_value(case, boundary):
    """The first box, the size of parts, what is measured together: bit for bit."""
    labels, superpixels, spacing = case
    usual = values(labels, superpixels, boundary=boundary, spacing=spacing)
    for module, name, value in (
        (measure, "FIRST_PAD", 0), (measure, "FIRST_PAD", 9), (groups, "CHUNK_VALUES", 1),
        (groups, "SCATTERED", 0), (groups, "TILE", 1), (groups, "DENSE", 1e-9),
    ):  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, value)
            found = values(labels, superpixels, boundary=boundary, spacing=spacing)
        np.testing.assert_array_equal(found, usual)


@few
@given(case=tilings(), boundary=st.sampled_from(list(BOUNDARIES)))
def test_every_type_of_numbers_gives_the_same_values(case, boundary):
    labels, superpixels, spacing = case
    usual = values(labels, superpixels, boundary=boundary, spacing=spacing)
    for first in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            larger = partial(number_types_from, first)
            patch.setattr(number_types, "number_types", larger)
            found = values(labels, superpixels, boundary=boundary, spacing=spacing)
        np.testing.assert_array_equal(found, usual)


ALL_TYPES = number_types.number_types


def number_types_from(first, metric):
    """Without the smallest types, when there are several."""
    types = ALL_TYPES(metric)
    return types[first:] or types


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.7, 1.0), (1.0, 1.0, 200.0)])
def test_kernels_are_right_as_plain_python(boundary, spacing, interpreted):
    """In every type of numbers: no index may leave its array."""
    rng = np.random.default_rng(1)
    labels = (smooth_field(rng, (3, 4, 9), 1) < 0.3).astype(int)
    labels[rng.random(labels.shape) < 0.2] = IGNORED
    superpixels = np.indices(labels.shape)[2] // 4
    assert "softlabel.distance.transform._lower" in interpreted
    chosen = {"ignore": IGNORED, "boundary": boundary, "spacing": spacing}
    found = softlabel.soften(labels, superpixels, **chosen).dense()
    wanted = reference.soften(labels, superpixels, (0, 1), **chosen)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_distances_of_far_pixels_take_little_memory():
    """One superpixel over 7 200 voxels, 83 voxels across: memory follows the voxels and not the
    cube of the distance."""
    labels = np.zeros((2, 60, 60), np.uint8)
    labels[0, 0, 0] = 1
    superpixels = np.zeros(labels.shape, np.int32)
    softlabel.soften(
        labels, superpixels, spacing=(1.0, 1.0, 1.02)
    )  # compiled before it is measured
    tracemalloc.start()
    softlabel.soften(labels, superpixels, spacing=(1.0, 1.0, 1.01))  # nothing is prepared for it
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20
