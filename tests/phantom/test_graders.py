"""Displaced borders: how much, where, and in which order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr

from softlabel.errors import UsageError
from softlabel.phantom.graders import (
    WEIGHTS,
    Grader,
    curve_contrast,
    displace_curves,
    displace_regions,
    displacement,
    find_borders,
    in_order,
    pair_habit,
    region_displacement,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def some_contrast(shape, seed=9):
    return ndimage.gaussian_filter1d(rng(seed).gamma(2.0, size=shape), 30, axis=1)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("rms", [0.4, 1.5, 3.0])
def test_rms_is_met_by_every_kind(kind, rms):
    contrast = some_contrast((8, 700, 5))
    d = displacement(contrast, Grader(kind, rms), rng(), smooth_axes=(1,))
    assert np.sqrt(np.mean(d**2)) == pytest.approx(rms, rel=1e-6)


@pytest.mark.parametrize("length", [8, 20, 40])
def test_correlation_length_is_where_the_autocorrelation_is_one_over_e(length):
    grader = Grader("uniform", 1.5, length)
    d = displacement(np.ones((200, 2000)), grader, rng(), smooth_axes=(1,))
    half = [np.mean(d[:, lag:] * d[:, :-lag]) / np.mean(d**2) for lag in (length // 2, length)]
    assert half == pytest.approx([np.exp(-0.25), np.exp(-1)], abs=0.03)
    across = np.mean(d[1:] * d[:-1]) / np.mean(d**2)
    assert across == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(
    ("kind", "lowest", "highest"), [("contrast", -0.9, -0.25), ("uniform", -0.05, 0.05)]
)
def test_where_the_error_lies(kind, lowest, highest):
    contrast = rng(1).gamma(1.5, size=(300, 1)) * np.ones((1, 800))
    d = displacement(contrast, Grader(kind), rng(2), smooth_axes=(1,))
    assert lowest < spearmanr(np.abs(d).ravel(), contrast.ravel()).statistic < highest


def test_contrast_weights_are_the_documented_ones():
    contrast = np.tile(np.array([0.0, 1.0, 3.0])[:, None, None], (1, 2000, 100))
    d = displacement(contrast, Grader("contrast", 1.0, 2), rng(), smooth_axes=(2,))
    expected = 1 / (0.5 + np.array([0, 1, 3]))
    measured = np.sqrt(np.mean(d**2, axis=(1, 2)))
    assert measured / measured[1] == pytest.approx(expected / expected[1], rel=0.02)


def test_bias_is_constant_and_of_the_given_sign():
    signs = np.array([1.0, -1.0])[:, None]
    d = displacement(np.ones((2, 50)), Grader("bias", 2.0), rng(), smooth_axes=(1,), signs=signs)
    assert np.array_equal(d, signs * np.full((2, 50), 2.0))


def test_an_image_without_any_contrast_is_drawn_all_the_same():
    d = displacement(np.zeros((3, 400)), Grader("contrast"), rng(), smooth_axes=(1,))
    assert np.sqrt(np.mean(d**2)) == pytest.approx(1.5)


@pytest.mark.parametrize(
    "options",
    [{"kind": "wild"}, {"rms_px": -1}, {"rms_px": np.nan}, {"rms_px": 99}, {"correlation_px": 0}],
)
def test_impossible_graders_are_refused(options):
    with pytest.raises(UsageError):
        Grader(**options)


# --- curves


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=9))
def test_in_order_is_isotonic_regression(values):
    expected = isotonic_regression(np.array(values)).x
    assert in_order(np.array(values)[:, None])[:, 0] == pytest.approx(expected, abs=1e-9)


def test_curve_contrast_sees_a_step_and_not_its_absence():
    image = np.zeros((60, 100, 1), dtype=np.uint8)
    image[30:, :50] = 100
    contrast = curve_contrast(image, np.full((1, 100, 1), 30.0), 8)[0, :, 0]
    # A step of 100 under a Gaussian of 2 px: a slope of 100 / (2 √2π) half a pixel off its middle.
    assert contrast[:30] == pytest.approx(100 / (2 * np.sqrt(2 * np.pi)), rel=0.05)
    assert contrast[70:] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_drawn_curves_never_cross_and_keep_the_rms(kind):
    thickness = np.array([9, 1, 4, 1, 6, 2, 2, 5.0])
    true = np.cumsum(thickness)[:, None, None] + np.zeros((8, 500, 4))
    where = np.zeros(true.shape, dtype=bool)
    where[:, 50:430] = True
    habit = np.array([-1, -1, -1, -1, 1, 1, 1, 1.0])
    drawn = displace_curves(true, some_contrast(true.shape), Grader(kind, 1.5), rng(), habit, where)
    assert np.diff(drawn, axis=0).min() >= -1e-9
    assert np.sqrt(np.mean((drawn - true)[where] ** 2)) == pytest.approx(1.5, rel=0.03)


def test_a_perfect_grader_draws_the_truth():
    true = np.cumsum(np.ones((8, 50, 2)), axis=0)
    where = np.ones(true.shape, dtype=bool)
    drawn = displace_curves(true, np.ones(true.shape), Grader(rms_px=0), rng(), np.ones(8), where)
    assert drawn == pytest.approx(true)


# --- regions


def blobs(seed, shape=(3, 60, 70), n=4):
    noise = ndimage.gaussian_filter(rng(seed).standard_normal((n, *shape)), (0, 0, 4, 4))
    return np.argmax(noise, axis=0).astype(np.uint8)


def test_distances_to_borders_equal_those_of_the_distance_transform():
    labels = blobs(3)
    grader = Grader(rms_px=1.0)
    borders = find_borders(labels, np.zeros((1, *labels.shape)), grader)
    for k, plane in enumerate(labels):
        expected = np.zeros(plane.shape)
        for value in np.unique(plane):
            inside = plane == value
            expected += ndimage.distance_transform_edt(inside) * inside
        near = expected <= 6
        assert borders.distance_px[k][near] == pytest.approx(expected[near] - 0.5, abs=1e-5)
        assert np.isinf(borders.distance_px[k][~near]).all()
    found = np.isfinite(borders.distance_px)
    assert (borders.other[found] != labels[found]).all()


def edge(rows=80, columns=3000):
    labels = np.zeros((1, rows, columns), dtype=np.uint8)
    labels[:, rows // 2 :] = 1
    return labels


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_straight_edge_moves_by_the_rms(kind):
    labels = edge()
    clean = labels[None] * 50.0 * np.linspace(0.2, 2, labels.shape[2])
    grader = Grader(kind, 3.0)
    drawn = displace_regions(
        find_borders(labels, clean, grader), grader, rng(4), pair_habit(2, rng())
    )
    moved = (drawn == 0).sum(axis=1)[0] - 40
    # Whole pixels add the variance of rounding, 1/12, where the displacement is not constant.
    rms = np.sqrt(np.mean(moved**2) - (1 / 12 if kind != "bias" else 0))
    assert rms == pytest.approx(3.0, rel=0.05)
    if kind == "contrast":
        thirds = np.array_split(np.abs(moved), 3)
        assert thirds[0].mean() > 1.3 * thirds[2].mean()
    if kind == "bias":
        assert len(np.unique(moved)) == 1


def test_region_rms_is_met_on_borders():
    labels = blobs(5, (6, 120, 130))
    clean = labels[None].astype(float)
    grader = Grader("contrast", 0.8, 12)
    borders = find_borders(labels, clean, grader)
    field = region_displacement(borders, grader, rng(1), pair_habit(4, rng()))
    assert np.sqrt(np.mean(field[borders.border] ** 2)) == pytest.approx(0.8, rel=1e-5)


def test_only_pixels_near_borders_change_and_only_to_their_neighbour():
    labels = blobs(6)
    grader = Grader("uniform", 1.2, 10)
    borders = find_borders(labels, np.ones((1, *labels.shape)), grader)
    drawn = displace_regions(borders, grader, rng(2), pair_habit(4, rng()))
    changed = drawn != labels
    assert 0 < changed.mean() < 0.5
    assert (drawn[changed] == borders.other[changed]).all()
    assert np.isfinite(borders.distance_px[changed]).all()


def test_a_map_without_borders_stays():
    labels = np.full((2, 30, 30), 3, dtype=np.uint8)
    grader = Grader()
    borders = find_borders(labels, np.zeros((1, 2, 30, 30)), grader)
    assert np.array_equal(displace_regions(borders, grader, rng(), pair_habit(4, rng())), labels)


def test_habit_of_pairs_is_symmetric():
    habit = pair_habit(11, rng())
    assert np.array_equal(habit, habit.T)
    assert set(np.unique(habit)) == {-1, 1}
