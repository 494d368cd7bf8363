"""Mixed superpixels by Triton against the plain tensor code, on a card or in the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import triton_runs
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")
from softlabel.softening.tensor import mixed, triton_mixed  # noqa: E402

DEVICE = torch.device(triton_runs.DEVICE)


@triton_runs.here
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n_images=st.integers(1, 3), narrow=st.booleans())
def test_mixed_superpixels_and_boxes_are_those_of_the_tensor_code(seed, n_images, narrow):
    rng = np.random.default_rng(seed)
    shape = (n_images, *rng.integers(1, 9, 3))
    index = torch.from_numpy(rng.choice([0, 1, 255], shape).astype(np.uint8)).to(DEVICE)
    ids = rng.integers(-1, 7, shape)
    if not narrow:
        ids[ids < 0] = -(2**32)  # its lower half is 0
    ids = torch.from_numpy(ids).to(torch.int16 if narrow else torch.int64).to(DEVICE)
    expected = mixed.number_mixed(index, 255, ids, 7)
    found = triton_mixed.number_mixed(index, 255, ids, 7)
    assert found.dtype == expected.dtype and torch.equal(found, expected)
    pixels = torch.nonzero(expected.view(-1) >= 0).squeeze(1)
    region, count = expected.view(-1)[pixels], int(expected.max()) + 1
    for a, b in zip(
        triton_mixed.boxes(pixels, region, count, index.shape),
        mixed.boxes(pixels, region, count, index.shape), strict=True,
    ):  # fmt: skip
        assert a.dtype == b.dtype and torch.equal(a, b)


@triton_runs.compiles
def test_the_kernels_compile_for_cuda():
    ints = {"superpixels": "*i16", "index": "*u8", "pixels": "*i64"}
    cells = dict.fromkeys(("least", "most", "lower", "upper", "image", "region", "number", "out"),
                          "*i32")  # fmt: skip
    block = {"BLOCK": triton_mixed.PIXELS_A_PROGRAM}
    for kernel in (
        triton_mixed._class_range_kernel, triton_mixed._number_kernel, triton_mixed._box_kernel
    ):  # fmt: skip
        assert triton_runs.compiled(kernel, ints | cells, block)
