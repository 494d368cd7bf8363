"""STAPLE against its formulas written out, and soft STAPLE against STAPLE."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import softlabel
from softlabel.errors import MissingExtraError


def raters(seed=0, shape=(40, 44), n=4, errors=(0.02, 0.1)):
    """A disc, and raters who miss pixels of it and add others, each in a share of their own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    truth = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) < min(shape) / 4
    shares = rng.uniform(*errors, (n, 2))
    flipped = [rng.random(shape) < np.where(truth, missed, added) for missed, added in shares]
    return truth, np.array([truth ^ flip for flip in flipped]).astype(np.uint8)


def surroundings(given, margin=3):
    rows = ndimage.find_objects(given.astype(int))[0]
    return tuple(slice(max(0, s.start - margin), s.stop + margin) for s in rows)


def written_out(votes, rounds=500):
    """E- and M-step of Warfield et al., one rater after another, from W = mean."""
    weights, prior = votes.mean(axis=0), votes.mean()
    for _ in range(rounds):
        a, b = np.full(weights.shape, prior), np.full(weights.shape, 1 - prior)
        for d in votes:
            p = (d * weights).sum() / weights.sum()
            r = ((1 - d) * (1 - weights)).sum() / (1 - weights).sum()
            a = a * np.where(d == 1, p, 1 - p)
            b = b * np.where(d == 1, 1 - r, r)
        weights = a / (a + b)
    return weights


@pytest.mark.parametrize("seed", range(4))
def test_staple_is_its_formula_in_the_surroundings_of_the_class(seed):
    pytest.importorskip("SimpleITK")
    _, maps = raters(seed)
    found = softlabel.soften(maps, method="hard", rater_axis=0, fuse="staple").dense()
    for value in (0, 1):
        votes = (maps == value).astype(float)
        box = surroundings(votes.any(axis=0))
        wanted = written_out(votes[(slice(None), *box)].reshape(len(maps), -1))
        inside = found[value][box].ravel()
        np.testing.assert_allclose(inside, wanted, atol=1e-5)
        outside = np.ones(maps.shape[1:], bool)
        outside[box] = False
        assert not found[value][outside].any()


@pytest.mark.parametrize("fuse", ["staple", "soft-staple"])
def test_more_background_far_away_changes_nothing(fuse):
    pytest.importorskip("SimpleITK")
    _, maps = raters(2)
    options = {"method": "hard", "rater_axis": 0, "fuse": fuse}
    near = softlabel.soften(np.pad(maps, ((0, 0), (3, 3), (3, 3))), **options).dense()[1]
    far = softlabel.soften(np.pad(maps, ((0, 0), (40, 40), (40, 40))), **options).dense()[1]
    np.testing.assert_array_equal(far[37:-37, 37:-37], near)


@pytest.mark.parametrize("seed", range(4))
def test_soft_staple_of_hard_labels_is_staple(seed):
    pytest.importorskip("SimpleITK")
    _, maps = raters(seed)
    hard = softlabel.soften(maps, method="hard", rater_axis=0, fuse="staple")
    soft = softlabel.soften(maps, method="hard", rater_axis=0, fuse="soft-staple")
    np.testing.assert_allclose(soft.dense(), hard.dense(), atol=2e-4)
    np.testing.assert_array_equal(soft.index, hard.index)


def test_soft_staple_is_its_formula():
    _, maps = raters(3)
    options = {"method": "gaussian", "blur": 1.5}
    found = softlabel.soften(maps, rater_axis=0, fuse="soft-staple", **options).dense()[1]
    single = np.array([softlabel.soften(m, classes=(0, 1), **options).dense()[1] for m in maps])
    box = surroundings((single > 0).any(axis=0))
    d = single[(slice(None), *box)].reshape(len(maps), -1).astype(float)
    w, prior = d.mean(axis=0), d.mean()
    for _ in range(30):
        p = [(x * w).sum() / w.sum() for x in d]
        r = [((1 - x) * (1 - w)).sum() / (1 - w).sum() for x in d]
        a, b = prior, 1 - prior
        for x, p_j, r_j in zip(d, p, r, strict=True):
            a = a * (x * p_j + (1 - x) * (1 - p_j))
            b = b * (x * (1 - r_j) + (1 - x) * r_j)
        w = a / (a + b)
    np.testing.assert_allclose(found[box].ravel(), w, atol=1e-4)


def test_a_rater_who_guesses_is_not_believed():
    truth, maps = raters(1, n=3, errors=(0.01, 0.02))
    guess = (np.random.default_rng(5).random(truth.shape) < 0.5).astype(np.uint8)
    maps = np.concatenate([maps, guess[None], guess[None, ::-1]])
    fused = softlabel.soften(maps, method="hard", rater_axis=0, fuse="soft-staple").dense()[1]
    mean = softlabel.soften(maps, method="hard", rater_axis=0).dense()[1]
    assert np.abs(fused - truth).mean() < 0.1 * np.abs(mean - truth).mean()


@given(seed=st.integers(0, 10**6), n=st.integers(2, 5))
@settings(max_examples=25)
def test_range_ignored_pixels_and_agreement(seed, n):
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 3, (n, 9, 11)).astype(np.uint8)
    maps[:, :, :3] = 1  # all agree
    maps[0, 4] = 255
    maps[:, 6] = 255
    found = softlabel.soften(
        maps, method="hard", rater_axis=0, fuse="soft-staple", classes=(0, 1, 2), ignore=255
    ).dense()
    mean = softlabel.soften(
        maps, method="hard", rater_axis=0, classes=(0, 1, 2), ignore=255
    ).dense()
    assert found.min() >= 0 and found.max() <= 1 and np.isfinite(found).all()
    assert not found[:, 6].any()
    np.testing.assert_array_equal(found[:, 4], mean[:, 4])


@pytest.mark.parametrize("fuse", ["staple", "soft-staple"])
@pytest.mark.parametrize("row", [[0, 0, 1, 1, 2, 2], [1, 1, 1]], ids=["layers", "all of a class"])
def test_raters_who_agree_everywhere(fuse, row):
    pytest.importorskip("SimpleITK")
    labels = np.array([row] * 3)[:, None].repeat(4, axis=1)
    q = softlabel.soften(labels, method="hard", rater_axis=0, fuse=fuse, classes=(0, 1, 2)).dense()
    np.testing.assert_allclose(q, np.eye(3)[labels[0]].transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fuse": "staple", "rater_axis": 0, "method": "gaussian"}, "use the method hard, or soft"),
        ({"fuse": "vote", "rater_axis": 0}, "fuse must be one of mean, staple, soft-staple"),
        ({"fuse": "soft-staple", "method": "hard"}, "takes label maps of several raters, and ther"),
    ],
)
def test_refusals(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        softlabel.soften(np.zeros((2, 4), int), **options)


def test_without_simpleitk(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtraError, match="The fusion staple needs SimpleITK"):
        softlabel.soften(
            np.array([[0, 1, 1], [0, 0, 1]]), method="hard", rater_axis=0, fuse="staple"
        )
