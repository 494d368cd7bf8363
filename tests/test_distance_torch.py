"""The tensor code's distances against SciPy's exact Euclidean distance transform."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel import distance_torch as dt  # noqa: E402
from softlabel.distance import (  # noqa: E402
    IN_FACING,
    IN_SHELL,
    OUT_FACING,
    OUT_SHELL,
    Metric,
)

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
    found = dt.squared_distances(torch.from_numpy(target), all_pairs(shape, 2, bound), costs)
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
    found = dt.squared_distances(torch.from_numpy(target), all_pairs(shape, 1, bound), costs)
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
    found = dt.squared_distances(target, all_pairs((1, 61, 3), 1, bound), costs)
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


# --- Triton ---------------------------------------------------------------------------------------

INTERPRETED = """
import numpy as np, torch
from softlabel import distance_torch as dt
from softlabel.distance import Metric

rng = np.random.default_rng(0)
for shape, active, spacing, to_face in [
    ((1, 1, 40), (False, False, True), (1.0, 1.0, 1.0), False),
    ((1, 9, 13), (False, True, True), (1.0, 1.0, 1.0), False),
    ((4, 6, 11), (True, True, True), (1.0, 1.0, 1.0), True),
    ((4, 6, 11), (True, True, True), (3.0, 1.0, 0.7), False),
    ((4, 6, 7), (True, False, True), (1.0, 1.0, 1.0), False),
]:
    target = torch.from_numpy(rng.random((2, *shape)) < 0.05)
    costs = dt.costs_within(Metric(spacing, active, to_face), 6.0, shape)
    place = rng.integers(0, 2 * np.prod(shape), 300)
    z, y = place // (shape[1] * shape[2]) % shape[0], place // shape[2] % shape[1]
    limit = torch.from_numpy(costs.limits(rng.uniform(0, 6, 300)))
    pairs = dt.Pairs(
        torch.from_numpy(place),
        (torch.from_numpy(z.astype(np.int32)), torch.from_numpy(y.astype(np.int32))),
        limit,
    )
    plain = dt.squared_distances(target, pairs, costs, kernels=False)
    fast = dt.squared_distances(target, pairs, costs, kernels=True)
    wanted = (plain <= limit) | (fast <= limit)
    assert wanted.sum() > 20
    torch.testing.assert_close(fast[wanted], plain[wanted], rtol=1e-14, atol=0)
    if costs.integer:
        assert torch.equal(fast[wanted], plain[wanted])
none = dt.Pairs(pairs.place[:0], (pairs.coordinates[0][:0], pairs.coordinates[1][:0]), limit[:0])
assert len(dt.squared_distances(target, none, costs, kernels=True)) == 0

from softlabel.softening.superpixel import SuperpixelOptions
from softlabel.softening.superpixel_torch import soften_images
from softlabel.types import ClassTable

for shape in ((22, 30), (6, 9, 11)):
    where = np.indices(shape)
    labels = ((where[0] + np.sin(where[-1] / 3)) * 3 // shape[0]).clip(0, 2).astype(np.uint8)
    labels[rng.random(shape) < 0.05] = 255
    ids = np.ravel_multi_index(tuple(where // 5), [n // 5 + 1 for n in shape]).astype(np.int32)
    for boundary in ("inner", "edge"):
        plain, fast = (
            soften_images(
                [labels], ClassTable.from_values(range(3)), [ids], (1.0,) * len(shape), 1.0,
                SuperpixelOptions(boundary), torch.device("cpu"), kernels=kernels,
            )[0]
            for kernels in (False, True)
        )
        assert len(plain.values) and plain.values.tobytes() == fast.values.tobytes()
"""


def test_triton_kernels_find_the_same():
    """In Triton's interpreter, which a process must be started for."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], capture_output=True, text=True,
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_triton_kernels_compile_for_cuda():
    """Triton brings its own assembler, so that no card is needed to see that they compile."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from softlabel import distance_triton

    pair = distance_triton._pair_kernel
    types = {"place": "*i64", "z": "*i32", "y": "*i32", "dz": "*i32", "dy": "*i32"}
    types |= dict.fromkeys(("squares", "limit", "base", "far", "out"), "*fp64")
    types |= {"offsets": "*u8", "BLOCK": "constexpr", "STEP": "constexpr"}
    signature = {name: types.get(name, "i32") for name in pair.arg_names}
    row = {"target": "*u8", "out": "*u8", "length": "i32", "reach": "i32", "WIDTH": "constexpr"}
    target = GPUTarget("cuda", 90, 32)
    for source in (
        ASTSource(pair, signature, {"BLOCK": 256, "STEP": 4}),
        ASTSource(distance_triton._row_kernel, row, {"WIDTH": 1024}),
    ):
        assert triton.compile(source, target=target).asm["cubin"]


@given(depth=st.integers(1, 12), height=st.integers(1, 12))
def test_rows_around_are_all_rows_nearest_first(depth, height):
    costs = dt.costs_within(Metric((1.0, 1.0, 1.0), ALL), 4.0, (depth, height, 9))
    dz, dy, base = dt.rows_around(costs)
    assert (np.diff(base) >= 0).all()
    np.testing.assert_array_equal(base, dz**2 + dy**2)
    reach = min(4, depth - 1), min(4, height - 1)
    assert len({*zip(dz.tolist(), dy.tolist(), strict=True)}) == len(base)
    assert len(base) == (2 * reach[0] + 1) * (2 * reach[1] + 1)
