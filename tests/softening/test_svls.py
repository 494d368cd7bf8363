"""SVLS against the published window, written out, and convolved densely."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scenes import scenes
from scipy import ndimage

import softlabel


def published_window(ndim):
    """As the paper and its code make it: the centre becomes the sum of all others."""
    at = np.indices((3,) * ndim) - 1
    gaussian = np.exp(-(at**2).sum(axis=0) / 2)
    gaussian /= gaussian.sum()
    centre = (1,) * ndim
    others = 1 - gaussian[centre]
    gaussian[centre] = others
    return gaussian / others


def soften(scene, **options):
    return softlabel.soften(
        scene.labels, method="svls", classes=scene.classes, ignore=scene.ignore, **options
    )


def expected(scene):
    window, known = published_window(scene.labels.ndim), scene.labels != scene.ignore
    weight = ndimage.convolve(known.astype(float), window, mode="nearest")
    q = np.zeros((len(scene.classes), *scene.labels.shape))
    for k, value in enumerate(scene.classes):
        one = ((scene.labels == value) & known).astype(float)
        q[k][known] = ndimage.convolve(one, window, mode="nearest")[known] / weight[known]
    return q


@given(scene=scenes())
def test_equals_the_published_window(scene):
    np.testing.assert_allclose(soften(scene).dense(), expected(scene), atol=1e-6)


@given(scene=scenes())
def test_sums_to_one_and_keeps_the_annotated_class_on_top(scene):
    maps = soften(scene)
    dense, known = maps.dense(), maps.known
    np.testing.assert_allclose(dense.sum(axis=0), known, atol=1e-6)
    hard = np.array([scene.labels == value for value in scene.classes]) & known
    assert (
        dense.max(axis=0)[known] <= dense.max(axis=0, where=hard, initial=0)[known] + 1e-6
    ).all()


def test_weights_of_two_dimensions():
    """One pixel: its neighbours have the weights of the window, divided by its sum, 2."""
    labels = np.zeros((5, 5), int)
    labels[2, 2] = 1
    side, corner = 0.0778076, 0.0471925
    wanted = np.zeros((5, 5))
    wanted[1:4, 1:4] = [[corner, side, corner], [side, 0.5, side], [corner, side, corner]]
    found = softlabel.soften(labels, method="svls").dense()[1]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(("ndim", "own"), [(1, 0.75), (2, 0.828), (3, 0.849)])
def test_a_flat_boundary(ndim, own):
    labels = np.zeros((8, *(5,) * (ndim - 1)), int)
    labels[4:] = 1
    q = softlabel.soften(labels, method="svls").dense()[1]
    np.testing.assert_allclose(q[4], own, atol=5e-4)
    np.testing.assert_allclose(q[3], 1 - own, atol=5e-4)
    assert (q[:3] == 0).all() and (q[5:] == 1).all()


def test_an_isolated_pixel_of_three_dimensions_is_one_half():
    labels = np.zeros((5, 5, 5), int)
    labels[2, 2, 2] = 1
    assert softlabel.soften(labels, method="svls").dense()[1].max() == 0.5


def test_has_no_options():
    with pytest.raises(ValueError, match="The method svls has no option 'blur'; it has none"):
        softlabel.soften(np.array([0, 1]), method="svls", blur=2.0)
