"""Soft labels that are cached as they are, against the dense arrays."""

from __future__ import annotations

import numpy as np
import pytest

import softlabel
from softlabel.softening.given import given_maps
from softlabel.types import ClassTable


def some(shape=(70, 41), n=3):
    soft = np.random.default_rng(0).dirichlet(np.full(n, 0.3), shape).astype(np.float32)
    soft = np.moveaxis(soft, -1, 0).copy()
    soft[:, :35] = np.eye(n, dtype=np.float32)[:, 1, None, None]  # hard in half of it
    return soft.clip(0, 1)


def test_soft_maps_hold_what_was_given():
    soft = some()
    values = np.array([0, 7, 200])[soft.argmax(axis=0)]
    maps = given_maps(soft, values, ClassTable.from_values([0, 7, 200]), None)
    np.testing.assert_array_equal(maps.dense(), soft)
    np.testing.assert_array_equal(maps.band, ((soft != 0) & (soft != 1)).any(axis=0))
    assert not maps.band[:35].any()


def test_normalize():
    soft = some() * np.float32(0.5)
    soft[:, :35] *= 2
    table = ClassTable.from_values(range(3))
    maps = given_maps(soft, soft.argmax(axis=0), table, None, "sum")
    np.testing.assert_allclose(maps.dense(), soft / soft.sum(axis=0), atol=1e-6)


@pytest.mark.parametrize("factor", [-1, 1.5, np.nan])
def test_values_that_are_none(factor):
    soft = some() * np.float32(factor)
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        given_maps(soft, np.zeros(soft.shape[1:], int), ClassTable.from_values(range(3)), None)


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r"shape \(2, 70, 41\).*got \(3, 70, 41\)"):
        given_maps(some(), np.zeros((70, 41), int), ClassTable.from_values(range(2)), None)


def test_nothing_is_divided_by_a_sum_of_0():
    soft = some()
    soft[:, 50, 3] = 0
    with pytest.raises(ValueError, match=r"1 pixels have no probability.*--normalize"):
        given_maps(soft, soft.argmax(axis=0), ClassTable.from_values(range(3)), None, "sum")


def test_hard_labels_are_refused():
    with pytest.raises(ValueError, match="takes soft labels that a data set holds"):
        softlabel.soften(np.array([0, 1]), method="given")
