"""The mean of several raters' soft maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array


def mean_over_raters(maps: list[SoftMaps]) -> SoftMaps:
    """Average soft maps of the same image and classes, one a rater.

    A pixel that one rater ignored takes the mean of the others; one that all ignored stays
    ignored. The hard label of the result, which says where it is hard, is the majority of the
    raters, the earliest of equals.

    Parameters
    ----------
    maps : list of SoftMaps
        Of equal shape, classes, ``on`` and ``off``.
    """
    if len(maps) == 1:
        return maps[0]
    votes = majority([m.index for m in maps])
    known = np.sum([m.known for m in maps], axis=0).clip(min=1)
    return from_class_maps(votes, maps[0].table, _class_means(maps, known), maps[0].on, maps[0].off)


def majority(indices: list[Array]) -> Array:
    """Most frequent class index at each pixel, the earliest rater's of equals; ignored last."""
    best = indices[0].copy()
    most = np.zeros(best.shape, np.int16)
    for candidate in indices:
        count: Array = np.zeros(best.shape, np.int16)
        for other in indices:
            count += other == candidate
        count[candidate == ignored_index(candidate.dtype)] = 0
        better = count > most
        best[better] = candidate[better]
        most[better] = count[better]
    return best


def _class_means(
    maps: list[SoftMaps], known: Array
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    whole = tuple(slice(0, n) for n in known.shape)
    for k in range(len(maps[0].table)):
        total = np.zeros(known.shape, np.float64)
        for one in maps:
            total += one.class_map(k)
        yield k, whole, total / known
