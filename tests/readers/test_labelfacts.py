"""Label maps in numbers, against counting pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from softlabel.readers.labelfacts import MOST_VALUES, label_facts

MAPS = arrays(
    np.int16, array_shapes(min_dims=1, max_dims=3, max_side=7), elements=st.integers(-2, 4)
)


def neighbours(labels, where):
    """Face neighbours of a pixel: (axis, before or None, after or None)."""
    for axis in range(labels.ndim):
        pair = []
        for step in (-1, 1):
            there = list(where)
            there[axis] += step
            inside = 0 <= there[axis] < labels.shape[axis]
            pair.append(int(labels[tuple(there)]) if inside else None)
        yield pair


@given(MAPS)
def test_counts_edges_and_pieces(labels):
    facts = label_facts(labels)
    assert facts.shape == labels.shape and facts.size == labels.size
    edges = dict.fromkeys(facts.values, 0)
    between = 0
    for where in np.ndindex(labels.shape):
        value = int(labels[where])
        pairs = list(neighbours(labels, where))
        edges[value] += any(v not in (None, value) for pair in pairs for v in pair)
        between += any(
            a is not None and b is not None and (a < value < b or a > value > b) for a, b in pairs
        )
    assert facts.edges == tuple(edges[v] for v in facts.values) and facts.between == between
    rows = zip(facts.values, facts.pixels, facts.pieces, facts.boxes, strict=True)
    for value, pixels, pieces, box in rows:
        assert pixels == (labels == value).sum()
        assert box == tuple((min(at), max(at) + 1) for at in np.nonzero(labels == value))
        assert pieces == ndimage.label(labels == value, np.ones((3,) * labels.ndim))[1]


def test_pieces_of_what_is_no_map_of_classes_are_not_counted():
    many = label_facts(np.arange(MOST_VALUES + 1))
    assert many.pieces == () and many.boxes == ()
    assert len(label_facts(np.arange(MOST_VALUES)).pieces) == MOST_VALUES


@pytest.mark.parametrize("count", [254, 255, 256, 257])
@pytest.mark.parametrize("lowest", [0, -300, 2**40])
def test_values_around_what_a_byte_numbers(count, lowest):
    labels = np.repeat(np.arange(lowest, lowest + 2 * count, 2), 2)
    facts = label_facts(labels)
    assert facts.values == tuple(range(lowest, lowest + 2 * count, 2))
    assert set(facts.pixels) == {2} and set(facts.pieces) == {1}


@pytest.mark.parametrize(
    "values", [[0, 2**63 + 1], [2**63 + 1, 2**63 + 2], [2**63 - 1, 2**63], [3, 70_000]]
)
def test_values_far_apart_and_beyond_int64(values):
    labels = np.repeat(np.array(values, np.uint64), [2, 3])
    facts = label_facts(labels)
    assert (facts.values, facts.pixels, facts.pieces) == (tuple(values), (2, 3), (1, 1))


def test_large_maps_are_numbered_by_blocks(monkeypatch):
    labels = np.asfortranarray(np.random.default_rng(0).integers(-3, 9, (11, 7, 5), np.int8))
    whole = label_facts(labels)
    monkeypatch.setattr("softlabel.readers.labelfacts.BLOCK", 10)
    assert label_facts(labels) == whole
