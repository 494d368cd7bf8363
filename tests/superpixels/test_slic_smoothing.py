"""Smoothing is SciPy's, bit for bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from softlabel.superpixels.slic_smoothing import gaussian


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 40)),
    st.tuples(*[st.sampled_from((0.0, 0.1, 0.4, 1.0, 2.7, 9.0))] * 3),
    st.integers(0, 99),
)
def test_smoothing_is_that_of_scipy(shape, sigma, seed):
    image = (np.random.default_rng(seed).gamma(1.0, 1.0, shape) ** 2).astype(np.float32)
    sigma = np.array(sigma, np.float32)
    expected = [ndimage.gaussian_filter(channel, sigma, mode="reflect") for channel in image]
    np.testing.assert_array_equal(gaussian(image, sigma), expected)
