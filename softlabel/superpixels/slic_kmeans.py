"""The k-means of SLIC, with scikit-image's labels to the last bit.

Every centre competes for the pixels within two grid steps of it. The distance, in float32 and in
this order of operations, is

    ((sz·(cz - z))² + (sy·(cy - y))² + (sx·(cx - x))²) · weight + (v0 - c0)² + (v1 - c1)² + …

with the colour terms summed first. A pixel takes the nearest centre, of equal ones the lowest
number; centres become the float32 means of their pixels, summed in raster order.

One dimension, two seeds A and B, pixels of colour 0 and 9::

    colours      0 0 0 0 0 9 9 9
    seeds          A         B
    1st round    a a a a b b b b      nearest in space: seeds have no colour yet
    2nd round    a a a a a b b b      nearest in space and colour
    3rd round    a a a a a b b b      no centre moves: done

:mod:`~softlabel.superpixels.slic_tiles` cuts the volume, `slic_assign` finds the nearest centres,
`slic_means` moves the centres; each says what makes it fast.
"""

import numpy as np
from skimage.util import regular_grid

from softlabel.superpixels.slic_assign import Centres, Metric, assign
from softlabel.superpixels.slic_means import move_centres
from softlabel.superpixels.slic_tiles import choose_tiling, cut, uncut
from softlabel.types import Array


def k_means(
    volume: Array,
    axes: list[Array],
    step: np.float32,
    compactness: float,
    voxel: Array,
    rounds: int,
) -> Array:
    """K-means labels of a volume from a grid of seeds.

    Parameters
    ----------
    volume : (C, depth, height, width) float32 array
    axes : list of three int arrays
        Positions of the seeds along each axis.
    step : float32
        Greatest distance between neighbouring seeds along an axis, in pixels.
    compactness : float
        Weight of space against colour.
    voxel : (3,) float32 array
        Size of a pixel along each axis.
    rounds : int
        At most so many rounds, fewer when nothing moves any more.

    Returns
    -------
    (depth, height, width) int32 array
        Number of each pixel's centre.
    """
    shape = volume.shape[1:]
    seeds = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # The step of the wanted grid scales the distances; that of a grid of as many points as there
    # are seeds, which may differ by rounding, limits the windows.
    steps = tuple(int(along.step or 1) for along in regular_grid(shape, len(seeds)))
    ratio = np.float32(1.0 / compactness)

    tiling = choose_tiling(shape, voxel, steps)
    tiles = cut(volume, ratio, _nearest_seed(shape, axes), tiling)
    features = np.zeros((len(seeds), 3 + len(volume)), np.float32)
    del volume  # the tiles hold its values
    features[:, :3] = seeds
    alive = np.ones(len(seeds), np.bool_)
    centres = Centres(features, alive, np.zeros((len(seeds), 6), np.float32))
    metric = Metric(voxel[0], voxel[1], voxel[2], np.float32(1.0 / float(step * step)))
    reach = tuple(np.float32(2 * s) for s in steps)
    for _ in range(rounds):
        sums = np.zeros((len(seeds), 4), np.int64)
        assign(tiles, centres, metric, reach, tiling, sums)
        if not move_centres(tiles, centres, tiling, sums):
            break
    owners = tiles.owners
    del tiles  # their colours are not needed any more
    return uncut(owners, tiling)


def _nearest_seed(shape: tuple[int, ...], axes: list[Array]) -> tuple[Array, ...]:
    """For each position along each axis, what the nearest seed there adds to a seed's number."""
    stride = 1
    parts = []
    for n, at in zip(shape[::-1], axes[::-1], strict=True):
        between = (at[1:] + at[:-1]) / 2
        parts.append((np.searchsorted(between, np.arange(n)) * stride).astype(np.int32))
        stride *= len(at)
    return tuple(parts[::-1])
