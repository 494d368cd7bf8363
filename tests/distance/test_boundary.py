"""The conventions of a boundary, and the metric that distances are measured by."""

from __future__ import annotations

import numpy as np

from softlabel.distance.boundary import BOUNDARIES, Metric


def test_diagonals_are_measured_between_the_centres_of_corner_pixels():
    lower, upper = np.array([[0, 0, 0], [2, 3, 4]]), np.array([[1, 4, 5], [3, 4, 5]])
    metric = Metric((2.0, 1.0, 0.5), (True, True, True))
    np.testing.assert_allclose(metric.diagonals(lower, upper), [np.sqrt(9 + 4), 0])
    in_plane = Metric((2.0, 1.0, 0.5), (True, False, True))
    np.testing.assert_allclose(in_plane.diagonals(lower, upper), [2, 0])


def test_names_of_the_conventions():
    assert list(BOUNDARIES) == ["inner", "outer", "edge", "symmetric"]
