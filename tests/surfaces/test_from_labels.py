"""Boundaries from labels against the phantom's own, and repairs against the best of all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from softlabel.phantom.oct import class_map
from softlabel.readers.layers import class_map_from_layers
from softlabel.surfaces import as_duke_layers, surfaces_of_labels


def test_dry_labels_give_the_true_boundaries_within_half_a_pixel(subject):
    labels = class_map(subject.boundaries, np.zeros_like(subject.fluid), len(subject.images))
    found = surfaces_of_labels(labels)
    assert found.rows.shape == subject.boundaries.shape and found.seen.all()
    off = found.rows - subject.boundaries
    assert np.abs(off).max() <= 0.5 + 1e-9
    assert np.abs(off.mean(axis=(1, 2))).max() < 0.05, "without bias"
    assert not found.violations.any()
    for b in range(labels.shape[2]):
        layers = as_duke_layers(found.rows)[..., b]
        np.testing.assert_array_equal(
            class_map_from_layers(layers, None, len(labels)), labels[..., b]
        )


def cysts_across_boundaries(subject):
    """Ellipses of 60 columns around places on three boundaries of every B-scan."""
    row, column = np.mgrid[: len(subject.images), : subject.images.shape[1]]
    fluid = np.zeros(subject.images.shape, bool)
    for b in range(fluid.shape[2]):
        for k, c in ((2, 90), (4, 200), (6, 310)):
            centre = subject.boundaries[k, c, b]
            fluid[..., b] |= ((row - centre) / 9) ** 2 + ((column - c) / 30) ** 2 <= 1
    return fluid


def test_fluid_inside_of_a_layer_hides_nothing(subject):
    assert (subject.labels == 9).any()
    found = surfaces_of_labels(subject.labels)
    assert found.seen.all() and not found.violations.any()
    assert np.abs(found.rows - subject.boundaries).max() <= 0.5 + 1e-9


def test_boundaries_are_interpolated_through_fluid(subject):
    fluid = cysts_across_boundaries(subject)
    labels = class_map(subject.boundaries, fluid, len(subject.images))
    found = surfaces_of_labels(labels)
    hidden = ~found.seen
    assert 0.02 < hidden.mean() < 0.3 and np.isfinite(found.rows).all()
    off = np.abs(found.rows - subject.boundaries)
    assert off[found.seen].max() <= 0.5 + 1e-9
    assert off[hidden].mean() < 1.5 and np.percentile(off[hidden], 95) < 4
    assert (np.diff(found.rows, axis=0) >= 0).all() and not found.violations.any()
    for b in range(labels.shape[2]):  # whatever was interpolated fits the labels that are there
        layers = as_duke_layers(found.rows)[..., b]
        again = class_map_from_layers(layers, fluid[..., b], len(subject.images))
        np.testing.assert_array_equal(again, labels[..., b])


def test_bscans_do_not_depend_on_each_other(subject):
    whole = surfaces_of_labels(subject.labels)
    for b in (0, 3):
        alone = surfaces_of_labels(subject.labels[..., b])
        np.testing.assert_array_equal(alone.rows, whole.rows[..., b])
        np.testing.assert_array_equal(alone.violations, whole.violations[..., b])


def best_fit(column, n_boundaries):
    """Least sum of distances between classes, of all A-scans in order (dynamic programming)."""
    cost = np.zeros(n_boundaries + 1)
    for value in column:
        cost = np.minimum.accumulate(cost) + np.abs(np.arange(n_boundaries + 1) - value)
    return cost.min()


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 4)),
                     elements=st.integers(0, 3)))  # fmt: skip
def test_repairs_fit_best_of_all(labels):
    found = surfaces_of_labels(labels, n_boundaries=3)
    # Outside of the frame a boundary is NaN: below it when no pixel is at or below it.
    for c, column in enumerate(labels.T):
        rows = found.rows[:, c]
        inside = np.isfinite(rows)
        assert (np.diff(rows[inside]) >= 0).all()
        above = ~inside & [(column >= k).sum() > (column < k).sum() for k in (1, 2, 3)]
        tops = np.where(inside, rows, np.where(above, -1, 99))
        repaired = (np.arange(len(column))[:, None] >= tops).sum(axis=1)
        assert np.abs(repaired - column.astype(int)).sum() == best_fit(column, 3)
        assert found.violations[c] == sum(a > b for a, b in pairwise(column))
        if found.violations[c] == 0:
            np.testing.assert_array_equal(repaired, column)


def test_a_layer_that_is_absent_has_two_boundaries_in_one_place():
    labels = np.array([[0, 1, 3, 3, 5]], np.uint8).T
    rows = surfaces_of_labels(labels, n_boundaries=5).rows[:, 0]
    np.testing.assert_array_equal(rows, [0.5, 1.5, 1.5, 3.5, 3.5])


def test_what_is_unknown():
    labels = np.array(
        [
            [0, 0, 1, 0, 255, 0],
            [0, 1, 1, 255, 255, 0],
            [0, 1, 2, 255, 255, 9],
            [0, 1, 2, 1, 255, 9],
            [0, 1, 2, 2, 255, 2],
        ],
        np.uint8,
    )
    found = surfaces_of_labels(labels, n_boundaries=2)
    nan = np.nan
    np.testing.assert_array_equal(
        found.rows,
        [
            [nan, 0.5, nan, nan, nan, 1.5],  # the last one lies in fluid, and as high as it may
            [nan, nan, 1.5, 3.5, nan, 3.5],
        ],
    )
    np.testing.assert_array_equal(found.seen, [[0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]])


def test_violations_are_counted_across_fluid():
    labels = np.array([[0, 2, 9, 9, 1, 255, 1, 0, 2]], np.uint8).T
    assert surfaces_of_labels(labels, n_boundaries=2).violations.tolist() == [2]


def test_several_classes_of_fluid_and_none():
    labels = np.array([[0, 7, 8, 1]], np.uint8).T
    found = surfaces_of_labels(labels, n_boundaries=1, fluid=(7, 8), ignore=None)
    assert not found.seen.any()
    layers = np.array([[0, 0, 1]], np.uint8).T
    assert surfaces_of_labels(layers, 1, fluid=None, ignore=None).rows.tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((4, 4), 10, np.uint8), "holds the value 10; expected the layers 0 to 8, fluid"),
        (np.full((4, 4), -1, np.int8), "holds the value -1"),
        (np.zeros(4, np.uint8), r"has 1 axes; expected \(rows, columns\)"),
    ],
)
def test_bad_input(labels, message):
    with pytest.raises(ValueError, match=message):
        surfaces_of_labels(labels)


def test_scattered_wrong_pixels_move_boundaries_by_about_a_pixel(subject):
    """Five of a hundred pixels take any class; the order is violated nearly everywhere."""
    rng = np.random.default_rng(0)
    labels = class_map(subject.boundaries, np.zeros_like(subject.fluid), len(subject.images))
    wrong = rng.random(labels.shape) < 0.05
    labels[wrong] = rng.integers(0, 9, np.count_nonzero(wrong))
    found = surfaces_of_labels(labels)
    assert np.isfinite(found.rows).all() and (found.violations > 3).mean() > 0.9
    assert np.abs(found.rows - subject.boundaries).mean() < 1
