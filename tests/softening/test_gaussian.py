"""The Gaussian blur against scipy.ndimage.gaussian_filter of the dense one-hot maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes
from scipy import ndimage

import softlabel

blurs = st.sampled_from([0.4, 1.0, 2.5])


def soften(scene, blur):
    return softlabel.soften(
        scene.labels, method="gaussian", classes=scene.classes, spacing=scene.spacing,
        ignore=scene.ignore, blur=blur,
    )  # fmt: skip


def expected(scene, blur):
    """Blur of y over blur of known, on whole arrays (the plain blur when all pixels are known)."""
    step = (1.0,) * scene.labels.ndim if scene.spacing is None else scene.spacing
    sigma = [blur / s for s in step]
    known = np.ones(scene.labels.shape, bool)
    if scene.ignore is not None:
        known = scene.labels != scene.ignore
    weight = ndimage.gaussian_filter(known.astype(float), sigma, mode="nearest")
    q = np.zeros((len(scene.classes), *known.shape))
    for k, value in enumerate(scene.classes):
        one = ((scene.labels == value) & known).astype(float)
        blurred = ndimage.gaussian_filter(one, sigma, mode="nearest")
        q[k][known] = (blurred / np.where(known, weight, 1))[known]
    return q


@given(scene=scenes(), blur=blurs)
def test_equals_scipy(scene, blur):
    np.testing.assert_allclose(soften(scene, blur).dense(), expected(scene, blur), atol=1e-6)


@given(scene=scenes(), blur=blurs)
def test_sums_to_one_where_known(scene, blur):
    maps = soften(scene, blur)
    np.testing.assert_allclose(maps.dense().sum(axis=0), maps.known, atol=1e-5)


@pytest.mark.parametrize("shape", [(600,), (70, 90), (26, 30, 28)])
def test_classes_far_apart_and_across_tiles(shape):
    """Each class is blurred in its own box; larger than a tile of the block grid."""
    labels = np.zeros(shape, int)
    labels[(shape[0] // 2,) + (slice(3, None),) * (len(shape) - 1)] = 1
    labels[(-1,) * len(shape)] = 2
    maps = softlabel.soften(labels, method="gaussian", classes=(0, 1, 2, 3))
    for k in range(4):
        wanted = ndimage.gaussian_filter((labels == k).astype(float), 1, mode="nearest")
        np.testing.assert_allclose(maps.dense()[k], wanted, atol=1e-6)


def test_worked_example():
    """A step blurred with σ = 1: the normal distribution, sampled at whole pixels."""
    q = softlabel.soften(np.repeat([0, 1], 20), method="gaussian").dense()[1]
    kernel = np.exp(-(np.arange(-4, 5) ** 2) / 2)
    kernel /= kernel.sum()
    assert q[19] == pytest.approx(kernel[:4].sum(), abs=1e-6)
    assert q[20] == pytest.approx(kernel[:5].sum(), abs=1e-6)


def test_thin_structures_fall_below_one_half():
    labels = np.zeros(9, int)
    labels[4] = 1
    assert softlabel.soften(labels, method="gaussian").dense()[1].max() < 0.5


def test_blur_is_in_the_unit_of_the_spacing():
    labels = np.repeat([0, 1], 20)
    millimetres = softlabel.soften(labels, method="gaussian", spacing=(0.5,), blur=1.0).dense()
    pixels = softlabel.soften(labels, method="gaussian", blur=2.0).dense()
    np.testing.assert_array_equal(millimetres, pixels)


@pytest.mark.parametrize("blur", [0.0, -1.0, float("inf"), float("nan")])
def test_blur_must_be_positive(blur):
    with pytest.raises(ValueError, match="blur must be a positive number; got"):
        softlabel.soften(np.array([0, 1]), method="gaussian", blur=blur)
