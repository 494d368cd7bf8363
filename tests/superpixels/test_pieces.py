"""Superpixels hang together after their pieces were split and joined."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.segmentation import slic

from softlabel.superpixels.pieces import LEAST_SHARE, whole_pieces

IDS = arrays(
    np.int32, array_shapes(min_dims=1, max_dims=3, max_side=8), elements=st.integers(-1, 4)
)


def pieces_of(mask):
    return ndimage.label(mask)[1]


@given(IDS)
def test_every_superpixel_is_one_piece_and_the_mask_stays(ids):
    found = whole_pieces(ids)
    assert found.dtype == np.int32 and found.shape == ids.shape
    np.testing.assert_array_equal(found < 0, ids < 0)
    numbers = np.unique(found[found >= 0])
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    assert all(pieces_of(found == number) == 1 for number in numbers)


@given(IDS)
def test_the_largest_piece_of_a_superpixel_is_never_cut(ids):
    found = whole_pieces(ids)
    for value in np.unique(ids[ids >= 0]):
        labelled, _ = ndimage.label(ids == value)
        largest = labelled == np.bincount(labelled.ravel())[1:].argmax() + 1
        assert len(np.unique(found[largest])) == 1


def test_superpixels_in_one_piece_stay_what_they_are():
    rows, columns = np.indices((20, 24))
    ids = rows // 5 * 4 + columns // 6
    np.testing.assert_array_equal(whole_pieces(ids), ids)


def test_a_large_piece_becomes_a_superpixel_and_a_tiny_one_joins_the_longest_border():
    ids = np.zeros((9, 9), int)
    ids[:, 4:] = 1
    ids[2:6, 6:9] = 0  # a large piece of the first in the second
    assert len(np.unique(whole_pieces(ids))) == 3
    ids[2:6, 6:9] = 1
    ids[3, 8] = 0
    found = whole_pieces(ids)
    assert len(np.unique(found)) == 2 and found[3, 8] == found[0, 8]


def test_a_superpixel_that_is_tiny_as_a_whole_stays():
    ids = np.zeros((9, 9), int)
    ids[4, 4] = 1
    np.testing.assert_array_equal(whole_pieces(ids), ids)


def test_tiny_pieces_without_a_neighbour_stay():
    ids = np.full((10, 10), -1)
    ids[:4] = 0
    ids[8, 8] = 0
    assert np.unique(whole_pieces(ids)).tolist() == [-1, 0, 1]


def test_masked_slic_of_scikit_image_leaves_pieces_and_few_tiny_ones_remain():
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(80, 90)), 2)
    mask = ndimage.gaussian_filter(rng.normal(size=(80, 90)), 1) > 0
    ids = slic(image / np.ptp(image), 60, compactness=1, mask=mask, channel_axis=None) - 1
    scattered = sum(pieces_of(ids == n) > 1 for n in np.unique(ids[mask]))
    assert scattered > 3
    found = whole_pieces(ids)
    sizes = np.bincount(found[mask])
    tiny = np.flatnonzero(sizes < LEAST_SHARE * sizes.mean() / 2)
    regions = ndimage.label(mask)[0]
    for number in tiny:  # what is left is the largest piece of its superpixel, or an island
        where = found == number
        island = regions == regions[where][0]
        assert island.sum() == where.sum() or where.sum() == max(
            np.bincount(ndimage.label(ids == ids[where][0])[0].ravel())[1:]
        )
