"""The tensor code's distances against SciPy's exact Euclidean distance transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel.distance.boundary import IN_FACING, IN_SHELL, OUT_FACING, OUT_SHELL, Metric  # noqa: E402
from softlabel.softening.tensor import distance as dt  # noqa: E402

ALL = (True, True, True)
SHAPES = [(1, 1, 30), (1, 12, 17), (5, 7, 9), (9, 1, 8), (3, 40, 1)]


def metric_for(shape, spacing=(1.0, 1.0, 1.0), to_face=False):
    return Metric(spacing, tuple(n > 1 for n in shape), to_face)


def all_pairs(shape, maps, limit):
    """Every pixel of every map."""
    index = np.indices((maps, *shape)).reshape(4, -1)
    return dt.Pairs(
        torch.arange(index.shape[1]),
        (torch.from_numpy(index[1].astype(np.int32)), torch.from_numpy(index[2].astype(np.int32))),
        limit.expand(index.shape[1]),
    )


def edt(target, spacing):
    if not target.any():
        return np.full(target.shape, np.inf)
    return ndimage.distance_transform_edt(~target, sampling=spacing)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    density=st.sampled_from([0.5, 0.1, 0.02, 0.0]),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (2.5, 0.7, 1.0)]),
    limit=st.sampled_from([1.0, 3.0, 7.5, 60.0]),
)
def test_equals_scipy_within_the_limit(seed, shape, density, spacing, limit):
    target = np.random.default_rng(seed).random((2, *shape)) < density
    costs = dt.costs_within(metric_for(shape, spacing), limit, shape)
    bound = torch.from_numpy(costs.limits(np.array([limit * (1 + 1e-6)])))
    found = dt.search_among(torch.from_numpy(target), costs)(all_pairs(shape, 2, bound))
    assert costs.integer == (spacing == (1.0, 1.0, 1.0) or shape[:2] == (1, 1))
    distance = np.sqrt(found.numpy().reshape(target.shape).astype(float))
    for one, expected in zip(distance, (edt(t, spacing) for t in target), strict=True):
        near = expected <= limit
        np.testing.assert_allclose(one[near], expected[near], rtol=1e-12)
        assert (one[~near] > limit).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_to_faces_are_exact_in_quarters(shape):
    """To the nearest point of a target's box, which lies on a grid twice as fine."""
    target = np.random.default_rng(1).random((1, *shape)) < 0.05
    target[0, 0, 0, 0] = True
    costs = dt.costs_within(metric_for(shape, to_face=True), 50.0, shape)
    bound = torch.from_numpy(costs.limits(np.array([50.0])))
    found = dt.search_among(torch.from_numpy(target), costs)(all_pairs(shape, 1, bound))
    fine = np.zeros([2 * n + 1 for n in shape], bool)
    fine[1::2, 1::2, 1::2] = target[0]
    fine = ndimage.binary_dilation(fine, np.ones((3, 3, 3)))
    expected = edt(fine, 0.5)[1::2, 1::2, 1::2] ** 2
    assert costs.integer and costs.factor == 4
    np.testing.assert_allclose(found.numpy().reshape(shape) / 4, expected, rtol=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 70),
    reach=st.one_of(st.integers(0, 80), st.sampled_from([127, 128, 5000, 20000])),
)
def test_row_offsets_are_distances_along_the_row(seed, length, reach):
    target = np.random.default_rng(seed).random((3, length)) < 0.05
    found = dt.row_offsets(torch.from_numpy(target), reach)
    for row, offsets in zip(target, found.numpy(), strict=True):
        expected = np.minimum(edt(row, 1.0), reach + 1)
        np.testing.assert_array_equal(offsets, expected)


def test_row_offsets_take_the_smallest_type():
    types = [dt.row_offsets(torch.ones(4, dtype=torch.bool), r).dtype for r in (127, 128, 1 << 14)]
    assert types == [torch.uint8, torch.int16, torch.int32]


