"""How the classes look around a pixel: local means and noise of their intensities.

In a box around the pixel, the *window*, n_c usable pixels are of class c. With g_c the mean of the
class in the whole image and n0 (``SHRINKAGE``) pixels in its favour,

    mean_c = (Σ_c I + n0 g_c) / (n_c + n0)                      sums over the window

so that a class with few pixels there, or none, looks as it does elsewhere. Noise is what the means
of the window leave unexplained, drawn towards that of the whole image, v_0, alike:

    v = (Σ I² − Σ_c (Σ_c I)² / n_c + n0 v_0) / (n + n0)

Usable pixels are those with a label, inside of the mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.kernels import kernel
from softlabel.softening.tiles import Tiles
from softlabel.types import Array

Floats = npt.NDArray[np.float64]

SHRINKAGE = 20
"""n0. A window of 13 × 13 pixels at a straight boundary has 84 of each class."""

LEAST_NOISE = 1e-6
"""Of the variance of the image: the least noise, for images without any."""

SLAB_PIXELS = 1 << 22
"""Pixels of a part of a volume whose sums are in memory together."""


@dataclass(frozen=True, eq=False)
class Looks:
    """The classes in a whole image.

    Attributes
    ----------
    centre : ndarray, shape (C,)
        Mean of each channel, which is taken off everything, for the rounding's sake.
    mean : ndarray, shape (K, C)
        g_c less the centre; 0 for a class without a usable pixel.
    noise, least : ndarray, shape (C,)
        v_0, and the least that v may become.
    """

    centre: Floats
    mean: Floats
    noise: Floats
    least: Floats


@dataclass(frozen=True, eq=False)
class Slab:
    """Some planes of a volume, and how the classes look there.

    Attributes
    ----------
    first : int
        First plane, along the first axis.
    regions, blocks, values : slice
        Tiles, blocks and values that lie in it.
    image : ndarray of float64, shape (C, planes, Y, X)
        Less the centre.
    noise : ndarray of float64, the same shape
        v.
    mean : ndarray of float32, shape (C, values)
        mean_c, for each pixel of each block whose prior is not 0.
    """

    first: int
    regions: slice
    blocks: slice
    values: slice
    image: Floats
    noise: Floats
    mean: npt.NDArray[np.float32]


def smoothed(image: Array, usable: Array, sigma: tuple[float, float, float]) -> Array:
    """The image under a Gaussian, by usable pixels alone; as it is where sigma is 0.

    Parameters
    ----------
    image : ndarray, shape (C, Z, Y, X)
    usable : ndarray of bool, shape (Z, Y, X)
    sigma : tuple of float
        Along each axis, in its pixels.
    """
    from scipy.ndimage import gaussian_filter

    if not any(sigma):
        return image
    weight = gaussian_filter(usable.astype(np.float32), sigma, mode="constant")
    out = np.empty(image.shape, np.float32)
    for c, channel in enumerate(image):
        centre = channel[usable].mean(dtype=np.float64) if usable.any() else 0.0
        value = np.where(usable, channel - centre, 0).astype(np.float32)
        near = gaussian_filter(value, sigma, mode="constant")
        out[c] = np.divide(near, weight, out=np.zeros_like(near), where=usable)
    return out


def looks_of(index: Array, n_classes: int, image: Array, usable: Array) -> Looks:
    """How the classes look in a whole image.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (Z, Y, X)
    n_classes : int
    image : ndarray, shape (C, Z, Y, X)
    usable : ndarray of bool, shape (Z, Y, X)
    """
    label = index[usable]
    count = np.bincount(label, minlength=n_classes)[:n_classes]
    centre, mean = np.zeros(len(image)), np.zeros((n_classes, len(image)))
    noise, least = np.zeros(len(image)), np.ones(len(image))
    for c, channel in enumerate(image):
        value = channel[usable].astype(np.float64)
        if not value.size:
            continue
        centre[c] = value.mean()
        value -= centre[c]
        total = np.bincount(label, value, minlength=n_classes)[:n_classes]
        mean[:, c] = total / np.maximum(count, 1)
        squares = float(np.dot(value, value)) / value.size
        noise[c] = max(squares - float(np.dot(total, mean[:, c])) / value.size, 0.0)
        least[c] = LEAST_NOISE * squares or 1.0
    return Looks(centre, mean, noise, least)


def slabs_of(
    tiles: Tiles,
    priors: Array,
    image: Array,
    usable: Array,
    looks: Looks,
    radius: tuple[int, int, int],
) -> Iterator[Slab]:
    """How the classes look around the pixels of all tiles, some planes of the image at a time.

    Parameters
    ----------
    tiles : Tiles
    priors : ndarray of float32
        Of all blocks, one after the other. Where one is 0 no mean is asked for.
    image : ndarray, shape (C, Z, Y, X)
    usable : ndarray of bool, shape (Z, Y, X)
    looks : Looks
        Of the same image.
    radius : tuple of int
        The window reaches so many pixels to either side along each axis.
    """
    blocks, start = tiles.blocks, tiles.value_start
    for first, last, regions in _planes(tiles, radius[0]):
        begin, end = np.searchsorted(blocks.region, [regions.start, regions.stop])
        chosen, values = slice(int(begin), int(end)), slice(int(start[begin]), int(start[end]))
        low, high = max(first - radius[0], 0), min(last + radius[0], len(usable))
        part = (slice(low, high),)
        centred = image[:, low:high].astype(np.float64) - looks.centre[:, None, None, None]
        centred[:, ~usable[part]] = 0
        mean, noise = _window_statistics(
            tiles, chosen, priors[values], blocks.index[part], low, centred, usable[part], looks,
            radius,
        )  # fmt: skip
        inner = slice(first - low, last - low)
        yield Slab(first, regions, chosen, values, centred[:, inner], noise[:, inner], mean)


def _planes(tiles: Tiles, halo: int) -> Iterator[tuple[int, int, slice]]:
    """First and past-last plane of each slab, and its tiles: whole rows of tiles."""
    lower, upper = tiles.blocks.lower[:, 0], tiles.blocks.upper[:, 0]
    plane = tiles.blocks.index[0].size
    most = max(SLAB_PIXELS // plane - 2 * halo, halo)
    first = 0
    while first < len(lower):
        reach = max(int(upper[first]), int(lower[first]) + most)
        past = int(np.searchsorted(upper, reach, side="right"))
        yield int(lower[first]), int(upper[past - 1]), slice(first, past)
        first = past


def _window_statistics(
    tiles: Tiles,
    chosen: slice,
    priors: Array,
    index: Array,
    low: int,
    image: Floats,
    usable: Array,
    looks: Looks,
    radius: tuple[int, int, int],
) -> tuple[npt.NDArray[np.float32], Floats]:
    """mean_c for each pixel of the blocks of a slab, and v of all of its pixels."""
    sizes = tiles.sizes[chosen]
    to = np.cumsum(sizes) - sizes
    classes, region = tiles.blocks.class_index[chosen], tiles.blocks.region[chosen]
    mean = np.repeat(looks.mean[classes].T, sizes, axis=1).astype(np.float32)
    explained = np.zeros(image.shape)
    for k, box in _boxes(index, usable, len(looks.mean), radius):
        own = usable[box] & (index[box] == k)
        count = np.rint(_sums(own.astype(np.float64), radius))
        total = np.stack([_sums(np.where(own, channel[box], 0.0), radius) for channel in image])
        explained[(slice(None), *box)] += total**2 / np.maximum(count, 1)
        local = (total + SHRINKAGE * looks.mean[k][:, None, None, None]) / (count + SHRINKAGE)
        corner = np.array([box[0].start + low, box[1].start, box[2].start])
        mine = np.flatnonzero(classes == k)
        _gather(
            tiles.blocks.index.shape, tiles.blocks.pixels, tiles.blocks.start, region[mine],
            to[mine], priors, local, corner, mean,
        )  # fmt: skip
    count = np.rint(_sums(usable.astype(np.float64), radius))
    noise = np.empty(image.shape)
    for c, channel in enumerate(image):
        left = np.maximum(_sums(channel**2, radius) - explained[c], 0)
        noise[c] = (left + SHRINKAGE * looks.noise[c]) / (count + SHRINKAGE)
    return mean, np.maximum(noise, looks.least[:, None, None, None])


def _boxes(
    index: Array, usable: Array, n_classes: int, radius: tuple[int, int, int]
) -> Iterator[tuple[int, tuple[slice, slice, slice]]]:
    """Where each class has a say: the box of its usable pixels, widened by the window."""
    from scipy import ndimage

    numbered = np.where(usable, index.astype(np.int32) + 1, 0)
    for k, box in enumerate(ndimage.find_objects(numbered, max_label=n_classes)):
        if box is not None:
            yield (
                k,
                tuple(  # type: ignore[misc]  # three axes
                    slice(max(s.start - r, 0), min(s.stop + r, n))
                    for s, r, n in zip(box, radius, index.shape, strict=True)
                ),
            )


def _sums(values: Floats, radius: tuple[int, int, int]) -> Floats:
    """Sum over the window around each pixel; outside of the array there is nothing."""
    from scipy.ndimage import uniform_filter1d

    for axis, reach in enumerate(radius):
        if reach and values.shape[axis] > 1:
            size = 2 * reach + 1
            values = uniform_filter1d(values, size, axis, mode="constant") * size
    return values


@kernel
def _gather(
    shape: tuple[int, int, int], pixels: Array, start: Array, region: Array, to: Array,
    priors: Array, local: Array, corner: Array, mean: Array,
) -> None:  # fmt: skip
    """Means of a class at the pixels of its blocks; outside of its box they stay."""
    for b in range(len(region)):
        first = start[region[b]]
        for i in range(start[region[b] + 1] - first):
            if priors[to[b] + i] == 0:
                continue
            row = pixels[first + i] // shape[2]
            z, y = row // shape[1] - corner[0], row % shape[1] - corner[1]
            x = pixels[first + i] % shape[2] - corner[2]
            if not (0 <= z < local.shape[1] and 0 <= y < local.shape[2]):
                continue
            if 0 <= x < local.shape[3]:
                for c in range(len(local)):
                    mean[c, to[b] + i] = local[c, z, y, x]
