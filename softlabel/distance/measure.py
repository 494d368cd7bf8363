"""Exact distances to class boundaries for the pixels of superpixels.

The core of a group (:mod:`softlabel.distance.groups`) alone does not tell how far the nearest
target is, since it may lie outside; the whole image would, at many times the cost. So every job is
done in one or two goes:

1. In the core, padded by FIRST_PAD pixels, an exact transform
   (:mod:`softlabel.distance.transform`) finds the nearest target in this box.
2. That bounds where a nearer one can be (:mod:`softlabel.distance.bounds`). If this box holds more
   than the first one, the transform is repeated in it, and then nothing can be nearer.

Memory follows the largest of these boxes, time the sum of their pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from softlabel.distance.blocks import Blocks, Measured
from softlabel.distance.boundary import IN_FACING, OUT_FACING, Boundary, Metric
from softlabel.distance.bounds import find_need
from softlabel.distance.groups import Places, Regions, Rules, Task, groups_of, in_parts, plan_part
from softlabel.distance.number_types import by_number_type
from softlabel.distance.transform import (
    Buffers,
    Image,
    Layout,
    code_box,
    layout_of,
    same_targets,
    transform,
    with_room,
)
from softlabel.kernels import inner_kernel, kernel
from softlabel.types import Array

FIRST_PAD = 2
"""Padding of the first box in units of the finest spacing."""


def measure_blocks(blocks: Blocks, boundary: Boundary, metric: Metric) -> Iterator[Measured]:
    """Measure all blocks, some at a time.

    Parameters
    ----------
    blocks : Blocks
    boundary : Boundary
    metric : Metric

    Yields
    ------
    Measured
    """
    order = axis_order(blocks.index.shape, metric)
    image = image_of(blocks.index, blocks.ignored, order)
    metric = Metric(
        tuple(metric.spacing[a] for a in order),  # type: ignore[arg-type]
        tuple(metric.active[a] for a in order),  # type: ignore[arg-type]
        metric.to_face,
    )
    lower = blocks.lower[:, order].astype(np.int64)
    upper = blocks.upper[:, order].astype(np.int64)
    rules = rules_of(boundary, metric)
    for numbers, chosen in by_number_type(blocks, metric):
        squares = numbers.squares(metric, float(blocks.limits[blocks.region[chosen]].max()))
        group = groups_of(blocks, chosen, lower, upper)
        for part in in_parts(blocks, chosen, group):
            plan = plan_part(blocks, numbers.factor, part, group, lower, upper)
            squared: Array = np.empty(int(plan.start[-1]), numbers.dtype)
            task = Task(image, rules, plan.groups, plan.regions, plan.jobs, squares, squared)
            _measure_groups(task, np.empty(0, numbers.count_dtype))
            yield Measured(plan.blocks, plan.start, squared, numbers.factor)


def axis_order(shape: tuple[int, ...], metric: Metric) -> list[int]:
    """Axes in the order of the passes; the last one stays, for it is contiguous.

    The first pass counts and costs least, so the first axis should be one that distances cross.
    """
    crossed = metric.active[0] and shape[0] > 1
    return [0, 1, 2] if crossed else [1, 0, 2]


def image_of(index: Array, ignored: int, order: list[int]) -> Image:
    """A label map for kernels."""
    shape = tuple(int(index.shape[a]) for a in order)
    strides = (index.shape[1] * index.shape[2], index.shape[2], 1)
    return Image(
        index.reshape(-1), shape,  # type: ignore[arg-type]
        (strides[order[0]], strides[order[1]]), order[0] == 1, index.dtype.type(ignored),
        bool((index == ignored).any()),
    )  # fmt: skip


def rules_of(boundary: Boundary, metric: Metric) -> Rules:
    """What a boundary and a metric mean for the kernels."""
    active, spacing = np.array(metric.active), np.array(metric.spacing)
    facing = {boundary.inside, boundary.outside} & {IN_FACING, OUT_FACING}
    pad = np.where(active, np.ceil(FIRST_PAD * metric.finest / spacing), 0)
    return Rules(
        boundary.inside, boundary.outside, (active & bool(facing)).astype(np.int64),
        pad.astype(np.int64),
    )  # fmt: skip


# --- kernels --------------------------------------------------------------------------------------


@kernel
def _measure_groups(task: Task, counts: Array) -> None:
    """Fill ``task.squared``; ``counts`` only tells the type of counts."""
    image, rules, groups, squared = task.image, task.rules, task.groups, task.squared
    places = _with_places(1, image)
    buffers = Buffers(
        np.empty(0, np.uint8), np.empty(0, np.uint8), counts,
        np.empty(0, squared.dtype), np.empty(0, squared.dtype), np.empty(0, squared.dtype),
    )  # fmt: skip
    core, box = np.empty((2, 3), np.int64), np.empty((2, 3), np.int64)
    need, tops = np.empty((2, 3), np.int64), np.empty(64, squared.dtype)
    for g in range(len(groups.lower)):
        for a in range(3):
            core[0, a], core[1, a] = groups.lower[g, a], groups.upper[g, a]
        places = _place_group(image, task.regions, groups.region_start[g : g + 2], core, places)
        planes = np.sum(core[1] - core[0])
        if planes > len(tops):
            tops = np.empty(2 * planes, squared.dtype)
        for j in range(groups.job_start[g], groups.job_start[g + 1]):
            for a in range(3):
                box[0, a] = max(core[0, a] - rules.pad[a], 0)
                box[1, a] = min(core[1, a] + rules.pad[a], image.shape[a])
            layout = layout_of(core, box, rules.halo)
            ceiling = _largest_limit(task, j)
            buffers = with_room(buffers, layout)
            _do_job(task, j, box, layout, ceiling, places, buffers)
            ceiling = find_need(task, j, box, core, places, tops, need)
            if ceiling >= 0:
                wider = layout_of(core, need, rules.halo)
                buffers = with_room(buffers, wider)
                _do_job(task, j, need, wider, ceiling, places, buffers)


@kernel
def _with_places(n: int, image: Image) -> Places:
    return Places(
        np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32),
        np.empty(n, np.int64), np.empty(n, image.flat.dtype),
    )  # fmt: skip


@kernel
def _place_group(
    image: Image, regions: Regions, members: Array, core: Array, places: Places
) -> Places:
    """List the pixels of a group, in the same memory when it is enough."""
    last = members[1] - 1
    n = regions.place[last] + regions.last[last] - regions.first[last]
    if n > len(places.place):
        places = _with_places(2 * n, image)
    for r in range(members[0], members[1]):
        _place_region(
            image, regions.pixels, regions.first[r], regions.last[r], core, places,
            regions.place[r],
        )  # fmt: skip
    return places


@inner_kernel
def _place_region(
    image: Image, pixels: Array, first: int, last: int, core: Array, places: Places, to: int
) -> None:
    flat, length = image.flat, image.shape[2]
    in_z, in_y, in_x, place, label = places
    columns, depth = core[1, 2] - core[0, 2], core[1, 0] - core[0, 0]
    rows = image.shape[0] if image.swapped else image.shape[1]
    row_start, row_end, z, y = 0, 0, 0, 0
    start, end = np.uint64(first), np.uint64(to)
    for i in range(np.uint64(last) - start):
        p = pixels[start + i]
        if p >= row_end:
            row = p // length
            row_start, row_end = row * length + core[0, 2], (row + 1) * length
            z, y = row // rows, row % rows
            if image.swapped:
                z, y = y, z
            z, y = z - core[0, 0], y - core[0, 1]
        x = p - row_start
        in_z[end + i], in_y[end + i], in_x[end + i] = z, y, x
        place[end + i] = (y * columns + x) * depth + z
        label[end + i] = flat[np.uint64(p)]


@inner_kernel
def _largest_limit(task: Task, j: int) -> float:
    jobs, limit = task.jobs, 0.0
    for b in range(jobs.block_start[j], jobs.block_start[j + 1]):
        limit = max(limit, task.regions.limit[jobs.block_region[b]])
    return limit


@inner_kernel
def _do_job(
    task: Task, j: int, box: Array, layout: Layout, ceiling: float, places: Places, buffers: Buffers
) -> None:
    """Measure to the targets in a box: one transform, or one for each side of the boundary."""
    rules, regions, jobs, squared = task.rules, task.regions, task.jobs, task.squared
    label = jobs.class_index[j]
    gaps = code_box(task.image, label, box, layout, buffers.codes)
    both = same_targets(rules.inside, rules.outside, gaps)
    for side in range(1 if both else 2):
        kind = rules.inside if side == 0 else rules.outside
        if both:
            kind = max(rules.inside, rules.outside)
        transform(kind, task.squares, ceiling, layout, buffers)
        for b in range(jobs.block_start[j], jobs.block_start[j + 1]):
            r = jobs.block_region[b]
            n, at, to = regions.last[r] - regions.first[r], regions.place[r], jobs.block_out[b]
            if both:
                _read(buffers.nearest, places.place, at, n, squared, to)
            else:
                _read_side(
                    buffers.nearest, places.place, places.label, label, side == 0, at, n,
                    squared, to,
                )  # fmt: skip


@inner_kernel
def _read(nearest: Array, place: Array, at: int, n: int, squared: Array, to: int) -> None:
    start, end = np.uint64(at), np.uint64(to)
    for i in range(np.uint64(n)):
        squared[end + i] = nearest[np.uint64(place[start + i])]


@inner_kernel
def _read_side(
    nearest: Array, place: Array, labels: Array, label: int, inside: bool, at: int, n: int,
    squared: Array, to: int,
) -> None:  # fmt: skip
    start, end = np.uint64(at), np.uint64(to)
    for i in range(np.uint64(n)):
        found = nearest[np.uint64(place[start + i])]
        mine = (labels[start + i] == label) == inside
        squared[end + i] = found if mine else squared[end + i]
