"""Errors and thickness in µm, and the layout of the data set."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.phantom import Grader, annotate_oct
from softlabel.readers.layers import class_map_from_layers
from softlabel.surfaces import (
    as_duke_layers,
    from_duke_layers,
    surface_errors,
    surfaces_of_labels,
    thickness_um,
)

AXIAL_UM = 3.87


@pytest.fixture(scope="module")
def graders(subject):
    grader = Grader()
    return [annotate_oct(subject, grader, who) for who in (1, 2)]


def test_errors_between_two_graders(graders):
    one, two = (g.boundaries for g in graders)
    found = surface_errors(one, two, AXIAL_UM)
    for k in range(8):
        both = [
            (a - b) * AXIAL_UM
            for a, b in zip(one[k].ravel(), two[k].ravel(), strict=True)
            if a == a and b == b
        ]
        assert found.n[k] == len(both) > 100
        np.testing.assert_allclose(found.absolute_um[k], np.mean(np.abs(both)))
        np.testing.assert_allclose(found.signed_um[k], np.mean(both), atol=1e-9)
    assert (found.missing == (np.isfinite(two) & np.isnan(one)).sum(axis=(1, 2))).all()


def test_deeper_is_positive_and_a_shift_is_found():
    reference = np.arange(24, dtype=float).reshape(2, 4, 3)
    found = surface_errors(reference + 2, reference, AXIAL_UM)
    np.testing.assert_allclose(found.signed_um, 2 * AXIAL_UM)
    none = surface_errors(np.full((2, 3), np.nan), np.ones((2, 3)), 1.0)
    assert np.isnan(none.absolute_um).all() and none.missing.tolist() == [3, 3]


def test_a_label_map_of_a_grader_has_no_error_against_that_grader(graders, subject):
    """Which holds with the data set's values, whole or not."""
    for annotation in graders:
        layers = annotation.boundaries + 1  # MATLAB counts from 1
        for values in (layers, np.rint(layers)):
            labels = np.stack([
                class_map_from_layers(values[..., b], None, len(subject.images))
                for b in range(values.shape[2])
            ], axis=-1)  # fmt: skip
            rows = surfaces_of_labels(labels).rows
            found = surface_errors(rows, from_duke_layers(values), AXIAL_UM)
            assert (found.absolute_um == 0).all() and (found.n > 100).all()
            with_fractions = from_duke_layers(values, whole=False)
            off = surface_errors(rows, with_fractions, AXIAL_UM)
            assert (off.absolute_um <= AXIAL_UM / 2 + 1e-9).all()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("row_base", [0, 1])
def test_the_layout_stands_for_the_same_labels_and_comes_back(graders, whole, row_base):
    rows = from_duke_layers(graders[0].boundaries + 1, whole=whole)
    layers = as_duke_layers(rows, row_base, whole)
    assert layers.shape == rows.shape and layers.dtype == np.float64
    annotated = np.isfinite(rows).all(axis=0)
    np.testing.assert_array_equal(np.isfinite(layers), np.broadcast_to(annotated, rows.shape))
    back = from_duke_layers(layers, row_base, whole)
    np.testing.assert_allclose(back[:, annotated], rows[:, annotated])
    np.testing.assert_array_equal(
        class_map_from_layers(layers[..., 2], None, 320, row_base),
        class_map_from_layers(graders[0].boundaries[..., 2] + 1, None, 320),
    )


def test_thickness(subject):
    truth = thickness_um(subject.boundaries, 0, 7, AXIAL_UM)
    assert truth.shape == (384, 6)
    np.testing.assert_allclose(truth, AXIAL_UM * (subject.boundaries[7] - subject.boundaries[0]))
    found = thickness_um(surfaces_of_labels(subject.labels).rows, 0, 7, AXIAL_UM)
    assert np.abs(found - truth).max() <= AXIAL_UM + 1e-9


def test_bad_input():
    rows = np.zeros((3, 5))
    with pytest.raises(ValueError, match=r"the shape \(3, 5\) and the reference \(3, 4\)"):
        surface_errors(rows, rows[:, 1:], 1.0)
    for upper, lower in ((1, 1), (2, 1), (0, 3), (-1, 1)):
        with pytest.raises(ValueError, match="do not lie one above the other"):
            thickness_um(rows, upper, lower, 1.0)
    with pytest.raises(ValueError, match="axial_um must be a distance above 0; got 0"):
        thickness_um(rows, 0, 1, 0)
    with pytest.raises(ValueError, match="axial_um must be a distance above 0; got nan"):
        surface_errors(rows, rows, float("nan"))
