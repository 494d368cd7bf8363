"""Gaussian blur of the label map (van Engelen 2012), the comparison of Li et al. (2020).

    q_c = G_σ ∗ y_c

with the border value repeated outward, so that Σ_c q_c = 1. With ignored pixels: normalised
convolution, (G_σ ∗ y_c) / (G_σ ∗ known). The kernel is cut at four standard deviations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from softlabel.coerce import make_plain
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, ClassTable

TRUNCATE = 4.0


@dataclass(frozen=True)
class GaussianOptions:
    """Options of the method.

    Attributes
    ----------
    blur : float
        Standard deviation, in pixels or, when soften is given a spacing, in its unit.
    """

    blur: float = field(default=1.0, metadata={"help": "Standard deviation."})

    def __post_init__(self) -> None:
        make_plain(self)
        if not 0 < self.blur < np.inf:
            raise ValueError(f"blur must be a positive number; got {self.blur}.")


def soften_by_gaussian(
    index: Array, table: ClassTable, spacing: tuple[float, ...], options: GaussianOptions
) -> SoftMaps:
    """Blur a map of class indices class by class, each in its own bounding box.

    Parameters
    ----------
    index : ndarray of uint8 or uint16, shape (*spatial)
    table : ClassTable
    spacing : tuple of float
    options : GaussianOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a value other than 0 and 1.
    """
    sigma = [options.blur / step for step in spacing]
    return from_class_maps(index, table, _blurred_classes(index, len(table), sigma))


def _blurred_classes(
    index: Array, n_classes: int, sigma: list[float]
) -> Iterator[tuple[int, tuple[slice, ...], Array]]:
    from scipy import ndimage

    ignored = ignored_index(index.dtype)
    known = index != ignored
    all_known = bool(known.all())
    numbered = np.where(known, index.astype(np.int32) + 1, 0)
    reach = [int(TRUNCATE * s + 0.5) for s in sigma]
    for k, box in enumerate(ndimage.find_objects(numbered, max_label=n_classes)):
        if box is None:
            continue
        core = _widen(box, reach, index.shape)
        halo = _widen(core, reach, index.shape)
        blurred = _blur(index[halo] == k, sigma)
        if not all_known:
            weight = _blur(known[halo], sigma)
            blurred = np.divide(blurred, weight, out=np.zeros_like(blurred), where=known[halo])
        inner = tuple(
            slice(c.start - h.start, c.stop - h.start) for c, h in zip(core, halo, strict=True)
        )
        yield k, core, blurred[inner]


def _blur(mask: Array, sigma: list[float]) -> Array:
    from scipy import ndimage

    return np.asarray(
        ndimage.gaussian_filter(mask.astype(np.float64), sigma, mode="nearest", truncate=TRUNCATE)
    )


def _widen(box: tuple[slice, ...], reach: list[int], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, s.start - r), min(n, s.stop + r))
        for s, r, n in zip(box, reach, shape, strict=True)
    )
