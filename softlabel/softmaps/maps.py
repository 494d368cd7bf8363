"""Soft maps that stay sparse: hard labels, one off-class constant, and the values of the band.

A dense soft map is an array ``(K, *spatial)`` that is almost everywhere 0 or 1. :class:`SoftMaps`
holds the same thing as

* ``index``: the hard label map as class indices, which says where the ones are,
* ``on`` and ``off``: the value of a hard pixel in its own class and in all others,
* *blocks*: for a region (a superpixel, or a tile of a regular grid) and a class, one value for
  every pixel of the region.

It becomes dense only where a caller asks, for the patch that it asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softlabel.errors import plural
from softlabel.kernels import kernel
from softlabel.softmaps.class_index import ignored_index
from softlabel.types import Array, ClassTable


@dataclass(frozen=True, eq=False)
class Regions:
    """Disjoint sets of pixels, as lists of flat indices.

    Attributes
    ----------
    pixels : ndarray of int32 or int64, shape (P,)
        Flat (C order) indices, region after region.
    start : ndarray of int64, shape (R + 1,)
        Region ``r`` is ``pixels[start[r]:start[r + 1]]``.
    lower, upper : ndarray of int32, shape (R, 3)
        Bounding box of the region as used for distances and patches, upper end exclusive, with
        missing leading axes of length 1.
    """

    pixels: Array
    start: Array
    lower: Array
    upper: Array

    def __len__(self) -> int:
        return len(self.start) - 1


@dataclass(frozen=True, eq=False)
class SoftMaps:
    """Soft labels of one image (see the module's text for the idea).

    Attributes
    ----------
    index : ndarray of uint8 or uint16, shape (*spatial)
        Class index of every pixel; :func:`ignored_index` of its type where ignored.
    table : ClassTable
        Classes along axis 0.
    on, off : float
        Value of a hard pixel in its own class and in every other class (1 and 0, except under
        label smoothing).
    regions : Regions
        Where the blocks lie.
    block_region, block_class : ndarray of int32, shape (B,)
        Region and class index of each block, in ascending order of (region, class).
    block_start : ndarray of int64, shape (B + 1,)
        Block ``b`` holds ``values[block_start[b]:block_start[b + 1]]``, in the order of the
        region's pixels.
    values : ndarray of float32
        Never negative. Ignored pixels are in no region and are 0 in every class.

    Examples
    --------
    >>> import numpy as np, softlabel
    >>> maps = softlabel.soften(np.array([1, 1, 1, 0, 0]), np.zeros(5, int))
    >>> maps.classes, maps.shape
    ((0, 1), (2, 5))
    >>> maps.dense()[1].round(3).tolist()
    [0.833..., 0.75, 0.5, 0.25, 0.166...]
    >>> maps.patch(np.s_[2:4])[1].tolist()
    [0.5, 0.25]
    """

    index: Array
    table: ClassTable
    on: float
    off: float
    regions: Regions
    block_region: Array
    block_class: Array
    block_start: Array
    values: npt.NDArray[np.float32]

    def __repr__(self) -> str:
        return (
            f"<SoftMaps of {plural(len(self.table), 'class')}, "
            f"{' × '.join(map(str, self.index.shape))}, {plural(len(self.values), 'value')} in the "
            "band>"
        )

    @property
    def classes(self) -> tuple[int, ...]:
        """Label values along axis 0."""
        return self.table.values

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense array, (K, *spatial)."""
        return (len(self.table), *self.index.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that this object holds."""
        arrays = (self.index, self.values, self.block_region, self.block_class, self.block_start)
        regions = (self.regions.pixels, self.regions.start, self.regions.lower, self.regions.upper)
        return sum(a.nbytes for a in (*arrays, *regions))

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """True where the pixel is not ignored, shape (*spatial)."""
        return np.asarray(self.index != ignored_index(self.index.dtype))

    @property
    def band(self) -> npt.NDArray[np.bool_]:
        """True where some class has a value that is not hard, shape (*spatial)."""
        band = np.zeros(self.index.size, np.bool_)
        _mark_band(
            self.index.ravel(),
            self.regions.pixels,
            self.regions.start,
            self.block_region,
            self.block_class,
            self.block_start,
            self.values,
            np.float32(self.on),
            np.float32(self.off),
            band,
        )
        return band.reshape(self.index.shape)

    def total(self) -> float:
        """Σ over the known pixels of Σ_c q_c."""
        hard = self.on + self.off * (len(self.table) - 1)
        known = int(np.count_nonzero(self.known))
        return hard * known + _excess(
            self.index.ravel(), self.regions.pixels, self.regions.start, self.block_region,
            self.block_class, self.block_start, self.values, self.on, self.off,
        )  # fmt: skip

    def own_class_sums(self, hard: Array) -> Array:
        """Σ over the pixels of each class of the soft label of that class, float64 (K,).

        Parameters
        ----------
        hard : ndarray of the type of ``index``, shape (*spatial)
            Class index of every pixel; of several raters their majority.
        """
        sums = np.zeros(len(self.table))
        _add_own_class(
            self.index.ravel(), hard.ravel(), ignored_index(self.index.dtype), self.regions.pixels,
            self.regions.start, self.block_region, self.block_class, self.block_start, self.values,
            self.on, self.off, sums,
        )  # fmt: skip
        return sums

    def dense(self, dtype: npt.DTypeLike = np.float32) -> Array:
        """The whole array, shape (K, *spatial)."""
        return self.patch((), dtype=dtype)

    def patch(self, slices: Any, dtype: npt.DTypeLike = np.float32) -> Array:
        """The dense values of a patch, shape (K, *patch).

        Parameters
        ----------
        slices : slice or tuple of slice
            One slice of step 1 for each leading spatial axis, as in indexing; axes that are
            left out are taken whole.
        dtype : floating dtype, default float32

        Raises
        ------
        IndexError
            When there are more slices than axes, or one is not a slice of step 1.
        ValueError
            For a type that cannot hold what lies between 0 and 1.
        """
        if not np.issubdtype(dtype, np.floating):
            raise ValueError(f"Soft labels need a floating type; got {np.dtype(dtype)}.")
        bounds = _patch_bounds(slices, self.index.shape)
        sizes = tuple(hi - lo for lo, hi in bounds)
        out = np.empty((len(self.table), *sizes), np.float32)
        if out.size:
            self._fill(out, 0, _Patch(self, bounds))
        return out if np.dtype(dtype) == np.float32 else out.astype(dtype)

    def class_groups(self, slices: Any, size: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """The dense values of a patch, some classes at a time, without what is ``off`` everywhere.

        Parameters
        ----------
        slices : slice or tuple of slice
            As in :meth:`patch`.
        size : int
            Classes of a group, of which the last one may have fewer.

        Yields
        ------
        first : int
            Index of the first class of the group.
        values : ndarray of float32, shape (at most ``size``, *patch)

        Examples
        --------
        >>> import numpy as np, softlabel
        >>> maps = softlabel.soften(np.array([0, 0, 4]), np.zeros(3, int), classes=range(6))
        >>> [(first, values[:2].tolist()) for first, values in maps.class_groups(np.s_[:2], 2)]
        [(0, [[0.75, 0.5], [0.0, 0.0]]), (4, [[0.1666666716337204, 0.25], [0.0, 0.0]])]
        """
        bounds = _patch_bounds(slices, self.index.shape)
        sizes = tuple(hi - lo for lo, hi in bounds)
        if 0 in sizes:
            return
        patch = _Patch(self, bounds)
        present = patch.classes()
        for first in range(0, len(self.table), size):
            if present[first : first + size].any():
                out = np.empty((min(size, len(self.table) - first), *sizes), np.float32)
                self._fill(out, first, patch)
                yield first, out

    def class_map(self, class_index: int) -> Array:
        """The dense map of one class, shape (*spatial)."""
        out = np.full(self.index.shape, self.off, np.float32)
        out[self.index == class_index] = self.on
        out[np.logical_not(self.known)] = 0
        flat = out.reshape(-1)
        for block in np.flatnonzero(self.block_class == class_index):
            region = self.block_region[block]
            pixels = self.regions.pixels[
                self.regions.start[region] : self.regions.start[region + 1]
            ]
            flat[pixels] = self.values[self.block_start[block] : self.block_start[block + 1]]
        return out

    def _fill(self, out: Array, first: int, patch: _Patch) -> None:
        """Fill ``out`` with the values of the classes from ``first`` on."""
        volume = out.reshape(len(out), *(patch.high - patch.low))
        _fill_hard(
            patch.index,
            ignored_index(self.index.dtype),
            first,
            np.float32(self.on),
            np.float32(self.off),
            volume,
        )
        of_class = self.block_class[patch.blocks]
        _fill_blocks(
            patch.blocks[(of_class >= first) & (of_class < first + len(out))],
            self.block_region,
            self.block_class,
            self.block_start,
            self.values,
            self.regions.pixels,
            self.regions.start,
            patch.shape[1],
            patch.shape[2],
            patch.low,
            patch.high,
            first,
            volume,
        )


class _Patch:
    """A patch of soft maps, with missing leading axes of length 1.

    Attributes
    ----------
    shape : tuple of int
        Of the whole image.
    low, high : ndarray of int64, shape (3,)
    index : ndarray, shape (*high - low)
        Class indices.
    blocks : ndarray of int64
        Blocks whose regions may have pixels in the patch.
    """

    def __init__(self, maps: SoftMaps, bounds: list[tuple[int, int]]) -> None:
        pad = [(0, 1)] * (3 - len(bounds))
        self.low = np.array([lo for lo, _ in pad + bounds], np.int64)
        self.high = np.array([hi for _, hi in pad + bounds], np.int64)
        self.shape = (1,) * len(pad) + maps.index.shape
        where = tuple(slice(lo, hi) for lo, hi in pad + bounds)
        self.index = np.ascontiguousarray(maps.index.reshape(self.shape)[where])
        inside = np.all((maps.regions.lower < self.high) & (maps.regions.upper > self.low), axis=1)
        self.blocks = np.flatnonzero(np.asarray(inside)[maps.block_region])
        self._maps = maps

    def classes(self) -> npt.NDArray[np.bool_]:
        """True where a class may have another value than ``off`` in the patch, shape (K,)."""
        maps, ignored = self._maps, ignored_index(self.index.dtype)
        found = np.zeros(ignored + 1, np.bool_)
        found[self.index.ravel()] = True
        if found[ignored] and maps.off != 0:  # ignored pixels are 0 in every class
            found[:] = True
        found[maps.block_class[self.blocks]] = True
        return found[: len(maps.table)]


def no_regions() -> Regions:
    """Regions of soft maps that are hard everywhere."""
    return Regions(
        np.zeros(0, np.int32),
        np.zeros(1, np.int64),
        np.zeros((0, 3), np.int32),
        np.zeros((0, 3), np.int32),
    )


def hard_maps(index: Array, table: ClassTable, on: float = 1.0, off: float = 0.0) -> SoftMaps:
    """Soft maps without a band: ``on`` in a pixel's own class, ``off`` in all others."""
    empty = np.zeros(0, np.int32)
    return SoftMaps(
        index, table, on, off, no_regions(), empty, empty, np.zeros(1, np.int64),
        np.zeros(0, np.float32),
    )  # fmt: skip


def _patch_bounds(slices: Any, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    given = slices if isinstance(slices, tuple) else (slices,)
    if len(given) > len(shape) or not all(isinstance(s, slice) for s in given):
        raise IndexError(
            f"A patch is at most {len(shape)} slices, one a spatial axis; got {given}."
        )
    bounds = []
    for axis, length in enumerate(shape):
        start, stop, step = (given[axis] if axis < len(given) else slice(None)).indices(length)
        if step != 1:
            raise IndexError(f"A patch has slices of step 1; got step {step} on axis {axis}.")
        bounds.append((start, max(start, stop)))
    return bounds


@kernel
def _fill_hard(
    index: Array, ignored: int, first: int, on: np.float32, off: np.float32, out: Array
) -> None:
    out[:] = off
    depth, height, width = index.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                k = np.int64(index[z, y, x])
                if first <= k < first + len(out):
                    out[k - first, z, y, x] = on
                elif k == ignored and off != 0:
                    out[:, z, y, x] = 0


@kernel
def _fill_blocks(
    chosen: Array, block_region: Array, block_class: Array, block_start: Array, values: Array,
    pixels: Array, start: Array, ny: int, nx: int, low: Array, high: Array, first_class: int,
    out: Array,
) -> None:  # fmt: skip
    for b in chosen:
        k = block_class[b] - first_class
        first = start[block_region[b]]
        offset = block_start[b] - first
        for i in range(first, start[block_region[b] + 1]):
            rest = pixels[i] // nx
            x = pixels[i] - rest * nx
            z = rest // ny
            y = rest - z * ny
            if (
                low[0] <= z < high[0] and low[1] <= y < high[1] and low[2] <= x < high[2]
            ):  # fmt: skip
                out[k, z - low[0], y - low[1], x - low[2]] = values[i + offset]


@kernel
def _mark_band(
    index: Array, pixels: Array, start: Array, block_region: Array, block_class: Array,
    block_start: Array, values: Array, on: np.float32, off: np.float32, band: Array,
) -> None:  # fmt: skip
    for b in range(len(block_region)):
        first = start[block_region[b]]
        offset = block_start[b] - first
        for i in range(first, start[block_region[b] + 1]):
            p = pixels[i]
            hard = on if index[p] == block_class[b] else off
            if values[i + offset] != hard:
                band[p] = True


@kernel
def _add_own_class(
    index: Array, hard: Array, ignored: int, pixels: Array, start: Array, block_region: Array,
    block_class: Array, block_start: Array, values: Array, on: float, off: float, sums: Array,
) -> None:  # fmt: skip
    for p in range(len(hard)):
        if hard[p] < len(sums) and index[p] != ignored:
            sums[hard[p]] += on if index[p] == hard[p] else off
    for b in range(len(block_region)):
        k = block_class[b]
        first = start[block_region[b]]
        offset = block_start[b] - first
        for i in range(first, start[block_region[b] + 1]):
            p = pixels[i]
            if hard[p] == k:
                sums[k] += values[i + offset] - (on if index[p] == k else off)


@kernel
def _excess(
    index: Array, pixels: Array, start: Array, block_region: Array, block_class: Array,
    block_start: Array, values: Array, on: float, off: float,
) -> float:  # fmt: skip
    """Sum of all values of the blocks, less the hard values in their place."""
    total = 0.0
    for b in range(len(block_region)):
        first = start[block_region[b]]
        offset = block_start[b] - first
        for i in range(first, start[block_region[b] + 1]):
            total += values[i + offset] - (on if index[pixels[i]] == block_class[b] else off)
    return total
