"""The box of a mask and the way back, bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.preprocess import STEPS, BoxOptions, Record, box_of

from .brains import IGNORE, OBLIQUE, volume

STEP = STEPS["box"]
KINDS = (("image", "image"), ("labels", "labels"), ("truth", "labels"), ("soft", "soft"))


@st.composite
def masks(draw):
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=2, max_size=3)))
    mask = np.zeros(shape, bool)
    for _ in range(draw(st.integers(1, 4))):
        mask[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    return mask


@given(masks(), st.integers(0, 3))
def test_the_box_is_tight(mask, margin):
    box = box_of(mask)
    assert mask[box].sum() == mask.sum()
    for axis in range(mask.ndim):
        assert mask[box].take(0, axis).any() and mask[box].take(-1, axis).any()
    wide = np.zeros_like(mask)
    wide[box_of(mask, margin)] = True
    places = np.indices(mask.shape)
    near = [
        (index >= side.start - margin) & (index < side.stop + margin)
        for index, side in zip(places, box, strict=True)
    ]
    np.testing.assert_array_equal(wide, np.logical_and.reduce(near))


@given(masks(), st.integers(0, 2), st.sampled_from(["background", "ignore"]))
def test_kept_voxels_come_back_bit_for_bit(mask, margin, cut_labels):
    case = volume(mask.shape, mask=mask)
    done, record = STEP.apply(case, BoxOptions(margin, cut_labels))
    record = Record.from_json(json.loads(json.dumps(record.as_json())))
    box = box_of(mask, margin)
    kept = np.zeros(mask.shape, bool)
    kept[box] = True
    for name, kind in KINDS:
        before, after = getattr(case, name), getattr(done, name)
        back = STEP.restore(record, after, kind)
        assert back.dtype == before.dtype and back.shape == before.shape
        np.testing.assert_array_equal(back[..., kept], before[..., kept])
        beyond = back[..., ~kept]
        if kind == "labels":
            assert (beyond == (0 if cut_labels == "background" else IGNORE)).all()
        elif kind == "soft":
            assert (beyond[1:] == 0).all() and (beyond[0] == (cut_labels == "background")).all()
        else:
            assert not beyond.any()
    np.testing.assert_array_equal(done.label_maps["other"], case.label_maps["other"][box])
    np.testing.assert_array_equal(done.mask, mask[box])
    first = [side.start for side in box] + [0] * (3 - mask.ndim)
    np.testing.assert_allclose(done.affine @ [0, 0, 0, 1], OBLIQUE @ [*first, 1])
    np.testing.assert_array_equal(done.affine[:3, :3], OBLIQUE[:3, :3])


def test_without_a_mask_what_is_not_zero_in_any_channel():
    image = np.zeros((2, 9, 7, 5))
    image[0, 2, 3, 1] = image[1, 5, 3, 2] = -1
    done, record = STEP.apply(volume(image=image, mask=None), BoxOptions())
    assert done.shape == (4, 1, 2) and done.mask is None
    assert record.settings["start"] == [2, 3, 1] and record.settings["of"] == "image"


def test_labels_that_are_cut_away_are_counted():
    mask = np.zeros((9, 7, 5), bool)
    mask[2:5, 2:5, 2:4] = True
    labels = np.full((9, 7, 5), 3, np.uint8)
    labels[0] = IGNORE
    case = volume(mask=mask, labels=labels, rater_axis=None)
    done, record = STEP.apply(case, BoxOptions())
    assert record.settings["labelled_voxels_cut"] == 8 * 7 * 5 - 3 * 3 * 2
    assert done.notes[-1].text.startswith("262 labelled voxels of a lie outside of the box")
    labels[...] = 0
    assert not STEP.apply(case, BoxOptions())[0].notes


def test_bad_input():
    with pytest.raises(ValueError, match="the mask is empty, so there is no box to crop to"):
        STEP.apply(volume(mask=np.zeros((9, 7, 5), bool)), BoxOptions())
    with pytest.raises(ValueError, match="every voxel of the image is 0"):
        STEP.apply(volume(mask=None, image=np.zeros((1, 9, 7, 5))), BoxOptions())
    with pytest.raises(ValueError, match="the data set has no ignored value; take background"):
        STEP.apply(volume(ignore=None), BoxOptions(cut_labels="ignore"))
    with pytest.raises(ValueError, match="margin_voxels must be 0 to"):
        BoxOptions(-1)
    with pytest.raises(ValueError, match="cut_labels must be one of background, ignore"):
        BoxOptions(0, "nearest")
