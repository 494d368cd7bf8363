"""The labels of scikit-image's SLIC for float32 images, bit for bit, in a fraction of its time.

The steps are those of `skimage.segmentation.slic` 0.26: rescale to 0..1, smooth, divide by the
compactness, k-means from a regular grid of seeds, connect. ``slic_smoothing``, ``slic_kmeans`` and
``slic_connectivity`` beside this module hold the kernels and say what makes each of them fast.
Identity depends on the order of float32 operations, and on a scikit-image whose compiler did not
fuse multiplications with additions: true of its x86-64 wheels.
"""

import math
import time

import numpy as np
from skimage import segmentation
from skimage.util import regular_grid

from softlabel.superpixels.slic_assign import MAX_CENTRES
from softlabel.superpixels.slic_connectivity import connect
from softlabel.superpixels.slic_kmeans import k_means
from softlabel.superpixels.slic_smoothing import gaussian
from softlabel.types import Array

_MIN_SIZE = 0.5  # of a mean superpixel: scikit-image's min_size_factor and max_size_factor
_MAX_SIZE = 3


def slic_labels(
    image: Array,
    n_segments: int,
    compactness: float,
    sigma: float,
    spacing: tuple[float, ...],
    max_num_iter: int,
    enforce_connectivity: bool = True,
) -> Array:
    """Superpixels of a 2D or 3D image.

    Parameters
    ----------
    image : (C, *spatial) float32 array
        Two or three spatial axes, finite values.
    n_segments : int
        Wanted number of superpixels, at least 1; a regular grid of about as many seeds is laid.
    compactness : float
        Weight of space against colour, with colours of the whole image mapped to 0..1; positive.
    sigma : float
        Standard deviation of the smoothing before, in units of `spacing`; 0 for none.
    spacing : tuple of float
        Size of a pixel along each spatial axis, positive.
    max_num_iter : int
        Rounds of k-means; 0 leaves every pixel at -1.
    enforce_connectivity : bool
        Whether to split and merge superpixels into connected pieces.

    Returns
    -------
    (*spatial) int32 array
        Exactly ``skimage.segmentation.slic(image, n_segments, compactness, max_num_iter, sigma,
        spacing, convert2lab=False, enforce_connectivity=enforce_connectivity, start_label=0,
        channel_axis=0)``. Where that leaves a pixel to none of the centres (a compactness so
        small that distances overflow), the pixel stays with the seed nearest to it.

    Examples
    --------
    >>> step = np.array([[[0, 0, 0, 0, 9, 9, 9, 9]]], np.float32)
    >>> slic_labels(step, 2, 0.1, 0.0, (1.0, 1.0), 10).tolist()
    [[0, 0, 0, 0, 1, 1, 1, 1]]
    """
    spatial = image.shape[1:]
    depth_1 = (1,) * (3 - len(spatial))
    shape = (*depth_1, *spatial)
    if max_num_iter < 1:
        return np.full(spatial, -1, np.int32)
    axes, step = _seed_axes(shape, n_segments)
    n_centres = math.prod(len(at) for at in axes)
    if n_centres > MAX_CENTRES:
        return _scikit_image_labels(
            image, n_segments, compactness, sigma, spacing, max_num_iter, enforce_connectivity
        )
    voxel = np.array((*depth_1, *spacing), np.float32)
    widths = np.full(3, sigma, np.float32) / voxel
    labels = k_means(
        # without a name, so that its memory is free when it is cut into tiles
        gaussian(_rescale(image.reshape(-1, *shape)), widths),
        axes, step, compactness, voxel, max_num_iter,
    )  # fmt: skip
    if enforce_connectivity:
        mean_size = math.prod(shape) / n_centres
        labels = connect(labels, int(_MIN_SIZE * mean_size), int(_MAX_SIZE * mean_size))
    return labels.reshape(spatial)


def _scikit_image_labels(
    image: Array,
    n_segments: int,
    compactness: float,
    sigma: float,
    spacing: tuple[float, ...],
    max_num_iter: int,
    enforce_connectivity: bool,
) -> Array:
    """The same labels from scikit-image itself: for more centres than the kernels can number."""
    labels = segmentation.slic(
        image,
        n_segments,
        compactness,
        max_num_iter,
        sigma,
        spacing,
        convert2lab=False,
        enforce_connectivity=enforce_connectivity,
        start_label=0,
        channel_axis=0,
    )
    return labels.astype(np.int32)


def _rescale(image: Array) -> Array:
    """Map the values of all channels together to 0..1; no copy of what has that range."""
    low, high = image.min(), image.max()
    if (low, high) == (0, 1):
        return np.ascontiguousarray(image)
    shifted = np.ascontiguousarray(image - low)
    if high != low:
        shifted /= high - low
    return shifted


def _seed_axes(shape: tuple[int, ...], n_segments: int) -> tuple[list[Array], np.float32]:
    """Positions of the seeds along each axis, and the greatest step between them."""
    grid = regular_grid(shape, n_segments)
    axes = [np.arange(n)[along] for n, along in zip(shape, grid, strict=True)]
    return axes, np.float32(max(along.step or 1 for along in grid))


def compile_kernels() -> float:
    """Compile all kernels, or load them from numba's cache; returns the seconds it took.

    Call it once before workers start, so that they do not all compile the same.
    """
    start = time.perf_counter()
    for spatial in ((8, 8), (4, 4, 4)):
        image = np.arange(math.prod(spatial), dtype=np.float32).reshape(1, *spatial)
        slic_labels(image, 2, 0.1, 1.0, (1.0,) * len(spatial), 2)
    return time.perf_counter() - start
