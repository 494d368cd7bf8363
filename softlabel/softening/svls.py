"""Spatially varying label smoothing (Islam and Glocker, IPMI 2021).

    q_c = w ∗ y_c

The window w has 3 pixels along each axis: a Gaussian of σ = 1 pixel, whose sum is 1, with its
centre g₀ replaced by 1 − g₀, and the whole divided by its new sum 2 (1 − g₀). The centre weighs as
much as all of its neighbours together, so that half of a label is that of the pixel itself:

    w = (G + (1 − 2 g₀) δ) / (2 (1 − g₀)),    q_c = ½ y_c + ½ (mean of y_c over the neighbours)

The border value is repeated outward, so that Σ_c q_c = 1. With ignored pixels: normalised
convolution, (w ∗ y_c) / (w ∗ known).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.softening.inputs import MethodInput
from softlabel.softening.windows import filtered_classes
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps

SIDE = math.exp(-0.5)
"""Weight of the Gaussian one pixel from its centre, where it is 1."""


@dataclass(frozen=True)
class SVLSOptions:
    """Options of the method: none. The window is the published one."""


def soften_by_svls(given: MethodInput, options: SVLSOptions) -> SoftMaps:
    """Mix each label with those of the pixels around it.

    Parameters
    ----------
    given : MethodInput
        Its spacing does not matter: the window counts pixels.
    options : SVLSOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a value other than 0 and 1.
    """
    reach = (1,) * given.index.ndim
    smoothed = filtered_classes(given.index, len(given.table), reach, _smooth)
    return from_class_maps(given.index, given.table, smoothed)


def _smooth(one_hot: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from scipy import ndimage

    row = np.array([SIDE, 1.0, SIDE]) / (1 + 2 * SIDE)
    gaussian = one_hot
    for axis in range(one_hot.ndim):
        gaussian = ndimage.correlate1d(gaussian, row, axis, mode="nearest")
    centre = row[1] ** one_hot.ndim
    return np.asarray((gaussian + (1 - 2 * centre) * one_hot) / (2 * (1 - centre)))
