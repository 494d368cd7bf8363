"""Smooth random fields, the raw material of every phantom and of every grader's error."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse

from softlabel.types import Array


def smooth_noise(
    shape: Sequence[int], sigma_px: Sequence[float], rng: np.random.Generator
) -> Array:
    """Draw stationary Gaussian noise of mean 0 and variance 1, smooth along chosen axes.

    Along an axis with ``sigma_px`` σ > 0 the field is white noise on nodes σ apart, interpolated
    by Gaussians of width σ. Its autocorrelation at lag h is exp(−h² / (4 σ²)) to within 1e-4, so
    it falls to 1/e at h = 2 σ. Along an axis with σ = 0 the values are independent. A value is a
    sum over the eleven nodes around it, so that long correlations cost no more than short ones,
    and in one order, whatever the number of threads.

    Parameters
    ----------
    shape : sequence of int
        Shape of the field.
    sigma_px : sequence of float
        Width of the Gaussian along each axis, in pixels; 0 for independent values.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape ``shape``
    """
    kernels = [_interpolation(n, sigma) for n, sigma in zip(shape, sigma_px, strict=True)]
    nodes = [n if k is None else k.shape[1] for n, k in zip(shape, kernels, strict=True)]
    field = rng.standard_normal(nodes, dtype=np.float32)
    for axis, kernel in enumerate(kernels):
        if kernel is not None:
            columns = np.moveaxis(field, axis, 0)
            smooth = kernel @ columns.reshape(kernel.shape[1], -1)
            field = np.moveaxis(smooth.reshape(-1, *columns.shape[1:]), 0, axis)
    return np.ascontiguousarray(field)


@lru_cache(maxsize=64)
def _interpolation(n: int, sigma: float) -> Any:
    """Sparse weights (n, nodes) of Gaussians on nodes ``sigma`` apart; each row has a norm of 1."""
    if sigma <= 0:
        return None
    position = np.arange(n) / sigma
    reach = 5
    nearest = np.rint(position).astype(np.int64)
    node = nearest[:, None] + np.arange(-reach, reach + 1)
    weights = np.exp(-((position[:, None] - node) ** 2) / 2)
    # A row's norm is the standard deviation of the value that it makes out of white noise.
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    ends = np.arange(n + 1) * node.shape[1]
    content = weights.astype(np.float32).ravel(), (node + reach).ravel(), ends
    return sparse.csr_array(content, shape=(n, int(nearest[-1]) + 2 * reach + 1))


def sigmoid(t: Array) -> Array:
    """Smooth step from 0 to 1 around t = 0."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * t)))
