"""Gaussian surfaces of layers, A-scan by A-scan with SciPy's normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

import softlabel


def layers(shape=(40, 12), n=4, seed=0):
    """Layers in order; some A-scans lack one or two."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(3, shape[0] - 3, (n - 1, *shape[1:])), axis=0)
    cuts[min(1, n - 2), :3] = cuts[0, :3]
    rows = np.arange(shape[0]).reshape((-1,) + (1,) * (len(shape) - 1))
    return (rows[None] >= cuts[:, None]).sum(axis=0).astype(np.uint8), cuts


def expected(cuts, n_rows, sigma):
    """The formula for one A-scan whose boundary k lies above the row ``cuts[k]``."""
    b = [-np.inf, *(cut - 0.5 for cut in cuts), np.inf]
    rows = np.arange(n_rows)
    return np.array(
        [norm.cdf((rows - b[k]) / sigma) - norm.cdf((rows - b[k + 1]) / sigma)
         for k in range(len(cuts) + 1)]
    )  # fmt: skip


@pytest.mark.parametrize("sigma", [0.4, 2.0, 9.0])
def test_equals_the_formula_in_every_a_scan(sigma):
    labels, cuts = layers()
    found = softlabel.soften(labels, method="surface-cdf", surface_sigma=sigma).dense()
    for column in range(labels.shape[1]):
        values = expected(cuts[:, column], len(labels), sigma)
        np.testing.assert_allclose(found[:, :, column], values, atol=2e-7)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)


def test_the_row_of_the_module():
    q = softlabel.soften(np.array([0, 0, 0, 1, 1, 1]), method="surface-cdf", surface_sigma=1)
    np.testing.assert_allclose(q.dense()[1], [0.006, 0.067, 0.309, 0.691, 0.933, 0.994], atol=5e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_may_be_depth(axis):
    labels, _ = layers((30, 5, 6))
    plain = softlabel.soften(labels, method="surface-cdf").dense()
    moved = softlabel.soften(
        np.moveaxis(labels, 0, axis), method="surface-cdf", depth_axis=axis
    ).dense()
    np.testing.assert_array_equal(np.moveaxis(moved, 1 + axis, 1), plain)


def test_sigma_is_in_the_unit_of_the_spacing_along_the_a_scan():
    labels, _ = layers()
    in_um = softlabel.soften(
        labels, method="surface-cdf", spacing=(3.9, 11.0), surface_sigma=7.8
    ).dense()
    in_px = softlabel.soften(labels, method="surface-cdf", surface_sigma=2.0).dense()
    np.testing.assert_allclose(in_um, in_px, atol=1e-6)


def test_fluid_stays_hard_and_hides_no_boundary():
    labels = np.repeat(np.array([0, 0, 0, 1, 1, 9, 9, 9, 1, 1, 2, 2, 2])[:, None], 4, axis=1)
    without = np.where(labels == 9, 1, labels)
    options = {"method": "surface-cdf", "surface_sigma": 1.5}
    found = softlabel.soften(labels, over=9, **options).dense()
    plain = softlabel.soften(without, **options).dense()
    fluid = labels == 9
    np.testing.assert_array_equal(found[:, fluid], np.repeat([[0], [0], [0], [1]], 12, axis=1))
    np.testing.assert_array_equal(found[:3, ~fluid], plain[:, ~fluid])


def test_fluid_that_nobody_named_is_refused_however_little_there_is():
    labels = np.repeat(np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])[:, None], 50, axis=1)
    labels[4:6, 7] = 9
    with pytest.raises(ValueError, match="in 100% of the A-scans with the class 9 it lies above"):
        softlabel.soften(labels, method="surface-cdf")


def test_a_boundary_inside_of_fluid_lies_in_its_middle():
    labels = np.array([0, 0, 9, 9, 9, 1, 1])
    q = softlabel.soften(labels, method="surface-cdf", over=9, surface_sigma=1).dense()
    np.testing.assert_allclose(q[1, [0, 1, 5, 6]], norm.cdf([-3, -2, 2, 3]), atol=1e-7)


def test_ignored_pixels_are_zero_and_hide_boundaries():
    labels = np.array([[0, 255], [0, 255], [255, 255], [1, 255]])
    q = softlabel.soften(labels, method="surface-cdf", ignore=255, surface_sigma=1).dense()
    assert not q[:, labels == 255].any()
    np.testing.assert_allclose(q[1, [0, 1, 3], 0], norm.cdf([-2, -1, 1]), atol=1e-7)


def test_far_from_boundaries_pixels_are_hard():
    labels, cuts = layers((200, 3), n=2)
    maps = softlabel.soften(labels, method="surface-cdf", surface_sigma=1)
    far = np.abs(np.arange(200)[:, None] - (cuts[0] - 0.5)) > 6
    assert not maps.band[far].any() and maps.band[~far].all()


def test_a_slip_of_the_hand_is_passed_over():
    labels = np.repeat(np.array([0, 0, 0, 1, 1, 1])[:, None], 20, axis=1)
    labels[1, 4] = 1
    q = softlabel.soften(labels, method="surface-cdf").dense()
    np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (
            [[1, 1], [0, 0]],
            {},
            "in 100% of the A-scans with the class 1 it lies above",
        ),
        ([[0, 0], [1, 1]], {"over": 3}, "over is 3, which is no class; there are 0, 1"),
        ([[0, 0], [1, 1]], {"depth_axis": 2}, "depth_axis is 2 and the label map has 2 axes"),
        ([[0, 0], [1, 1]], {"depth_axis": 3}, "depth_axis must be 0, 1 or 2; got 3"),
        ([[0, 0], [1, 1]], {"surface_sigma": 0}, "surface_sigma must be positive; got 0"),
    ],
)
def test_refusals(labels, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        softlabel.soften(np.array(labels), method="surface-cdf", **options)
