"""Distances to class boundaries as tensor code, for any torch device.

The same distances as :mod:`softlabel.distance.measure`, found another way: not superpixel by
superpixel, but for many (pixel, class) pairs of several images at once.

1. *Along x* the distance of every pixel to the nearest target of its row, by doubling: after steps
   of 1, 2, 4 … pixels each way, every row has looked as far as any pair may need.
2. *Along y* (volumes only) the smallest sum of squares within a slice.
3. *Along the last axis* each pair on its own: row after row (slice after slice) on both sides,
   until what is further away cannot be nearer. Pairs that are done are dropped every few steps.

Squared distances between pixels in pixel units are integers (four times that for distances to
faces), so no device can round them differently. In other units they are float64; volumes are then
searched row by row instead of in steps 2 and 3, which adds the squares in the CPU's order.

A pixel's own distances are exact up to the limit that the caller sets for it, since everything
within that limit has been looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softlabel.distance.boundary import IN_FACING, IN_SHELL, OUT_FACING, OUT_SHELL, Boundary, Metric
from softlabel.types import Array

LARGEST_INTEGER = 1 << 22
"""Squared distances beyond this are float64 even in pixel units: there is a table of all others."""

COMPACT_EVERY = 4
"""Rows between two looks at which pairs are still open."""

Shape3 = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Costs:
    """Squared distances as a device compares them.

    Attributes
    ----------
    squares : tuple of ndarray
        Squared distance along z, y and x of the offsets 0, 1, 2 … that a search needs.
    factor : float
        What they are multiplied by: 4 for distances to faces in pixel units, else 1.
    integer : bool
        int32 instead of float64.
    """

    squares: tuple[Array, Array, Array]
    factor: float
    integer: bool

    @property
    def dtype(self) -> torch.dtype:
        """Type of squared distances on the device."""
        return torch.int32 if self.integer else torch.float64

    @property
    def far(self) -> int | float:
        """More than every squared distance and, with one more square added, no overflow."""
        return LARGEST_INTEGER if self.integer else float("inf")

    def reach(self, axis: int) -> int:
        """Largest offset along an axis."""
        return len(self.squares[axis]) - 1

    def limits(self, distances: Array) -> Array:
        """Largest squared distance within each of some distances, in this type."""
        squared = np.asarray(distances, np.float64) ** 2 * self.factor
        if self.integer:
            return np.minimum(np.floor(squared), LARGEST_INTEGER - 1).astype(np.int32)
        return squared

    def table(self, axis: int, device: torch.device) -> Tensor:
        """``squares`` of an axis and, for every larger offset, ``far``."""
        values = np.append(self.squares[axis], self.far)
        return torch.from_numpy(values).to(device=device, dtype=self.dtype)


def costs_within(metric: Metric, limit: float, shape: Shape3) -> Costs:
    """Squared distances along the axes of all offsets within a limit, inside a shape.

    Examples
    --------
    >>> row = Metric((1.0, 1.0, 1.0), (False, False, True), to_face=True)
    >>> costs = costs_within(row, 3.0, (1, 1, 9))
    >>> costs.squares[2].tolist(), costs.factor, costs.integer
    ([0.0, 1.0, 9.0, 25.0], 4.0, True)
    """
    squares = [metric.squares(axis, limit)[: shape[axis]] for axis in range(3)]
    in_pixels = all(s == 1 for s, on in zip(metric.spacing, metric.active, strict=True) if on)
    factor = 4.0 if in_pixels and metric.to_face else 1.0
    scaled = [s * factor for s in squares]
    integer = in_pixels and sum(float(s[-1]) for s in scaled) < LARGEST_INTEGER
    if not integer:
        return Costs((squares[0], squares[1], squares[2]), 1.0, False)
    return Costs((scaled[0], scaled[1], scaled[2]), factor, True)


def shifted(values: Tensor, axis: int, offset: int, fill: int | float | bool) -> Tensor:
    """``values`` moved along one of the last three axes, ``fill`` where nothing comes from.

    Examples
    --------
    >>> shifted(torch.tensor([[[1, 2, 3]]]), 2, 1, 0).tolist()
    [[[0, 1, 2]]]
    """
    axis += values.ndim - 3
    moved = torch.full_like(values, fill)
    count = values.shape[axis] - abs(offset)
    if count > 0:
        moved.narrow(axis, max(offset, 0), count).copy_(values.narrow(axis, max(-offset, 0), count))
    return moved


def targets(
    index: Tensor, ignored: int, classes: Tensor, kind: int, active: tuple[bool, bool, bool]
) -> Tensor:
    """Pixels that distances of some classes are measured to.

    Of the kinds without a condition on neighbours all pixels are given and not only the shell:
    the nearest is the same one.

    Parameters
    ----------
    index : tensor of integers, shape (B, Z, Y, X)
    ignored : int
    classes : tensor of int64, shape (K,)
        Class indices.
    kind : int
        :data:`softlabel.distance.boundary.IN_SHELL` and so on.
    active : tuple of bool
        Axes along which there are neighbours.

    Returns
    -------
    tensor of bool, shape (K, B, Z, Y, X)
    """
    member = index[None] == classes.to(index.dtype).view(-1, 1, 1, 1, 1)
    if kind == IN_SHELL:
        return member
    known = index != ignored
    if kind == OUT_SHELL:
        return ~member & known
    steps = [(a, s) for a in range(3) if active[a] and index.shape[a + 1] > 1 for s in (1, -1)]
    if kind == IN_FACING:
        facing = torch.zeros_like(known)
        for axis, step in steps:
            other = shifted(index, axis, step, ignored)
            facing |= (other != index) & (other != ignored)
        return member & facing
    assert kind == OUT_FACING
    facing = torch.zeros_like(member)
    for axis, step in steps:
        facing |= shifted(member, axis, step, False)
    return facing & ~member & known


def row_offsets(target: Tensor, reach: int) -> Tensor:
    """Distance in pixels along x to the nearest target, ``reach + 1`` where there is none so near.

    Parameters
    ----------
    target : tensor of bool, shape (..., X)
    reach : int

    Returns
    -------
    tensor of uint8, int16 or int32, the same shape

    Examples
    --------
    >>> row_offsets(torch.tensor([False, False, False, True, False]), 2).tolist()
    [3, 2, 1, 0, 1]
    """
    dtype = offset_dtype(reach)
    start = torch.full(target.shape, reach + 1, dtype=dtype, device=target.device)
    start.masked_fill_(target, 0)
    left, right = start, start.clone()
    looked, length = 0, target.shape[-1]
    while looked < min(reach, length - 1):
        step = min(looked + 1, reach - looked, length - 1 - looked)
        # the sum makes a new tensor, so that reading and writing do not meet
        moved = left[..., :-step] + step
        torch.minimum(left[..., step:], moved, out=left[..., step:])
        moved = right[..., step:] + step
        torch.minimum(right[..., :-step], moved, out=right[..., :-step])
        looked += step
    return torch.minimum(left, right)


def offset_dtype(reach: int) -> torch.dtype:
    """Smallest type in which ``2 · reach + 1`` fits, so that sums of two offsets do."""
    if reach <= 127:
        return torch.uint8
    return torch.int16 if reach < 1 << 14 else torch.int32


def plane_costs(offsets: Tensor, costs: Costs) -> Tensor:
    """Smallest squared distance within a slice, from the distances along its rows.

    Parameters
    ----------
    offsets : tensor, shape (..., Y, X)
        From :func:`row_offsets`.
    costs : Costs

    Returns
    -------
    tensor of ``costs.dtype``, the same shape
    """
    rows = costs.table(2, offsets.device)[offsets.to(torch.int64)]
    best = rows.clone()
    length = rows.shape[-2]
    for offset in range(1, min(costs.reach(1), length - 1) + 1):
        moved = rows + _number(costs, 1, offset)
        head, tail = best[..., :-offset, :], best[..., offset:, :]
        torch.minimum(head, moved[..., offset:, :], out=head)
        torch.minimum(tail, moved[..., :-offset, :], out=tail)
    return best


def _number(costs: Costs, axis: int, offset: int) -> int | float:
    value = float(costs.squares[axis][offset])
    return int(value) if costs.integer else value


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pixels that wait for their distance to the targets of one map each.

    Attributes
    ----------
    place : tensor of int64, shape (N,)
        Where the pixel lies in the maps, flat.
    coordinates : tuple of two tensors of int32, shape (N,)
        Its z and y in the maps.
    limit : tensor of ``costs.dtype``, shape (N,)
        Squared distance beyond which it does not matter.
    """

    place: Tensor
    coordinates: tuple[Tensor, Tensor]
    limit: Tensor


