"""Rings around the foreground (after Kats, Goldberger and Greenspan, ISBI 2019).

    q_c = 1                    in φ_c
          ring                 in the ring that n dilations add to φ_c
          0                    elsewhere            (foreground classes)
    q_0 = max(0, 1 − Σ_c q_c)  over the rings there, in φ_0

The background is the first class of the table; it gets no ring. Where a ring overlaps another
foreground class, that class keeps 1, so that Σ_c q_c > 1 until it is divided by the sum.

A dilation adds the pixels that share a face with what is there: 4 neighbours in 2D, 6 in 3D. It
adds known pixels only, so that rings neither enter ignored areas nor cross them.

One row, the class 1 in the middle, n = 2, ring = 0.3::

    y_1   0    0    0    0    1    1    0    0    0
    q_1   0    0    0.3  0.3  1    1    0.3  0.3  0
    q_0   1    1    0.7  0.7  0    0    0.7  0.7  1
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from softlabel.coerce import make_plain
from softlabel.softening.inputs import MethodInput
from softlabel.softening.windows import class_boxes, widen
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array

BACKGROUND = 0
"""Class index of the class without a ring."""


@dataclass(frozen=True)
class DilationOptions:
    """Options of the method.

    Attributes
    ----------
    dilations : int
        Width of the ring in pixels, counted from face to face.
    ring : float, 0 to 1
        Soft label of the class in its ring.
    """

    dilations: int = field(default=3, metadata={"help": "Width of the ring in pixels."})
    ring: float = field(
        default=0.3, metadata={"help": "Soft label of a class in its ring (0 to 1)."}
    )

    def __post_init__(self) -> None:
        make_plain(self)
        if self.dilations < 1:
            raise ValueError(f"dilations must be at least 1; got {self.dilations}.")
        if not 0 <= self.ring <= 1:
            raise ValueError(f"ring must lie in 0..1; got {self.ring}.")


def soften_by_dilation(given: MethodInput, options: DilationOptions) -> SoftMaps:
    """Put a ring around every foreground class.

    Parameters
    ----------
    given : MethodInput
        Its spacing does not matter: dilations count pixels.
    options : DilationOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a value other than 0 and 1.
    """
    rings = _class_maps(given.index, len(given.table), options)
    return from_class_maps(given.index, given.table, rings)


def _class_maps(
    index: Array, n_classes: int, options: DilationOptions
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    """The map of each foreground class in its box, and last that of the background."""
    count = np.zeros(index.shape, np.uint8 if n_classes < 256 else np.uint16)
    reach = (options.dilations,) * index.ndim
    for k, box in class_boxes(index, n_classes):
        if k != BACKGROUND:
            box = widen(box, reach, index.shape)
            own = index[box] == k
            ring = _dilated(own, index[box] != ignored_index(index.dtype), options.dilations) & ~own
            count[box] += ring
            yield k, box, np.where(ring, options.ring, own)
    for box in _box_of(count > 0):
        rest = np.maximum(1 - options.ring * count[box], 0)
        yield BACKGROUND, box, np.where(index[box] == BACKGROUND, rest, 0)


def _box_of(mask: Array) -> list[tuple[slice, ...]]:
    """The bounding box of what is True; none where nothing is."""
    from scipy import ndimage

    return list(ndimage.find_objects(mask.view(np.uint8)))


def _dilated(own: Array, known: Array, times: int) -> Array:
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(own, iterations=times, mask=known))
