"""What is measured of superpixels, against definitions written out and the softening itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

import softlabel
from softlabel.superpixels import grid
from softlabel.tuning.fit import Trial, fit
from softlabel.tuning.pieces import Scan, excerpt_of


def scan(shape=(36, 40), seed=0, axis=None, ignore=None):
    """Bands of three classes with noise."""
    rng = np.random.default_rng(seed)
    height = np.indices(shape)[0] + 3 * np.sin(np.indices(shape)[1] / 5)
    labels = np.clip(height * 3 // shape[0], 0, 2).astype(int) * 10
    image = (labels + rng.normal(0, 4, shape)).astype(np.float32)[None]
    if ignore is not None:
        labels[rng.random(shape) < 0.1] = ignore
    return Scan("x", image, labels, ignore, None, (1.0,) * len(shape), axis)


def written_out(labels, ids, used):
    """Recall, share near a boundary, Dice and mixed share by loops over pixels and superpixels."""

    def edges(values):
        found = np.zeros(values.shape, bool)
        for place in np.ndindex(values.shape):
            for axis in range(values.ndim):
                for step in (-1, 1):
                    other = list(place)
                    other[axis] += step
                    if 0 <= other[axis] < values.shape[axis]:
                        both = used[place] and used[tuple(other)]
                        found[place] |= both and values[place] != values[tuple(other)]
        return found

    near = ndimage.binary_dilation(edges(ids), np.ones((3,) * ids.ndim))
    truth = edges(labels)
    predicted, mixed = np.full(labels.shape, -1), np.zeros(labels.shape, bool)
    for one in np.unique(ids[used]):
        inside = used & (ids == one)
        values, counts = np.unique(labels[inside], return_counts=True)
        predicted[inside] = values[counts.argmax()]
        mixed[inside] = len(values) > 1
    dice = {
        int(v): 2 * np.sum(used & (labels == v) & (predicted == v))
        / (np.sum(used & (labels == v)) + np.sum(used & (predicted == v)))
        for v in np.unique(labels[used])
    }  # fmt: skip
    return near[truth].mean(), near[used].mean(), dice, mixed


@pytest.mark.parametrize("ignore", [None, 99])
def test_the_figures_written_out(ignore):
    case = scan(ignore=ignore)
    excerpt = excerpt_of(case)
    found = fit(excerpt, Trial(30, 0.1, 1.0))
    ids = excerpt.pieces[0].slic(30, 0.1, 1.0)
    used = case.labels != 99
    recall, near, dice, mixed = written_out(case.labels, ids, used)
    control = grid(case.labels.shape, found.made)
    grid_recall, _, grid_dice, _ = written_out(case.labels, control, used)
    assert found.made == len(np.unique(ids)) and found.pixels == used.sum()
    assert (found.recall, found.near) == pytest.approx((recall, near))
    assert found.grid_recall == pytest.approx(grid_recall)
    assert found.dice == pytest.approx(dice) and found.grid_dice == pytest.approx(grid_dice)
    assert found.softened == pytest.approx(mixed[used].mean())
    values, counts = np.unique(case.labels[used], return_counts=True)
    others = used & (case.labels != values[counts.argmax()])
    assert found.softened_of_classes == pytest.approx(mixed[others].mean())
    assert found.over_chance == pytest.approx(recall - max(near, grid_recall))


@pytest.mark.parametrize("shape", [(36, 40), (12, 14, 9)])
def test_what_is_softened_is_what_the_method_softens(shape):
    case = scan(shape)
    ids = excerpt_of(case).pieces[0].slic(27, 0.1, 1.0)
    soft = softlabel.soften(case.labels, ids, classes=[0, 10, 20])
    found = fit(excerpt_of(case), Trial(27, 0.1, 1.0))
    assert found.softened == pytest.approx(soft.band.mean()) and found.softened > 0.1


def test_the_figures_of_slices_are_those_of_images():
    """One slice alone, and the same slice three times: no boundary between slices counts."""
    image, volume = scan((24, 28)), scan((24, 28))
    repeated = Scan(
        "x", np.repeat(image.image[..., None], 3, axis=-1),
        np.repeat(volume.labels[..., None], 3, axis=-1), None, None, (1.0,) * 3, 2,
    )  # fmt: skip
    alone, found = (fit(excerpt_of(s), Trial(20, 0.1, 1.0)) for s in (image, repeated))
    assert found.made == 3 * alone.made
    assert found.recall == alone.recall and found.near == alone.near
    assert found.dice == alone.dice and found.softened == alone.softened


def test_without_a_size_as_many_superpixels_as_by_default():
    case = scan((200, 210))
    found = fit(excerpt_of(case), Trial(None, 0.1, 1.0))
    part = fit(excerpt_of(case, most=10500), Trial(None, 0.1, 1.0))
    assert 1600 < found.made < 2400 and 400 < part.made < 600


def test_superpixels_of_an_image_without_contrast_are_no_better_than_chance():
    case = scan()
    even = Scan("x", np.zeros_like(case.image), case.labels, None, None, (1.0, 1.0))
    found = fit(excerpt_of(even), Trial(25, 0.1, 0.0))
    assert found.fill == 1.0 and found.over_chance < 0.03
    seeing = fit(excerpt_of(case), Trial(25, 0.1, 1.0))
    assert seeing.over_chance > found.over_chance + 0.05


def test_superpixels_outside_of_the_mask_are_not_counted():
    case = scan()
    mask = np.zeros(case.labels.shape, bool)
    mask[:, :12] = True
    excerpt = excerpt_of(replace(case, mask=mask))
    found = fit(excerpt, Trial(30, 0.1, 1.0))
    ids = excerpt.pieces[0].slic(30, 0.1, 1.0)
    assert found.made == len(np.unique(ids[mask])) < ids.max() + 1
    assert found.pixels == mask.sum()
