"""Triton kernels for the two searches of :mod:`softlabel.distance_torch` that cost the most.

Used where CUDA and Triton are there, never required: the results are those of the plain tensor
code, to the bit. With ``TRITON_INTERPRET=1`` set before the first import they run
on the CPU, slowly, for tests.

*Rows*: one program a row; two scans find the nearest target on the left and on the right.

*Pairs*: one program a block of pairs, which walks over the rows around it in ascending order of
their squared distance and stops as soon as the next row is further away than what all pairs of the
block have found. Volumes are searched like planes, over (Δz, Δy), so that there is no pass along y
over whole maps.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from softlabel.distance_torch import Costs, Pairs, Shape3, offset_dtype, rows_around
from softlabel.types import Array

PAIRS_A_PROGRAM = 256
OFFSETS_A_STEP = 4
"""Offsets between two looks at whether a block is done."""


@triton.jit
def _larger(a, b):  # type: ignore[no-untyped-def]
    return tl.maximum(a, b)


@triton.jit
def _smaller(a, b):  # type: ignore[no-untyped-def]
    return tl.minimum(a, b)


@triton.jit
def _row_kernel(  # type: ignore[no-untyped-def]
    target, out, length, reach, WIDTH: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    x = tl.arange(0, WIDTH)
    inside = x < length
    hit = tl.load(target + row * length + x, mask=inside, other=0) != 0
    before = tl.associative_scan(tl.where(hit, x, -WIDTH), 0, _larger)
    after = tl.associative_scan(tl.where(hit, x, 2 * WIDTH), 0, _smaller, reverse=True)
    offset = tl.minimum(tl.minimum(x - before, after - x), reach + 1)
    tl.store(out + row * length + x, offset.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _pair_kernel(  # type: ignore[no-untyped-def]
    offsets, squares, place, z, y, limit, dz, dy, base, far, out,
    n_pairs, n_offsets, depth, height, width, none,
    BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = pair < n_pairs
    at = tl.load(place + pair, mask=real, other=0)
    at_z = tl.load(z + pair, mask=real, other=0)
    at_y = tl.load(y + pair, mask=real, other=0)
    within = tl.load(limit + pair, mask=real, other=0)
    best = tl.full((BLOCK,), 0, within.dtype) + tl.load(far)
    first = 0
    going = tl.load(base) < tl.load(far)
    while going:
        for i in tl.static_range(STEP):
            step_z = tl.load(dz + first + i)
            step_y = tl.load(dy + first + i)
            there_z, there_y = at_z + step_z, at_y + step_y
            there = real & (there_z >= 0) & (there_z < depth) & (there_y >= 0)
            there = there & (there_y < height)
            moved = at + (step_z.to(tl.int64) * height + step_y) * width
            offset = tl.load(offsets + moved, mask=there, other=none).to(tl.int32)
            best = tl.minimum(best, tl.load(squares + offset) + tl.load(base + first + i))
        first += STEP
        # padded with rows that are infinitely far, so that this reads no foreign memory
        following = tl.load(base + first)
        open_pairs = real & (best > following) & (within >= following)
        going = (first < n_offsets) & (tl.max(open_pairs.to(tl.int32), 0) > 0)
    tl.store(out + pair, best, mask=real)


def row_offsets(target: Tensor, reach: int) -> Tensor:
    """As :func:`softlabel.distance_torch.row_offsets`."""
    length = target.shape[-1]
    out = torch.empty(target.shape, dtype=offset_dtype(reach), device=target.device)
    rows = target.numel() // length
    if rows:
        width = triton.next_power_of_2(length)
        with _current(target.device):
            _row_kernel[(rows,)](
                target.contiguous().view(torch.uint8), out, length, reach, WIDTH=width,
                num_warps=min(8, max(1, width // 256)),
            )  # fmt: skip
    return out


def search(offsets: Tensor, pairs: Pairs, costs: Costs, shape: Shape3) -> Tensor:
    """Smallest squared distance of each pair, over the rows around it.

    Parameters
    ----------
    offsets : tensor, shape (M, Z, Y, X)
        From :func:`row_offsets`.
    pairs : Pairs
    costs : Costs
    shape : tuple of int
        Z, Y, X.
    """
    n_pairs = len(pairs.place)
    out = torch.empty(n_pairs, dtype=costs.dtype, device=offsets.device)
    if not n_pairs:
        return out
    dz, dy, base = _padded(*rows_around(costs), costs)
    device = offsets.device
    far = torch.full((1,), costs.far, dtype=costs.dtype, device=device)
    with _current(device):
        _pair_kernel[(triton.cdiv(n_pairs, PAIRS_A_PROGRAM),)](
            offsets, costs.table(2, device), pairs.place, *pairs.coordinates, pairs.limit,
            torch.from_numpy(dz).to(device), torch.from_numpy(dy).to(device),
            torch.from_numpy(base).to(device), far, out,
            n_pairs, len(dz) - OFFSETS_A_STEP, *shape, costs.reach(2) + 1,
            BLOCK=PAIRS_A_PROGRAM, STEP=OFFSETS_A_STEP,
        )  # fmt: skip
    return out


def _current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, whatever its tensors lie on."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _padded(dz: Array, dy: Array, base: Array, costs: Costs) -> tuple[Array, Array, Array]:
    """Rows to a multiple of ``OFFSETS_A_STEP``, and a step of rows that are too far for all."""
    padding = -len(dz) % OFFSETS_A_STEP + OFFSETS_A_STEP
    # twice far would be more than an int32 holds
    far = costs.far - 1 if costs.integer else costs.far
    kind = np.int32 if costs.integer else np.float64
    return (
        np.pad(dz, (0, padding)).astype(np.int32),
        np.pad(dy, (0, padding)).astype(np.int32),
        np.pad(base, (0, padding), constant_values=far).astype(kind),
    )
