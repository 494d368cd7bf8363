"""Local means and noise in ways that the method's own test does not reach."""

from __future__ import annotations

import numpy as np

from softlabel.softening.appearance import LEAST_NOISE, looks_of, smoothed


def volume(values):
    return np.asarray(values, float).reshape(1, 1, 1, -1)


def test_classes_in_a_whole_image():
    index = np.array([0, 0, 1, 1, 255], np.uint8).reshape(1, 1, -1)
    usable = index != 255
    looks = looks_of(index, 3, volume([1, 3, 10, 12, 1e9]), usable)
    assert looks.centre.tolist() == [6.5]
    np.testing.assert_allclose(looks.mean[:, 0] + [6.5, 6.5, 0], [2, 11, 0])
    np.testing.assert_allclose(looks.noise, [1.0])  # every value is 1 off its class's mean
    np.testing.assert_allclose(looks.least, [LEAST_NOISE * np.var([1, 3, 10, 12])])


def test_large_offsets_leave_the_noise_alone():
    index = np.zeros((1, 1, 4), np.uint8)
    looks = looks_of(index, 1, volume(np.array([1, -1, 1, -1]) + 1e9), index == 0)
    np.testing.assert_allclose(looks.noise, [1.0], rtol=1e-6)


def test_an_image_without_usable_pixels_has_no_looks_and_no_nan():
    index = np.full((1, 1, 4), 255, np.uint8)
    looks = looks_of(index, 2, volume([1, 2, 3, 4]), index != 255)
    assert not looks.mean.any() and not looks.noise.any() and looks.least.tolist() == [1.0]
    found = smoothed(volume([1, 2, 3, 4]), index != 255, (0, 0, 1))
    assert not found.any()


def test_smoothing_leaves_a_constant_and_does_not_see_what_is_not_usable():
    usable = np.array([1, 1, 0, 1, 1, 1], bool).reshape(1, 1, -1)
    image = volume([5, 5, 1e6, 5, 5, 5])
    found = smoothed(image, usable, (0, 0, 1.0)) + 5
    np.testing.assert_allclose(found[0][usable], 5, atol=1e-6)
    assert smoothed(image, usable, (0, 0, 0)) is image
