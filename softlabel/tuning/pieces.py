"""The part of a case that settings are tried on: all of it, or as much as is looked at in a minute.

Of volumes and large images a box around the label boundaries stands for the whole, or some slices
where superpixels are made slice by slice. Intensities are scaled as those of the whole image are,
so that a compactness means the same in a piece as in ``softlabel generate``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softlabel.superpixels import grid, scale_channels, slic
from softlabel.superpixels.quality import boundary_pixels
from softlabel.types import Array, long_axes

MOST_PIXELS = 1 << 18
"""Pixels of a case that are looked at: 512 × 512, or 64 × 64 × 64."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A case as superpixels see it.

    Attributes
    ----------
    id : str
    image : ndarray, shape (C, *spatial)
    labels : ndarray of an integer type, shape (*spatial)
    ignore : int or None
    mask : ndarray of bool, shape (*spatial), or None
    spacing : tuple of float
        Divided by its smallest value.
    slice_axis : int or None
        Superpixels are made in each slice across this axis; None in the whole.
    """

    id: str
    image: Array
    labels: Array
    ignore: int | None
    mask: Array | None
    spacing: tuple[float, ...]
    slice_axis: int | None = None


@dataclass(frozen=True, eq=False)
class Piece:
    """An image, or a part of one, that superpixels are made of in one go.

    Attributes
    ----------
    image : ndarray of float32, shape (C, *spatial)
        As :func:`softlabel.superpixels.scale_channels` scales the whole image.
    index : ndarray of int64, shape (*spatial)
        Position of the label among ``values``, −1 where it is ignored or masked.
    values : tuple of int
        Label values, ascending.
    spacing : tuple of float
        Divided by the smallest value of the case.
    inside : ndarray of bool, shape (*spatial), or None
        The mask.
    whole_range : float
        Difference between the largest and the smallest value of the image, or slice, that the
        piece was cut from.
    whole_pixels : int
        Pixels of that image, or slice.
    """

    image: npt.NDArray[np.float32]
    index: npt.NDArray[np.int64]
    values: tuple[int, ...]
    spacing: tuple[float, ...]
    inside: Array | None
    whole_range: float
    whole_pixels: int

    def slic(self, size: float, compactness: float, sigma: float) -> Array:
        """Superpixels of about ``size`` pixels: those of ``softlabel generate`` in a whole image.

        SLIC maps what it is given to 0..1, a part of an image too. Dividing the compactness by
        the same number as the intensities undoes that.
        """
        own_range = float(self.image.max()) - float(self.image.min())
        stretch = self.whole_range / own_range if own_range > 0 else 1.0
        ids = slic(
            self.image, self._count(size), compactness * stretch, sigma,
            spacing=self.spacing, channel_axis=0,
        )  # fmt: skip
        return self._masked(ids)

    def grid(self, count: int) -> Array:
        """A regular grid of about ``count`` boxes."""
        return self._masked(grid(self.index.shape, max(1, count), self.spacing))

    def _count(self, size: float) -> int:
        return max(1, round(self.index.size / size))

    def _masked(self, ids: Array) -> Array:
        return ids if self.inside is None else np.where(self.inside, ids, -1)


@dataclass(frozen=True, eq=False)
class Excerpt:
    """What is looked at of a case.

    Attributes
    ----------
    id : str
    pieces : tuple of Piece
    shape, looked_at : tuple of int
        Spatial shape of the case, and of the part of it.
    largest : int
        Position of the class that most known pixels of the case have, mostly the background.
    """

    id: str
    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]
    looked_at: tuple[int, ...]
    largest: int

    @property
    def is_whole(self) -> bool:
        """The part is all of the case."""
        return self.shape == self.looked_at


def excerpt_of(
    scan: Scan, percentiles: tuple[float, float] = (0.0, 100.0), most: int = MOST_PIXELS
) -> Excerpt:
    """The part of a case that settings are tried on.

    Parameters
    ----------
    scan : Scan
    percentiles : (low, high)
        Of each channel, that SLIC sees as 0 and 1.
    most : int
        Pixels.

    Returns
    -------
    Excerpt
        With pieces of the whole case, or of a box of ``most`` pixels around its boundaries. With a
        slice axis, each slice is a piece: all of them, or as many as ``most`` allows, evenly over
        those that a boundary crosses.
    """
    image = scale_channels(scan.image, scan.mask, percentiles)
    index, values = class_positions(scan)
    edges = boundary_pixels(index, index >= 0)
    axis = scan.slice_axis
    slices = _slices(edges, axis, most)
    box = _box(edges, axis, most)
    pieces = tuple(_pieces(scan, image, index, values, slices, box))
    looked_at = tuple(
        len(slices) if a == axis else part.stop - part.start for a, part in enumerate(box)
    )
    counts = np.bincount(index[index >= 0], minlength=len(values))
    largest = int(counts.argmax()) if len(values) else 0
    return Excerpt(scan.id, pieces, index.shape, looked_at, largest)


def class_positions(scan: Scan) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Positions of the labels among their values, −1 where ignored or masked; and the values."""
    used = np.ones(scan.labels.shape, np.bool_) if scan.mask is None else scan.mask.astype(bool)
    if scan.ignore is not None:
        used = used & (scan.labels != scan.ignore)
    values = np.unique(scan.labels[used])
    index = np.searchsorted(values, scan.labels).astype(np.int64)
    return np.where(used, index, -1), tuple(values.tolist())