def search(
    lookup: Callable[[Tensor], Tensor], pairs: Pairs, costs: Costs, axis: int, shape: Shape3
) -> Tensor:
    """Smallest squared distance of each pair, going outward along one axis.

    Parameters
    ----------
    lookup : callable (places int64 (N,)) -> squared distances within the row or slice
    pairs : Pairs
    costs : Costs
    axis : {0, 1}
        z or y.
    shape : tuple of int
        Z, Y, X of a map.

    Returns
    -------
    tensor of ``costs.dtype``, shape (N,)
        Exact where it is within the limit.
    """
    stride = shape[2] * (shape[1] if axis == 0 else 1)
    found = lookup(pairs.place)
    place, at, limit = pairs.place, pairs.coordinates[axis], pairs.limit
    best, waiting = found, None
    for offset in range(1, min(costs.reach(axis), shape[axis] - 1) + 1):
        square = _number(costs, axis, offset)
        if offset % COMPACT_EVERY == 1:
            still = torch.nonzero((best > square) & (limit >= square)).squeeze(1)
            if waiting is not None:
                found[waiting] = best
            waiting = still if waiting is None else waiting[still]
            if len(waiting) == 0:
                return found
            place, at, limit, best = place[still], at[still], limit[still], best[still]
        for sign in (1, -1):
            # Beyond the edge the last row stands in: it is nearer than it is taken to be, and
            # has been looked at before.
            there = (at + sign * offset).clamp_(0, shape[axis] - 1)
            moved = place + (there - at).to(torch.int64) * stride
            best = torch.minimum(best, lookup(moved) + square)
    if waiting is not None:
        found[waiting] = best
    return found


