"""The part of a case that settings are tried on, and its superpixels."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest

from softlabel.generation.case_superpixels import make_superpixels
from softlabel.generation.settings import Settings
from softlabel.superpixels import slic
from softlabel.tuning.pieces import Piece, Scan, class_positions, excerpt_of
from softlabel.types import Case


def scan_of(case: Case, axis: int | None = None) -> Scan:
    spacing = case.spacing_mm or (1.0,) * len(case.shape)
    return Scan(
        case.id, case.image, case.labels, case.ignore, case.mask,
        tuple(s / min(spacing) for s in spacing), axis,
    )  # fmt: skip


@pytest.mark.parametrize("percentiles", [(0.0, 100.0), (2.0, 90.0)])
@pytest.mark.parametrize("make", [factories.small_case, factories.oct_case, factories.full_case])
def test_in_a_whole_case_superpixels_are_those_of_generate(make, percentiles):
    case = make()
    settings = Settings(
        superpixel_size=23, compactness=0.07, sigma=1.5, channel_percentiles=percentiles
    )
    excerpt = excerpt_of(scan_of(case), percentiles)
    (piece,) = excerpt.pieces
    assert excerpt.is_whole
    ids, asked = make_superpixels(case, settings)
    found = piece.slic(23, 0.07, 1.5)
    assert _same_partition(found, ids) and asked > 1
    assert (found < 0).any() == (case.mask is not None)


def test_in_slices_superpixels_are_those_of_generate():
    case = factories.full_case()
    settings = Settings(superpixel_size=23, slic_dims="slice")
    excerpt = excerpt_of(scan_of(case, axis=2))
    ids = make_superpixels(case, settings)[0]
    assert len(excerpt.pieces) == 5 and excerpt.is_whole
    for number, piece in enumerate(excerpt.pieces):
        assert _same_partition(piece.slic(23, 0.1, 1.0), ids[..., number])


def _same_partition(found, expected):
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(found)) == len(np.unique(expected))


def test_intensities_of_a_part_weigh_as_much_as_in_the_whole():
    """SLIC stretches what it is given to 0..1: an even channel of the whole range undoes that."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 0.4, (1, 40, 40)).astype(np.float32)
    image[0, 0, :2] = 0, 0.4
    index = np.zeros((40, 40), np.int64)
    part = Piece(image, index, (0,), (1.0, 1.0), None, 1.0, 1600)
    within = np.concatenate([image, np.ones_like(image)])
    expected = slic(within, 64, 0.1, 1.0, channel_axis=0)
    np.testing.assert_array_equal(part.slic(25, 0.1, 1.0), expected)
    stretched = replace(part, whole_range=0.4)
    assert not np.array_equal(stretched.slic(25, 0.1, 1.0), expected)


def test_of_a_large_image_a_box_around_the_boundaries_is_looked_at():
    labels = np.zeros((60, 100), np.uint8)
    labels[48:54, 80:90] = 1
    image = np.arange(6000, dtype=np.float32).reshape(1, 60, 100)
    excerpt = excerpt_of(Scan("x", image, labels, None, None, (1.0, 1.0)), most=1500)
    (piece,) = excerpt.pieces
    assert excerpt.largest == 0
    assert excerpt.shape == (60, 100) and excerpt.looked_at == (30, 50) == piece.index.shape
    assert int(piece.index.sum()) == 60, "all of the small structure"
    assert piece.whole_range == 1.0 and piece.whole_pixels == 6000
    assert 0.4 < float(np.ptp(piece.image)) < 0.6


@pytest.mark.parametrize("across", [0, 1, 2])
def test_of_a_volume_of_one_slice_as_much_is_looked_at_as_of_an_image(across):
    labels = np.zeros((60, 100), np.uint8)
    labels[48:54, 80:90] = 1
    image, volume = labels * 1.0, np.expand_dims(labels, across)
    expected = excerpt_of(Scan("x", image[None], labels, None, None, (1.0, 1.0)), most=1500)
    found = excerpt_of(Scan("x", volume[None] * 1.0, volume, None, None, (1.0,) * 3), most=1500)
    (piece,), (plane,) = found.pieces, expected.pieces
    assert found.looked_at == tuple(np.insert(expected.looked_at, across, 1))
    np.testing.assert_array_equal(piece.index.squeeze(across), plane.index)


def test_the_largest_class_is_that_of_the_whole_image():
    """In a box around a structure that most of the image is not, it may be another one."""
    labels = np.zeros((60, 100), np.uint8)
    labels[30:58, 70:98] = 4
    image = np.zeros((1, 60, 100))
    excerpt = excerpt_of(Scan("x", image, labels, None, None, (1.0, 1.0)), most=900)
    assert (excerpt.pieces[0].index == 1).mean() > 0.5 and excerpt.largest == 0


def test_of_many_slices_some_that_a_boundary_crosses_are_looked_at():
    labels = np.zeros((20, 8, 8), np.uint8)
    labels[10:18, 2:5, 2:5] = 3
    image = np.random.default_rng(0).normal(size=(1, 20, 8, 8))
    excerpt = excerpt_of(Scan("x", image, labels, None, None, (1.0,) * 3, 0), most=4 * 64)
    assert excerpt.looked_at == (4, 8, 8)
    assert [int(piece.index.sum()) for piece in excerpt.pieces] == [9] * 4
    assert all(piece.whole_pixels == 64 for piece in excerpt.pieces)


def test_positions_leave_ignored_and_masked_pixels_out():
    labels = np.array([[7, 7, 300], [9, 300, 7]])
    mask = np.array([[True, False, True], [True, True, True]])
    scan = Scan("x", np.zeros((1, 2, 3)), labels, 9, mask, (1.0, 1.0))
    index, values = class_positions(scan)
    assert index.tolist() == [[0, -1, 1], [-1, 1, 0]] and values == (7, 300)


def test_of_a_large_round_object_a_part_with_its_boundary_is_looked_at():
    """At the median of a ring lies nothing of it."""
    labels = (np.hypot(*np.indices((300, 300)) - 150.0) < 130).astype(int)
    scan = Scan("x", labels[None] * 9.0, labels, None, None, (1.0, 1.0))
    [piece] = excerpt_of(scan, most=100 * 100).pieces
    assert set(np.unique(piece.index)) == {0, 1}
