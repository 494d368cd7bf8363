"""Windows of rows, against loops over A-scans, and their way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.preprocess import RowWindow, take_rows
from softlabel.preprocess.bscans import axes_of
from softlabel.preprocess.window import inside_rows, window_case

from .cases import IGNORE, layered


@st.composite
def windows(draw, whole=True):
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    number = st.integers(-6, 6) if whole else st.floats(-6, 6, width=16)
    start = np.array(draw(st.lists(number, min_size=columns, max_size=columns)))
    return RowWindow(start, draw(st.integers(1, 14)), rows)


def image_of(window, seed=0, leading=()):
    shape = (*leading, window.rows, len(window.start))
    return np.random.default_rng(seed).integers(1, 200, shape).astype(np.int16)


@given(windows(), st.sampled_from(["image", "labels", "soft"]), st.sampled_from([(), (2,), (2, 3)]))
def test_whole_rows_are_copied(window, kind, leading):
    image = image_of(window, leading=leading)
    taken = take_rows(image, window, kind, -7)
    assert taken.dtype == image.dtype
    for i in range(window.height):
        for c, first in enumerate(window.start):
            row = i + first
            expected = image[..., row, c] if 0 <= row < window.rows else -7
            np.testing.assert_array_equal(taken[..., i, c], expected)


@given(windows())
def test_whole_rows_come_back_where_they_were_kept(window):
    image = image_of(window)
    back = take_rows(take_rows(image, window, "image"), window.inverse, "image", 0)
    row = np.arange(window.rows)[:, None]
    kept = (row >= window.start) & (row < window.start + window.height)
    np.testing.assert_array_equal(back, np.where(kept, image, 0))


@given(windows())
def test_a_window_that_holds_everything_loses_nothing(window):
    low, high = window.start.min(), window.start.max()
    whole = RowWindow(window.start - max(high, 0), 30, window.rows)
    assert whole.start.min() + 30 >= window.rows or high - low > 20
    image = image_of(window)
    for kind in ("image", "labels", "soft"):
        back = take_rows(take_rows(image, whole, kind), whole.inverse, kind)
        np.testing.assert_array_equal(back, image)


@given(windows(whole=False))
def test_fractions_interpolate_as_numpy_does(window):
    image = image_of(window).astype(np.float64)
    taken = take_rows(image, window, "image")
    row = np.arange(window.height)[:, None] + window.start
    for c in range(len(window.start)):
        expected = np.interp(row[:, c], np.arange(window.rows), image[:, c])
        np.testing.assert_allclose(taken[:, c], expected, atol=1e-9)


@given(windows(whole=False), st.integers(0, 99))
def test_labels_come_from_the_nearest_row_and_soft_values_keep_their_sum(window, seed):
    labels = image_of(window, seed)
    row = np.rint(np.arange(window.height)[:, None] + window.start).astype(int)
    nearest = np.take_along_axis(labels, row.clip(0, window.rows - 1), axis=0)
    np.testing.assert_array_equal(take_rows(labels, window, "labels"), nearest)
    soft = np.random.default_rng(seed).dirichlet(np.ones(3), labels.shape)
    soft = np.moveaxis(soft, -1, 0).astype(np.float32)
    taken = take_rows(soft, window, "soft")
    assert taken.min() >= 0 and taken.max() <= 1 and taken.dtype == np.float32
    np.testing.assert_allclose(taken.sum(axis=0), 1, atol=1e-6)


def test_fractions_come_back_within_half_a_pixel():
    row = np.arange(40.0)
    ramp = np.repeat(row[:, None], 3, axis=1)  # its values are its rows
    window = RowWindow(np.array([-3.5, -0.25, -5.75]), 52, 40)
    back = take_rows(take_rows(ramp, window, "image"), window.inverse, "image")
    np.testing.assert_allclose(back, ramp, atol=0.5)
    labels = take_rows(take_rows(ramp, window, "labels"), window.inverse, "labels")
    np.testing.assert_allclose(labels, ramp, atol=1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_may_be_any_axis(axis):
    rng = np.random.default_rng(0)
    start, image = rng.integers(-3, 3, (4, 5)), rng.integers(0, 99, (6, 4, 5))
    expected = take_rows(image, RowWindow(start, 8, 6), "image")
    turned = take_rows(np.moveaxis(image, 0, axis), RowWindow(start, 8, 6, axis), "image")
    np.testing.assert_array_equal(np.moveaxis(turned, axis, 0), expected)


def test_every_map_of_a_case_goes_along():
    case = layered()
    start = np.random.default_rng(1).integers(-4, 5, 40)
    window = RowWindow(start, 70, 60)
    moved = window_case(case, window, axes_of(case))
    inside = inside_rows(window)
    assert moved.shape == moved.mask.shape == moved.truth.shape == (70, 40)
    assert moved.labels.shape == (2, 70, 40) and moved.soft.shape == (4, 70, 40)
    for before, after in (
        (case.labels[0], moved.labels[0]), (case.labels[1], moved.labels[1]),
        (case.truth, moved.truth), (case.label_maps["other"], moved.label_maps["other"]),
    ):  # fmt: skip
        np.testing.assert_array_equal(after, take_rows(before, window, "labels", IGNORE))
    np.testing.assert_array_equal(moved.mask, take_rows(case.mask, window, "labels", False))
    assert not moved.mask[~inside].any() and not moved.soft[:, ~inside].any()
    assert moved.spacing_mm == case.spacing_mm and moved.raters == case.raters
    np.testing.assert_array_equal(
        moved.image[0][inside], take_rows(case.image, window, "image")[0][inside]
    )


def test_without_an_ignored_value_labels_continue_into_the_padding():
    case = layered(ignore=None, mask=None)
    window = RowWindow(np.full(40, -5), 65, 60)
    moved = window_case(case, window, axes_of(case))
    np.testing.assert_array_equal(moved.truth[:5], np.repeat(case.truth[:1], 5, axis=0))
    np.testing.assert_allclose(moved.soft.sum(axis=0), 1, atol=1e-6)
    assert moved.mask is not None and not moved.mask[:5].any() and moved.mask[5:].all()


def test_no_mask_appears_without_padding():
    case = layered(mask=None)
    window = RowWindow(np.full(40, 3), 20, 60)
    assert window_case(case, window, axes_of(case)).mask is None
