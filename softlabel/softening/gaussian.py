"""Gaussian blur of the label map (van Engelen 2012), the comparison of Li et al. (2020).

    q_c = G_σ ∗ y_c

with the border value repeated outward, so that Σ_c q_c = 1. With ignored pixels: normalised
convolution, (G_σ ∗ y_c) / (G_σ ∗ known). The kernel is cut at four standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from softlabel.coerce import make_plain
from softlabel.softening.inputs import MethodInput
from softlabel.softening.windows import filtered_classes
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps

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


def soften_by_gaussian(given: MethodInput, options: GaussianOptions) -> SoftMaps:
    """Blur the one-hot maps.

    Parameters
    ----------
    given : MethodInput
    options : GaussianOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a value other than 0 and 1.
    """
    from scipy import ndimage

    sigma = [options.blur / step for step in given.spacing]
    reach = [int(TRUNCATE * s + 0.5) for s in sigma]
    blur = partial(ndimage.gaussian_filter, sigma=sigma, mode="nearest", truncate=TRUNCATE)
    blurred = filtered_classes(given.index, len(given.table), reach, blur)
    return from_class_maps(given.index, given.table, blurred)
