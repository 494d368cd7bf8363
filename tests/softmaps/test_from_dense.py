"""Maps that were computed densely become sparse ones and stay what they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import smooth_field

from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.from_dense import TILE_EDGE, from_class_maps
from softlabel.softmaps.maps import hard_maps, no_regions
from softlabel.types import ClassTable


@st.composite
def dense_maps(draw):
    """(index, table, dense array, on, off): values of any kind, hard outside of a soft area."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(5,), (300,), (700,), (6, 7), (40, 70), (3, 4, 5), (13, 30, 11)]))
    n_classes = draw(st.sampled_from([2, 1, 5]))
    on, off = draw(st.sampled_from([(1.0, 0.0), (0.9 + 0.1 / n_classes, 0.1 / n_classes)]))
    index = rng.integers(0, n_classes, shape).astype(draw(st.sampled_from([np.uint8, np.uint16])))
    if draw(st.booleans()):
        index[smooth_field(rng, shape, 2) < 0.3] = ignored_index(index.dtype)
    own = index == np.arange(n_classes).reshape(-1, *[1] * len(shape))
    dense = np.where(own, np.float32(on), np.float32(off))
    soft = smooth_field(rng, shape, 3) < draw(st.sampled_from([0.1, 0.0, 0.9, 1.0]))
    soft = soft & (rng.random((n_classes, *shape)) < 0.8)
    dense[soft] = rng.random(int(soft.sum()))
    dense[:, index == ignored_index(index.dtype)] = 0
    table = ClassTable.from_values(3 * np.arange(n_classes))
    return index, table, dense.astype(np.float32), on, off


def random_patch(data, shape):
    """Slices as users write them: bounds from the end, beyond it, left out, empty."""
    bound = st.none() | st.integers(-12, 25)
    count = data.draw(st.integers(0, len(shape)))
    return tuple(
        slice(data.draw(bound), data.draw(bound), data.draw(st.sampled_from([None, 1])))
        for _ in range(count)
    )


def test_index_maps_in_the_order_of_fortran():
    """As nibabel delivers volumes; every view of the maps must mean the same pixels."""
    index = np.asfortranarray(np.random.default_rng(0).integers(0, 2, (40, 50)).astype(np.uint8))
    values = np.random.default_rng(1).random((2, 40, 50), np.float32)
    table = ClassTable.from_values([0, 1])
    whole = (slice(0, 40), slice(0, 50))
    maps = from_class_maps(index, table, ((k, whole, values[k]) for k in range(2)))
    np.testing.assert_array_equal(maps.dense(), values)
    np.testing.assert_array_equal(maps.class_map(1), values[1])
    assert maps.band.all() and maps.total() == pytest.approx(values.sum(), rel=1e-6)


def check_round_trip(given_maps, rtol=1e-6):
    index, table, dense, on, off = given_maps
    whole = tuple(slice(0, n) for n in index.shape)
    maps = from_class_maps(index, table, ((k, whole, dense[k]) for k in range(len(table))), on, off)
    np.testing.assert_array_equal(maps.dense(), dense)
    ignored = index == ignored_index(index.dtype)
    own = index == np.arange(len(table)).reshape(-1, *[1] * index.ndim)
    hard = np.where(own, np.float32(on), np.float32(off))
    np.testing.assert_array_equal(maps.band, (dense != hard).any(axis=0) & ~ignored)
    np.testing.assert_allclose(maps.total(), dense.sum(dtype=np.float64), rtol=rtol, atol=1e-5)
    for k in range(len(table)):
        np.testing.assert_array_equal(maps.class_map(k), dense[k])


@given(given_maps=dense_maps())
def test_round_trip_of_dense_maps(given_maps):
    check_round_trip(given_maps)


@settings(max_examples=settings.default.max_examples // 5, suppress_health_check=list(HealthCheck))
@given(given_maps=dense_maps())
def test_kernels_are_right_as_plain_python(interpreted, given_maps):
    assert any(name.startswith("softlabel.softmaps.") for name in interpreted)
    check_round_trip(given_maps, rtol=1e-4)  # NumPy adds up in float32 what numba does in float64


@given(given_maps=dense_maps(), data=st.data())
def test_maps_may_be_given_inside_a_box(given_maps, data):
    """What lies outside of the box of a class is hard."""
    index, table, dense, on, off = given_maps
    box = tuple(
        slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))))
        for n in index.shape
    )
    maps = from_class_maps(
        index, table, ((k, box, dense[k][box]) for k in range(len(table))), on, off
    )
    wanted = hard_maps(index, table, on, off).dense()
    wanted[(slice(None), *box)] = dense[(slice(None), *box)]
    np.testing.assert_array_equal(maps.dense(), wanted)
    slices = random_patch(data, index.shape)
    np.testing.assert_array_equal(maps.patch(slices), wanted[(slice(None), *slices)])


def test_only_tiles_with_soft_values_are_kept():
    edge = TILE_EDGE[2]
    index = np.zeros((3 * edge, 3 * edge), np.uint8)
    values = (index == 0).astype(np.float32)
    values[edge + 1, 2 * edge + 1] = 0.5
    table = ClassTable.from_values([0, 1])
    maps = from_class_maps(index, table, [(0, (slice(None, 3 * edge),) * 2, values)][:0])
    assert len(maps.regions) == 0
    whole = (slice(0, 3 * edge), slice(0, 3 * edge))
    maps = from_class_maps(index, table, [(0, whole, values)])
    assert maps.regions.lower.tolist() == [[0, edge, 2 * edge]]
    assert maps.regions.upper.tolist() == [[1, 2 * edge, 3 * edge]]
    assert len(maps.values) == edge**2


def test_hard_maps_with_label_smoothing():
    table = ClassTable.from_values([0, 1, 2, 3])
    maps = hard_maps(np.array([2, 255, 0], np.uint8), table, on=0.925, off=0.025)
    np.testing.assert_allclose(
        maps.dense().T, [[0.025, 0.025, 0.925, 0.025], [0] * 4, [0.925, 0.025, 0.025, 0.025]]
    )
    assert not maps.band.any()
    assert maps.total() == pytest.approx(2)
    assert len(no_regions()) == len(maps.regions) == 0
