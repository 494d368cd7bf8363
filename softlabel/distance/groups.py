"""What is measured together, laid out for kernels.

A *group* is one superpixel or several. Its *core* is the bounding box of its pixels. A *job* is a
group and a class. A superpixel is a group of its own, with two exceptions:

* Where nearly every superpixel holds nearly every class, the padding of many small boxes would be
  most of the work. The image is cut into tiles of TILE superpixels each way. Those of a tile are
  one group when at least the share DENSE of the pixels in its jobs wants a distance: all others are
  visited in vain, and a pass does not end before the last of them is done.
* *Scattered* superpixels, whose boxes hold more than SCATTERED times their pixels (as of ids that
  are not connected), would have each their own transforms of mostly the same large box. They are
  one group when its jobs visit fewer pixels than theirs would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from softlabel.distance.blocks import Blocks
from softlabel.distance.transform import Image, Squares
from softlabel.types import Array

SCATTERED = 64
"""Pixels of the bounding box per pixel of a superpixel from which on it counts as scattered."""

TILE = 4
"""Edge of a tile in superpixels of the usual extent."""

DENSE = 0.5
"""Share of the pixels in a tile's jobs that have to want their distance."""

CHUNK_VALUES = 1 << 20
"""Distances that are handed out at a time, unless one group has more."""


class Groups(NamedTuple):
    """What is measured together.

    Attributes
    ----------
    lower, upper : ndarray of int64, shape (G, 3)
        Cores.
    region_start, job_start : ndarray of int64, shape (G + 1,)
        Group ``g`` has the regions and the jobs from ``start[g]`` to ``start[g + 1]``.
    """

    lower: Array
    upper: Array
    region_start: Array
    job_start: Array


class Regions(NamedTuple):
    """Superpixels in the order of the groups.

    Attributes
    ----------
    pixels : ndarray of int32 or int64
    first, last : ndarray of int64, shape (R,)
        Superpixel ``r`` has ``pixels[first[r]:last[r]]``.
    place : ndarray of int64, shape (R,)
        Pixels of the same group before it.
    limit : ndarray of float64, shape (R,)
        Largest squared distance that matters, in the numbers of the results.
    """

    pixels: Array
    first: Array
    last: Array
    place: Array
    limit: Array


class Jobs(NamedTuple):
    """Groups and classes, with the blocks that each of them serves.

    Attributes
    ----------
    class_index : ndarray of the label map's type, shape (J,)
    block_start : ndarray of int64, shape (J + 1,)
        Job ``j`` serves the blocks from ``block_start[j]`` to ``block_start[j + 1]``.
    block_region, block_out : ndarray of int64, shape (B,)
        Region of a block, and where its distances begin in the result.
    """

    class_index: Array
    block_start: Array
    block_region: Array
    block_out: Array


class Rules(NamedTuple):
    """How distances are measured, for kernels.

    Attributes
    ----------
    inside, outside : int
        Targets of both sides.
    halo, pad : ndarray of int64, shape (3,)
        Width of the halo that targets need, and padding of the first box, along z, y, x.
    """

    inside: int
    outside: int
    halo: Array
    pad: Array


class Task(NamedTuple):
    """Everything that the kernels need of a part.

    Attributes
    ----------
    image : Image
    rules : Rules
    groups : Groups
    regions : Regions
    jobs : Jobs
    squares : Squares
        Of steps along the axes, in the type of ``squared``.
    squared : ndarray
        The result: block after block, the squared distance of each pixel.
    """

    image: Image
    rules: Rules
    groups: Groups
    regions: Regions
    jobs: Jobs
    squares: Squares
    squared: Array


class Places(NamedTuple):
    """The pixels of a group, region after region.

    Attributes
    ----------
    z, y, x : ndarray of int32
        Where they lie in the core.
    place : ndarray of int64
        The same in the result of a transform: y, x, z of the core, flat.
    label : ndarray
        Their class indices.
    """

    z: Array
    y: Array
    x: Array
    place: Array
    label: Array


@dataclass(frozen=True, eq=False)
class Plan:
    """The blocks of a part in the order of their jobs, and the same for kernels."""

    blocks: Array
    start: Array
    groups: Groups
    regions: Regions
    jobs: Jobs


