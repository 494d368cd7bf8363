"""Several raters: the mean of their soft maps, and the majority of their labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import class_indices, scenes, smooth_field

import softlabel
from softlabel.softening.raters import majority


def soften(scene, labels, **kwargs):
    return softlabel.soften(
        labels, scene.superpixels, classes=scene.classes, spacing=scene.spacing,
        ignore=scene.ignore, **kwargs,
    )  # fmt: skip


@st.composite
def rated_scenes(draw):
    """A scene, and label maps of raters that differ from it in a part of the image."""
    scene = draw(scenes())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raters = [scene.labels]
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["smooth", "noise"]))
        index = class_indices(rng, kind, scene.labels.shape, len(scene.classes))
        differs = smooth_field(rng, scene.labels.shape, 2) < 0.5
        other = np.where(differs, np.array(scene.classes)[index], scene.labels)
        raters.append(other.astype(np.int64))
    return scene, np.stack(raters)


methods = st.sampled_from([{}, {"boundary": "edge"}, {"method": "gaussian"}])


@given(rated=rated_scenes(), method=methods)
def test_mean_of_the_raters_that_know_the_pixel(rated, method):
    scene, raters = rated
    maps = soften(scene, raters, rater_axis=0, **method)
    single = np.stack([soften(scene, labels, **method).dense(np.float64) for labels in raters])
    known = np.ones(raters.shape, bool) if scene.ignore is None else raters != scene.ignore
    wanted = single.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    np.testing.assert_allclose(maps.dense(), wanted, atol=1e-6)
    np.testing.assert_array_equal(maps.known, known.any(axis=0))


@given(rated=rated_scenes(), data=st.data())
def test_raters_may_lie_along_any_axis(rated, data):
    scene, raters = rated
    axis = data.draw(st.integers(-raters.ndim, raters.ndim - 1))
    first = soften(scene, raters, rater_axis=0).dense()
    other = soften(scene, np.moveaxis(raters, 0, axis), rater_axis=axis).dense()
    np.testing.assert_array_equal(other, first)


@given(rated=rated_scenes())
def test_one_rater_is_the_label_map(rated):
    scene, raters = rated
    alone = soften(scene, raters[:1], rater_axis=0)
    np.testing.assert_array_equal(alone.dense(), soften(scene, raters[0]).dense())


def test_worked_example():
    """Two raters who differ by a pixel, no superpixel is mixed for either: ½ where they differ."""
    raters = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    maps = softlabel.soften(raters, np.arange(5), rater_axis=0)
    assert maps.dense()[1].tolist() == [1, 1, 0.5, 0, 0]
    assert maps.band.tolist() == [False, False, True, False, False]
    assert maps.total() == 5


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        ([0, 1, 1], 1),
        ([0, 1, 2], 0),  # all equal: the earliest
        ([2, 1, 0], 2),
        ([2, 1, 1, 2], 2),
        ([1, 2, 2, 1], 1),
        ([0, 2, 2, 1, 1], 2),
        ([255, 1, 2], 1),  # ignored counts for nothing
        ([255, 255, 2], 2),
        ([255, 255, 255], 255),
        ([3], 3),
    ],
)
def test_majority(votes, winner):
    found = majority([np.full((2, 3), vote, np.uint8) for vote in votes])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.full((2, 3), winner))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_majority_pixel_by_pixel(seed, n_raters):
    votes = np.random.default_rng(seed).choice([0, 1, 2, 255], (n_raters, 40)).astype(np.uint8)
    before = votes.copy()
    found = majority(list(votes))
    np.testing.assert_array_equal(votes, before)
    for column, winner in zip(votes.T.tolist(), found.tolist(), strict=True):
        known = [v for v in column if v != 255]
        # max() returns the first of equals, here in the order of the raters
        assert winner == (max(known, key=known.count) if known else 255)
