"""Quality of superpixels, against SciPy, scikit-image and definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes
from scipy import ndimage
from skimage.segmentation import find_boundaries

from softlabel.superpixels.front import grid
from softlabel.superpixels.quality import (
    achievable_accuracy,
    boundary_pixels,
    boundary_recall,
    box_fill,
    overlaps,
    undersegmentation_error,
)

HALVES = np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 6, axis=0)


@given(scene=scenes(ignore=("none",), holes=False))
def test_boundary_pixels_are_scikit_images(scene):
    expected = find_boundaries(scene.labels, connectivity=1, mode="thick")
    np.testing.assert_array_equal(boundary_pixels(scene.labels), expected)


@given(scene=scenes(ndim=(1, 2)), tolerance=st.integers(0, 3))
def test_boundary_recall_written_out(scene, tolerance):
    """By distances: a boundary pixel counts when a superpixel boundary is within a square."""
    found = boundary_recall(scene.labels, scene.superpixels, tolerance, scene.ignore)
    used = (scene.superpixels >= 0) & (scene.labels != (scene.ignore or -99))
    edge = boundary_pixels(scene.superpixels, used)
    near = np.zeros(edge.shape, bool)
    if edge.any():
        near = ndimage.distance_transform_cdt(~edge, "chessboard") <= tolerance
    truth = boundary_pixels(scene.labels, used)
    np.testing.assert_equal(found.recall, near[truth].mean() if truth.any() else np.nan)
    np.testing.assert_equal(found.chance, near[used].mean() if used.any() else np.nan)
    np.testing.assert_equal(found.over_chance, found.recall - found.chance)


def test_superpixels_of_the_labels_themselves_are_perfect():
    found = boundary_recall(HALVES, HALVES, tolerance=0)
    assert (found.recall, found.chance) == (1.0, 0.25)
    assert undersegmentation_error(HALVES, HALVES) == 0
    accuracy = achievable_accuracy(HALVES, HALVES)
    assert accuracy.overall == 1
    assert accuracy.recall == accuracy.dice == {0: 1.0, 1: 1.0}


def test_a_fine_grid_finds_a_boundary_no_better_than_chance():
    rng = np.random.default_rng(0)
    labels = (ndimage.gaussian_filter(rng.normal(size=(96, 96)), 9) > 0).astype(int)
    found = boundary_recall(labels, grid(labels.shape, 1000), tolerance=1)
    assert found.recall > 0.8 and abs(found.over_chance) < 0.1


@given(scene=scenes())
def test_counts_written_out(scene):
    labels, ids = scene.labels, scene.superpixels
    used = (ids >= 0) & (labels != (scene.ignore if scene.ignore is not None else -99))
    counts, values = overlaps(labels, ids, scene.ignore)
    assert counts.sum() == used.sum()
    leaked, right = 0, 0
    for s in np.unique(ids[used]):
        here = used & (ids == s)
        inside = [int((here & (labels == v)).sum()) for v in values]
        leaked += sum(min(n, int(here.sum()) - n) for n in inside)
        right += max(inside)
    error = undersegmentation_error(labels, ids, scene.ignore)
    accuracy = achievable_accuracy(labels, ids, scene.ignore)
    if not used.any():
        assert np.isnan(error) and np.isnan(accuracy.overall)
        return
    assert error == pytest.approx(leaked / used.sum())
    assert accuracy.overall == pytest.approx(right / used.sum())
    assert set(accuracy.recall) == set(np.unique(labels[used]).tolist())


def test_a_class_that_no_superpixel_takes():
    labels = np.array([0, 0, 0, 1, 5, 5])
    accuracy = achievable_accuracy(labels, np.array([0, 0, 0, 0, 1, 1]))
    assert accuracy.recall == {0: 1.0, 1: 0.0, 5: 1.0}
    assert accuracy.dice[0] == pytest.approx(6 / 7) and accuracy.dice[1] == 0


def test_refusals():
    with pytest.raises(ValueError, match=r"one shape; got \(3,\) and \(4,\)"):
        undersegmentation_error(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match="tolerance must not be negative; got -1"):
        boundary_recall(HALVES, HALVES, tolerance=-1)


@given(scene=scenes(ndim=(1, 2, 3)))
def test_box_fill_by_scipys_boxes(scene):
    boxes = ndimage.find_objects(scene.superpixels + 1)
    filled = [
        (scene.superpixels[box] == one).mean() for one, box in enumerate(boxes) if box is not None
    ]
    assert box_fill(scene.superpixels) == pytest.approx(np.median(filled or [0.0]))


def test_a_grid_fills_its_boxes():
    assert box_fill(grid((20, 30, 7), 50)) == 1
    assert box_fill(np.full((4, 5), -1)) == 0
