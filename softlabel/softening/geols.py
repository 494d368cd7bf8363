"""Geodesic label smoothing (Vasudeva, Dolz and Lombaert, MIDL 2023).

    q_c = (1 − α) y_c + α G_c

    G_c = minmax(exp(−d_c / mean d_c))       foreground classes
    G_0 = 1 − mean of the G_c that are there  background
    G_c = 0                                   classes that the image lacks

d_c is the geodesic distance over the image from the skeleton of φ_c: the least sum of intensity
differences on any way, whatever its length (:mod:`softlabel.distance.geodesic`). Mean, least and
greatest value are those of the known pixels. Of several channels G_c is the mean of their maps.

The background is the first class of the table. An image without contrast gives G_c = 1
everywhere.

Nearly every pixel of a class map gets a value of its own, so that maps are dense: K float32 for
each pixel. Σ_c q_c is not 1, and q_c is above 0 far from φ_c wherever the image looks like φ_c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from softlabel.coerce import make_plain
from softlabel.distance.geodesic import geodesic_distance
from softlabel.softening.inputs import MethodInput
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array

BACKGROUND = 0
"""Class index of the class that takes what the others leave."""


@dataclass(frozen=True)
class GeoLSOptions:
    """Options of the method.

    Attributes
    ----------
    alpha : float, 0 to 1
        Weight of the geodesic map against the hard label.
    """

    alpha: float = field(
        default=0.1,
        metadata={"help": "Weight of the geodesic map against the hard label (0 to 1)."},
    )

    def __post_init__(self) -> None:
        make_plain(self)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in 0..1; got {self.alpha}.")


def soften_by_geols(given: MethodInput, options: GeoLSOptions) -> SoftMaps:
    """Mix each label with how near the pixel is to its class on a way through the image.

    Parameters
    ----------
    given : MethodInput
        With its image. Its spacing does not matter: ways are as long as the image changes on them.
    options : GeoLSOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a value other than 0 and 1.
    """
    assert given.image is not None
    maps = _class_maps(given.index, given.image, len(given.table), options.alpha)
    return from_class_maps(given.index, given.table, maps)


def _class_maps(
    index: Array, image: Array, n_classes: int, alpha: float
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    """The map of each foreground class that is there, and last that of the background."""
    whole = tuple(slice(0, n) for n in index.shape)
    known = index != ignored_index(index.dtype)
    total, count = np.zeros(index.shape), 0
    for k in range(n_classes):
        own = index == k
        if k != BACKGROUND and own.any():
            near = _nearness(own, image, known)
            total, count = total + near, count + 1
            yield k, whole, (1 - alpha) * own + alpha * near
    rest = 1 - total / max(count, 1)
    if (index == BACKGROUND).any():
        yield BACKGROUND, whole, (1 - alpha) * (index == BACKGROUND) + alpha * rest


def _nearness(own: Array, image: Array, known: Array) -> npt.NDArray[np.float64]:
    """G of a class: 1 where the way to its skeleton is shortest, 0 where it is longest."""
    seeds = _skeleton(own)
    maps = [_scaled(geodesic_distance(channel, seeds), known) for channel in image]
    return np.asarray(np.mean(maps, axis=0))


def _scaled(distance: npt.NDArray[np.float64], known: Array) -> npt.NDArray[np.float64]:
    mean = distance[known].mean()
    near = np.exp(-distance / mean) if mean > 0 else np.ones(distance.shape)
    low, high = near[known].min(), near[known].max()
    if high <= low:
        return np.ones(distance.shape)
    return np.clip((near - low) / (high - low), 0, 1)  # an ignored pixel may be further away


def _skeleton(own: Array) -> Array:
    """The skeleton of a region; all of it where thinning leaves nothing."""
    from skimage.morphology import skeletonize

    thin = skeletonize(own if own.ndim > 1 else own[None]).reshape(own.shape)
    return np.asarray(thin if thin.any() else own)
