"""Label smoothing: two values, at any size of image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes

import softlabel


def soften(scene, **options):
    return softlabel.soften(
        scene.labels, method="smoothing", classes=scene.classes, ignore=scene.ignore, **options
    )


@given(scene=scenes(), epsilon=st.sampled_from([0.0, 0.1, 0.5, 0.99]))
def test_the_formula(scene, epsilon):
    known, n = scene.labels != scene.ignore, len(scene.classes)
    wanted = [((1 - epsilon) * (scene.labels == c) + epsilon / n) * known for c in scene.classes]
    for normalize in ("none", "sum"):
        maps = soften(scene, epsilon=epsilon, normalize=normalize)
        np.testing.assert_allclose(maps.dense(), wanted, atol=1e-6)
        assert maps.total() == pytest.approx(known.sum(), rel=1e-6)
        assert maps.values.size == 0


def test_worked_example():
    """Of four classes, one absent: 0.9 + 0.1 / 4 and 0.1 / 4; nothing where it is ignored."""
    maps = softlabel.soften(
        np.array([0, 1, 5, 255]), method="smoothing", classes=(0, 1, 5, 7), ignore=255
    )
    wanted = np.full((4, 4), 0.025)
    wanted[[0, 1, 2], [0, 1, 2]] = 0.925
    wanted[:, 3] = 0
    np.testing.assert_allclose(maps.dense(), wanted, atol=1e-7)


def test_raters_who_disagree():
    labels = np.array([[0, 1, 9], [0, 0, 1]])
    maps = softlabel.soften(labels, method="smoothing", rater_axis=0, ignore=9)
    np.testing.assert_allclose(maps.dense()[1], [0.05, 0.5, 0.95], atol=1e-7)
    assert maps.band.tolist() == [False, True, False]


def test_the_ignored_label_is_no_class():
    with pytest.raises(ValueError, match="ignored label 9 is one of them; leave it out"):
        softlabel.soften(np.array([0, 9]), method="smoothing", classes=(0, 1, 9), ignore=9)


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, float("nan")])
def test_epsilon_out_of_range(epsilon):
    with pytest.raises(ValueError, match=r"epsilon must lie in 0\.\.1, below 1; got"):
        softlabel.soften(np.array([0, 1]), method="smoothing", epsilon=epsilon)
