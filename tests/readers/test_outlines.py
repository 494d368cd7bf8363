"""Outlines and run lengths against naive references, matplotlib, scikit-image, pycocotools."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path as Outline
from skimage.draw import polygon

from softlabel.readers import outlines
from softlabel.readers.outlines import outline_pixels, paint, run_length_pixels

SHAPE = (9, 11)


def as_mask(pixels, shape):
    mask = np.zeros(shape, dtype=bool)
    mask.flat[pixels] = True
    assert np.count_nonzero(mask) == len(pixels)
    return mask


def outline_mask(vertices, shape):
    return as_mask(outline_pixels([vertices], shape), shape)


def run_length_mask(counts, shape):
    return as_mask(run_length_pixels(counts, shape), shape)


def centres():
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)


@pytest.mark.parametrize("seed", range(20))
def test_convex_outlines_are_those_of_matplotlib(seed):
    """Random corners: no centre of a pixel lies on a line."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    radius = rng.uniform(2, 8)
    vertices = rng.uniform(2, 8, 2) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inside = Outline(np.vstack([vertices, vertices[:1]])).contains_points(centres())
    np.testing.assert_array_equal(outline_mask(vertices, SHAPE), inside.reshape(SHAPE))


@pytest.mark.parametrize("turned", [False, True])
def test_centres_on_a_line_belong_to_what_is_right_of_it_or_below(turned):
    vertices = [(1.5, 1.5), (4.5, 1.5), (4.5, 3.5), (1.5, 3.5)]
    expected = np.zeros(SHAPE, dtype=bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(outline_mask(vertices[:: -1 if turned else 1], SHAPE), expected)


@pytest.mark.parametrize("seed", range(20))
def test_outlines_that_share_lines_share_no_pixel_and_leave_none_out(seed):
    """Triangles around a point, corners on a grid of half pixels, where many centres are."""
    rng = np.random.default_rng(seed)
    (x, y), (bottom, right) = rng.integers(1, 17, 2) / 2, SHAPE
    ring = [(0, 0), (right, 0), (right, bottom), (rng.integers(2, 20) / 2, bottom), (0, bottom)]
    pieces = [
        outline_mask([(x, y), *ends], SHAPE).astype(int)
        for ends in zip(ring, [*ring[1:], ring[0]], strict=True)
    ]
    np.testing.assert_array_equal(sum(pieces), np.ones(SHAPE, dtype=int))


@pytest.mark.parametrize("seed", range(10))
def test_outlines_of_many_corners_are_those_of_scikit_image(seed):
    """Corners away from centres: where a centre lies on no line, no rule is needed for it."""
    vertices = np.random.default_rng(seed).uniform(-3, 14, (40, 2))
    expected = np.zeros(SHAPE, dtype=bool)
    expected[polygon(vertices[:, 1] - 0.5, vertices[:, 0] - 0.5, SHAPE)] = True
    np.testing.assert_array_equal(outline_mask(vertices, SHAPE), expected)


def test_a_ring_inside_of_another_is_a_hole_and_one_inside_of_that_an_island():
    rings = [[(a, a), (9 - a, a), (9 - a, 9 - a), (a, 9 - a)] for a in (0, 2, 4)]
    mask = as_mask(outline_pixels(rings, SHAPE), SHAPE)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[:, :9], expected[2:7, 2:7], expected[4, 4] = True, False, True
    np.testing.assert_array_equal(mask, expected)


def test_inside_is_what_an_odd_number_of_crossings_separates():
    star = [(5.3, 0.2), (7.9, 8.4), (0.4, 3.3), (10.2, 3.1), (2.7, 8.2)]

    def crossings(x, y):
        ends = zip(star, [*star[1:], star[0]], strict=True)
        return sum(
            (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay)
            for (ax, ay), (bx, by) in ends
        )

    odd = np.array([crossings(x, y) % 2 == 1 for x, y in centres()]).reshape(SHAPE)
    assert not odd[4, 5]  # the middle of the star
    np.testing.assert_array_equal(outline_mask(star, SHAPE), odd)


def test_outlines_beyond_the_image_are_cut():
    assert outline_mask([(-50, -50), (50, -50), (50, 50), (-50, 50)], SHAPE).all()
    assert not outline_mask([(20, 20), (30, 20), (30, 30)], SHAPE).any()


@pytest.mark.parametrize(
    "vertices",
    [
        [],
        [(1, 1), (2, 2)],
        [(1, 2, 3)] * 4,
        [(0, 0), (1, np.nan), (1, 1)],
        [(0, 0), (1e9, 0), (1, 1)],
    ],
)
def test_what_is_no_outline(vertices):
    with pytest.raises(ValueError, match="outline"):
        outline_mask(vertices, SHAPE)


def test_outlines_that_would_take_for_ever(monkeypatch):
    monkeypatch.setattr(outlines, "MAX_CUTS", 17)
    with pytest.raises(ValueError, match="4 lines cut 18 rows"):
        outline_mask([(0, 0), (11, 0), (11, 9), (0, 9)], SHAPE)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_run_lengths_are_those_of_pycocotools(mask):
    coco = pytest.importorskip("pycocotools.mask")
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(run_length_mask(encoded["counts"].decode(), mask.shape), mask)
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    runs = [0, *runs] if flat[0] else runs
    np.testing.assert_array_equal(run_length_mask(runs, mask.shape), mask)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_any_text_is_run_lengths_or_an_error(text):
    with suppress(ValueError):
        assert run_length_mask(text, (3, 4)).shape == (3, 4)


@pytest.mark.parametrize("counts", [[12, 1], [-1, 13], [], [6.0, 6.0], [True, 11], "", "o" * 40])
def test_runs_that_do_not_fill_the_image(counts):
    with pytest.raises(ValueError, match="run lengths"):
        run_length_mask(counts, (3, 4))


def test_later_regions_lie_over_earlier_ones():
    first, second = np.arange(0, 12), np.arange(8, 16)
    regions = [(1, first), (300, second), (300, second)]
    labels, covered = paint((4, 4), regions, below=[(7, np.arange(16))])
    assert covered == 4 and labels.dtype == np.uint16
    np.testing.assert_array_equal(labels[:, 0], [1, 1, 300, 300])
    below, covered = paint((4, 4), [], below=[(7, first)])
    assert covered == 0 and below.dtype == np.uint8
    np.testing.assert_array_equal(below[:, 0], [7, 7, 7, 0])