def search_rows(offsets: Tensor, pairs: Pairs, costs: Costs, shape: Shape3) -> Tensor:
    """Smallest squared distance of each pair, over the rows around it in ascending order.

    Adds the squares in the order of :mod:`softlabel.distance.transform`, so that float64 rounds
    alike; with integers :func:`plane_costs` and :func:`search` come to the same in fewer steps.

    Parameters
    ----------
    offsets : tensor, shape (M, Z, Y, X)
        From :func:`row_offsets`.
    pairs, costs, shape
        As for :func:`search`.
    """
    flat, table = offsets.reshape(-1), costs.table(2, offsets.device)
    found = torch.full_like(pairs.limit, costs.far)
    waiting = torch.arange(len(found), device=found.device)
    place, (z, y), limit, best = pairs.place, pairs.coordinates, pairs.limit, found
    for number, (dz, dy, base) in enumerate(zip(*rows_around(costs), strict=True)):
        if number % (COMPACT_EVERY * COMPACT_EVERY) == 1:
            found[waiting] = best
            still = torch.nonzero((best > base) & (limit >= base)).squeeze(1)
            if len(still) == 0:
                return found
            waiting, place, limit = waiting[still], place[still], limit[still]
            z, y, best = z[still], y[still], best[still]
        there_z, there_y = z + int(dz), y + int(dy)
        inside = (there_z >= 0) & (there_z < shape[0]) & (there_y >= 0) & (there_y < shape[1])
        moved = torch.where(inside, place + (int(dz) * shape[1] + int(dy)) * shape[2], place)
        square = table[flat[moved].to(torch.int64)] + base
        best = torch.where(inside, torch.minimum(best, square), best)
    found[waiting] = best
    return found


def rows_around(costs: Costs) -> tuple[Array, Array, Array]:
    """Δz, Δy and squared distance of the rows around a pixel, nearest first.

    Examples
    --------
    >>> plane = costs_within(Metric((1.0, 1.0, 1.0), (False, True, True)), 1.0, (1, 9, 9))
    >>> [part.tolist() for part in rows_around(plane)]
    [[0, 0, 0], [0, -1, 1], [0.0, 1.0, 1.0]]
    """
    reach_z, reach_y = costs.reach(0), costs.reach(1)
    dz, dy = np.mgrid[-reach_z : reach_z + 1, -reach_y : reach_y + 1].reshape(2, -1)
    base = costs.squares[0][np.abs(dz)] + costs.squares[1][np.abs(dy)]
    order = np.argsort(base, kind="stable")
    return dz[order], dy[order], base[order]


def search_among(target: Tensor, costs: Costs) -> Callable[[Pairs], Tensor]:
    """Prepare the search for the nearest target, of as many pairs as one likes.

    Parameters
    ----------
    target : tensor of bool, shape (M, Z, Y, X)
        One map for each class and image.
    costs : Costs

    Returns
    -------
    callable (Pairs) -> tensor of ``costs.dtype``, shape (N,)
        Squared distances to the nearest target of the pair's map, exact within the pair's limit.
    """
    shape: Shape3 = (target.shape[1], target.shape[2], target.shape[3])
    offsets = row_offsets(target, costs.reach(2))
    if shape[0] > 1 and costs.reach(0) > 0:
        if not costs.integer:
            return lambda pairs: search_rows(offsets, pairs, costs, shape)
        flat = plane_costs(offsets, costs).reshape(-1)
        return lambda pairs: search(lambda place: flat[place], pairs, costs, 0, shape)
    table, rows = costs.table(2, target.device), offsets.reshape(-1)

    def lookup(place: Tensor) -> Tensor:
        return table[rows[place].to(torch.int64)]

    return lambda pairs: search(lookup, pairs, costs, 1, shape)


def sides(boundary: Boundary) -> tuple[tuple[bool, int], tuple[bool, int]]:
    """(Inside of the class?, kind of targets) for both sides of a boundary."""
    return (True, boundary.inside), (False, boundary.outside)
