"""Filled pixels continue what lies around them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from softlabel.preprocess import fill_background
from softlabel.preprocess.background import as_dtype


@given(
    hnp.arrays(np.uint8, (9, 8)), hnp.arrays(np.bool_, (9, 8)).filter(lambda m: not m.all())
)  # fmt: skip
def test_only_missing_pixels_change_and_stay_within_the_others(image, missing):
    filled = fill_background(image, missing)
    assert filled.dtype == image.dtype
    np.testing.assert_array_equal(filled[~missing], image[~missing])
    assert image[~missing].min() <= filled.min() and filled.max() <= image[~missing].max()
    other = np.where(missing, 255 - image, image)
    np.testing.assert_array_equal(fill_background(other, missing), filled)


def test_a_filled_wedge_has_no_edge():
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(60, 5, (120, 100)), 0, 254).astype(np.uint8)
    missing = np.tri(120, 100, -60, dtype=bool)
    filled = fill_background(np.where(missing, np.uint8(255), image), missing)
    assert abs(filled[missing].mean() - 60) < 2
    steps = np.abs(ndimage.gaussian_filter(filled.astype(float), 2, order=(1, 0)))
    assert steps.max() < 3 < np.abs(ndimage.gaussian_filter(255.0 * missing, 2, order=(1, 0))).max()


def test_nothing_missing_and_everything_missing():
    image = np.ones((3, 4), np.uint8)
    assert fill_background(image, np.zeros((3, 4), bool)) is image
    with pytest.raises(ValueError, match="no pixel of the image is left"):
        fill_background(image, np.ones((3, 4), bool))


@given(st.floats(-1e6, 1e6), st.sampled_from(["uint8", "int16", "float32"]))
def test_numbers_in_other_types(value, name):
    dtype = np.dtype(name)
    got = as_dtype(np.array([value]), dtype)[0]
    if dtype.kind == "f":
        assert got == dtype.type(value)
    else:
        assert got == min(max(round(value), np.iinfo(dtype).min), np.iinfo(dtype).max)