def groups_of(blocks: Blocks, chosen: Array, lower: Array, upper: Array) -> Array:
    """The group of every superpixel that has blocks among the chosen ones; −1 of all others."""
    region, n_regions = blocks.region[chosen], len(blocks.start) - 1
    extent, n_pixels = upper - lower, np.diff(blocks.start)
    scattered = extent.prod(axis=1) > SCATTERED * n_pixels
    tile_shape = np.maximum(TILE * np.median(extent[region], axis=0).astype(np.int64), 1)
    place = (lower + upper) // 2 // tile_shape
    tile = np.ravel_multi_index(tuple(place.T), tuple(place.max(axis=0) + 1))
    tile = np.where(scattered, tile.max() + 1, tile)
    worth = np.where(scattered, extent.prod(axis=1), n_pixels / DENSE)
    apart = np.bincount(tile[region], worth[region])
    whole = _pixels_together(tile[region], blocks.class_index[chosen], lower[region], upper[region])
    together = whole < apart
    number = np.where(together[tile[region]], tile[region], tile.max() + 1 + region)
    group = np.full(n_regions, -1)
    group[region] = np.unique(number, return_inverse=True)[1]
    return group


def _pixels_together(tile: Array, class_index: Array, lower: Array, upper: Array) -> Array:
    """Pixels in the boxes of all jobs of a tile when its superpixels are one group.

    The arguments have an entry a block; the result has one a tile.
    """
    n_tiles = int(tile.max()) + 1
    first = np.full((n_tiles, 3), np.iinfo(np.int64).max)
    last = np.zeros((n_tiles, 3), np.int64)
    np.minimum.at(first, tile, lower)
    np.maximum.at(last, tile, upper)
    tiles_of_jobs = np.unique(np.stack([tile, class_index]), axis=1)[0]
    jobs = np.bincount(tiles_of_jobs, minlength=n_tiles)
    return np.asarray(jobs * np.where(jobs[:, None] > 0, last - first, 0).prod(axis=1))


def in_parts(blocks: Blocks, chosen: Array, group: Array) -> Iterator[Array]:
    """Sort blocks by group, class and superpixel; cut them into parts of about CHUNK_VALUES pixels.

    No group is cut.
    """
    region = blocks.region[chosen]
    chosen = chosen[np.lexsort((region, blocks.class_index[chosen], group[region]))]
    region = blocks.region[chosen]
    ends = np.flatnonzero(np.diff(group[region], append=-1)) + 1
    sizes = np.cumsum(blocks.start[region + 1] - blocks.start[region])
    first = 0
    while first < len(chosen):
        target = CHUNK_VALUES + (sizes[first - 1] if first else 0)
        last = int(np.searchsorted(sizes[ends - 1], target))
        end = int(ends[min(last, len(ends) - 1)])
        yield chosen[first:end]
        first = end


def plan_part(
    blocks: Blocks, factor: float, part: Array, group: Array, lower: Array, upper: Array
) -> Plan:
    """Lay out the blocks of a part, which are sorted by group, class and superpixel."""
    named = blocks.region[part]
    members = np.unique(named)
    members = members[np.argsort(group[members], kind="stable")]
    rank = np.empty(len(group), np.int64)
    rank[members] = np.arange(len(members))
    block_region = rank[named]
    class_index = blocks.class_index[part]
    group = group[members] - group[members[0]]
    first, last = blocks.start[members], blocks.start[members + 1]
    before = np.cumsum(last - first) - (last - first)
    job_first = np.flatnonzero(
        (np.diff(group[block_region], prepend=-1) != 0) | (np.diff(class_index, prepend=-1) != 0)
    )
    region_start = np.searchsorted(group, np.arange(group[-1] + 2))
    start = np.concatenate([[0], np.cumsum((last - first)[block_region])]).astype(np.int64)
    groups = Groups(
        np.minimum.reduceat(lower[members], region_start[:-1]),
        np.maximum.reduceat(upper[members], region_start[:-1]),
        region_start,
        np.searchsorted(group[block_region][job_first], np.arange(group[-1] + 2)),
    )
    place = before - before[region_start[group]]
    limit = blocks.limits[members] ** 2 * factor
    jobs = Jobs(
        class_index[job_first].astype(blocks.index.dtype),
        np.append(job_first, len(part)),
        block_region.astype(np.int64),
        start[:-1],
    )
    return Plan(part, start, groups, Regions(blocks.pixels, first, last, place, limit), jobs)
