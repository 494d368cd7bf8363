"""Every softening method as its formula would be written with NumPy and SciPy: dense, one thread.

The peers of :mod:`benchmarks.methods`, with the defaults of softlabel and ``symmetric`` boundaries.
Each takes class indices, superpixels and an image, and returns dense float32 maps (K, *spatial).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.stats import norm

from benchmarks import peer
from softlabel.types import Array

Peer = Callable[[Array, Array, Array, int], Array]
"""(labels, superpixels, image, number of classes) -> dense maps."""


def one_hot(labels: Array, n_classes: int) -> Array:
    """1 in the class, 0 elsewhere."""
    return np.stack([labels == c for c in range(n_classes)]).astype(np.float32)


def hard(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """The labels as they are."""
    return one_hot(labels, n_classes)


def superpixel(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """Eq. 1 inside superpixels that a boundary crosses."""
    return peer.soften(labels, ids, n_classes)


def gaussian(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """A blur of one pixel."""
    return np.stack(
        [ndimage.gaussian_filter(m, 1.0, mode="nearest") for m in one_hot(labels, n_classes)]
    )


def distance(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """Eq. 1 up to 8 pixels from a boundary."""
    soft = one_hot(labels, n_classes)
    for one in soft:
        inside = one > 0
        if inside.any() and not inside.all():
            d = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
            near = np.abs(d) <= 8
            one[near] = 0.5 * (d[near] / (1 + np.abs(d[near])) + 1)
    return soft


def smoothing(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """A tenth of every label to all classes."""
    return 0.9 * one_hot(labels, n_classes) + np.float32(0.1 / n_classes)


def svls(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """The published window of 3 pixels a side."""
    offsets = np.indices((3,) * labels.ndim) - 1
    window = np.exp(-0.5 * (offsets**2).sum(axis=0))
    window /= window.sum()
    middle = (1,) * labels.ndim
    window[middle] = 1 - window[middle]
    window /= window.sum()
    return np.stack(
        [ndimage.correlate(m, window, mode="nearest") for m in one_hot(labels, n_classes)]
    )


def dilation(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """Rings of 0.3, three pixels wide."""
    soft = one_hot(labels, n_classes)
    rings = 0.0
    for one in soft[1:]:
        ring = ndimage.binary_dilation(one > 0, iterations=3) & (one == 0)
        one[ring] = 0.3
        rings = rings + 0.3 * ring
    soft[0] *= np.maximum(0, 1 - rings)
    return soft


def geols(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
    """Nearness on ways through the image, by Dijkstra's algorithm on the graph of pixels."""
    from skimage.morphology import skeletonize

    soft, near = one_hot(labels, n_classes), []
    graph = _pixel_graph(image)
    for c in range(1, n_classes):
        if not (labels == c).any():
            continue
        thin = skeletonize(labels == c)
        seeds = np.flatnonzero(thin if thin.any() else labels == c)
        d = dijkstra(graph, directed=False, indices=seeds, min_only=True).reshape(labels.shape)
        g = np.exp(-d / d.mean())
        near.append((g - g.min()) / (g.max() - g.min()))
        soft[c] = 0.9 * soft[c] + 0.1 * near[-1]
    soft[0] = 0.9 * soft[0] + 0.1 * (1 - np.mean(near, axis=0))
    return soft


def _pixel_graph(image: Array) -> coo_array:
    """Differences of intensity between pixels that share a face, an edge or a corner."""
    values = image.astype(np.float64)
    number = np.arange(values.size).reshape(values.shape)
    rows, columns, weights = [], [], []
    for step in product((-1, 0, 1), repeat=values.ndim):
        if step <= (0,) * values.ndim:  # every edge once
            continue
        here = tuple(slice(max(0, -s), min(0, -s) or None) for s in step)
        there = tuple(slice(max(0, s), min(0, s) or None) for s in step)
        rows.append(number[here].ravel())
        columns.append(number[there].ravel())
        # the graph takes no edge of length 0
        weights.append(np.maximum(np.abs(values[here] - values[there]), 1e-12).ravel())
    ends = (np.concatenate(rows), np.concatenate(columns))
    return coo_array((np.concatenate(weights), ends), shape=(values.size,) * 2).tocsr()


def surface_cdf(over: int) -> Peer:
    """Layers whose boundaries have a normal distribution of 2 pixels, under a class over them."""

    def soften(labels: Array, ids: Array, image: Array, n_classes: int) -> Array:
        rows = np.arange(len(labels), dtype=np.float64)[:, None]
        layer = labels != over
        below = np.ones(labels.shape)
        soft = one_hot(labels, n_classes)
        layers = [c for c in range(n_classes) if c != over]
        for c, following in zip(layers, [*layers[1:], None], strict=True):
            above, below = below, np.zeros(labels.shape)
            if following is not None:
                last = np.where(layer & (labels < following), rows, -np.inf).max(axis=0)
                first = np.where(layer & (labels >= following), rows, np.inf).min(axis=0)
                below = norm.cdf((rows - (last + first) / 2) / 2.0)
            soft[c] = np.where(layer, above - below, soft[c])
        return soft

    return soften


PEERS: dict[str, Peer] = {
    "hard": hard,
    "superpixel": superpixel,
    "gaussian": gaussian,
    "distance": distance,
    "smoothing": smoothing,
    "svls": svls,
    "dilation": dilation,
    "geols": geols,
}
"""By the name of the method; that of ``surface-cdf`` needs the class that lies over the layers."""
