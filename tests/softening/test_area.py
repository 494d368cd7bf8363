"""Shares of classes on a coarser grid, against counting on a grid that both divide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes

from softlabel.softening import soften_by_area


def counted(labels, shape, classes, ignore):
    """Every voxel as m voxels along an axis, of which each new one takes n."""
    fine = labels
    for axis, m in enumerate(shape):
        fine = fine.repeat(m, axis)
    cells = [length for n, m in zip(labels.shape, shape, strict=True) for length in (m, n)]
    inner = tuple(range(1, 2 * labels.ndim, 2))
    known = (fine != ignore).reshape(cells).mean(axis=inner)
    shares = [((fine == c) & (fine != ignore)).reshape(cells).mean(axis=inner) for c in classes]
    return np.where(known >= 0.5, np.array(shares) / np.where(known > 0, known, 1), 0)


@given(scene=scenes(), data=st.data())
def test_equals_counting(scene, data):
    shape = tuple(data.draw(st.integers(1, min(n, 12))) for n in scene.labels.shape)
    maps = soften_by_area(scene.labels, shape, scene.classes, ignore=scene.ignore)
    wanted = counted(scene.labels, shape, scene.classes, scene.ignore)
    dense = maps.dense()
    np.testing.assert_allclose(dense, wanted, atol=1e-6)
    np.testing.assert_allclose(dense.sum(axis=0), maps.known, atol=1e-6)
    own = np.take_along_axis(dense, np.where(maps.known, maps.index, 0)[None].astype(int), 0)[0]
    assert (own[maps.known] >= dense.max(axis=0)[maps.known] - 1e-6).all()


@given(scene=scenes())
def test_the_same_grid_is_hard(scene):
    maps = soften_by_area(scene.labels, scene.labels.shape, scene.classes, ignore=scene.ignore)
    wanted = [(scene.labels == c) & (scene.labels != scene.ignore) for c in scene.classes]
    np.testing.assert_array_equal(maps.dense(), wanted)
    assert not maps.band.any()


def test_what_is_inside_of_one_class_stays_exactly_hard():
    labels = np.zeros((70, 70), np.uint8)
    labels[:, 40:] = 1
    maps = soften_by_area(labels, (33, 33), range(2))
    assert (maps.band.sum(axis=1) == 1).all()


def test_half_of_a_voxel_has_to_be_known():
    labels = np.array([1, 9, 9, 1, 9, 9, 1, 0])
    maps = soften_by_area(labels, (2,), (0, 1), ignore=9)
    np.testing.assert_array_equal(maps.dense(), [[0, 0.5], [1, 0.5]])
    assert maps.index.tolist() == [1, 0]
    assert soften_by_area(labels[1:5], (1,), (0, 1), ignore=9).index.tolist() == [255]


@pytest.mark.parametrize("shape", [(3,), (3, 5), (0, 4), (2, 2, 2)])
def test_shapes_that_cannot_be(shape):
    with pytest.raises(ValueError, match=r"as many voxels along each axis as the labels, \(3, 4\)"):
        soften_by_area(np.zeros((3, 4), int), shape, (0,))
