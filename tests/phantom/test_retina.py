"""The anatomy of a macula: boundaries in order, fluid where it belongs."""

import numpy as np
import pytest
from scipy import ndimage

from softlabel.phantom import make_oct_subject


def test_boundaries_are_ordered_within_the_frame(subject):
    assert np.diff(subject.boundaries, axis=0).min() > 0
    assert subject.boundaries.min() > 0
    assert subject.boundaries.max() < 495


def test_fluid_is_dark_and_lies_in_the_inner_and_outer_nuclear_layers(subject):
    wet = subject.fluid > 0
    assert wet.any()
    assert not wet.all(axis=(0, 1)).any()
    dry_labels = make_dry(subject)
    assert set(np.unique(dry_labels[wet])) <= {3, 5}
    core = ndimage.binary_erosion(wet, np.ones((5, 5, 1)))
    tissue = (dry_labels == 5) & ~ndimage.binary_dilation(wet, np.ones((7, 7, 1)))
    assert np.median(subject.clean[core]) + 15 < np.median(subject.clean[tissue])


def make_dry(subject):
    row = np.arange(len(subject.images))[:, None, None, None]
    return (row >= subject.boundaries.transpose(1, 2, 0)).sum(axis=-1)


def test_fluid_regions_are_numbered_and_connected(subject):
    for b in range(7):
        fluid = subject.fluid[..., b]
        numbers = np.unique(fluid)
        assert np.array_equal(numbers, np.arange(len(numbers)))
        assert len(numbers) <= 16
        for number in numbers[1:]:
            assert ndimage.label(fluid == number)[1] == 1


@pytest.mark.parametrize("shape", [(224, 128, 1), (224, 768, 2), (600, 200, 1)])
def test_the_smallest_sizes_hold_a_retina(shape):
    for number in range(1, 6):
        subject = make_oct_subject(6, number, shape)
        inside = (subject.boundaries > 0) & (subject.boundaries < shape[0] - 1)
        assert inside.mean() > 0.98
