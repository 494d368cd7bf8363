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
    return _gaussians(np.arange(n) / sigma) if sigma > 0 else None


_REACH = 5
"""Nodes on either side whose Gaussians still count."""


def _gaussians(position: Array, n_nodes: int | None = None) -> Any:
    """Sparse weights of the nodes −5, −4 … at positions from 0, in node distances."""
    nearest = np.rint(position).astype(np.int64)
    node = nearest[:, None] + np.arange(-_REACH, _REACH + 1)
    weights = np.exp(-((position[:, None] - node) ** 2) / 2)
    # A row's norm is the standard deviation of the value that it makes out of white noise.
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    ends = np.arange(len(position) + 1) * node.shape[1]
    content = weights.astype(np.float32).ravel(), (node + _REACH).ravel(), ends
    return sparse.csr_array(
        content, shape=(len(position), n_nodes or int(nearest[-1]) + 2 * _REACH + 1)
    )


class SmoothField:
    """The noise of :func:`smooth_noise` as a function of the place, in mm.

    It is drawn once on its nodes, and evaluated on any grid, or part of a grid: the same place has
    the same value on all of them.

    Parameters
    ----------
    sigma_mm : float
        Width of the Gaussians, along each axis.
    extent_mm : tuple of (float, float)
        Lowest and highest coordinate along each axis. Beyond, the field goes on unchanged.
    rng : numpy.random.Generator

    Examples
    --------
    >>> field = SmoothField(10, ((0, 50), (0, 50)), np.random.default_rng(0))
    >>> coarse, fine = (field.at(np.arange(0, 50, step), np.array([20.0])) for step in (2, 1))
    >>> bool((coarse == fine[::2]).all())
    True
    """

    def __init__(
        self, sigma_mm: float, extent_mm: Sequence[tuple[float, float]], rng: np.random.Generator
    ) -> None:
        self.sigma_mm = sigma_mm
        self.extent_mm = tuple(extent_mm)
        steps = [int(np.rint((high - low) / sigma_mm)) for low, high in self.extent_mm]
        nodes = [n + 2 * _REACH + 1 for n in steps]
        self.nodes: Array = rng.standard_normal(nodes, dtype=np.float32)

    def at(self, *axes_mm: Array) -> Array:
        """Values on the grid of ``axes_mm``: float32, one axis for each of them.

        Parameters
        ----------
        *axes_mm : ndarray, shape (n,)
            Coordinates along each axis.
        """
        values = self.nodes
        # The last axis first: of a slab it is the short one.
        for axis in reversed(range(values.ndim)):
            low, high = self.extent_mm[axis]
            position = (np.clip(axes_mm[axis], low, high) - low) / self.sigma_mm
            kernel = _gaussians(position, values.shape[axis])
            columns = np.moveaxis(values, axis, 0)
            smooth = kernel @ columns.reshape(kernel.shape[1], -1)
            values = np.moveaxis(smooth.reshape(-1, *columns.shape[1:]), 0, axis)
        return np.ascontiguousarray(values)


def sigmoid(t: Array) -> Array:
    """Smooth step from 0 to 1 around t = 0."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * t)))
