"""Rings by dilation, against a walk from face to face through known pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes

import softlabel

widths = st.sampled_from([1, 2, 5])


def soften(scene, **options):
    return softlabel.soften(
        scene.labels, method="dilation", classes=scene.classes, ignore=scene.ignore, **options
    )


def ring_around(own, known, dilations):
    """Known pixels outside that are at most so many steps away, one pixel after another."""
    steps = {tuple(p): 0 for p in np.argwhere(own)}
    front = list(steps)
    for distance in range(1, dilations + 1):
        reached = []
        for place in front:
            for axis in range(own.ndim):
                for side in (-1, 1):
                    to = list(place)
                    to[axis] += side
                    to = tuple(to)
                    inside = all(0 <= i < n for i, n in zip(to, own.shape, strict=True))
                    if inside and known[to] and to not in steps:
                        steps[to] = distance
                        reached.append(to)
        front = reached
    ring = np.zeros(own.shape, bool)
    for place, distance in steps.items():
        ring[place] = distance > 0
    return ring


def expected(scene, dilations, ring):
    known = scene.labels != scene.ignore
    regions = [(scene.labels == value) & known for value in scene.classes]
    rings = np.array([ring_around(own, known, dilations) for own in regions])
    rings[0] = False
    q = np.array(regions, float)
    q += ring * rings
    q[0] *= np.maximum(1 - ring * rings.sum(axis=0), 0)
    return q


@given(scene=scenes(), dilations=widths, ring=st.sampled_from([0.3, 0.5, 1.0, 0.0]))
def test_equals_walking(scene, dilations, ring):
    found = soften(scene, dilations=dilations, ring=ring)
    np.testing.assert_allclose(found.dense(), expected(scene, dilations, ring), atol=1e-6)


@given(scene=scenes())
def test_divided_by_the_sum(scene):
    plain = soften(scene).dense(np.float64)
    total = plain.sum(axis=0)
    divided = soften(scene, normalize="sum").dense()
    np.testing.assert_allclose(divided, plain / np.where(total > 0, total, 1), atol=1e-6)


def test_the_row_of_the_module():
    labels = np.array([0, 0, 0, 0, 1, 1, 0, 0, 0])
    q = softlabel.soften(labels, method="dilation", dilations=2).dense()
    np.testing.assert_allclose(q[1], [0, 0, 0.3, 0.3, 1, 1, 0.3, 0.3, 0], atol=1e-7)
    np.testing.assert_allclose(q[0], [1, 1, 0.7, 0.7, 0, 0, 0.7, 0.7, 1], atol=1e-7)


def test_rings_that_overlap():
    """Another class keeps 1 under a ring, and the background has 1 − 2 · 0.3 under two of them."""
    q = softlabel.soften(np.array([1, 0, 2]), method="dilation", dilations=2).dense()
    np.testing.assert_allclose(q, [[0, 0.4, 0], [1, 0.3, 0.3], [0.3, 0.3, 1]], atol=1e-7)


def test_the_background_is_not_below_zero():
    q = softlabel.soften(np.array([1, 0, 2]), method="dilation", ring=0.6, dilations=1).dense()
    np.testing.assert_allclose(q[:, 1], [0, 0.6, 0.6], atol=1e-7)


def test_a_ring_does_not_cross_ignored_pixels():
    q = softlabel.soften(np.array([1, 9, 0, 0]), method="dilation", ignore=9).dense()
    np.testing.assert_array_equal(q, [[0, 0, 1, 1], [1, 0, 0, 0]])


def test_of_a_ball_in_three_dimensions_from_face_to_face():
    labels = np.zeros((9, 9, 9), int)
    labels[4, 4, 4] = 1
    ring = softlabel.soften(labels, method="dilation", dilations=2).dense()[1] == np.float32(0.3)
    steps = np.abs(np.indices(labels.shape) - 4).sum(axis=0)
    np.testing.assert_array_equal(ring, (steps > 0) & (steps <= 2))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"dilations": 0}, "dilations must be at least 1; got 0"),
        ({"dilations": 1.5}, "dilations must be an integer; got 1.5"),
        ({"ring": 1.1}, "ring must lie in 0..1; got 1.1"),
        ({"ring": float("nan")}, "ring must lie in 0..1; got nan"),
    ],
)
def test_refusals(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        softlabel.soften(np.array([0, 1]), method="dilation", **option)
