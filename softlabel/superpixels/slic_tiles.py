"""A volume cut into tiles of 64 pixels, which is how the k-means of SLIC looks at it.

A *tile* is a small box of 64 pixels: 1x8x8, 4x4x4, whatever is compact in space. A *block* is a box
of a few tiles, about a superpixel and a half wide, whose tiles share one list of centres. Here a
volume of 1x16x40 pixels in tiles of 1x8x8 and blocks of 1x2x3 tiles; the last block is cut off::

    +-------+-------+-------+-------+-------+
    | tile  | tile  | tile  | tile  | tile  |     tiles are numbered in raster order;
    |   0   |   1   |   2   |   3   |   4   |     the pixels of a tile ("lanes") as well:
    +-------+-------+-------+-------+-------+
    |       |       |       |       |       |      0  1  2  3  4  5  6  7
    |   5   |   6   |   7   |   8   |   9   |      8  9 10 …
    +-------+-------+-------+-------+-------+     56 …                   63
    '------- block 0 -------'--- block 1 ---'

Tiles lie one after the other in memory, and within a tile its 64 values of each channel, so that
loops over a tile have unit stride. Where the volume ends within a tile, its last pixels are
repeated.
"""

import math
from typing import NamedTuple

import numpy as np

from softlabel.kernels import inlined_kernel, kernel
from softlabel.types import Array

TILE = 64  # pixels in a tile
_HALF = TILE // 2


class Tiling(NamedTuple):
    """How a volume is cut: tiles of 64 pixels, and blocks of tiles that share a list of centres.

    Attributes
    ----------
    shape : three ints
        Depth, height, width of the volume.
    tile, grid : three ints each
        Pixels a tile spans, and number of tiles, along each axis.
    block, blocks : three ints each
        Tiles a block spans, and number of blocks, along each axis.
    """

    shape: tuple[int, int, int]
    tile: tuple[int, int, int]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    blocks: tuple[int, int, int]


class Tiles(NamedTuple):
    """The volume, tile by tile; pixels beyond the edge repeat the last one.

    Attributes
    ----------
    colours : (n_tiles, C, 64) float32 array
    low, high : (n_tiles, C) float32 arrays
        Smallest and largest colour of each tile.
    owners : (n_tiles, 64) int32 array
        Number of the centre that each pixel belongs to.
    """

    colours: Array
    low: Array
    high: Array
    owners: Array


