"""Geodesic distances against Dijkstra's shortest paths over the graph of the pixels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from softlabel.distance.geodesic import geodesic_distance

NEVER = 1e-9
"""Added to every step: an edge of length 0 is none to SciPy."""


def shortest_paths(image, seeds):
    """Dijkstra from all seeds, with an edge between any two pixels that touch."""
    flat = np.arange(image.size).reshape(image.shape)
    places = {tuple(p): flat[tuple(p)] for p in np.argwhere(np.ones(image.shape, bool))}
    edges = []
    for place, start in places.items():
        for step in product((-1, 0, 1), repeat=image.ndim):
            to = tuple(p + s for p, s in zip(place, step, strict=True))
            if any(step) and to in places:
                length = abs(float(image[place]) - float(image[to])) + NEVER
                edges.append((start, places[to], length))
    rows, columns, lengths = zip(*edges, strict=True) if edges else ((), (), ())
    graph = coo_array((lengths, (rows, columns)), shape=(image.size, image.size)).tocsr()
    found = dijkstra(graph, indices=np.flatnonzero(seeds), min_only=True)
    return found.reshape(image.shape)


@given(seed=st.integers(0, 10**6), shape=st.sampled_from([(9,), (1, 1), (7, 8), (5, 3, 6)]))
def test_equals_shortest_paths(seed, shape):
    rng = np.random.default_rng(seed)
    image = rng.integers(-5, 20, shape).astype(rng.choice([np.float32, np.int16]))
    seeds = rng.random(shape) < 0.15
    seeds.flat[rng.integers(seeds.size)] = True
    expected = shortest_paths(image, seeds)
    np.testing.assert_allclose(geodesic_distance(image, seeds), expected, atol=1e-6)


def test_a_winding_way_takes_many_sweeps():
    """A spiral corridor of 0 between walls of 1000: its end is as near as its beginning."""
    image = np.full((15, 15), 1000.0)
    row = column = 1
    path = [(row, column)]
    for length, (down, right) in zip(
        (12, 12, 12, 10, 10, 8, 8, 6, 6, 4, 4, 2),
        [(0, 1), (1, 0), (0, -1), (-1, 0)] * 3,
        strict=True,
    ):
        for _ in range(length):
            row, column = row + down, column + right
            path.append((row, column))
    for place in path:
        image[place] = 0
    seeds = np.zeros(image.shape, bool)
    seeds[path[0]] = True
    assert geodesic_distance(image, seeds)[path[-1]] == 0


def test_no_seed_is_infinitely_far():
    assert np.isinf(geodesic_distance(np.zeros((3, 4)), np.zeros((3, 4), bool))).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_image_is_left_as_it_is(order):
    image = np.asarray(np.arange(12).reshape(3, 4), order=order)
    before = image.copy()
    geodesic_distance(image[:, ::-1], image == 5)
    np.testing.assert_array_equal(image, before)
