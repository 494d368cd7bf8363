"""Resampling against SciPy and SimpleITK, and back within half a voxel."""

from __future__ import annotations

import json
from functools import reduce

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from softlabel.phantom import make_brain
from softlabel.preprocess import (
    STEPS,
    Record,
    ResampleOptions,
    resample_image,
    resample_labels,
    resample_soft,
    resampled_shape,
)
from softlabel.preprocess.resample import orders_of

from .brains import IGNORE, OBLIQUE, case_of, volume

STEP = STEPS["resample"]


@pytest.fixture(scope="module")
def brain():
    return make_brain(3003, 1, (96, 96, 24))


def overlap(one, other):
    """Dice."""
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def smooth(shape, seed=0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5) * 1000


def by_simpleitk(image, shape, interpolator):
    """On a grid of the same edges; SimpleITK's axes are in the opposite order."""
    source = SimpleITK.GetImageFromArray(image.T.astype(np.float64))
    scale = [n / m for n, m in zip(image.shape, shape, strict=True)]
    origin = [(f - 1) / 2 for f in scale]
    filter_ = SimpleITK.ResampleImageFilter()
    filter_.SetSize(shape)
    filter_.SetOutputSpacing(scale)
    filter_.SetOutputOrigin(origin)
    filter_.SetInterpolator(interpolator)
    filter_.SetUseNearestNeighborExtrapolator(True)
    return SimpleITK.GetArrayFromImage(filter_.Execute(source)).T


SHAPES = [(40, 21, 30), (15, 24, 7), (13, 48, 20), (24, 24, 24)]


