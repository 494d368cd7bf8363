"""The tiles of a regular grid that lie near boundaries: where methods without superpixels look.

A class is measured in the tiles that have both a pixel of it and one of another class within
reach. Every pixel that lies so near to a boundary has a block of its own class there, and one of
each class that may reach it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.distance.blocks import Blocks
from softlabel.distance.boundary import ROUNDING, Metric
from softlabel.kernels import kernel
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.maps import Regions, SoftMaps, hard_maps
from softlabel.types import Array, ClassTable


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of a grid and the classes to measure in them.

    Attributes
    ----------
    blocks : Blocks
        Its superpixels are the tiles.
    held : ndarray of bool, shape (B,)
        Whether the tile of each block has a pixel of its class.
    """

    blocks: Blocks
    held: Array

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Pixels of each block, shape (B,)."""
        return np.asarray(np.diff(self.blocks.start)[self.blocks.region])

    @property
    def value_start(self) -> npt.NDArray[np.int64]:
        """Where the values of each block begin, and where the last ones end, shape (B + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)


def tiles_within(volume: Array, n_classes: int, edge: int, metric: Metric, width: float) -> Tiles:
    """Find every tile and class whose boundary may lie within ``width`` of a pixel of the tile.

    Parameters
    ----------
    volume : ndarray of uint8 or uint16, shape (Z, Y, X)
        Class indices.
    n_classes : int
    edge : int
        Pixels along an edge of a tile.
    metric : Metric
    width : float
    """
    ignored = ignored_index(volume.dtype)
    counts = tuple(-(-n // edge) for n in volume.shape)
    held = np.zeros((n_classes, *counts), np.bool_)
    _mark_held(volume, ignored, edge, held)
    reach = _reach_in_tiles(metric, width, edge, counts)
    n_held = held.sum(axis=0)
    near = np.stack([
        _spread(own, reach) & _spread(n_held > own, reach) & (n_held > 0) for own in held
    ])  # fmt: skip
    numbers = np.flatnonzero(near.any(axis=0))
    corner = np.stack(np.unravel_index(numbers, counts), axis=1) * edge
    lower, upper = corner.astype(np.int32), np.minimum(corner + edge, volume.shape).astype(np.int32)
    pixels, start = _pixels_of(volume, ignored, lower, upper)
    region, class_index = np.nonzero(near.reshape(n_classes, -1)[:, numbers].T)
    blocks = Blocks(
        volume, ignored, pixels, start, lower, upper, _limits(volume, metric, width, len(numbers)),
        region.astype(np.int32), class_index.astype(np.int32),
    )  # fmt: skip
    return Tiles(blocks, held.reshape(n_classes, -1)[class_index, numbers[region]])


def maps_of_tiles(
    index: Array, table: ClassTable, tiles: Tiles, values: Array, soft: Array
) -> SoftMaps:
    """Soft maps that keep the blocks with a soft value, and those of the same tiles' own classes.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (*spatial)
        Class indices.
    table : ClassTable
    tiles : Tiles
        Of the same map.
    values : ndarray of float32
        Of all blocks, one after the other.
    soft : ndarray of bool, shape (B,)
        Whether a block has a value that is not that of a hard pixel.
    """
    blocks, sizes = tiles.blocks, tiles.sizes
    if not soft.any():
        return hard_maps(index, table)
    keep = soft | (tiles.held & np.isin(blocks.region, blocks.region[soft]))
    regions, region = _regions_of(blocks, keep)
    block_start = np.concatenate([[0], np.cumsum(sizes[keep])]).astype(np.int64)
    return SoftMaps(
        index, table, 1.0, 0.0, regions, region, blocks.class_index[keep], block_start,
        values[np.repeat(keep, sizes)],
    )  # fmt: skip


def _regions_of(blocks: Blocks, keep: Array) -> tuple[Regions, Array]:
    """The tiles that blocks to keep have, and the tile of each of these blocks."""
    kept, region = np.unique(blocks.region[keep], return_inverse=True)
    sizes = np.diff(blocks.start)
    pixels = blocks.pixels[np.repeat(np.isin(np.arange(len(sizes)), kept), sizes)]
    start = np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64)
    regions = Regions(pixels, start, blocks.lower[kept], blocks.upper[kept])
    return regions, region.astype(np.int32)


def _reach_in_tiles(
    metric: Metric, width: float, edge: int, counts: tuple[int, ...]
) -> tuple[int, ...]:
    """How many tiles away a pixel on either side of a boundary within ``width`` may be.

    Both lie at most one pixel further than the distance: beside the pixel that is measured to.
    """
    axes = zip(metric.spacing, metric.active, counts, strict=True)
    return tuple(
        int(min(-(-(width // step + 1) // edge), count)) if active else 0
        for step, active, count in axes
    )


def _spread(tiles: Array, reach: tuple[int, ...]) -> Array:
    """Tiles that have a True one within reach along every axis."""
    from scipy import ndimage

    size = [2 * r + 1 for r in reach]
    return np.asarray(ndimage.maximum_filter(tiles, size, mode="constant", cval=False))


def _limits(volume: Array, metric: Metric, width: float, n: int) -> Array:
    """The width for every tile; the diagonal of the image where that is less."""
    diagonal = metric.diagonals(np.zeros((1, 3), int), np.array([volume.shape]))[0]
    return np.full(n, min(width, diagonal + metric.finest) * (1 + ROUNDING))


def _pixels_of(volume: Array, ignored: int, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Flat indices of the known pixels of tiles, and where those of each begin."""
    start = np.zeros(len(lower) + 1, np.int64)
    pixels = np.empty(0, np.int32 if volume.size < 2**31 else np.int64)
    _list_pixels(volume, ignored, lower, upper, start, pixels, True)
    start = np.cumsum(start)
    pixels = np.empty(int(start[-1]), pixels.dtype)
    _list_pixels(volume, ignored, lower, upper, start, pixels, False)
    return pixels, start


@kernel
def _mark_held(volume: Array, ignored: int, edge: int, held: Array) -> None:
    for z in range(volume.shape[0]):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                if volume[z, y, x] != ignored:
                    held[volume[z, y, x], z // edge, y // edge, x // edge] = True


@kernel
def _list_pixels(
    volume: Array, ignored: int, lower: Array, upper: Array, start: Array, pixels: Array,
    only_count: bool,
) -> None:  # fmt: skip
    """Fill ``pixels``, or only write the number of each tile's into ``start``."""
    _, rows, columns = volume.shape
    for t in range(len(lower)):
        at = 0 if only_count else start[t]
        for z in range(lower[t, 0], upper[t, 0]):
            for y in range(lower[t, 1], upper[t, 1]):
                for x in range(lower[t, 2], upper[t, 2]):
                    if volume[z, y, x] != ignored:
                        if not only_count:
                            pixels[at] = (z * rows + y) * columns + x
                        at += 1
        if only_count:
            start[t + 1] = at
