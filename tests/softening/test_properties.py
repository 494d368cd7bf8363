"""What every method without superpixels promises, whatever its formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes
from scipy import ndimage

import softlabel
from softlabel.softening import METHODS
from softlabel.types import ClassTable

REACH = {"gaussian": 4, "distance": 9, "smoothing": 0, "svls": 1, "dilation": 3, "hard": 0}
"""Pixels around a pixel that its soft labels depend on."""

METHODS_ALONE = sorted(
    name for name, method in METHODS.items()
    if not (method.needs_superpixels or method.takes_soft_labels or method.needs_image)
    and name != "surface-cdf"  # which takes layers only
)  # fmt: skip

SUMS_TO_ONE = {"gaussian", "smoothing", "svls", "hard"}
KEEPS_THE_ARGMAX = {"smoothing", "svls", "hard", "distance"}

methods = st.sampled_from(METHODS_ALONE)


def soften(scene, method, **options):
    return softlabel.soften(
        scene.labels, method=method, classes=scene.classes, ignore=scene.ignore, **options
    )


def test_every_method_is_here():
    assert set(METHODS_ALONE) == set(REACH)


@given(scene=scenes(), method=methods)
def test_range_sum_and_ignored_pixels(scene, method):
    maps = soften(scene, method)
    dense, known = maps.dense(), scene.labels != scene.ignore
    assert dense.min() >= 0 and dense.max() <= 1
    assert not dense[:, ~known].any()
    if method in SUMS_TO_ONE:
        np.testing.assert_allclose(dense.sum(axis=0), known, atol=1e-5)


@given(scene=scenes(), method=st.sampled_from(sorted(KEEPS_THE_ARGMAX)))
def test_the_annotated_class_stays_on_top(scene, method):
    maps = soften(scene, method)
    dense, known = maps.dense(), maps.known
    own = np.take_along_axis(dense, np.where(known, maps.index, 0)[None].astype(int), axis=0)[0]
    assert (own[known] >= dense.max(axis=0)[known] - 1e-6).all()


@given(scene=scenes(), method=methods, data=st.data())
def test_flips_and_transposes(scene, method, data):
    """Of the turned image the same soft labels, turned."""
    axes = data.draw(st.permutations(range(scene.labels.ndim)))
    flipped = data.draw(st.sets(st.sampled_from(range(scene.labels.ndim))))
    turned = np.flip(scene.labels.transpose(axes), tuple(flipped))
    found = soften(replace(scene, labels=turned), method).dense()
    plain = soften(scene, method).dense()
    plain = plain.transpose(0, *(1 + a for a in axes))
    np.testing.assert_allclose(found, np.flip(plain, tuple(1 + a for a in flipped)), atol=1e-6)


@given(scene=scenes(), method=methods, data=st.data())
def test_other_numbers_for_the_same_classes(scene, method, data):
    """The order of the classes does not matter, except which one is first for ``dilation``."""
    first = 1 if method == "dilation" else 0
    n = len(scene.classes)
    order = [*range(first), *data.draw(st.permutations(range(first, n)))]
    known = scene.labels != scene.ignore
    lookup = dict(zip(scene.classes, (1000 + place for place in order), strict=True))
    labels = np.array([lookup.get(v, 5) for v in scene.labels.ravel().tolist()])
    labels = np.where(known, labels.reshape(scene.labels.shape), 5)
    table = ClassTable.from_values(range(1000, 1000 + n))
    found = softlabel.soften(labels, method=method, classes=table, ignore=5).dense()
    np.testing.assert_allclose(found[order], soften(scene, method).dense(), atol=1e-6)


@given(scene=scenes(labels=("smooth", "points", "single")), method=methods)
def test_far_from_every_boundary_nothing_changes(scene, method):
    maps = soften(scene, method)
    window = [2 * REACH[method] + 1] * scene.labels.ndim
    alike = ndimage.minimum_filter(maps.index, window, mode="nearest") == ndimage.maximum_filter(
        maps.index, window, mode="nearest"
    )
    assert not maps.band[alike].any()


@pytest.mark.parametrize("method", METHODS_ALONE)
@pytest.mark.parametrize("shape", [(3000,), (300, 280), (60, 70, 65)])
def test_storage_follows_the_boundary_and_not_the_image(method, shape):
    """A cube in a corner: only its surroundings are stored, for two classes of a hundred."""
    labels = np.zeros(shape, np.uint8)
    labels[(slice(0, 10),) * len(shape)] = 7
    maps = softlabel.soften(labels, method=method, classes=range(100))
    around = 24 if len(shape) == 3 else 64 if len(shape) == 2 else 256
    assert len(maps.regions.pixels) <= around ** len(shape)
    assert set(maps.block_class.tolist()) <= {0, 7}
