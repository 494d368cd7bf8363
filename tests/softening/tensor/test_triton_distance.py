"""Row offsets by Triton against the plain tensor code, on a card or in Triton's interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import triton_runs
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from softlabel.distance.boundary import IN_FACING, IN_SHELL, OUT_FACING, OUT_SHELL, Metric  # noqa: E402
from softlabel.softening.tensor import distance as dt  # noqa: E402
from softlabel.softening.tensor import triton_distance  # noqa: E402

KINDS = (IN_SHELL, IN_FACING, OUT_SHELL, OUT_FACING)
ACTIVE = [(True, True, True), (False, True, True), (True, False, True), (False, False, True)]


@triton_runs.here
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(1, 1, 1), (1, 1, 21), (1, 4, 9), (3, 3, 4), (4, 1, 5), (3, 4, 1)]),
    kind=st.sampled_from(KINDS),
    active=st.sampled_from(ACTIVE),
    wide=st.booleans(),
    reach=st.sampled_from([0, 1, 5, 200, 20000]),
)
def test_row_offsets_are_those_of_the_tensor_code(seed, shape, kind, active, wide, reach):
    rng = np.random.default_rng(seed)
    index = rng.choice([0, 1, 2, 255], (2, *shape), p=[0.5, 0.2, 0.2, 0.1])
    tensor = torch.from_numpy(index).to(torch.int32 if wide else torch.uint8)
    tensor = tensor.to(triton_runs.DEVICE)
    classes = torch.tensor([0, 2], device=triton_runs.DEVICE)
    expected = dt.row_offsets(dt.targets(tensor, 255, classes, kind, active), reach)
    found = triton_distance.row_offsets(tensor, 255, classes.to(torch.int32), kind, active, reach)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_the_table_of_rows_is_padded_with_rows_too_far_for_all():
    for to_face, spacing in ((False, 1.0), (True, 1.0), (False, 0.7)):
        metric = Metric((1.0, spacing, 1.0), (True, True, True), to_face)
        costs = dt.costs_within(metric, 3.0, (5, 7, 9))
        table = triton_distance.table_of(costs, torch.device("cpu"))
        _, _, base = dt.rows_around(costs)
        step = triton_distance.ROWS_A_STEP
        assert table.n_rows % step == 0 and len(table.base) == table.n_rows + step
        assert len(base) <= table.n_rows
        np.testing.assert_array_equal(table.base[: len(base)].numpy(), base)
        assert (table.base[len(base) :] >= costs.limits(np.array([1e9]))[0]).all()
        # a step beyond the table is never open, and a sum with it overflows no int32
        assert float(table.base.max()) + float(table.squares.max()) < 2**31 or not costs.integer


@triton_runs.compiles
def test_the_kernel_compiles_for_cuda():
    row = {"index": "*u8", "classes": "*i32", "out": "*u8"}
    flags = dict.fromkeys(("OF_CLASS", "FACING", "ALONG_X", "ALONG_Y", "ALONG_Z"), True)
    assert triton_runs.compiled(triton_distance._row_kernel, row, flags | {"WIDTH": 1024})
