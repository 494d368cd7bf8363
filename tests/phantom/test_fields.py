"""Smooth noise of a known autocorrelation."""

import numpy as np
import pytest

from softlabel.phantom.fields import smooth_noise


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
