"""One grid for all maps of a case, and affines that follow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.preprocess.grid import check_case, check_finite, labelled, moved_affine

from .brains import OBLIQUE, volume


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.ones((9, 7, 4), bool)}, r"the mask has the shape \(9, 7, 4\) and the image"),
        ({"labels": np.ones((2, 9, 7, 6), np.uint8)}, r"the label map has the shape \(9, 7, 6\)"),
        ({"truth": np.ones((7, 9, 5), np.uint8)}, "the true label map has the shape"),
        ({"label_maps": {"b": np.ones((2, 2, 2))}}, "the label map 'b' has the shape"),
        ({"soft": np.ones((4, 9, 7, 1), np.float32)}, "the soft map has the shape"),
    ],
)
def test_maps_of_another_grid_are_named(changes, message):
    check_case(volume())
    with pytest.raises(ValueError, match=message):
        check_case(volume(**changes))


def test_values_that_are_no_numbers_are_named():
    image = np.zeros((2, 3, 3))
    image[1, 0, :2] = np.nan, -np.inf
    with pytest.raises(ValueError, match=r"channel 1 \(T1\) has 2 voxels that are NaN or infinite"):
        check_finite(image, ("FLAIR", "T1"))


@given(
    st.tuples(*[st.floats(-50, 50)] * 3),
    st.tuples(*[st.floats(0.1, 9)] * 3),
    st.tuples(*[st.integers(0, 99)] * 3),
)
def test_a_voxel_lies_where_it_lay(start, scale, voxel):
    moved = moved_affine(OBLIQUE, start, scale)
    before = np.array(start) + np.array(scale) * voxel
    np.testing.assert_allclose(moved @ [*voxel, 1], OBLIQUE @ [*before, 1], atol=1e-9)
    sizes = [np.linalg.norm(affine[:3, :3], axis=0) for affine in (moved, OBLIQUE)]
    np.testing.assert_allclose(sizes[0], sizes[1] * scale)


def test_what_any_rater_drew():
    labels = np.array([[[0, 3, 255]], [[0, 0, 8]]], np.uint8)
    case = volume((1, 3), labels=labels, image=np.ones((1, 1, 3)))
    np.testing.assert_array_equal(labelled(case), [[False, True, True]])
