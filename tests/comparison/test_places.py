"""Where a comparison looks."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.comparison.places import CLEAR, Line, busiest_class, busiest_slice, line_across

IGNORED = 255


def test_the_first_class_is_taken_only_without_another():
    index = np.zeros((6, 6), np.uint8)
    assert busiest_class(index, IGNORED, 3) == 0
    index[2, 2], index[4, 1:4] = 1, 2
    assert busiest_class(index, IGNORED, 3) == 2


def test_faces_of_ignored_pixels_are_no_boundary():
    index = np.zeros((6, 6), np.uint8)
    index[1, 1] = 1
    index[3:5, :] = 2
    index[2], index[5] = IGNORED, IGNORED
    assert busiest_class(index, IGNORED, 3) == 1


def test_the_slice_with_the_most_boundary_of_a_class():
    index = np.zeros((5, 6, 6), np.uint8)
    index[1, 1:5, 1:5] = 1
    index[3, ::2, :] = 2
    index[3, 0, 0] = 1
    assert busiest_slice(index, 0, IGNORED) == 3
    assert busiest_slice(index, 0, IGNORED, class_index=1) == 1


def disc(shape=(60, 80), middle=(30, 40), radius=18):
    rows, columns = np.indices(shape)
    return np.hypot(rows - middle[0], columns - middle[1]) < radius


@pytest.mark.parametrize("turned", [False, True])
def test_a_line_crosses_a_straight_boundary_squarely(turned):
    inside = np.zeros((60, 80), bool)
    inside[:, 40:] = True
    inside = inside.T if turned else inside
    line = line_across(inside, np.ones_like(inside))
    assert (line.axis, line.crossing) == (0 if turned else 1, 39)
    assert (line.start, line.stop) == (24, 56)
    assert line.of(inside).tolist() == [False] * 16 + [True] * 16


def test_the_crossing_is_one_and_has_no_other_nearby():
    inside = disc()
    inside[:, 2:4] = True  # a thin stripe, whose two sides are close
    line = line_across(inside, np.ones_like(inside), reach=30)
    values = line.of(inside)
    crossing = line.crossing - line.start
    assert values[crossing] != values[crossing + 1]
    [others] = np.nonzero(values[1:] != values[:-1])
    assert all(abs(other - crossing) >= CLEAR for other in others if other != crossing)


def test_what_is_not_known_is_no_boundary():
    inside = np.zeros((40, 40), bool)
    inside[:, 20:] = True
    known = np.ones_like(inside)
    known[:, 19:21] = False
    assert line_across(inside, known) is None
    known[30] = True
    assert line_across(inside, known).place == 30


def test_a_class_without_boundary_has_no_line():
    assert line_across(np.zeros((20, 20), bool), np.ones((20, 20), bool)) is None


def test_a_line_stays_in_the_frame():
    inside = np.zeros((6, 9), bool)
    inside[:, 5:] = True
    line = line_across(inside, np.ones_like(inside))
    assert line == Line(1, line.place, 4, 0, 9)
    assert line.middle == (line.place, 4)


def test_two_boundaries_close_together_are_no_place_for_a_line():
    """Though twice as much boundary lies around them."""
    inside = np.zeros((40, 80), bool)
    inside[:, 15:17] = inside[:, 60:] = True
    assert line_across(inside, np.ones_like(inside), window=(16, 16)).crossing == 59


@pytest.mark.parametrize("turned", [False, True])
def test_a_line_meets_an_oblique_boundary_from_its_front(turned):
    rows, columns = np.indices((60, 60))
    inside = rows > 20 + columns // 3
    line = line_across(inside.T if turned else inside, np.ones_like(inside))
    assert line.axis == (1 if turned else 0)
