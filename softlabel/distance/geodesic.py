"""Geodesic distances over an image: the least change of intensity on any way to a set of pixels.

A way goes from pixel to pixel, to any of the 8 around one in 2D and of the 26 in 3D, and each step
costs the difference of the two intensities. Sweeps through the image, forwards and backwards, pass
the distances on until none becomes smaller: then they are exact.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from softlabel.kernels import kernel
from softlabel.types import Array


def geodesic_distance(image: Array, seeds: Array) -> npt.NDArray[np.float64]:
    """The least sum of intensity differences on a way from each pixel to a seed.

    Parameters
    ----------
    image : ndarray, shape (*spatial), 1 to 3 axes
        Intensities, finite.
    seeds : ndarray of bool, same shape

    Returns
    -------
    ndarray of float64, same shape
        0 at seeds; infinite everywhere when there is none.

    Examples
    --------
    The way around the bright pixel of the first row is the shorter one:

    >>> image = np.array([[0, 9, 1], [0, 1, 1]])
    >>> seeds = np.array([[True, False, False], [False, False, False]])
    >>> geodesic_distance(image, seeds)
    array([[0., 9., 1.],
           [0., 1., 1.]])
    """
    shape = (1,) * (3 - image.ndim) + image.shape
    distance = np.where(seeds, 0.0, np.inf).reshape(shape)
    values = np.ascontiguousarray(image, np.float64).reshape(shape)
    steps = product(*((0,) if n == 1 else (-1, 0, 1) for n in shape))  # none along a missing axis
    before = np.array([s for s in steps if s < (0, 0, 0)], np.int64).reshape(-1, 3)
    while _sweep(values, distance, before) + _sweep(
        values[::-1, ::-1, ::-1], distance[::-1, ::-1, ::-1], before
    ):
        pass
    return distance.reshape(image.shape)


@kernel
def _sweep(image: Array, distance: Array, before: Array) -> int:
    """Pass distances on in the order of the pixels; how many became smaller."""
    depth, height, width = image.shape
    changed = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                best = distance[z, y, x]
                for n in range(len(before)):
                    i, j, k = z + before[n, 0], y + before[n, 1], x + before[n, 2]
                    if i >= 0 and 0 <= j < height and 0 <= k < width:
                        way = distance[i, j, k] + abs(image[z, y, x] - image[i, j, k])
                        best = min(best, way)
                if best < distance[z, y, x]:
                    distance[z, y, x] = best
                    changed += 1
    return changed
