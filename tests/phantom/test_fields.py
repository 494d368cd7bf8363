"""Smooth noise of a known autocorrelation."""

import numpy as np
import pytest

from softlabel.phantom.fields import SmoothField, smooth_noise


@pytest.mark.parametrize("sigma", [2.0, 7.5, 20.0])
def test_smooth_noise_has_the_documented_autocorrelation(sigma):
    field = smooth_noise((400, 2000), (0, sigma), np.random.default_rng(0))
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=0.02)
    assert field.var() == pytest.approx(1, abs=0.03)
    for lag in (1, round(sigma), round(2 * sigma), round(4 * sigma)):
        product = np.mean(field[:, lag:] * field[:, :-lag])
        assert product == pytest.approx(np.exp(-(lag**2) / (4 * sigma**2)), abs=0.03)


def test_smooth_noise_has_the_same_variance_at_the_ends():
    field = smooth_noise((20000, 50), (0, 10), np.random.default_rng(1))
    assert field.std(axis=0) == pytest.approx(np.ones(50), abs=0.03)


def test_an_axis_without_sigma_is_independent():
    field = smooth_noise((3000, 200), (0, 5), np.random.default_rng(2))
    assert np.mean(field[1:] * field[:-1]) == pytest.approx(0, abs=0.02)


def test_a_field_in_mm_has_the_same_autocorrelation_on_any_grid():
    field = SmoothField(8.0, ((0, 900), (0, 900)), np.random.default_rng(3))
    for step in (2.0, 5.0):
        axis = np.arange(0, 900, step)
        values = field.at(axis, axis)
        assert values.dtype == np.float32
        assert values.mean() == pytest.approx(0, abs=0.05)
        assert values.var() == pytest.approx(1, abs=0.05)
        for lag in (1, 3):
            product = np.mean(values[lag:] * values[:-lag])
            expected = np.exp(-((lag * step) ** 2) / (4 * 8.0**2))
            assert product == pytest.approx(expected, abs=0.05)


def test_a_field_in_mm_is_the_same_on_parts_of_a_grid_and_goes_on_beyond_its_extent():
    field = SmoothField(8.0, ((-50, 50), (-50, 50), (-50, 50)), np.random.default_rng(4))
    x, y, z = np.arange(-50, 51, 3.0), np.arange(-50, 51, 4.0), np.arange(-50, 51, 5.0)
    whole = field.at(x, y, z)
    np.testing.assert_array_equal(field.at(x[3:9], y, z[5:6]), whole[3:9, :, 5:6])
    beyond = field.at(np.array([-80.0, -50.0]), y, z)
    np.testing.assert_array_equal(beyond[0], beyond[1])
