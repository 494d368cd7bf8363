"""Wedges of a case: filled, masked, and put back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from softlabel.preprocess import STEPS, Record, WedgeOptions
from softlabel.preprocess.wedges import from_runs, runs_of
from softlabel.readers.duke import wedge_mask

from .cases import case_of, layered

STEP = STEPS["wedges"]


def scans_with_wedges(bscans):
    return [b for b in bscans if np.count_nonzero(b.image == 255) > 500]


def test_filled_wedges_look_like_the_ground_and_are_masked(bscans):
    with_wedges = scans_with_wedges(bscans)
    assert len(with_wedges) >= 4
    for bscan in with_wedges:
        case = case_of(bscan)
        done, record = STEP.apply(case, WedgeOptions())
        wedge = bscan.image == 255  # a phantom shows 255 nowhere else
        assert np.count_nonzero(done.mask == wedge) < 50  # its few small ones stay
        found = ~done.mask
        assert record.settings["pixels"] == np.count_nonzero(found)
        assert done.image[0][found].max() < 140 and done.image.dtype == np.uint8
        np.testing.assert_array_equal(done.image[0][~found], bscan.image[~found])
        assert done.labels is case.labels and done.truth is case.truth
        # never inside the retina: what a wedge covers there, registration had moved out
        inside = (bscan.labels > 0) & (bscan.labels != 8) & (bscan.image < 255)
        assert not (found & inside).any()
        np.testing.assert_array_equal(STEP.restore(record, done.image, "image"), case.image)


def test_the_mask_is_that_of_the_reader(bscans):
    for bscan in scans_with_wedges(bscans):
        done, _ = STEP.apply(case_of(bscan), WedgeOptions("mask"))
        np.testing.assert_array_equal(done.mask, wedge_mask(bscan.image))
        np.testing.assert_array_equal(done.image[0], bscan.image)


def test_masks_join_and_nothing_happens_without_wedges():
    case = layered()
    same, record = STEP.apply(case, WedgeOptions())
    assert same is case and record.settings["pixels"] == 0
    image = case.image.copy()
    image[0, :5] = 255
    done, record = STEP.apply(layered(image=image), WedgeOptions())
    assert not done.mask[:5].any()
    np.testing.assert_array_equal(done.mask[5:], case.mask[5:])
    again = Record.from_json(record.as_json())
    np.testing.assert_array_equal(STEP.restore(again, done.image, "image"), image)
    assert STEP.restore(again, done.labels, "labels") is done.labels


def test_a_wedge_is_saturated_in_every_channel():
    image = np.random.default_rng(0).integers(0, 200, (2, 60, 40)).astype(np.uint8)
    image[0, :6] = image[1, :4] = 255
    done, record = STEP.apply(layered(image=image, mask=None), WedgeOptions())
    np.testing.assert_array_equal(done.mask, np.arange(60)[:, None] >= np.full(40, 4))
    np.testing.assert_array_equal(STEP.restore(record, done.image, "image"), image)
    with pytest.raises(ValueError, match="image of 2 channels was preprocessed; got one of 3"):
        STEP.restore(record, np.zeros((3, 60, 40), np.uint8), "image")


def test_a_white_image_is_refused():
    with pytest.raises(ValueError, match="no pixel of the image is left"):
        STEP.apply(layered(image=np.full((1, 60, 40), 255, np.uint8)), WedgeOptions())


def test_options():
    with pytest.raises(ValueError, match="wedges must be one of mask, fill"):
        WedgeOptions("keep")


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)))
def test_runs_come_back(mask):
    runs = runs_of(mask)
    np.testing.assert_array_equal(from_runs(runs, mask.shape), mask)
    assert (np.diff(runs.ravel()) > 0).all()