@pytest.mark.parametrize("shape", SHAPES)
def test_splines_are_those_of_scipy_and_simpleitk(shape):
    image = smooth((20, 24, 14))
    ours = resample_image(image, shape)
    low, high = image.min(), image.max()
    zoom = [m / n for n, m in zip(image.shape, shape, strict=True)]
    scipys = ndimage.zoom(image, zoom, order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(ours, scipys.clip(low, high), atol=1e-4 * (high - low))
    itks = by_simpleitk(image, shape, SimpleITK.sitkBSpline)
    inner = tuple(slice(m // 3, m - m // 3) for m in shape)  # borders are continued in other ways
    np.testing.assert_allclose(ours[inner], itks[inner], atol=2e-3 * (high - low))


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_is_that_of_simpleitk(shape):
    image = smooth((20, 24, 14))
    itks = by_simpleitk(image, shape, SimpleITK.sitkLinear)
    np.testing.assert_allclose(resample_image(image, shape, (1, 1, 1)), itks, atol=1e-9)
    soft = resample_soft(image[None], shape)
    np.testing.assert_allclose(soft[0], itks, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_is_that_of_scipy(shape):
    labels = np.random.default_rng(1).integers(0, 9, (20, 24, 14)).astype(np.uint8)
    zoom = [m / n for n, m in zip(labels.shape, shape, strict=True)]
    scipys = ndimage.zoom(labels, zoom, order=0, mode="nearest", grid_mode=True)
    ties = [np.isclose(((np.arange(m) + 0.5) * n / m) % 1, 0)
            for n, m in zip(labels.shape, shape, strict=True)]  # fmt: skip
    clear = ~reduce(np.logical_or.outer, ties)
    ours = resample_labels(labels, shape, (0, 0, 0))
    np.testing.assert_array_equal(ours[clear], scipys[clear])


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.data(),
)
@settings(deadline=None)
def test_labels_are_the_argmax_of_linear_shares(seed, before, data):
    after = tuple(data.draw(st.integers(1, 12)) for _ in before)
    values = np.array([0, 2, 40, IGNORE], np.uint8)
    labels = values[np.random.default_rng(seed).integers(0, 4, before)]
    ours = resample_labels(labels, after)
    shares = resample_soft(np.stack([labels == v for v in values]).astype(np.float64), after)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    chosen = np.take_along_axis(shares, np.searchsorted(values, ours)[None], axis=0)[0]
    assert (chosen > shares.max(axis=0) - 3e-6).all() and ours.dtype == np.uint8


def test_ties_go_to_the_class_with_fewer_voxels():
    sheet = np.zeros((8, 6, 6), np.uint8)
    sheet[4] = 5
    np.testing.assert_array_equal(resample_labels(sheet, (4, 6, 6))[2], 5)
    both = np.array([3, 3, 9, 9], np.uint8)
    assert resample_labels(both, (1,)).tolist() == [3]  # of equals the smaller value
    swapped = np.where(sheet == 5, 0, 5)
    np.testing.assert_array_equal(resample_labels(swapped, (4, 6, 6))[2], 0)


def test_thin_structures_survive_better_than_by_the_nearest_voxel(brain):
    """Sheets 1.2 voxels thick at 12 angles, and a brain without its lesions, on larger voxels."""
    x, y = np.mgrid[:120, :120]
    pieces = {(0, 0): 0, (1, 1): 0}
    for slope in np.linspace(0.05, 1, 12):
        sheet = (np.abs(x - slope * y - 15) / np.hypot(1, slope) <= 0.6).astype(np.uint8)
        for size in (100, 86, 60):
            for orders in pieces:
                done = resample_labels(sheet, (size, size), orders)
                pieces[orders] += ndimage.label(done, np.ones((3, 3)))[1]
    assert pieces[1, 1] < 0.7 * pieces[0, 0]
    kept = {}
    for orders in ((0, 0, 0), (1, 1, 1)):
        small = resample_labels(brain.labels, (64, 64, 20), orders)
        back = resample_labels(small, brain.labels.shape, orders)
        kept[orders] = [overlap(back == c, brain.labels == c) for c in (1, 2, 3, 5, 6, 7, 8)]
    assert (np.array(kept[1, 1, 1]) > kept[0, 0, 0]).all()


@given(st.integers(0, 99), st.tuples(*[st.integers(1, 14)] * 3))
@settings(deadline=None, max_examples=25)
def test_soft_maps_keep_their_range_and_sum(seed, shape):
    soft = np.random.default_rng(seed).dirichlet(np.full(4, 0.3), (6, 5, 4)).astype(np.float32)
    for orders in (None, (3, 3, 3), (1, 1, 0)):
        after = resample_soft(np.moveaxis(soft, -1, 0), shape, orders)
        assert after.min() >= 0 and after.max() <= 1 + 1e-6 and after.dtype == np.float32
        np.testing.assert_allclose(after.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("spacing", [(1.0,), (2.0,), (3.1, 3.1, 0.0), (0, 0, 2.0), (4.0, 2.0, 9.0)])
def test_labels_come_back_within_half_a_voxel_of_the_coarser_grid(brain, spacing):
    """Whatever changed lies no further from a border than that, unless its class was thinner."""
    case = case_of(brain)
    merged = np.isin(brain.labels, (1, 2, 3, 4, 5, 6, 7, 8)).astype(np.uint8)
    merged = ndimage.binary_opening(merged, np.ones((5, 5, 3))).astype(np.uint8)
    done, record = STEP.apply(case_of(brain, labels=merged), ResampleOptions(spacing))
    record = Record.from_json(json.loads(json.dumps(record.as_json())))
    back = STEP.restore(record, done.labels, "labels")
    assert back.shape == case.shape and back.dtype == np.uint8
    coarse = np.maximum(case.spacing_mm, done.spacing_mm)
    inside, outside = (
        ndimage.distance_transform_edt(m, sampling=case.spacing_mm) for m in (merged, 1 - merged)
    )
    changed = back != merged
    assert changed.mean() < 0.03
    # From a voxel's centre to the border is half a voxel less than to the next centre beyond it.
    nearest = (inside + outside)[changed] - min(case.spacing_mm) / 2
    assert not changed.any() or nearest.max() <= np.linalg.norm(coarse) / 2


def test_finer_grids_give_every_label_back(brain):
    """At twice as many voxels along each axis the old border lies on one of the new grid."""
    fine = tuple(2 * n for n in brain.labels.shape)
    labels = brain.labels[20:70, 20:70]
    fine = tuple(3 * n for n in labels.shape)
    back = resample_labels(resample_labels(labels, fine), labels.shape)
    np.testing.assert_array_equal(back, labels)


def test_images_come_back(brain):
    clean = ndimage.gaussian_filter(brain.clean[1].astype(np.float32), (1.5, 1.5, 0.8))
    case = case_of(brain, image=clean[None])
    done, record = STEP.apply(case, ResampleOptions((1.5,)))
    back = STEP.restore(record, done.image, "image")
    off = np.abs(back - case.image)[0, 8:-8, 8:-8, 3:-3]
    assert off.mean() < 0.01 * clean.max()


def voxel_mm(affine):
    return np.linalg.norm(affine[:3, :3], axis=0)


def test_voxels_stay_where_they_were():
    case = volume((12, 10, 6), spacing_mm=tuple(voxel_mm(OBLIQUE)))
    done, record = STEP.apply(case, ResampleOptions((2.0, 0.5, 1.5)))
    assert (
        done.shape
        == record.shape_after
        == resampled_shape(case.shape, case.spacing_mm, (2.0, 0.5, 1.5))
    )
    np.testing.assert_allclose(voxel_mm(done.affine), done.spacing_mm)
    for corner in ((0, 0, 0), (1, 0, 1), (1, 1, 1)):  # the outer edges are the same
        before = np.where(corner, np.array(case.shape) - 0.5, -0.5)
        after = np.where(corner, np.array(done.shape) - 0.5, -0.5)
        np.testing.assert_allclose(case.affine @ [*before, 1], done.affine @ [*after, 1])
    directions = [a[:3, :3] / voxel_mm(a) for a in (case.affine, done.affine)]
    np.testing.assert_allclose(*directions)
    for name in ("image", "labels", "truth", "soft"):
        before, after = getattr(case, name), getattr(done, name)
        assert after.dtype == before.dtype and after.shape[-3:] == done.shape
        assert len(after) == len(before) or name == "truth"
    assert done.mask.dtype == bool and set(np.unique(done.label_maps["other"])) <= {0, 3, 7, 8}


def test_one_slice_is_left_alone():
    case = volume((12, 10, 1), spacing_mm=(1.0, 1.0, 5.0))
    done, record = STEP.apply(case, ResampleOptions((2.0,)))
    assert done.shape == (6, 5, 1) and done.spacing_mm == (2.0, 2.0, 5.0)
    assert STEP.restore(record, done.soft, "soft").shape == (4, 12, 10, 1)
    assert record.settings["orders"][:2] == [3, 3]
    same, record = STEP.apply(case, ResampleOptions((0.0,)))
    assert same is case and STEP.restore(record, case.truth, "labels") is case.truth


def test_thick_slices_do_not_ring():
    """10:1: a step between slices overshoots with splines, and does not by default."""
    image = np.zeros((1, 12, 12, 8), np.float32)
    image[..., 4:] = 100
    image[..., 0] = -50
    image[..., 7] = 150
    case = volume((12, 12, 8), image=image, spacing_mm=(0.5, 0.5, 5.0), mask=None)
    assert orders_of((0.5, 0.5, 5.0), (12, 12, 8), "linear") == (3, 3, 1)
    linear = STEP.apply(case, ResampleOptions((0.5,)))[0].image
    spline = STEP.apply(case, ResampleOptions((0.5,), "spline"))[0].image
    nearest = STEP.apply(case, ResampleOptions((0.5,), "nearest"))[0].image
    assert linear.shape == (1, 12, 12, 80)
    middle = slice(16, 65)
    assert linear[..., middle].min() >= -1e-3 and linear[..., middle].max() <= 100 + 1e-3
    assert spline[..., middle].max() > 103
    np.testing.assert_array_equal(nearest[0], np.repeat(image[0], 10, axis=2))


def test_integers_are_rounded_and_stay_within_their_range():
    image = np.random.default_rng(0).integers(0, 256, (20, 20)).astype(np.uint8)
    image[:10], image[10:] = 0, 255
    done = resample_image(image, (47, 33))
    assert done.dtype == np.uint8 and done.min() == 0 and done.max() == 255


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"spacing_mm": None}, {}, "states no spacing of voxels, so it cannot be resampled"),
        ({}, {"spacing_mm": (1.0, 1.0)}, "spacing_mm has 2 sizes and the image 3 axes"),
        ({}, {"spacing_mm": (1e-5,)}, r"at most 1,073,741,824 voxels are made"),
        ({}, {"spacing_mm": (300.0, 0, 0)}, r"300 mm leaves 1 of 9 voxels along axis 0"),
        ({"image": np.full((1, 9, 7, 5), np.nan)}, {}, "NaN or infinite"),
        ({"mask": np.ones((9, 7, 4), bool)}, {}, r"the mask has the shape \(9, 7, 4\)"),
    ],
)
def test_bad_input(changes, options, message):
    with pytest.raises(ValueError, match=message):
        STEP.apply(volume(**changes), ResampleOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing_mm": (-1.0,)}, "spacing_mm must be sizes in mm, or 0 to keep an axis; got -1"),
        ({"spacing_mm": ()}, "spacing_mm must be numbers"),
        ({"across_slices": "cubic"}, "across_slices must be one of linear, spline, nearest"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        ResampleOptions(**options)
