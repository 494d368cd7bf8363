"""Rows of the retina, nothing of it lost, and the way back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from softlabel.preprocess import STEPS, CropOptions, Record, WedgeOptions, crop_rows
from softlabel.types import Case

from .cases import IGNORE, TABLE, case_of

STEP = STEPS["crop"]


@given(
    st.floats(0, 500), st.floats(0, 500), st.integers(20, 600), st.floats(0, 60),
    st.none() | st.integers(1, 700), st.sampled_from([1, 16, 32]),
)  # fmt: skip
def test_rows_hold_the_retina_and_no_more_than_asked(top, size, rows, margin, height, multiple):
    assume(top + size <= rows - 1)
    needed = (max(0, top - margin), min(rows - 1, top + size + margin))
    try:
        start, got = crop_rows(top, top + size, rows, margin, height, multiple)
    except ValueError as error:
        assert height is not None and height < needed[1] - needed[0] + 3
        assert "give a larger height" in str(error)
        return
    assert start <= needed[0] and needed[1] <= start + got - 1
    if height is None:
        assert got % multiple == 0 and got - multiple < needed[1] - needed[0] + 3
    else:
        assert got == height
    if got <= rows:
        assert start >= 0 and start + got <= rows
    else:
        assert start <= 0 and start + got >= rows


def cropped(bscan, options=None, **changes):
    case, _ = STEPS["wedges"].apply(case_of(bscan, **changes), WedgeOptions())
    return case, *STEP.apply(case, options or CropOptions())


def test_no_retina_is_lost_and_heights_suit_a_network(bscans):
    for bscan in bscans:
        case, done, record = cropped(bscan)
        assert done.shape[0] % 32 == 0 and done.shape[1] == 768
        start = record.settings["start"]
        margin = 70 / 3.87
        assert start < bscan.boundaries[0].min() - margin or start == 0
        assert start + done.shape[0] > bscan.boundaries[7].max() + margin
        retina = (case.truth > 0) & (case.truth != 8)
        assert np.count_nonzero((done.truth > 0) & (done.truth != 8)) == np.count_nonzero(retina)


@pytest.mark.parametrize("height", [None, 400, 600])
def test_kept_rows_come_back_bit_for_bit(bscans, height):
    case, done, record = cropped(bscans[0], CropOptions(height=height))
    assert height is None or done.shape[0] == height
    again = Record.from_json(record.as_json())
    start = record.settings["start"]
    kept = np.zeros(496, bool)
    kept[max(start, 0) : start + done.shape[0]] = True
    for kind, array, original in (
        ("image", done.image, case.image), ("labels", done.labels, case.labels),
        ("labels", done.truth, case.truth), ("labels", done.label_maps["grader2"],
        case.label_maps["grader2"]),
    ):  # fmt: skip
        back = STEP.restore(again, array, kind)
        assert back.dtype == original.dtype and back.shape == original.shape
        np.testing.assert_array_equal(back[..., kept, :], original[..., kept, :])
    assert not STEP.restore(again, done.image, "image")[:, ~kept].any()
    if height == 600:
        assert kept.all() and not done.mask[:40].any()


def test_labels_beyond_the_crop_continue_the_vitreous_and_the_choroid(bscans):
    case, done, record = cropped(bscans[0])
    back = STEP.restore(record, done.truth, "labels")
    np.testing.assert_array_equal(back, case.truth)


def record_of(outside):
    """A crop of rows 2..4 of 8 and what it says about the others."""
    label = {"nearest": None, "background": 3, "ignore": IGNORE}[outside]
    settings = {"start": 2, "axial_axis": 0, "outside": outside, "outside_label": label}
    return Record("crop", (8, 3), (3, 3), settings)


@pytest.mark.parametrize(("outside", "above"), [("nearest", 5), ("background", 3), ("ignore", 255)])
def test_what_comes_back_outside(outside, above):
    labels = np.full((3, 3), 5, np.uint8)
    back = STEP.restore(record_of(outside), labels, "labels")
    expected = np.full((8, 3), above, np.uint8)
    expected[2:5] = 5
    np.testing.assert_array_equal(back, expected)
    soft = np.zeros((4, 3, 3), np.float32)
    soft[1], soft[2] = 0.25, 0.75
    back = STEP.restore(record_of(outside), soft, "soft")
    np.testing.assert_array_equal(back[:, 2:5], soft)
    beyond = {"nearest": [0, 0.25, 0.75, 0], "background": [1, 0, 0, 0], "ignore": [0, 0, 0, 0]}
    np.testing.assert_array_equal(back[:, 0, 0], beyond[outside])
    np.testing.assert_array_equal(back[:, 7, 2], beyond[outside])


def test_the_record_has_the_label_for_outside(bscans):
    for options, changes, label in (
        (CropOptions(outside="background"), {}, 0),
        (CropOptions(outside="background"), {"classes": replace(TABLE, values=(4, 5, 6, 7))}, 4),
        (CropOptions(outside="background"), {"classes": None}, 0),
        (CropOptions(outside="ignore"), {"ignore": IGNORE}, IGNORE),
        (CropOptions(), {"ignore": IGNORE}, None),
    ):
        assert cropped(bscans[0], options, **changes)[2].settings["outside_label"] == label
    with pytest.raises(ValueError, match="the data set has no ignored value"):
        cropped(bscans[0], CropOptions(outside="ignore"))


def test_the_affine_moves_with_the_rows(bscans):
    affine = np.array([[0, 0.01, 0, 5], [-0.004, 0, 0, 7], [0, 0, 1, 9], [0, 0, 0, 1.0]])
    case, done, record = cropped(bscans[0], affine=affine)
    row = record.settings["start"] + 10
    np.testing.assert_allclose(affine @ [row, 20, 0, 1], done.affine @ [10, 20, 0, 1])
    assert case.affine is affine


def test_a_height_that_does_not_hold_the_retina(bscans):
    with pytest.raises(ValueError, match=r"need \d+ rows, more than the height of 32"):
        cropped(bscans[0], CropOptions(height=32))


def test_a_case_does_not_depend_on_others(bscans):
    alone = cropped(bscans[1])[1]
    cropped(bscans[6])
    after = cropped(bscans[1])[1]
    np.testing.assert_array_equal(alone.image, after.image)
    assert isinstance(after, Case)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin_um": -1}, "margin_um must be 0 or more"),
        ({"height": 0}, "height must be 1 to 65,536 rows; got 0"),
        ({"multiple": 0}, "multiple must be 1 to"),
        ({"outside": "zero"}, "outside must be one of nearest, background, ignore"),
        ({"height": 1.5}, "height must be an integer or None"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        CropOptions(**options)