def _pieces(
    scan: Scan, image: Array, index: Array, values: tuple[int, ...], slices: list[Any],
    box: tuple[slice, ...],
) -> Iterator[Piece]:  # fmt: skip
    axis = scan.slice_axis
    for number in slices:
        # a slice without its axis, or all of the image
        part = tuple(number if a == axis else box[a] for a in range(index.ndim))
        plane = tuple(number if a == axis else slice(None) for a in range(index.ndim))
        whole = image[(slice(None), *plane)]
        yield Piece(
            np.ascontiguousarray(image[(slice(None), *part)]),
            np.ascontiguousarray(index[part]),
            values,
            tuple(s for a, s in enumerate(scan.spacing) if a != axis),
            None if scan.mask is None else np.ascontiguousarray(scan.mask[part]),
            float(whole.max()) - float(whole.min()),
            math.prod(whole.shape[1:]),
        )


def _slices(edges: Array, axis: int | None, most: int) -> list[Any]:
    """Numbers of the slices to look at; without an axis one part, which has no number."""
    if axis is None:
        return [None]
    in_slice = math.prod(edges.shape) // edges.shape[axis]
    count = min(edges.shape[axis], max(1, most // in_slice))
    if count == edges.shape[axis]:
        return list(range(count))
    crossed = np.flatnonzero(edges.any(axis=tuple(a for a in range(edges.ndim) if a != axis)))
    among = crossed if len(crossed) else np.arange(edges.shape[axis])
    places = (np.arange(count) + 0.5) * len(among) / count
    return sorted({int(among[int(place)]) for place in places})


def _box(edges: Array, axis: int | None, most: int) -> tuple[slice, ...]:
    """The box of at most ``most`` pixels, shaped like the image, around the median boundary.

    Where that shows none, as amid a ring, it is moved to the boundary pixel nearest to the median.
    """
    places = np.array(np.nonzero(edges))
    if not places.size:
        return _box_around(np.array(edges.shape) // 2, edges.shape, axis, most)
    middle = np.median(places, axis=1)
    box = _box_around(middle, edges.shape, axis, most)
    if edges[box].any():
        return box
    nearest = ((places - middle[:, None]) ** 2).sum(axis=0).argmin()
    return _box_around(places[:, nearest], edges.shape, axis, most)


def _box_around(
    centre: Array, shape: tuple[int, ...], axis: int | None, most: int
) -> tuple[slice, ...]:
    """The box around a place, moved into the image; all of it along ``axis``."""
    cut = [a for a in long_axes(shape) if a != axis]
    share = min(1.0, (most / math.prod(shape[a] for a in cut)) ** (1 / max(1, len(cut))))
    box = [slice(0, n) for n in shape]
    for a in cut if share < 1 else ():
        length = max(1, int(shape[a] * share))
        first = min(max(0, int(centre[a]) - length // 2), shape[a] - length)
        box[a] = slice(first, first + length)
    return tuple(box)
