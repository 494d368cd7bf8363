"""Masks of the brain against the labels of phantoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from softlabel.phantom import make_brain
from softlabel.preprocess import STEPS, BrainMaskOptions, Record, intensity_mask, why_no_brain

from .brains import case_of, volume

STEP = STEPS["brain_mask"]


@pytest.fixture(scope="module", params=[(3001, (240, 240, 48)), (3002, (128, 128, 32))])
def brain(request):
    seed, shape = request.param
    return make_brain(seed, 1, shape)


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def face_of(brain):
    """Where a phantom's face is: in front, below."""
    face = np.zeros(brain.labels.shape, bool)
    x, y, z = face.shape
    face[x // 4 : 3 * x // 4, int(0.78 * y) :, : z // 2] = True
    return face


def test_a_stripped_image_is_the_brain_in_every_sequence(brain):
    true = brain.labels > 0
    for image in brain.images:
        assert dice(intensity_mask(image * true, brain.spacing_mm), true) > 0.98


def test_a_mask_of_a_whole_head_is_near_the_brain_on_flair(brain):
    mask = intensity_mask(brain.images[0], brain.spacing_mm)
    assert dice(mask, brain.labels > 0) > 0.8
    solid = ndimage.binary_fill_holes(mask)
    assert ndimage.label(mask)[1] == 1 and (solid == mask).all()


def test_a_mask_of_labels_is_marked(brain):
    case, record = STEP.apply(case_of(brain), BrainMaskOptions("labels"))
    assert dice(case.mask, brain.labels > 0) > 0.98 and not case.notes
    assert case.mask[brain.labels > 0].all()
    assert Record.from_json(record.as_json()).settings["source"] == "labels"


def test_a_given_mask_strips_the_image(brain):
    given = case_of(brain, mask=brain.labels > 0)
    case, record = STEP.apply(given, BrainMaskOptions())
    assert not case.image[:, ~case.mask].any() and not case.notes
    np.testing.assert_array_equal(case.image[:, case.mask], brain.images[:, case.mask])
    assert record.settings["voxels"] == np.count_nonzero(brain.labels)
    kept, _ = STEP.apply(given, BrainMaskOptions(strip=False))
    np.testing.assert_array_equal(kept.image, brain.images)
    assert STEP.restore(record, case.image, "image") is case.image


def test_hounsfield_units_outside_become_air():
    image = np.full((1, 9, 9), -1000, np.int16)
    image[0, 3:6, 3:6] = 40
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    case = volume((9, 9), image=image, mask=mask)
    stripped, record = STEP.apply(case, BrainMaskOptions())
    assert set(np.unique(stripped.image)) == {-1000, 40}
    assert record.settings["outside"] == [-1000.0]


def test_masks_made_here_stay_within_the_given_one(brain):
    half = np.zeros(brain.labels.shape, bool)
    half[: len(half) // 2] = True
    case, _ = STEP.apply(case_of(brain, mask=half), BrainMaskOptions("labels"))
    assert not case.mask[~half].any() and case.mask[half].any()
    assert case.notes[-1].code == "labels-outside-mask"


@pytest.mark.slow
def test_a_mask_that_grows_holds_the_fluid_around_the_brain(brain):
    """It is dark on FLAIR; by a ball of 6 mm as scikit-image dilates, voxel by voxel."""
    fluid = brain.labels == 5
    thin, _ = STEP.apply(case_of(brain), BrainMaskOptions("intensity"))
    grown, record = STEP.apply(case_of(brain), BrainMaskOptions("intensity", grow_mm=6))
    assert thin.mask[fluid].mean() < 0.7 and grown.mask[fluid].mean() > 0.98
    assert record.settings["grow_mm"] == 6
    reach = [int(6 / s) for s in brain.spacing_mm]
    offsets = np.indices([2 * n + 1 for n in reach]).T - reach
    ball = ((offsets * brain.spacing_mm) ** 2).sum(axis=-1).T <= 6**2
    half = thin.mask.shape[2] // 2
    slab = np.s_[..., half - 2 - reach[2] : half + 2 + reach[2]]
    expected = ndimage.binary_dilation(thin.mask[slab], ball)
    within = np.s_[..., reach[2] : -reach[2]] if reach[2] else np.s_[...]
    np.testing.assert_array_equal(grown.mask[slab][within], expected[within])
    _, record = STEP.apply(case_of(brain), BrainMaskOptions("intensity"))
    assert "grow_mm" not in record.settings


def test_a_given_mask_is_judged_before_it_grows(brain):
    box = ndimage.find_objects((brain.labels > 0).astype(int))[0]
    given = replace(case_of(brain), image=brain.images[:, *box], labels=brain.labels[box],
                    mask=brain.labels[box] > 0, truth=None, label_maps={}, soft=None)  # fmt: skip
    case, _ = STEP.apply(given, BrainMaskOptions(grow_mm=30))
    assert why_no_brain(given.image, case.mask) and not case.notes


def test_brains_are_no_faces(brain):
    true = brain.labels > 0
    for mask in (true, ndimage.binary_dilation(true, iterations=2)):
        assert why_no_brain(brain.images, mask) is None
        for image in brain.images:
            assert why_no_brain(image[None], mask) is None
    sides = [ndimage.find_objects(true.astype(int))[0]]
    assert why_no_brain(brain.images[:, *sides[0]], true[sides[0]]) is None
    stripped = brain.images * true
    assert why_no_brain(stripped, true) is None


def test_face_masks_are_told(brain):
    face = face_of(brain)
    for mask, reason in (
        (~face, "sides"), (np.ones_like(face), "6 of the volume's 6 sides"),
        (face, "leaves out the middle of the head along axis"),
    ):  # fmt: skip
        assert reason in why_no_brain(brain.images, mask)
    air = ndimage.binary_erosion(~face, iterations=3) & (brain.labels == 0)
    assert "holds air" in why_no_brain(brain.images, air)
    case, _ = STEP.apply(case_of(brain, mask=~face), BrainMaskOptions())
    assert case.notes[0].code == "no-brain-mask"
    assert case.notes[0].text.startswith("The mask of 7 (training/7) covers a quarter or more of")


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"mask": None}, {}, "the case has no mask; give one"),
        ({"mask": np.zeros((9, 7, 5), bool)}, {}, "the mask of the case is empty"),
        ({"mask": np.zeros((9, 7, 4), bool)}, {}, r"the mask has the shape \(9, 7, 4\)"),
        ({"labels": np.zeros((2, 9, 7, 5), np.uint8)}, {"source": "labels"},
         "the mask from labels is empty"),
        ({"image": np.full((2, 9, 7, 5), 3.0)}, {"source": "intensity"}, "every voxel .* is 3;"),
        ({}, {"source": "intensity"}, "no part of the image above Otsu's threshold is wider than"),
        ({}, {"source": "intensity", "mask_channel": 2}, r"the image has the channels 0\.\.1"),
        ({"image": np.full((2, 9, 7, 5), np.nan)}, {}, "NaN or infinite"),
    ],
)  # fmt: skip
def test_bad_input(changes, options, message):
    with pytest.raises(ValueError, match=message):
        STEP.apply(volume(**changes), BrainMaskOptions(**options))


def test_one_slice():
    image = np.zeros((1, 40, 40, 1))
    image[0, 10:30, 10:30] = 5
    image[0, 18:22, 18:22] = 0
    labels = (image[0] > 0).astype(np.uint8) * 3
    case = volume((40, 40, 1), image=image, labels=labels, rater_axis=None, mask=None, truth=None,
                  label_maps={}, soft=None)  # fmt: skip
    for source in ("intensity", "labels"):
        mask = STEP.apply(case, BrainMaskOptions(source))[0].mask
        assert mask.shape == (40, 40, 1) and mask[18:22, 18:22].all() and not mask[:10].any()
    flat = replace(case, image=image[..., 0], labels=labels[..., 0], spacing_mm=(0.9, 1.0))
    assert STEP.apply(flat, BrainMaskOptions("intensity"))[0].mask.shape == (40, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "guess"}, "source must be one of given, labels, intensity; got 'guess'"),
        ({"mask_channel": -1}, "mask_channel must be 0 or more"),
        ({"closing_mm": -1}, "closing_mm must lie in 0 to 50 mm"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        BrainMaskOptions(**options)
