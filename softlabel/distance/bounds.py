"""Where a nearer target can be: the box around all balls of what was found.

A ball lies around each pixel that wants a distance; its radius is what was found, or the limit of
the superpixel when that is less. What lies outside of every ball is no nearer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from softlabel.distance.groups import Places, Task
from softlabel.distance.transform import steps_within
from softlabel.kernels import inner_kernel
from softlabel.types import Array


@inner_kernel
def find_need(
    task: Task, j: int, box: Array, core: Array, places: Places, tops: Array, need: Array
) -> float:
    """Find the box that holds what was found for a job and every target that may be nearer.

    Returns the largest squared distance that was found, −1 when that box was searched already.
    ``need`` is filled; ``tops`` is memory for a number a plane of the core.
    """
    regions, jobs, squares, shape = task.regions, task.jobs, task.squares, task.image.shape
    ceiling = 0.0
    for b in range(jobs.block_start[j], jobs.block_start[j + 1]):
        r = jobs.block_region[b]
        largest = _largest(task.squared, jobs.block_out[b], regions.last[r] - regions.first[r])
        ceiling = max(ceiling, min(float(largest), regions.limit[r]))
    for a in range(3):
        need[0, a], need[1, a] = core[0, a], core[1, a]
    _take_in(need, 0, core[0, 0], core[1, 0] - 1, steps_within(squares.z, ceiling), shape[0])
    _take_in(need, 1, core[0, 1], core[1, 1] - 1, steps_within(squares.y, ceiling), shape[1])
    _take_in(need, 2, core[0, 2], core[1, 2] - 1, steps_within(squares.x, ceiling), shape[2])
    if _holds(box, need):
        return -1.0
    _take_in_balls(task, j, core, ceiling, places, tops, need)
    return -1.0 if _holds(box, need) else ceiling


@inner_kernel
def _take_in_balls(
    task: Task, j: int, core: Array, ceiling: float, places: Places, tops: Array, need: Array
) -> None:
    """Make ``need`` hold the core and, around each pixel, what lies no further than what was found.

    For that it is enough to know the largest squared distance in every plane of the core.
    """
    regions, jobs, squares, shape = task.regions, task.jobs, task.squares, task.image.shape
    depth, columns, rows = core[1, 0] - core[0, 0], core[1, 2] - core[0, 2], core[1, 1] - core[0, 1]
    tops[: depth + rows + columns] = 0
    in_z, in_y, in_x = tops[:depth], tops[depth : depth + rows], tops[depth + rows :]
    for b in range(jobs.block_start[j], jobs.block_start[j + 1]):
        r = jobs.block_region[b]
        _raise_tops(
            task.squared, jobs.block_out[b], regions.last[r] - regions.first[r], places,
            regions.place[r], in_z, in_y, in_x,
        )  # fmt: skip
    for a in range(3):
        need[0, a], need[1, a] = core[0, a], core[1, a]
    for z in range(depth):
        steps = steps_within(squares.z, min(ceiling, float(in_z[z])))
        _take_in(need, 0, core[0, 0] + z, core[0, 0] + z, steps, shape[0])
    for y in range(rows):
        steps = steps_within(squares.y, min(ceiling, float(in_y[y])))
        _take_in(need, 1, core[0, 1] + y, core[0, 1] + y, steps, shape[1])
    for x in range(columns):
        steps = steps_within(squares.x, min(ceiling, float(in_x[x])))
        _take_in(need, 2, core[0, 2] + x, core[0, 2] + x, steps, shape[2])


@inner_kernel
def _raise_tops(
    squared: Array, to: int, n: int, places: Places, at: int, in_z: Array, in_y: Array, in_x: Array
) -> None:
    """Raise the largest squared distance in every plane of the core to those of a block."""
    of_z, of_y, of_x = places.z, places.y, places.x
    start, end = np.uint64(at), np.uint64(to)
    for i in range(np.uint64(n)):
        found = squared[end + i]
        z, y, x = np.uint64(of_z[start + i]), np.uint64(of_y[start + i]), np.uint64(of_x[start + i])
        in_z[z] = max(in_z[z], found)
        in_y[y] = max(in_y[y], found)
        in_x[x] = max(in_x[x], found)


@inner_kernel
def _take_in(box: Array, axis: int, first: int, last: int, steps: int, length: int) -> None:
    """Make a box hold what lies some steps around a range of an axis, within the image."""
    box[0, axis] = max(0, min(box[0, axis], first - steps))
    box[1, axis] = min(length, max(box[1, axis], last + steps + 1))


@inner_kernel
def _holds(box: Array, inner: Array) -> bool:
    holds = True
    for a in range(3):
        holds &= box[0, a] <= inner[0, a] and inner[1, a] <= box[1, a]
    return holds


@inner_kernel
def _largest(values: Array, at: int, n: int) -> Any:
    start = np.uint64(at)
    largest = values[start]
    for i in range(np.uint64(n)):
        value = values[start + i]
        largest = value if value > largest else largest
    return largest
