"""Outlines and run lengths against a naive reference, matplotlib and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path as Outline

from softlabel.readers import outlines
from softlabel.readers.outlines import outline_mask, paint, run_length_mask

SHAPE = (9, 11)


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


def test_centres_on_the_line_belong_to_the_outline():
    mask = outline_mask([(1.5, 1.5), (4.5, 1.5), (4.5, 3.5), (1.5, 3.5)], SHAPE)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[1:4, 1:5] = True
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
    monkeypatch.setattr(outlines, "MAX_STEPS", 300)
    with pytest.raises(ValueError, match="4 vertices around a large area"):
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
    try:
        assert run_length_mask(text, (3, 4)).shape == (3, 4)
    except ValueError:
        pass


@pytest.mark.parametrize("counts", [[12, 1], [-1, 13], [], [6.0, 6.0], [True, 11], "", "o" * 40])
def test_runs_that_do_not_fill_the_image(counts):
    with pytest.raises(ValueError, match="run lengths"):
        run_length_mask(counts, (3, 4))


def test_later_regions_lie_over_earlier_ones():
    first, second = np.zeros((2, 4, 4), dtype=bool)
    first[:3], second[2:] = True, True
    labels, covered = paint((4, 4), [(1, first), (300, second), (300, second)])
    assert covered == 4 and labels.dtype == np.uint16
    np.testing.assert_array_equal(labels[:, 0], [1, 1, 300, 300])
    assert paint((4, 4), [])[0].dtype == np.uint8