def test_a_search_that_nothing_stops_reaches_every_row():
    """Compaction drops no pair that still waits: one target, far from all others."""
    target = torch.zeros((1, 1, 61, 3), dtype=torch.bool)
    target[0, 0, 60, 0] = True
    costs = dt.costs_within(metric_for((1, 61, 3)), 100.0, (1, 61, 3))
    bound = torch.from_numpy(costs.limits(np.array([100.0])))
    found = dt.search_among(target, costs)(all_pairs((1, 61, 3), 1, bound))
    rows, columns = np.indices((61, 3))
    np.testing.assert_array_equal(found.numpy().reshape(61, 3), (60 - rows) ** 2 + columns**2)


# --- targets --------------------------------------------------------------------------------------


def faces(inside, other, active):
    """Pixels of one region with a face neighbour in another, by SciPy's dilation."""
    structure = np.zeros((3, 3, 3), bool)
    structure[1, 1, 1] = True
    for axis in range(3):
        if active[axis]:
            np.moveaxis(structure, axis, 0)[:, 1, 1] = True
    return inside & ndimage.binary_dilation(other, structure)


@pytest.mark.parametrize("active", [ALL, (False, True, True), (True, False, True)])
def test_targets_of_each_kind(active):
    index = np.random.default_rng(3).choice([0, 1, 2, 255], (2, 4, 6, 5), p=[0.4, 0.3, 0.2, 0.1])
    classes = torch.tensor([0, 2])
    for kind in (IN_SHELL, IN_FACING, OUT_SHELL, OUT_FACING):
        tensor = torch.from_numpy(index.astype(np.uint8))
        found = dt.targets(tensor, 255, classes, kind, active).numpy()
        for position, k in enumerate((0, 2)):
            for image, part in enumerate(index):
                own, rest = part == k, (part != k) & (part != 255)
                expected = {
                    IN_SHELL: own,
                    OUT_SHELL: rest,
                    IN_FACING: faces(own, rest, active),
                    OUT_FACING: faces(rest, own, active),
                }[kind]
                np.testing.assert_array_equal(found[position, image], expected)


# --- squared distances as numbers -----------------------------------------------------------------


def test_costs_are_integers_in_pixel_units_only():
    inside = dt.costs_within(Metric((1.0, 1.0, 1.0), ALL), 5.0, (20, 20, 20))
    anisotropic = dt.costs_within(Metric((1.0, 1.0, 3.0), ALL), 5.0, (20, 20, 20))
    in_plane = dt.costs_within(Metric((3.0, 1.0, 1.0), (False, True, True)), 5.0, (20, 20, 20))
    huge = dt.costs_within(Metric((1.0, 1.0, 1.0), ALL), 50000.0, (1, 40000, 40000))
    assert (inside.integer, anisotropic.integer, in_plane.integer) == (True, False, True)
    assert not huge.integer
    assert [inside.reach(a) for a in range(3)] == [5, 5, 5]
    assert in_plane.reach(0) == 0


def test_limits_of_integers_are_rounded_down():
    costs = dt.costs_within(Metric((1.0, 1.0, 1.0), ALL, to_face=True), 5.0, (20, 20, 20))
    assert costs.limits(np.array([1.0, 1.5, 1e6])).tolist() == [4, 9, dt.LARGEST_INTEGER - 1]


@given(depth=st.integers(1, 12), height=st.integers(1, 12))
def test_rows_around_are_all_rows_nearest_first(depth, height):
    costs = dt.costs_within(Metric((1.0, 1.0, 1.0), ALL), 4.0, (depth, height, 9))
    dz, dy, base = dt.rows_around(costs)
    assert (np.diff(base) >= 0).all()
    np.testing.assert_array_equal(base, dz**2 + dy**2)
    reach = min(4, depth - 1), min(4, height - 1)
    assert len({*zip(dz.tolist(), dy.tolist(), strict=True)}) == len(base)
    assert len(base) == (2 * reach[0] + 1) * (2 * reach[1] + 1)
