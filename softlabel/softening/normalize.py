"""Division of soft maps by their sum over the classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from softlabel.kernels import kernel
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array

NORMALIZATIONS = ("none", "sum")


def normalized(maps: SoftMaps) -> SoftMaps:
    """Soft maps whose values sum to 1 over the classes at every known pixel (q / Σq).

    Hard pixels already do; in the band the argmax stays.
    """
    values = maps.values.copy()
    blocks_of = np.searchsorted(maps.block_region, np.arange(len(maps.regions) + 1))
    _divide(
        blocks_of.astype(np.int64), np.diff(maps.regions.start), maps.block_start,
        len(maps.table), float(maps.off), values,
    )  # fmt: skip
    return replace(maps, values=values)


@kernel
def _divide(
    blocks_of: Array, sizes: Array, block_start: Array, n_classes: int, off: float, values: Array
) -> None:
    for r in range(len(sizes)):
        first, last = blocks_of[r], blocks_of[r + 1]
        for i in range(sizes[r]):
            # classes without a block here are hard; a pixel's own class always has one
            total = off * (n_classes - (last - first))
            for b in range(first, last):
                total += values[block_start[b] + i]
            if total > 0:
                for b in range(first, last):
                    values[block_start[b] + i] = values[block_start[b] + i] / total
