"""Arrays that are read block by block: every block is the part that it stands for."""

from __future__ import annotations

from itertools import permutations

import factories
import numpy as np
import pytest
from scipy.stats import entropy

pytest.importorskip("dask.array", reason="needs Dask: pip install '.[napari]'")

from softlabel.cache import StoredArray, open_cache
from softlabel.generation.settings import Settings
from softlabel.types import Case, ClassTable
from softlabel.viewers import blocks

SHAPE = (70, 34, 40)
"""Three, two and three chunks, none of which are equal."""


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    rng = np.random.default_rng(1)
    labels = (np.indices(SHAPE).sum(axis=0) // 20 % 3).astype(np.uint8)
    image = np.stack([labels + rng.normal(0, 0.3, SHAPE)] * 2).astype(np.float32)
    table = ClassTable.from_values(range(3))
    path = factories.cache_of(
        tmp_path_factory.mktemp("blocks"),
        [Case("x", image, labels, table)],
        Settings(n_segments=500),
        table,
        None,
        (),
    )
    with open_cache(path) as cache:
        yield cache["x"]


@pytest.fixture
def keys(monkeypatch):
    """Names of arrays and keys of all that is read."""
    found = []
    real = StoredArray.__getitem__

    def getitem(self, key):
        found.append((self.name, key))
        return real(self, key)

    monkeypatch.setattr(StoredArray, "__getitem__", getitem)
    return found


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_blocks_are_the_array_in_another_order_of_its_axes(case, order):
    axes = blocks.SpatialAxes(order, SHAPE)
    whole = case.soft[...]
    lazy = blocks.stored(case.soft, axes, 2)
    assert max(lazy.numblocks) > 1
    np.testing.assert_array_equal(np.asarray(lazy), whole[2].transpose(order))
    labels = blocks.stored(case.labels, axes)
    np.testing.assert_array_equal(np.asarray(labels), case.labels[...].transpose(order))
    assert (lazy.dtype, labels.dtype) == (np.float32, np.uint8)


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1)])
def test_the_entropy_is_that_of_scipy(case, order):
    lazy = blocks.entropy(case.soft, blocks.SpatialAxes(order, SHAPE))
    expected = entropy(case.soft[...].astype(float), base=2, axis=0).transpose(order)
    assert expected.max() > 0.5
    np.testing.assert_allclose(np.asarray(lazy), expected, atol=1e-5)
    assert all(n > 1 for n in lazy.numblocks)  # all classes of a slab may be gigabytes


def test_nothing_is_read_before_it_is_looked_at_and_then_one_slab(case, keys):
    axes = blocks.SpatialAxes((2, 1, 0), SHAPE)
    lazy = blocks.stored(case.soft, axes, 1)
    assert keys == []
    slice_ = np.asarray(lazy[20])
    thickness = case.soft.chunks[-1]
    assert thickness < SHAPE[2]
    first = 20 // thickness * thickness
    assert keys == [("soft", (1, slice(0, 70), slice(0, 34), slice(first, first + thickness)))]
    np.testing.assert_array_equal(slice_, case.soft[1, :, :, 20].T)


def test_a_block_may_be_of_another_type(case):
    lazy = blocks.stored(case.superpixels, blocks.SpatialAxes((0, 1, 2), SHAPE), dtype=np.int32)
    assert np.asarray(lazy).dtype == lazy.dtype == np.int32


def test_two_arrays_of_one_shape_never_share_a_block(case):
    """napari keeps blocks by their names, and the file may have been replaced."""
    axes = blocks.SpatialAxes((0, 1, 2), SHAPE)
    names = {blocks.stored(case.soft, axes, k).name for k in (1, 1, 2)}
    assert len(names) == 3
