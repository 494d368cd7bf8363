"""Triton kernels for :mod:`softlabel.softening.tensor.distance`, where there is a CUDA card.

Sizes that differ from batch to batch are kept out of Triton's specialisation, which would compile
anew in the middle of a training run.

Never required: the results are those of the plain tensor code, to the bit. With
``TRITON_INTERPRET=1`` set before the first import it runs on the CPU, slowly, for tests.

*Rows*: one program a row of one class, which tells the targets from the class indices as it reads
them; two scans find the nearest on the left and on the right. No map of targets is ever written.

*Pairs*: :func:`nearest` walks for a block of pairs over the rows around each of them, in ascending
order of their squared distance, and stops as soon as the next row is further away than what all
pairs of the block have found. Volumes are searched like planes, over (Δz, Δy), so that there is no
pass along y over whole maps.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from softlabel.distance.boundary import IN_FACING, IN_SHELL, OUT_FACING
from softlabel.softening.tensor.distance import Costs, offset_dtype, rows_around

ROWS_A_STEP = 4
"""Rows between two looks at whether a block of pairs is done."""


@triton.jit
def _larger(a, b):  # type: ignore[no-untyped-def]
    return tl.maximum(a, b)


@triton.jit
def _smaller(a, b):  # type: ignore[no-untyped-def]
    return tl.minimum(a, b)


@triton.jit
def coordinates(pixel, depth, height, width):  # type: ignore[no-untyped-def]
    """Image, z, y and x of flat (C order) indices into (B, Z, Y, X)."""
    x, rest = pixel % width, pixel // width
    y, rest = rest % height, rest // height
    return rest // depth, rest % depth, y, x


@triton.jit(do_not_specialize=["rows", "height", "depth", "ignored", "reach"])
def _row_kernel(  # type: ignore[no-untyped-def]
    index, classes, out, rows, length, height, depth, ignored, reach,
    OF_CLASS: tl.constexpr, FACING: tl.constexpr,
    ALONG_X: tl.constexpr, ALONG_Y: tl.constexpr, ALONG_Z: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Offset of every pixel of a row to the nearest target in it: one program a row and a class.

    A target is a pixel of the class, or not, and with `FACING` only one that has a pixel of the
    other kind beside it::

        class    1 1 0 0 0 1      target: class 1       offset  0 0 1 2 1 0
    """
    row = tl.program_id(0).to(tl.int64)
    y, z = row % height, row // height % depth
    own = tl.load(classes + tl.program_id(1))
    x = tl.arange(0, WIDTH)
    at = index + row * length + x
    inside = x < length
    here = tl.load(at, mask=inside, other=ignored).to(tl.int32)
    hit = here == own
    if not OF_CLASS:
        hit = (here != own) & (here != ignored)
    if FACING:
        faces = x < 0
        for side in tl.static_range(2):
            step = 2 * side - 1
            if ALONG_X:
                there = inside & (x + step >= 0) & (x + step < length)
                faces |= _makes_a_face(at + step, there, here, own, ignored, OF_CLASS)
            if ALONG_Y:
                there = inside & (y + step >= 0) & (y + step < height)
                faces |= _makes_a_face(at + step * length, there, here, own, ignored, OF_CLASS)
            if ALONG_Z:
                there = inside & (z + step >= 0) & (z + step < depth)
                across = at + step * height * length
                faces |= _makes_a_face(across, there, here, own, ignored, OF_CLASS)
        hit &= faces
    before = tl.associative_scan(tl.where(hit, x, -(1 << 30)), 0, _larger)
    after = tl.associative_scan(tl.where(hit, x, 1 << 30), 0, _smaller, reverse=True)
    offset = tl.minimum(tl.minimum(x - before, after - x), reach + 1)
    place = (tl.program_id(1).to(tl.int64) * rows + row) * length + x
    tl.store(out + place, offset.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _makes_a_face(  # type: ignore[no-untyped-def]
    at, there, here, own, ignored, OF_CLASS: tl.constexpr
):
    """Whether the neighbour at an address lies across the boundary from a pixel."""
    other = tl.load(at, mask=there, other=ignored).to(tl.int32)
    across = other == own
    if OF_CLASS:
        across = (other != here) & (other != ignored)
    return across


@triton.jit
def nearest(  # type: ignore[no-untyped-def]
    offsets, squares, dz, dy, base, far, place, z, y, real, limit,
    n_rows, depth, height, width, none, BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Smallest squared distance of a block of pairs; exact where it is within the limit.

    ``place``, ``z``, ``y``: where each pair lies in the maps ``offsets`` of row offsets, int64 and
    int32; ``none`` is the offset where there is no target. ``real``: the pairs that are wanted.
    ``squares``, ``dz``, ``dy``, ``base``, ``far``: a :class:`Table`.
    """
    best = tl.zeros((BLOCK,), limit.dtype) + tl.load(far)
    first = 0
    going = tl.load(base) < tl.load(far)
    while going:
        for i in tl.static_range(STEP):
            step_z = tl.load(dz + first + i)
            step_y = tl.load(dy + first + i)
            there_z, there_y = z + step_z, y + step_y
            there = real & (there_z >= 0) & (there_z < depth) & (there_y >= 0)
            there = there & (there_y < height)
            moved = place + (step_z.to(tl.int64) * height + step_y) * width
            offset = tl.load(offsets + moved, mask=there, other=none).to(tl.int32)
            best = tl.minimum(best, tl.load(squares + offset) + tl.load(base + first + i))
        first += STEP
        # padded with rows that are infinitely far, so that this reads no foreign memory
        following = tl.load(base + first)
        open_pairs = real & (best > following) & (limit >= following)
        going = (first < n_rows) & (tl.max(open_pairs.to(tl.int32), 0) > 0)
    return best


def row_offsets(
    index: Tensor, ignored: int, classes: Tensor, kind: int, active: tuple[bool, bool, bool],
    reach: int, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """:func:`distance_torch.row_offsets` of :func:`distance_torch.targets`, in one go.

    Parameters
    ----------
    index : tensor of uint8 or int32, shape (B, Z, Y, X)
    ignored : int
    classes : tensor of int32, shape (K,)
    kind, active
        As for :func:`softlabel.softening.tensor.distance.targets`.
    reach : int
    out : tensor, optional
        Where to put them.

    Returns
    -------
    tensor of uint8, int16 or int32, shape (K, B, Z, Y, X)
    """
    n_images, depth, height, length = index.shape
    rows = n_images * depth * height
    if out is None:
        out = torch.empty(
            (len(classes), *index.shape), dtype=offset_dtype(reach), device=index.device
        )
    if out.numel():
        width = triton.next_power_of_2(length)
        with on_device(index.device):
            _row_kernel[(rows, len(classes))](
                index.contiguous(), classes, out, rows, length, height, depth, ignored, reach,
                OF_CLASS=kind in (IN_SHELL, IN_FACING), FACING=kind in (IN_FACING, OUT_FACING),
                ALONG_X=active[2], ALONG_Y=active[1], ALONG_Z=active[0],
                WIDTH=width, num_warps=min(8, max(1, width // 256)),
            )  # fmt: skip
    return out


@dataclass(frozen=True, eq=False)
class Table:
    """The rows around a pixel, nearest first, as :func:`nearest` reads them.

    Attributes
    ----------
    dz, dy : tensor of int32, shape (n + padding,)
    base : tensor of ``costs.dtype``, shape (n + padding,)
        Their squared distances; the padding is further away than everything.
    squares : tensor of ``costs.dtype``
        Squared distance along a row of every offset in it.
    far : tensor of ``costs.dtype``, shape (1,)
    n_rows : int
        Without the padding, in whole steps.
    """

    dz: Tensor
    dy: Tensor
    base: Tensor
    squares: Tensor
    far: Tensor
    n_rows: int


def table_of(costs: Costs, device: torch.device) -> Table:
    """The rows around a pixel to a multiple of ``ROWS_A_STEP``, and one step more."""
    dz, dy, base = rows_around(costs)
    padding = -len(dz) % ROWS_A_STEP + ROWS_A_STEP
    # twice far would be more than an int32 holds
    far = costs.far - 1 if costs.integer else costs.far
    padded = (
        np.pad(dz, (0, padding)).astype(np.int32),
        np.pad(dy, (0, padding)).astype(np.int32),
        np.pad(base, (0, padding), constant_values=far).astype(
            np.int32 if costs.integer else np.float64
        ),
    )
    there = [torch.from_numpy(part).to(device) for part in padded]
    return Table(
        there[0], there[1], there[2], costs.table(2, device),
        torch.full((1,), costs.far, dtype=costs.dtype, device=device),
        len(padded[0]) - ROWS_A_STEP,
    )  # fmt: skip


def on_device(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, whatever its tensors lie on."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
