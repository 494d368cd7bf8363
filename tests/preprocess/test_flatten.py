"""Flat membranes, nothing lost, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.preprocess import STEPS, FlattenOptions, Record, flat_window, take_rows
from softlabel.preprocess.wedges import WedgeOptions

from .cases import case_of
from .conftest import AXIAL_UM

STEP = STEPS["flatten"]


def without_wedges(bscan, **changes):
    return STEPS["wedges"].apply(case_of(bscan, **changes), WedgeOptions())[0]


@given(st.lists(st.floats(0, 40, width=32), min_size=1, max_size=6), st.booleans())
def test_the_membrane_comes_to_one_row_and_nothing_is_lost(rows, subpixel):
    membrane = np.array(rows, np.float64)
    window = flat_window(membrane, 41, subpixel)
    place = membrane - window.start
    assert np.ptp(place) <= (1e-9 if subpixel else 1)
    assert (window.start <= 0).all() and (window.start + window.height >= 41).all()
    image = np.random.default_rng(0).integers(0, 255, (41, len(rows))).astype(np.uint8)
    back = take_rows(take_rows(image, window, "labels"), window.inverse, "labels")
    if not subpixel:
        np.testing.assert_array_equal(back, image)


def test_a_phantom_becomes_flat(bscans):
    bscan = bscans[2]
    done, record = STEP.apply(without_wedges(bscan), FlattenOptions())
    true = bscan.boundaries[7] - record.arrays["start"]
    assert np.ptp(bscan.boundaries[7]) > 8 > 3 * true.std()
    assert np.abs(true - np.median(true)).mean() * AXIAL_UM < 3.9
    flat_truth = (done.truth == 7).argmax(axis=0)
    assert np.abs(flat_truth - np.median(flat_truth)).mean() < 4


def test_whole_pixels_come_back_bit_for_bit(bscans):
    for bscan in bscans[:3]:
        case = without_wedges(bscan)
        done, record = STEP.apply(case, FlattenOptions())
        again = Record.from_json(record.as_json())
        assert again.arrays["start"].dtype == np.int64
        for kind, array, original in (
            ("image", done.image, case.image),
            ("labels", done.labels, case.labels),
            ("labels", done.truth, case.truth),
            ("labels", done.label_maps["grader2"], case.label_maps["grader2"]),
        ):
            back = STEP.restore(again, array, kind)
            assert back.dtype == original.dtype
            np.testing.assert_array_equal(back, original)
        known = np.ones(case.shape, bool) if case.mask is None else case.mask
        np.testing.assert_array_equal(done.mask.sum(axis=0), known.sum(axis=0))


def test_fractions_of_a_pixel_come_back_within_half_a_pixel(bscans):
    bscan = bscans[3]
    row = np.repeat(np.arange(496)[:, None], 768, axis=1)
    case = without_wedges(bscan)
    case = case_of(bscan, image=case.image, mask=case.mask, labels=row.astype(np.uint16))
    done, record = STEP.apply(case, FlattenOptions(subpixel=True))
    assert record.settings["subpixel"] and record.arrays["start"].dtype == np.float64
    place = record.arrays["membrane"] - record.arrays["start"]
    assert np.ptp(place) < 1e-9
    ramp = row[None].astype(np.float32)
    moved = take_rows(ramp, flat_window(record.arrays["membrane"], 496, subpixel=True), "image")
    assert np.abs(STEP.restore(record, moved, "image") - ramp).max() <= 0.5
    back = STEP.restore(record, done.labels, "labels")
    assert np.abs(back.astype(int) - row).max() <= 1
    soft = np.stack([case.truth == k for k in range(10)]).astype(np.float32)
    back = STEP.restore(record, take_rows(soft, flat_window(place * 0 + record.arrays["membrane"],
                        496, subpixel=True), "soft"), "soft")  # fmt: skip
    np.testing.assert_allclose(back.sum(axis=0), 1, atol=1e-5)
    assert back.min() >= 0 and back.max() <= 1


def test_what_a_record_says(bscans):
    case = without_wedges(bscans[0], affine=np.eye(4))
    done, record = STEP.apply(case, FlattenOptions())
    assert record.settings["spacing_um"] == pytest.approx([3.87, 11.33])
    assert record.settings["spacing_assumed"] is False and done.affine is None
    assert record.settings["agreement"] > 0.6 and done.notes == ()
    assert record.shape_after == done.shape and record.shape_before == (496, 768)
    assert Record.from_json(record.as_json()) == record


def test_without_a_spacing_that_of_the_real_scans_is_assumed_and_said(bscans):
    case = without_wedges(bscans[0], spacing_mm=None)
    done, record = STEP.apply(case, FlattenOptions())
    assert record.settings["spacing_assumed"] is True
    assert record.settings["spacing_um"] == [3.87, 11.33]
    assert [note.code for note in done.notes] == ["assumed-spacing"]
    _, stated = STEP.apply(without_wedges(bscans[0]), FlattenOptions())
    np.testing.assert_allclose(record.arrays["membrane"], stated.arrays["membrane"])


def test_a_retina_at_the_border_is_said(bscans):
    bscan = bscans[0]
    cut = int(np.percentile(bscan.boundaries[0], 20))
    case = without_wedges(bscan)
    case = case_of(
        bscan, image=case.image[:, cut:], labels=case.labels[cut:], truth=None, label_maps={}
    )
    done, record = STEP.apply(case, FlattenOptions())
    assert record.settings["touches_border"] > 50
    assert [note.code for note in done.notes] == ["retina-at-border"]


def test_colours_are_refused(bscans):
    case = case_of(bscans[0], image=np.repeat(bscans[0].image[None], 3, axis=0))
    with pytest.raises(ValueError, match="has 3 channels \\(RGB, as a screenshot"):
        STEP.apply(case, FlattenOptions())


@pytest.mark.parametrize("axial_axis", [0, 1])
def test_a_volume_is_flattened_bscan_by_bscan(bscans, axial_axis):
    chosen = [without_wedges(b) for b in bscans[:2]]
    image, labels, mask = (
        np.stack([pick(c)[:, 100:400] for c in chosen], axis=-1)
        for pick in (lambda c: c.image[0], lambda c: c.labels, lambda c: c.mask)
    )
    order = (0, 1, 2) if axial_axis == 0 else (2, 0, 1)  # B-scans last, or first
    spacing = np.array([0.00387, 0.01133, 0.123])[list(order)]
    case = case_of(
        bscans[0], image=image.transpose(order)[None], labels=labels.transpose(order),
        mask=mask.transpose(order), truth=None, label_maps={}, spacing_mm=tuple(spacing),
    )  # fmt: skip
    done, record = STEP.apply(case, FlattenOptions(axial_axis=axial_axis))
    back = STEP.restore(record, done.image, "image")
    np.testing.assert_array_equal(back, case.image)
    alone = case_of(
        bscans[1], image=image[None, ..., 1], labels=labels[..., 1], mask=mask[..., 1],
        truth=None, label_maps={},
    )  # fmt: skip
    _, single = STEP.apply(alone, FlattenOptions())
    membrane = record.arrays["membrane"]
    of_second = membrane[:, 1] if axial_axis == 0 else membrane[1]
    np.testing.assert_array_equal(of_second, single.arrays["membrane"])


def test_the_bscan_of_a_volume_that_shows_no_retina_is_named(bscans):
    rng = np.random.default_rng(0)
    good = without_wedges(bscans[0]).image[0]
    image = np.stack([good, rng.integers(0, 255, good.shape).astype(np.uint8)], axis=-1)
    case = case_of(
        bscans[0], image=image[None], labels=np.zeros(image.shape, np.uint8), truth=None,
        label_maps={}, spacing_mm=(0.00387, 0.01133, 0.123),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"B-scan 1 \(from 0\): no retina was found"):
        STEP.apply(case, FlattenOptions())
