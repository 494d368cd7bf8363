"""Which superpixels are mixed, and where their pixels lie: one pass over the label map.

A superpixel is mixed when it holds pixels of at least two known classes. Ignored pixels and
pixels of superpixel −1 belong to no superpixel here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.kernels import kernel
from softlabel.softmaps.maps import Regions
from softlabel.types import Array


@dataclass(frozen=True, eq=False)
class Mixed:
    """The mixed superpixels of an image.

    Attributes
    ----------
    regions : Regions
        Their known pixels, superpixels in ascending order. Bounding boxes include ignored
        pixels, since those belong to the superpixel as the image sees it.
    ids : ndarray of int32, shape (R,)
        Superpixel id of each region.
    block_region, block_class : ndarray of int32, shape (B,)
        Every (region, class that it holds), ascending.
    """

    regions: Regions
    ids: npt.NDArray[np.int32]
    block_region: npt.NDArray[np.int32]
    block_class: npt.NDArray[np.int32]


def mixed_superpixels(
    index: Array, ignored: int, n_classes: int, superpixels: Array, min_minority: float = 0.0
) -> Mixed:
    """Find the mixed superpixels and the classes that each of them holds.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (Z, Y, X)
        Class indices; ``ignored`` where the pixel was not annotated.
    ignored : int
    n_classes : int
    superpixels : ndarray of int32, shape (Z, Y, X)
        Ids 0..M-1; −1 where there is none.
    min_minority : float, 0 to 1
        Share of a superpixel's known pixels outside its largest class that it needs at least to
        count as mixed.

    Returns
    -------
    Mixed
    """
    flat_index, flat_ids = index.ravel(), superpixels.ravel()
    count = int(flat_ids.max()) + 1 if flat_ids.size else 0
    position = np.full(count, -1, np.int32)
    _number_mixed(flat_index, ignored, flat_ids, position)
    ids = np.flatnonzero(position >= 0).astype(np.int32)
    n_mixed = len(ids)
    start = np.zeros(n_mixed + 1, np.int64)
    lower = np.full((n_mixed, 3), 2**31 - 1, np.int32)
    upper = np.zeros((n_mixed, 3), np.int32)
    _measure(index, ignored, superpixels, position, start, lower, upper)
    pixel_type = np.int32 if index.size < 2**31 else np.int64
    pixels = np.empty(int(start[-1]), pixel_type)
    _list_pixels(flat_index, ignored, flat_ids, position, start, pixels)
    blocks = np.empty((min(len(pixels), n_mixed * n_classes), 2), np.int32)  # as many as can be
    used = _list_classes(flat_index, pixels, start, n_classes, float(min_minority), blocks)
    blocks = blocks[:used]
    block_region, block_class = blocks[:, 0].copy(), blocks[:, 1].copy()
    if min_minority > 0:
        kept = np.unique(block_region)
        block_region = np.searchsorted(kept, block_region).astype(np.int32)
        sizes = np.diff(start)
        keep_pixel = np.repeat(np.isin(np.arange(n_mixed), kept), sizes)
        pixels, lower, upper, ids = pixels[keep_pixel], lower[kept], upper[kept], ids[kept]
        start = np.concatenate([[0], np.cumsum(sizes[kept])])
    return Mixed(Regions(pixels, start, lower, upper), ids, block_region, block_class)


@kernel
def _number_mixed(index: Array, ignored: int, ids: Array, position: Array) -> None:
    count = len(position)
    first = np.full(count, -1, np.int32)
    mixed = np.zeros(count, np.bool_)
    for i in range(len(ids)):
        s = ids[i]
        if s < 0 or index[i] == ignored:
            continue
        if first[s] < 0:
            first[s] = index[i]
        elif first[s] != index[i]:
            mixed[s] = True
    number = 0
    for s in range(count):
        if mixed[s]:
            position[s] = number
            number += 1


@kernel
def _measure(
    index: Array, ignored: int, superpixels: Array, position: Array, start: Array, lower: Array,
    upper: Array,
) -> None:  # fmt: skip
    for z in range(index.shape[0]):
        for y in range(index.shape[1]):
            for x in range(index.shape[2]):
                s = superpixels[z, y, x]
                if s < 0 or position[s] < 0:
                    continue
                r = position[s]
                lower[r, 0] = min(lower[r, 0], z)
                lower[r, 1] = min(lower[r, 1], y)
                lower[r, 2] = min(lower[r, 2], x)
                upper[r, 0] = max(upper[r, 0], z + 1)
                upper[r, 1] = max(upper[r, 1], y + 1)
                upper[r, 2] = max(upper[r, 2], x + 1)
                if index[z, y, x] != ignored:
                    start[r + 1] += 1
    for r in range(len(start) - 1):
        start[r + 1] += start[r]


@kernel
def _list_pixels(
    index: Array, ignored: int, ids: Array, position: Array, start: Array, pixels: Array
) -> None:
    cursor = start.copy()
    for i in range(len(ids)):
        s = ids[i]
        if s < 0 or position[s] < 0 or index[i] == ignored:
            continue
        r = position[s]
        pixels[cursor[r]] = i
        cursor[r] += 1


@kernel
def _list_classes(
    index: Array, pixels: Array, start: Array, n_classes: int, min_minority: float, blocks: Array
) -> int:
    counts = np.zeros(n_classes, np.int64)
    used = 0
    for r in range(len(start) - 1):
        for i in range(start[r], start[r + 1]):
            counts[index[pixels[i]]] += 1
        size = start[r + 1] - start[r]
        largest = counts.max()
        for k in range(n_classes):
            if counts[k] and size - largest >= min_minority * size:
                blocks[used, 0] = r
                blocks[used, 1] = k
                used += 1
            counts[k] = 0
    return used
