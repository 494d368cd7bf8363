"""Centres become the float32 means of their pixels: the second half of a round of k-means.

scikit-image adds up in float32 and in raster order, and what a sum loses by rounding depends on
that order. Colours are therefore summed in raster order here as well. Positions are integers, whose
sums are exact up to 2^24 in float32: :func:`softlabel.superpixels.slic_assign.assign` counts them
tile by tile, and only what is larger is summed once more, in raster order.
"""

import numpy as np

from softlabel.kernels import inlined_kernel, kernel
from softlabel.superpixels.slic_assign import Centres
from softlabel.superpixels.slic_tiles import Tiles, Tiling
from softlabel.types import Array

_EXACT = 1 << 24  # up to here every integer is a float32

_ZERO = np.float32(0)
_U1, _U2, _U3 = np.uint64(1), np.uint64(2), np.uint64(3)


@kernel
def move_centres(tiles: Tiles, centres: Centres, tiling: Tiling, sums: Array) -> bool:
    """Move every centre to the float32 mean of its pixels; returns whether any moved.

    Parameters
    ----------
    tiles : Tiles
    centres : Centres
        Whose `features` and `alive` change.
    tiling : Tiling
    sums : (n, 4) int64 array
        Number of pixels, sum of z, of y and of x of every centre's pixels.
    """
    n, n_features = centres.features.shape
    totals = np.zeros((n_features - 3, n), np.float32)
    _sum_colours(tiles.colours, tiles.owners.view(np.uint32), tiling, totals)
    positions = np.empty((n, 3), np.float32)
    _round_positions(tiles.owners, tiling, sums, positions)
    moved = False
    for k in range(n):
        count = np.float32(sums[k, 0])
        if count == 0:
            moved |= centres.alive[k]
            centres.alive[k] = False
            continue
        for f in range(n_features):
            total = positions[k, f] if f < 3 else totals[f - 3, k]
            mean = total / count
            moved |= mean != centres.features[k, f]
            centres.features[k, f] = mean
    return moved


@kernel
def _sum_colours(colours: Array, owners: Array, tiling: Tiling, totals: Array) -> None:
    """Sum the colours of every centre's pixels in float32, in raster order.

    Parameters
    ----------
    colours : (n_tiles, C, 64) float32 array
    owners : (n_tiles, 64) uint32 array
        Unsigned, which spares a test for negative indices.
    tiling : Tiling
    totals : (C, n) float32 array
        Zeros, to be filled.
    """
    tz, ty, tx = tiling.tile
    _, ny, nx = tiling.grid
    depth, height, width = tiling.shape
    for z in range(depth):
        for y in range(height):
            first = (z // tz * ny + y // ty) * nx
            row = (z % tz * ty + y % ty) * tx
            for n in range(width // tx):
                for lane in range(row, row + tx, 4):
                    _sum_four(colours, owners, np.uint64(first + n), np.uint64(lane), totals)
            for i in range(width % tx):
                k = owners[first + nx - 1, row + i]
                for c in range(colours.shape[1]):
                    totals[c, k] += colours[first + nx - 1, c, row + i]


@inlined_kernel
def _sum_four(
    colours: Array, owners: Array, tile: np.uint64, lane: np.uint64, totals: Array
) -> None:
    """Add four neighbouring pixels to their centres' colours.

    Without a branch for four of one centre, which are often enough but hard to predict: in a plane
    it took a quarter longer.
    """
    lane_1, lane_2, lane_3 = lane + _U1, lane + _U2, lane + _U3
    k0, k1 = owners[tile, lane], owners[tile, lane_1]
    k2, k3 = owners[tile, lane_2], owners[tile, lane_3]
    for c in range(colours.shape[1]):
        totals[c, k0] += colours[tile, c, lane]
        totals[c, k1] += colours[tile, c, lane_1]
        totals[c, k2] += colours[tile, c, lane_2]
        totals[c, k3] += colours[tile, c, lane_3]


@kernel
def _round_positions(owners: Array, tiling: Tiling, sums: Array, positions: Array) -> None:
    """Sums of positions (n, 4) of int64 as the float32 (n, 3) that adding one by one gives."""
    inexact = False
    for k in range(sums.shape[0]):
        for axis in range(3):
            positions[k, axis] = sums[k, 1 + axis]
            inexact |= sums[k, 1 + axis] > _EXACT
    if inexact:
        _sum_positions_in_order(owners, tiling, sums, positions)


@kernel
def _sum_positions_in_order(owners: Array, tiling: Tiling, sums: Array, positions: Array) -> None:
    """Sum positions in float32, in raster order, where an integer sum would be more exact."""
    tz, ty, tx = tiling.tile
    _, ny, nx = tiling.grid
    depth, height, width = tiling.shape
    for k in range(sums.shape[0]):
        for axis in range(3):
            if sums[k, 1 + axis] > _EXACT:
                positions[k, axis] = _ZERO
    for z in range(depth):
        for y in range(height):
            first = (z // tz * ny + y // ty) * nx
            lane = (z % tz * ty + y % ty) * tx
            for x in range(width):
                k = owners[first + x // tx, lane + x % tx]
                if sums[k, 1] > _EXACT:
                    positions[k, 0] += np.float32(z)
                if sums[k, 2] > _EXACT:
                    positions[k, 1] += np.float32(y)
                if sums[k, 3] > _EXACT:
                    positions[k, 2] += np.float32(x)
