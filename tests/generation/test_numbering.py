"""Numbers of objects are told from classes, by data sets of both kinds that are drawn here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from softlabel.generation.numbering import numbered_maps
from softlabel.phantom import make_brain, make_oct_subject
from softlabel.phantom.oct import class_map
from softlabel.readers.labelfacts import label_facts

SHAPE = (128, 128)


def numbered(maps):
    return numbered_maps({str(n): label_facts(found) for n, found in enumerate(maps)})


def disk(centre, radius, shape=SHAPE):
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) < radius**2


def cells(rng, count, shape=SHAPE):
    """Cells anywhere that do not touch, as True."""
    found = np.zeros(shape, bool)
    pieces = 0
    while pieces < count:
        drawn = found | disk(rng.uniform(0, shape), rng.uniform(4, 8), shape)
        now = ndimage.label(drawn, np.ones((3,) * len(shape)))[1]
        if now == pieces + 1:
            found, pieces = drawn, now
    return found


def by_rows(found, rng):
    return ndimage.label(found, np.ones((3,) * found.ndim))[0]


def by_columns(found, rng):
    return by_rows(found.T, rng).T


def in_any_order(found, rng):
    labels = by_rows(found, rng)
    return np.concatenate([[0], 1 + rng.permutation(labels.max())])[labels]


# --- objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [by_rows, by_columns, in_any_order])
@pytest.mark.parametrize("seed", range(3))
def test_objects_that_are_nearly_as_many_in_each_image(number, seed):
    rng = np.random.default_rng(seed)
    maps = [number(cells(rng, 20 + int(rng.integers(-1, 2))), rng) for _ in range(5)]
    assert numbered(maps) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("number", [by_rows, by_columns])
def test_few_objects_in_the_order_of_a_scan(number):
    rng = np.random.default_rng(4)
    assert numbered([number(cells(rng, 6), rng) for _ in range(6)])


def test_objects_of_volumes_from_the_last_number_down():
    rng = np.random.default_rng(0)
    maps = [by_rows(cells(rng, 10, (40, 40, 40)), rng) for _ in range(4)]
    assert numbered([np.where(labels > 0, 256 - labels, 0) for labels in maps])


def test_what_was_not_annotated_is_no_object():
    rng = np.random.default_rng(0)
    maps = [by_rows(cells(rng, 20), rng) for _ in range(4)]
    for labels in maps:
        labels[:3] = 255
    facts = {str(n): label_facts(labels) for n, labels in enumerate(maps)}
    assert not numbered_maps(facts) and numbered_maps(facts, {0, 255})


# --- classes --------------------------------------------------------------------------------------


def atlas(rng, count, shape=(96, 96), jitter=0.03, mirrored=False, missing=0):
    """Five patients: regions that fill a disk, each about where it is in the others."""
    template = rng.uniform(0.2, 0.8, (count, len(shape)))
    grid = np.indices(shape).reshape(len(shape), -1).T / shape
    inside = ((grid - 0.5) ** 2).sum(axis=1) < 0.2
    for _ in range(5):
        centres = template + rng.normal(0, jitter, template.shape) + rng.normal(0, 0.1, len(shape))
        if mirrored:
            turned = rng.random(len(shape)) < 0.5
            centres = np.where(turned, 1 - centres, centres)
        labels = np.where(inside, 1 + cKDTree(centres).query(grid)[1], 0).reshape(shape)
        labels[np.isin(labels, 1 + rng.choice(count, missing, replace=False))] = 0
        yield labels


@pytest.mark.parametrize("count", [9, 20, 46, 104])
@pytest.mark.parametrize(
    "changes",
    [{}, {"mirrored": True}, {"missing": 2}, {"mirrored": True, "missing": 2}],
    ids=["alike", "mirrored", "incomplete", "mirrored and incomplete"],
)
def test_dozens_of_classes(count, changes):
    for seed in range(3):
        assert not numbered(atlas(np.random.default_rng(seed), count, **changes))


def test_classes_of_volumes():
    assert not numbered(atlas(np.random.default_rng(0), 30, (32, 32, 32), mirrored=True))


@pytest.mark.parametrize("count", [5, 9, 12])
def test_layers_that_are_numbered_from_the_top(count):
    """In the order of a scan, and in one piece each; no two retinas are of one thickness."""
    rng = np.random.default_rng(count)
    maps = []
    for _ in range(5):
        top = 30 + 8 * rng.normal() + 5 * np.sin(np.arange(128) / 20 + rng.uniform(0, 6))
        boundaries = top + np.cumsum(rng.uniform(4, 8, count))[:, None]
        maps.append((np.arange(200)[:, None, None] >= boundaries).sum(axis=1))
    assert not numbered(maps)


def test_vertebrae_of_which_each_image_shows_others():
    rng = np.random.default_rng(0)
    maps = []
    for first, last in ((0, 14), (3, 17), (2, 12), (0, 16), (4, 17)):
        labels = np.zeros((240, 64), int)
        top = 5
        for number in range(first, last):
            height = int(6 + 0.4 * number + rng.normal())
            labels[top : top + height, 24 + int(3 * rng.normal()) :][:, :16] = number + 1
            top += height + 2
        maps.append(labels)
    assert not numbered(maps)


def test_slices_of_which_each_shows_other_structures():
    brains = [make_brain(1, number, (64, 64, 16)).labels for number in (1, 2, 3)]
    assert not numbered(brains)
    for axis in range(3):
        assert not numbered(
            [brain.take(n, axis) for brain in brains for n in range(0, brain.shape[axis], 4)]
        )


def test_eyes_of_both_sides():
    eyes = [make_oct_subject(1, number, (224, 128, 1)) for number in range(1, 5)]
    maps = [class_map(eye.boundaries, eye.fluid, 224)[..., 0] for eye in eyes]
    assert not numbered(labels[:, :: (-1) ** n] for n, labels in enumerate(maps))


def test_few_classes_anywhere_in_no_order():
    """A circle, a square and so on, one of each in every image: nothing but their shape tells."""
    rng = np.random.default_rng(2)
    assert not numbered([in_any_order(cells(rng, 6), rng) for _ in range(6)])


def test_nothing_at_all():
    assert numbered([]) == [] and numbered([np.zeros((8, 8), int)] * 3) == []
