"""What any image file delivers: real numbers, spatial axes, channels first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers.pixels import Pixels, numbers, require_finite

from .factories import volume

PATH = Path("a.npy")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channels_come_first_and_the_rest_is_spatial(axis):
    channels = volume((3, 4, 5))
    pixels = Pixels(np.moveaxis(channels, 0, axis), channel_axis=axis)
    assert pixels.spatial_shape == (4, 5)
    np.testing.assert_array_equal(pixels.channels_first(), channels)
    assert pixels.channels_first().flags.c_contiguous


def test_without_channels_there_is_one():
    pixels = Pixels(volume((4, 5)).T)
    assert pixels.spatial_shape == (5, 4)
    np.testing.assert_array_equal(pixels.channels_first(), volume((4, 5)).T[np.newaxis])


@pytest.mark.parametrize("dtype", [">i2", "<f8", "u1", "f2"])
def test_numbers_keep_their_values_in_native_order(dtype):
    values = volume(dtype=dtype)
    found = numbers(values, PATH)
    np.testing.assert_array_equal(found, values)
    assert found.dtype.isnative and found.dtype.kind == values.dtype.kind


def test_truth_values_become_numbers():
    found = numbers(np.array([True, False]), PATH)
    assert found.dtype == np.uint8 and found.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [complex, "U3", "S3", object, np.longdouble, [("a", "i4")]])
def test_what_is_no_number_is_refused(dtype):
    with pytest.raises(CaseError, match=r"^a\.npy: the mask is of type .*at most 64 bits"):
        numbers(np.zeros(2, dtype), PATH, "the mask")


def test_nan_and_infinite_intensities_are_counted():
    require_finite(np.array([1, 2]), PATH)
    require_finite(np.array([1.0, 2.0]), PATH)
    with pytest.raises(CaseError, match=r"3 intensities .*\(1 NaN, 2 infinite\) among 4"):
        require_finite(np.array([1.0, np.nan, np.inf, -np.inf]), PATH)
