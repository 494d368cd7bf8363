"""Which saturated areas are registration wedges."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.phantom import make_oct_subject
from softlabel.wedges import MIN_WEDGE_PIXELS, find_wedges, saturation_level


def noise(shape=(80, 60), dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(20, 200, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_wedges_of_both_ends_are_found_in_any_type(dtype):
    image = noise(dtype=dtype)
    wedge = np.tri(80, 60, -30, dtype=bool) | np.tri(80, 60, -50, dtype=bool)[::-1, ::-1]
    image[wedge] = saturation_level(np.array([4000 if dtype != np.uint8 else 255], dtype))
    np.testing.assert_array_equal(find_wedges(image), wedge)


def test_bright_tissue_is_no_wedge():
    image = noise()
    image[30:50, :20] = 255  # touches the left border only
    image[60:70, 20:40] = 255  # touches none
    image[0, :10] = 255  # few pixels
    speckled = np.random.default_rng(1).random((20, 60)) < 0.75
    image[:20][speckled] = 255  # saturated tissue at the top, in one connected area
    assert not find_wedges(image).any()
    assert find_wedges(image, min_solid=0).any()


def test_an_image_without_saturation_has_no_wedge():
    image = noise()
    image[:, :3] = image.max()
    assert image.max() < 255 and not find_wedges(image).any()


def test_the_smallest_wedge():
    image = noise()
    image[0, :MIN_WEDGE_PIXELS] = 255
    assert find_wedges(image).sum() == MIN_WEDGE_PIXELS
    image[0, 0] = 0
    assert not find_wedges(image).any()


def test_the_wedges_of_phantoms_and_nothing_of_their_retina():
    subject = make_oct_subject(1001, 1, (496, 256, 6))
    row = np.arange(496)[:, None, None]
    retina = (row >= subject.boundaries[0]) & (row < subject.boundaries[7])
    count = 0
    for b in range(6):
        image = subject.images[..., b]
        found = find_wedges(image)
        tissue = retina[..., b] & (image < 255)
        assert not (found & tissue).any()
        # a phantom shows 255 in wedges only
        assert np.count_nonzero((image == 255) & ~found) < 2 * MIN_WEDGE_PIXELS
        count += found.any()
    assert count >= 3
