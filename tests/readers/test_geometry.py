from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from softlabel.errors import CaseError
from softlabel.readers.geometry import (
    check_same_grid,
    check_same_shape,
    corner_shift_voxels,
    require_invertible,
    spacing_from_affine,
)
from softlabel.readers.pixels import Pixels

A, B = Path("image.nii.gz"), Path("seg.nii.gz")


def pixels(affine=None, spacing=None, shape=(100, 80, 20)):
    if affine is not None:
        spacing = spacing_from_affine(affine, len(shape))
    return Pixels(np.broadcast_to(np.uint8(0), shape), spacing_mm=spacing, affine=affine)


def affine_of(spacing, origin=(0, 0, 0), degrees=0.0):
    affine = np.diag([*spacing, 1.0])
    affine[:3, :3] = (
        Rotation.from_euler("xz", [degrees, degrees], degrees=True).as_matrix() * spacing
    )
    affine[:3, 3] = origin
    return affine


def test_spacing_of_a_rotated_grid():
    assert spacing_from_affine(affine_of((0.5, 0.75, 3.0), degrees=30), 3) == pytest.approx(
        (0.5, 0.75, 3.0)
    )


def test_spacing_is_what_was_meant_and_not_its_float32():
    affine = np.diag(np.float32([0.958, 0.958, 3.0, 1.0]))
    assert spacing_from_affine(affine, 3) == (0.958, 0.958, 3.0)


@given(shift=st.floats(-1, 1), degrees=st.floats(-180, 180))
def test_a_translation_shifts_every_corner_by_as_many_voxels(shift, degrees):
    first = affine_of((0.5, 0.5, 3.0), degrees=degrees)
    second = first.copy()
    second[:3, 3] += shift * first[:3, 2]
    assert corner_shift_voxels(first, second, (10, 9, 8)) == pytest.approx(abs(shift), abs=1e-5)


def test_a_spacing_error_grows_with_the_volume():
    first, second = affine_of((1, 1, 1)), affine_of((1.001, 1, 1))
    assert corner_shift_voxels(first, second, (50, 5, 5)) < 0.1
    assert corner_shift_voxels(first, second, (200, 5, 5)) > 0.1


def test_one_slice_still_has_a_thickness():
    first, second = affine_of((1, 1, 3)), affine_of((1, 1, 5))
    assert corner_shift_voxels(first, second, (9, 9, 1)) == pytest.approx(1 / 3, abs=1e-6)


def test_rounding_passes_and_a_different_grid_is_refused_naming_both():
    image = pixels(affine_of((0.958, 0.958, 3.0), (-117.3, -112.1, 30.0), 5))
    rounded = np.asarray(image.affine, dtype=np.float32).astype(float)
    check_same_grid(image, A, pixels(rounded), B)
    other = pixels(affine_of((0.98, 0.958, 3.0), (-117.3, -110.0, 30.0), 5))
    with pytest.raises(CaseError) as caught:
        check_same_grid(image, A, other, B)
    for part in ("image.nii.gz", "seg.nii.gz", "0.958", "0.98", "-112.1", "-110"):
        assert part in str(caught.value)


def test_flipped_axes_are_refused():
    with pytest.raises(CaseError, match="different grids"):
        check_same_grid(pixels(np.eye(4)), A, pixels(np.diag([-1.0, 1, 1, 1])), B)


def test_files_without_a_place_agree_with_every_other():
    check_same_grid(pixels(), A, pixels(np.diag([3.0, 1, 1, 1])), B)
    check_same_grid(pixels(np.eye(4)), A, pixels(), B)


def test_files_with_a_spacing_only_are_compared_by_that():
    check_same_grid(pixels(spacing=(1.0, 1.0, 3.0)), A, pixels(affine_of((1, 1, 3), (9, 9, 9))), B)
    with pytest.raises(CaseError, match=r"spacing 1 × 1 × 3 mm against spacing 1 × 1 × 5 mm"):
        check_same_grid(pixels(spacing=(1.0, 1.0, 3.0)), A, pixels(spacing=(1.0, 1.0, 5.0)), B)
    flat = pixels(spacing=(1.0, 1.0), shape=(100, 80))
    with pytest.raises(CaseError, match="different grids"):
        check_same_grid(flat, A, pixels(spacing=(1.0, 1.1), shape=(100, 80)), B)


def test_shapes():
    with pytest.raises(CaseError, match=r"image.nii.gz has the shape 100 × 80 × 20 and seg.*5 × 4"):
        check_same_shape(pixels(), A, pixels(shape=(5, 4)), B)
    channels = Pixels(np.zeros((4, 5, 3)), channel_axis=2)
    check_same_shape(channels, A, pixels(shape=(4, 5)), B)


@pytest.mark.parametrize(
    "bad",
    [
        np.diag([1.0, 0, 1, 1]),
        np.diag([1.0, np.nan, 1, 1]),
        np.ones((4, 4)),
        np.diag([1.0, 1e-60, 1, 1]),  # a spacing of 0 in the float32 of most headers
        np.diag([1e60, 1e60, 1e60, 1]),
    ],
)
def test_affines_that_place_nothing(bad):
    with pytest.raises(CaseError, match="cannot be inverted"):
        require_invertible(bad, A)


def test_micrometre_voxels_are_no_singularity():
    require_invertible(np.diag([1e-5, 1e-5, 1e-5, 1.0]), A)
