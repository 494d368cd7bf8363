"""Scores of soft maps against dense arrays and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import blobs
from scipy.stats import entropy

from softlabel.comparison import scores
from softlabel.comparison.scores import FLOOR, near_boundary, roc_area, score_maps
from softlabel.softening import soften
from softlabel.softmaps import from_class_maps
from softlabel.types import ClassTable

IGNORED = 255


def known_blobs(shape, n_classes):
    labels, _ = blobs(shape, n_classes)
    return np.where(labels == 99, IGNORED, labels).astype(np.uint8)


@pytest.fixture
def scene():
    """Hard labels with ignored rows, others that are 'true', soft maps, and which are known."""
    labels = known_blobs((40, 52), 4)
    labels[:3] = IGNORED
    truth = np.roll(labels, (2, 1), (0, 1))
    maps = soften(
        labels, np.indices(labels.shape).sum(0) // 9, classes=range(4), ignore=IGNORED,
        boundary="outer",
    )  # fmt: skip
    return labels, truth, maps


@pytest.mark.parametrize("slab_values", [1, 10**9])
def test_scores_are_those_of_dense_arrays(scene, monkeypatch, slab_values):
    monkeypatch.setattr(scores, "SLAB_VALUES", slab_values)
    labels, truth, maps = scene
    near = np.zeros(labels.shape, bool)
    near[:, 20:30] = True
    found = score_maps(maps, labels, truth, near)
    soft, known = maps.dense(np.float64), labels != IGNORED
    assert found.softened == ((soft > 0) & (soft < 1)).any(0)[known].mean()
    assert found.entropy_bits == pytest.approx(entropy(soft[:, known], base=2).mean(), rel=1e-5)
    changed = [soft[:, i, j].max() > soft[labels[i, j], i, j] for i, j in np.argwhere(known)]
    assert found.changed == np.mean(changed)
    brier, log, close = [], [], []
    for i, j in np.argwhere(known & (truth != IGNORED)):
        p = soft[:, i, j] / soft[:, i, j].sum()
        brier.append(((p - np.eye(4)[truth[i, j]]) ** 2).sum())
        log.append(-np.log(max(p[truth[i, j]], FLOOR)))
        close.append(near[i, j])
    assert found.brier == pytest.approx(np.mean(brier), rel=1e-6)
    assert found.log == pytest.approx(np.mean(log), rel=1e-6)
    assert found.near_brier == pytest.approx(np.mean(np.array(brier)[close]), rel=1e-6)
    assert found.near_log == pytest.approx(np.mean(np.array(log)[close]), rel=1e-6)


def test_label_smoothing_softens_every_known_pixel():
    labels = known_blobs((20, 30), 3)
    labels[:5] = IGNORED
    known = labels != IGNORED
    maps = soften(labels, classes=range(3), ignore=IGNORED, method="smoothing", epsilon=0.3)
    found = score_maps(maps, labels)
    assert found.softened == 1.0
    smooth = [0.8, 0.1, 0.1]
    assert found.entropy_bits == pytest.approx(entropy(smooth, base=2), rel=1e-5)
    assert known.any() and not known.all()


def test_pixels_of_two_classes_are_softened_though_no_value_is_between_0_and_1():
    hard = np.array([0, 0, 1], np.uint8)
    grown = (1, (slice(0, 3),), np.array([0.0, 1.0, 1.0]))
    maps = from_class_maps(hard, ClassTable.from_values([0, 1]), [grown])
    np.testing.assert_array_equal(maps.dense(), [[1, 1, 0], [0, 1, 1]])
    assert score_maps(maps, hard).softened == pytest.approx(1 / 3)


def test_a_blur_that_swallows_a_thin_class_changes_its_pixels():
    labels = np.zeros((20, 20), np.uint8)
    labels[:, 9] = 1
    found = score_maps(soften(labels, method="gaussian", blur=2), labels)
    assert found.changed == 20 / 400
    assert found.brier != found.brier and found.near_log != found.near_log


def test_hard_labels_that_are_wrong_cost_the_floor_of_the_log_score():
    labels, truth = np.array([0, 0, 1, 1], np.uint8), np.array([0, 1, 1, 1], np.uint8)
    found = score_maps(soften(labels, method="hard"), labels, truth)
    assert (found.softened, found.entropy_bits, found.changed) == (0, 0, 0)
    assert found.brier == 2 / 4
    assert found.log == pytest.approx(-np.log(FLOOR) / 4)


@pytest.mark.parametrize("spacing", [None, (0.5, 1.5)])
def test_near_a_boundary_are_pixels_no_further_than_that(spacing):
    labels = known_blobs((17, 19), 3)
    labels[5:8, 3:9] = IGNORED
    step = np.array(spacing or (1, 1)) / min(spacing or (1, 1))
    edges = []
    for i, j in np.ndindex(labels.shape):
        for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= i + di < 17 and 0 <= j + dj < 19:
                a, b = labels[i, j], labels[i + di, j + dj]
                if a != b and IGNORED not in (a, b):
                    edges.append((i, j))
    for i, j in np.ndindex(labels.shape):
        distance = min(np.hypot(*((np.array(e) - (i, j)) * step)) for e in edges)
        expected = labels[i, j] != IGNORED and distance <= 2
        assert near_boundary(labels, 2, spacing)[i, j] == expected


def test_an_image_of_one_class_has_no_boundary():
    assert not near_boundary(np.zeros((5, 5), np.uint8), 8).any()


@pytest.mark.parametrize("seed", range(4))
def test_the_area_is_the_share_of_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    values, positive = rng.integers(0, 6, 60) / 6, rng.random(60) < 0.3
    pairs = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p in values[positive] for n in values[~positive]
    ]  # fmt: skip
    assert roc_area(values, positive) == pytest.approx(np.mean(pairs))


def test_pixels_of_one_kind_have_no_area():
    for kind in (True, False):
        assert np.isnan(roc_area(np.arange(3.0), np.full(3, kind)))
