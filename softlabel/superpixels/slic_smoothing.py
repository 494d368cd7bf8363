"""Gaussian smoothing of a float32 image, bit for bit as `scipy.ndimage.gaussian_filter` does it.

SciPy walks line by line through double-precision buffers, which costs a third of the whole
superpixel run once the clustering is fast. Here whole rows are summed at once: the same products
in the same order, one row of double accumulators at a time, so every float32 comes out the same.
"""

import numpy as np

from softlabel.kernels import kernel
from softlabel.types import Array

_CHUNK = 1024  # doubles a row of accumulators holds: 8 kB, a quarter of a first-level cache


def gaussian(image: Array, sigma: Array) -> Array:
    """Smooth every channel of a volume with reflecting borders.

    Parameters
    ----------
    image : (C, depth, height, width) float32 array, C-contiguous
    sigma : (3,) float32 array
        Standard deviation along depth, height and width, in pixels; 0 leaves an axis as it is.

    Returns
    -------
    (C, depth, height, width) float32 array
        Equal to ``scipy.ndimage.gaussian_filter(channel, sigma, mode="reflect")`` of each
        channel. The input itself where nothing is to be smoothed.
    """
    for axis in range(3):
        weights = _half_kernel(sigma[axis])
        # On an axis of one pixel every tap reads that pixel, and the weights sum to 1 within
        # 1e-15: the float32 result is the pixel itself.
        if len(weights) == 1 or image.shape[1 + axis] == 1:
            continue
        inner = int(np.prod(image.shape[2 + axis :], dtype=np.int64))
        lines = image.reshape(-1, image.shape[1 + axis], inner)
        kernel = _smooth_along_rows if inner == 1 else _smooth_across_rows
        smooth = np.empty(lines.shape, np.float32)
        kernel(lines, weights, smooth)
        image = smooth.reshape(image.shape)
    return image


def _half_kernel(sigma: float) -> Array:
    """Weights of the centre and of one side, in double precision, as SciPy computes them."""
    if not sigma > 1e-15:  # SciPy's own threshold for "no smoothing on this axis"
        return np.ones(1)
    radius = int(4.0 * float(sigma) + 0.5)
    # The square is rounded to the type of sigma, float32, as there.
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    half: Array = (weights / weights.sum())[radius:]
    return half


@kernel
def _reflect(i: int, n: int) -> int:
    """Index that position `i` of a line of `n` pixels reads: d c b a | a b c d | d c b a."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@kernel
def _smooth_across_rows(lines: Array, weights: Array, out: Array) -> None:
    """Smooth (outer, n, inner) along its middle axis, vectorised over the inner one."""
    outer, n, inner = lines.shape
    total = np.empty(_CHUNK, np.float64)
    radius = weights.size - 1
    for o in range(outer):
        for i in range(n):
            for start in range(0, inner, _CHUNK):
                width = min(_CHUNK, inner - start)
                centre = lines[o, i, start : start + width]
                for x in range(width):
                    total[x] = np.float64(centre[x]) * weights[0]
                # The outermost pair first: the order of SciPy's sum.
                for r in range(radius, 0, -1):
                    w = weights[r]
                    before = lines[o, _reflect(i - r, n), start : start + width]
                    after = lines[o, _reflect(i + r, n), start : start + width]
                    for x in range(width):
                        total[x] += (np.float64(before[x]) + np.float64(after[x])) * w
                target = out[o, i, start : start + width]
                for x in range(width):
                    target[x] = np.float32(total[x])


@kernel
def _smooth_along_rows(lines: Array, weights: Array, out: Array) -> None:
    """Smooth (outer, n, 1) along its rows: a widened copy of each row supplies shifted reads."""
    outer, n, _ = lines.shape
    radius = weights.size - 1
    wide = np.empty(n + 2 * radius, np.float64)
    total = np.empty(n, np.float64)
    for o in range(outer):
        for x in range(n):
            wide[radius + x] = np.float64(lines[o, x, 0])
        for r in range(1, radius + 1):
            wide[radius - r] = wide[radius + _reflect(-r, n)]
            wide[radius + n - 1 + r] = wide[radius + _reflect(n - 1 + r, n)]
        for x in range(n):
            total[x] = wide[radius + x] * weights[0]
        for r in range(radius, 0, -1):
            w = weights[r]
            for x in range(n):
                total[x] += (wide[radius + x - r] + wide[radius + x + r]) * w
        for x in range(n):
            out[o, x, 0] = np.float32(total[x])