def choose_tiling(shape: tuple[int, int, int], spacing: Array, steps: tuple[int, ...]) -> Tiling:
    """Tiles that are compact in space, and blocks of about a superpixel and a half.

    Rows of 4 pixels at least, for the sake of the loops; no axis is padded to twice its length.
    """
    candidates = [
        (TILE // (y * x), y, x)
        for x in (4, 8, 16, 32, 64)
        for y in (1, 2, 4, 8, 16)
        if y * x <= TILE
    ]
    fitting = [
        tile
        for tile in candidates
        if all(
            t < 2 * n or (axis == 2 and t == 4)
            for axis, (t, n) in enumerate(zip(tile, shape, strict=True))
        )
    ]
    # An image of few pixels fits none of them, and any will do.
    tile = min(
        fitting or candidates,
        key=lambda t: sum((s * n) ** 2 for s, n in zip(spacing, t, strict=True)),
    )
    grid = [-(-n // t) for n, t in zip(shape, tile, strict=True)]
    block = [min(4, max(1, round(1.5 * s / t))) for s, t in zip(steps, tile, strict=True)]
    blocks = [-(-n // b) for n, b in zip(grid, block, strict=True)]
    return Tiling(
        shape,
        tile,
        (grid[0], grid[1], grid[2]),
        (block[0], block[1], block[2]),
        (blocks[0], blocks[1], blocks[2]),
    )


def cut(image: Array, ratio: np.float32, seed_of: tuple[Array, ...], tiling: Tiling) -> Tiles:
    """Cut an image into tiles, colours times `ratio`, every pixel owned by the seed nearest to it.

    Parameters
    ----------
    image : (C, depth, height, width) float32 array
    ratio : float32
    seed_of : three int32 arrays
        For each position along z, y and x, what the seed nearest there adds to its number.
    """
    n, n_channels = math.prod(tiling.grid), len(image)
    tiles = Tiles(
        np.empty((n, n_channels, TILE), np.float32),
        np.empty((n, n_channels), np.float32),
        np.empty((n, n_channels), np.float32),
        np.empty((n, TILE), np.int32),
    )
    _fill_tiles(image, ratio, seed_of, tiling, tiles)
    return tiles


def uncut(owners: Array, tiling: Tiling) -> Array:
    """Owners of all pixels in the volume's own layout: (depth, height, width) int32."""
    labels = np.empty(tiling.shape, np.int32)
    _fill_labels(owners, tiling, labels)
    return labels


@kernel
def _fill_tiles(
    image: Array, ratio: np.float32, seed_of: tuple[Array, ...], tiling: Tiling, tiles: Tiles
) -> None:
    """Fill all tiles from an image (C, depth, height, width) of float32."""
    tz, ty, tx = tiling.tile
    nz, ny, nx = tiling.grid
    colours, low, high, owners = tiles
    for z in range(nz * tz):
        for y in range(ny * ty):
            first = (z // tz * ny + y // ty) * nx
            lane = (z % tz * ty + y % ty) * tx
            _fill_owners(seed_of, z, y, tx, owners[first : first + nx, lane : lane + tx])
            _fill_row(image, ratio, z, y, tx, colours[first : first + nx, :, lane : lane + tx])
    _bound_colours(colours, low, high)


@inlined_kernel
def _fill_owners(seed_of: tuple[Array, ...], z: int, y: int, tx: int, owners: Array) -> None:
    """Give the row at (z, y) to its nearest seeds: into the tiles' rows (n_tiles, tx) of int32."""
    seed_z, seed_y, seed_x = seed_of
    here = seed_z[min(z, seed_z.size - 1)] + seed_y[min(y, seed_y.size - 1)]
    for n in range(owners.shape[0]):
        for i in range(tx):
            owners[n, i] = here + seed_x[min(n * tx + i, seed_x.size - 1)]


@inlined_kernel
def _fill_row(image: Array, ratio: np.float32, z: int, y: int, tx: int, colours: Array) -> None:
    """Copy the row at (z, y) into the tiles' rows (n_tiles, C, tx) of float32."""
    n_channels, depth, height, width = image.shape
    z, y = min(z, depth - 1), min(y, height - 1)
    for n in range(colours.shape[0]):
        for c in range(n_channels):
            for i in range(tx):
                colours[n, c, i] = image[c, z, y, min(n * tx + i, width - 1)] * ratio


@kernel
def _bound_colours(colours: Array, low: Array, high: Array) -> None:
    """Smallest and largest of each channel (n_tiles, C, 64), into (n_tiles, C) arrays."""
    # By halves first: a running minimum takes a step a pixel.
    least, most = np.empty(_HALF, np.float32), np.empty(_HALF, np.float32)
    for tile in range(colours.shape[0]):
        for c in range(colours.shape[1]):
            for i in range(_HALF):
                v, w = colours[tile, c, i], colours[tile, c, _HALF + i]
                least[i] = v if v < w else w
                most[i] = w if v < w else v
            lowest, highest = least[0], most[0]
            for i in range(1, _HALF):
                lowest = least[i] if least[i] < lowest else lowest
                highest = most[i] if most[i] > highest else highest
            low[tile, c] = lowest
            high[tile, c] = highest


@kernel
def _fill_labels(owners: Array, tiling: Tiling, labels: Array) -> None:
    """Copy owners (n_tiles, 64) to labels (depth, height, width), both int32."""
    tz, ty, tx = tiling.tile
    _, ny, nx = tiling.grid
    depth, height, width = tiling.shape
    for z in range(depth):
        for y in range(height):
            first = (z // tz * ny + y // ty) * nx
            lane = (z % tz * ty + y % ty) * tx
            for n in range(width // tx):
                for four in range(0, tx, 4):
                    for i in range(four, four + 4):
                        labels[z, y, n * tx + i] = owners[first + n, lane + i]
            for i in range(width % tx):
                labels[z, y, width - width % tx + i] = owners[first + nx - 1, lane + i]
