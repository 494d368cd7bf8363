"""Superpixels are measured together where that is less work, and alone elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from scenes import smooth_field

import softlabel
from softlabel.distance import measure


@pytest.fixture
def plans(monkeypatch):
    """Every plan that is made."""
    seen = []
    plan = measure.plan_part
    monkeypatch.setattr(measure, "plan_part", lambda *args: seen.append(plan(*args)) or seen[-1])
    return seen


def check(labels, superpixels, classes):
    found = softlabel.soften(labels, superpixels).dense()
    np.testing.assert_allclose(found, reference.soften(labels, superpixels, classes), atol=1e-6)


def cells(shape, edge):
    """Square superpixels."""
    rows, columns = np.indices(shape) // edge
    return rows * (columns.max() + 1) + columns


def test_scattered_superpixels_are_measured_together(plans):
    """200 superpixels over the whole image each: one transform a class, not one a superpixel."""
    rng = np.random.default_rng(0)
    labels = (smooth_field(rng, (90, 110), 4) > 0.7).astype(int)
    check(labels, rng.integers(0, 200, labels.shape), (0, 1))
    assert [len(plan.jobs.class_index) for plan in plans] == [2]


def test_compact_superpixels_of_few_classes_are_measured_alone(plans):
    layers = np.indices((90, 110))[0] // 18
    check(layers, cells(layers.shape, 10), range(5))
    assert sum(len(plan.groups.lower) for plan in plans) == 4 * 11, "one a mixed superpixel"


def test_superpixels_that_hold_nearly_every_class_are_measured_by_tiles(plans):
    rng = np.random.default_rng(0)
    labels = np.stack([smooth_field(rng, (80, 80), 1) for _ in range(4)]).argmax(axis=0)
    check(labels, cells(labels.shape, 10), range(4))
    (plan,) = plans
    assert len(plan.groups.lower) == 4, "tiles of four superpixels each way"
    assert len(plan.jobs.class_index) == 4 * 4
    assert (plan.groups.upper - plan.groups.lower <= [40, 1, 40]).all()


def test_no_group_is_cut_when_blocks_are_handed_out_in_parts(plans, monkeypatch):
    monkeypatch.setattr("softlabel.distance.groups.CHUNK_VALUES", 1)
    rng = np.random.default_rng(0)
    labels = np.stack([smooth_field(rng, (80, 80), 1) for _ in range(4)]).argmax(axis=0)
    check(labels, cells(labels.shape, 10), range(4))
    assert [len(plan.groups.lower) for plan in plans] == [1] * 4
