"""Which axis is which, and each B-scan as rows and columns."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from softlabel.preprocess.bscans import axes_of, grey_channel, spacing_um, with_notes
from softlabel.types import Case

from .cases import layered


def volume(shape, **changes):
    image = np.arange(np.prod(shape)).reshape(1, *shape)
    return replace(Case("v", image, image[0] * 0, None, source="v.nii"), **changes)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_bscans_of_a_volume_whatever_its_order(order):
    """``order`` has the place of rows, columns and B-scans in the file."""
    shape, spacing = np.zeros(3, int), np.zeros(3)
    for size, step, axis in zip((7, 5, 3), (0.004, 0.01, 0.12), order, strict=True):
        shape[axis], spacing[axis] = size, step
    case = volume(tuple(shape), spacing_mm=tuple(spacing))
    axes = axes_of(case, axial_axis=order[0])
    assert (axes.rows, axes.columns, axes.bscans) == order
    stack = axes.stack(case.image[0])
    assert stack.shape == (3, 7, 5)
    np.testing.assert_array_equal(axes.unstack(stack), case.image[0])
    np.testing.assert_allclose(spacing_um(case, axes)[:2], (4, 10))
    turned = axes.each(lambda bscan: bscan[::-1], case.image[0])
    np.testing.assert_array_equal(turned, np.flip(case.image[0], axis=order[0]))


def test_an_image_on_its_side():
    case = volume((5, 7))
    axes = axes_of(case, axial_axis=1)
    np.testing.assert_array_equal(axes.stack(case.image[0])[0], case.image[0].T)
    np.testing.assert_array_equal(axes.unstack(axes.stack(case.image[0])), case.image[0])


def test_the_slice_axis_of_the_case_counts_more_than_its_spacing():
    case = volume((7, 5, 3), spacing_mm=(0.1, 0.1, 9), slice_axis=1)
    assert axes_of(case).bscans == 1


@pytest.mark.parametrize(
    ("case", "axial_axis", "message"),
    [
        (volume((9,)), 0, "has 1 spatial axes"),
        (volume((9, 9)), 2, "axial_axis is 2, the image has the axes 0..1"),
        (
            volume((9, 9, 9), spacing_mm=(0.958, 0.958, 3.0)),
            0,
            "the pixels lie 0.958 mm apart along the A-scans .axis 0., in OCT at most 0.1 mm",
        ),
        (volume((9, 9, 9), slice_axis=0), 0, "axis 0 is across the slices of this volume"),
    ],
)
def test_axes_that_cannot_be(case, axial_axis, message):
    with pytest.raises(ValueError, match=message):
        axes_of(case, axial_axis)


@pytest.mark.parametrize(("channels", "word"), [(3, "RGB"), (4, "RGB"), (2, "2 channels")])
def test_several_channels(channels, word):
    case = layered(image=np.zeros((channels, 60, 40), np.uint8))
    with pytest.raises(ValueError, match=word):
        grey_channel(case)


def test_a_spacing_that_is_absent_is_assumed_and_said_once():
    case = layered(spacing_mm=None, source="scan.png")
    spacing = spacing_um(case, axes_of(case))
    assert spacing == (3.87, 11.33, True)
    noted = with_notes(with_notes(case, spacing, 0), spacing, 0)
    assert [note.code for note in noted.notes] == ["assumed-spacing"]
    assert "scan.png states no spacing" in noted.notes[0].text
    assert with_notes(layered(), spacing_um(layered(), axes_of(layered())), 0).notes == ()
