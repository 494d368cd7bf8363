"""Standard deviations from the mean of the mask, and the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.preprocess import (
    STEPS,
    NormaliseOptions,
    Record,
    foreground_percentiles,
    normalise_image,
)

from .brains import volume

STEP = STEPS["normalise"]


@given(st.integers(0, 99), st.sampled_from([np.uint8, np.int16, np.float32, np.float64]))
def test_mean_and_deviation_inside_of_the_mask(seed, dtype):
    rng = np.random.default_rng(seed)
    case = volume(seed=seed, image=(rng.gamma(3, 20, (2, 9, 7, 5))).astype(dtype))
    done, record = STEP.apply(case, NormaliseOptions())
    assert done.image.dtype == np.float32
    for channel, before in zip(done.image, case.image, strict=True):
        inside = channel[case.mask].astype(np.float64)
        assert abs(inside.mean()) < 1e-5 and abs(inside.std() - 1) < 1e-5
        assert np.corrcoef(inside, before[case.mask])[0, 1] > 1 - 1e-6
    assert not done.image[:, ~case.mask].any()
    back = STEP.restore(Record.from_json(json.loads(json.dumps(record.as_json()))), done.image,
                        "image")  # fmt: skip
    np.testing.assert_allclose(back[:, case.mask], case.image[:, case.mask], rtol=1e-5, atol=1e-4)
    assert not back[:, ~case.mask].any()


def test_what_was_stripped_comes_back_and_the_mean_is_not_taken_for_it():
    image = np.array([[-1000, -1000, 10, 20, 30], [0, 0, 5, 5, 8]], np.int16)[:, None]
    mask = np.array([[False, False, True, True, True]])
    case = volume((1, 5), image=image, mask=mask)
    done, record = STEP.apply(case, NormaliseOptions())
    assert (done.image[:, 0, :2] == 0).all() and (done.image[:, mask] != 0).all()
    np.testing.assert_allclose(STEP.restore(record, done.image, "image"), image, atol=1e-4)


def test_outside_may_be_scaled_as_the_inside_and_comes_back():
    case = volume()
    done, record = STEP.apply(case, NormaliseOptions(zero_outside=False))
    back = STEP.restore(record, done.image, "image")
    np.testing.assert_allclose(back, case.image, rtol=1e-5, atol=1e-3)
    assert STEP.restore(record, case.truth, "labels") is case.truth
    assert STEP.restore(record, case.soft, "soft") is case.soft


def test_a_window_clips_first_for_all_channels_or_each():
    image = np.array([[-1000.0, 0, 40, 80, 3000], [1, 2, 3, 4, 5]])
    done = normalise_image(image[:1], window=np.array([0, 80]))
    expected = np.array([0, 0, 40, 80, 80.0])
    np.testing.assert_allclose(done.mean, expected.mean())
    np.testing.assert_allclose(done.sd, expected.std())
    np.testing.assert_allclose(done.image[0], (expected - expected.mean()) / expected.std(), 1e-6)
    each = normalise_image(image, window=np.array([[0, 80], [2, 4]]))
    np.testing.assert_allclose(each.mean, [40, 3])
    case = volume((1, 5), image=image[:, None], mask=None, channels=("CT", "PET"))
    step, record = STEP.apply(case, NormaliseOptions((0, 80, 2, 4)))
    np.testing.assert_array_equal(step.image[:, 0], each.image)
    back = STEP.restore(record, step.image, "image")[:, 0]
    np.testing.assert_allclose(back, [[0, 0, 40, 80, 80], [2, 2, 3, 4, 4]], atol=1e-4)


def test_percentiles_are_those_of_the_data_set_with_every_case_alike():
    rng = np.random.default_rng(0)
    images = [rng.normal(100 * k, 5, (2, 10, 10 * (k + 1))) for k in range(3)]
    masks = [rng.random(image.shape[1:]) < 0.8 for image in images]
    found = foreground_percentiles(images, masks, (0, 100))
    values = [image[:, mask] for image, mask in zip(images, masks, strict=True)]
    every = np.concatenate(values, axis=1)
    np.testing.assert_allclose(found, np.stack([every.min(axis=1), every.max(axis=1)], axis=1))
    middle = foreground_percentiles(images, masks, (1 / 3 * 100, 2 / 3 * 100), per_case=5000)
    assert (middle[:, 0] > 10).all() and (middle[:, 1] < 190).all()  # between the three means
    with pytest.raises(ValueError, match=r"the mask of image 1 \(from 0\) is empty"):
        foreground_percentiles(images[:2], [masks[0], np.zeros_like(masks[1])])
    with pytest.raises(ValueError, match="no image was given"):
        foreground_percentiles([], [])


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"mask": np.zeros((9, 7, 5), bool)}, {}, "the mask is empty, so there is nothing"),
        ({"mask": np.ones((9, 7, 4), bool)}, {}, r"the mask has the shape \(9, 7, 4\)"),
        ({"image": np.full((2, 9, 7, 5), 7)}, {}, r"channel 0 \(T1\) is 7 everywhere inside"),
        ({"image": np.full((2, 9, 7, 5), np.inf)}, {}, r"channel 0 \(T1\) has 315 voxels"),
        ({}, {"window": (-20, -10)}, r"channel 0 \(T1\) is -10 everywhere"),
        ({}, {"window": (1, 2, 3, 4, 5, 6)}, "limits for 3 channels and the image has 2"),
    ],
)
def test_bad_input(changes, options, message):
    with pytest.raises(ValueError, match=message):
        STEP.apply(volume(**changes), NormaliseOptions(**options))


def test_bad_arrays():
    with pytest.raises(ValueError, match=r"the mask has the shape \(3,\) and the image \(4,\)"):
        normalise_image(np.ones((1, 4)), np.ones(3, bool))
    _, record = STEP.apply(volume(), NormaliseOptions())
    with pytest.raises(ValueError, match="an image of 2 channels was normalised; got 3"):
        STEP.restore(record, np.zeros((3, 9, 7, 5)), "image")


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (1,), (0, np.nan), (0, 1, 2)])
def test_windows_that_cannot_be(window):
    with pytest.raises(ValueError, match="window must be LOW HIGH with LOW below HIGH"):
        NormaliseOptions(window)
