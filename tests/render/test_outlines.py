from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softlabel.render.outlines import boundaries, chain, rectangles

shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
label_maps = hnp.arrays(np.int16, shapes, elements=st.integers(-1, 4))


def edges_by_hand(labels, where=None):
    """Unit edges ((corner, corner), pair) between pixels of different labels, one by one."""
    found = Counter()
    rows, columns = labels.shape
    for i in range(rows):
        for j in range(columns):
            for k, m, ends in (
                (i, j + 1, ((i, j + 1), (i + 1, j + 1))),
                (i + 1, j, ((i + 1, j), (i + 1, j + 1))),
            ):
                if k == rows or m == columns:
                    continue
                a, b = int(labels[i, j]), int(labels[k, m])
                if a != b and min(a, b) >= 0 and (where is None or where[i, j] or where[k, m]):
                    found[ends, (min(a, b), max(a, b))] += 1
    return found


def unit_edges(ends, pair):
    """A segment cut into unit edges."""
    (r0, c0), (r1, c1) = sorted(map(tuple, np.asarray(ends).tolist()))
    assert (r0 == r1) != (c0 == c1)
    for k in range(max(r1 - r0, c1 - c0)):
        step = (0, 1) if r0 == r1 else (1, 0)
        start = (r0 + k * step[0], c0 + k * step[1])
        yield (start, (start[0] + step[0], start[1] + step[1])), pair


@given(label_maps)
def test_boundaries_are_all_edges_between_different_labels(labels):
    found = boundaries(labels)
    pieces = Counter()
    for ends, pair in zip(found.ends, found.pairs.tolist(), strict=True):
        pieces.update(unit_edges(ends, tuple(pair)))
    assert pieces == edges_by_hand(labels)


@given(label_maps, st.randoms(use_true_random=False))
def test_boundaries_can_be_limited_to_some_pixels(labels, random):
    where = np.array([random.random() < 0.3 for _ in range(labels.size)]).reshape(labels.shape)
    found = boundaries(labels, where)
    pieces = Counter()
    for ends, pair in zip(found.ends, found.pairs.tolist(), strict=True):
        pieces.update(unit_edges(ends, tuple(pair)))
    assert pieces == edges_by_hand(labels, where)


@given(label_maps)
def test_chained_lines_run_along_every_boundary_once(labels):
    pieces = Counter()
    for pair, lines in chain(boundaries(labels)).items():
        for line in lines:
            for ends in pairwise(line):
                pieces.update(unit_edges(ends, pair))
    assert pieces == edges_by_hand(labels)


def test_a_region_has_one_closed_outline():
    labels = np.zeros((9, 9), int)
    labels[2:7, 3:6] = 1
    labels[4, 6] = 1
    ((pair, lines),) = chain(boundaries(labels)).items()
    assert pair == (0, 1)
    (line,) = lines
    assert line[0].tolist() == line[-1].tolist()
    assert len(line) == 9  # eight corners


def test_an_outline_ends_at_the_border_of_the_image():
    labels = np.repeat([[0], [0], [1]], 5, axis=1)
    (line,) = chain(boundaries(labels))[0, 1]
    assert sorted(line.tolist()) == [[2, 0], [2, 5]]


def test_an_image_of_one_label_has_no_outline():
    assert chain(boundaries(np.full((1, 1), 3))) == {}


@given(hnp.arrays(bool, shapes))
def test_rectangles_cover_a_mask_once(mask):
    covered = np.zeros(mask.shape, int)
    for top, left, bottom, right in rectangles(mask).tolist():
        covered[top:bottom, left:right] += 1
    np.testing.assert_array_equal(covered, mask)


def test_ignored_columns_are_one_rectangle():
    mask = np.zeros((50, 80), bool)
    mask[:, 70:] = True
    assert rectangles(mask).tolist() == [[0, 70, 50, 80]]
