"""Registration wedges: saturated areas that a B-scan's registration moved in from outside.

The viewer's registration shears and shifts B-scans, and what comes in from outside of the frame is
white. This module is the one place that knows how to tell such areas from bright tissue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SATURATED = 255
"""Grey level of a wedge in images of 8 bits."""

MIN_WEDGE_PIXELS = 50
"""A saturated area at the border with fewer pixels is a bright spot, not a registration wedge."""

SOLID = 0.9
"""A wedge is solid: at least this share of it hangs on the border without a gap, column by column.
Saturated tissue at the border is speckled."""


def saturation_level(image: Array) -> float:
    """Grey level of a wedge: 255 in images of 8 bits, otherwise the image's own maximum."""
    return SATURATED if image.dtype == np.uint8 else float(image.max())


def find_wedges(image: Array, level: float | None = None, min_solid: float = SOLID) -> Array:
    """Find the registration wedges of a B-scan.

    Shear and shift move rows, so that a wedge touches the first or the last one. An area that only
    touches the left or the right border is tissue.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
    level : float, optional
        Intensity from which a pixel is saturated; by default :func:`saturation_level`.
    min_solid : float
        Share of an area that must hang on the border without a gap, :data:`SOLID` by default;
        0 takes areas of any form.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        True in connected saturated areas of at least :data:`MIN_WEDGE_PIXELS` pixels that touch
        the top or the bottom.

    Examples
    --------
    >>> image = np.full((20, 30), 80, np.uint8)
    >>> image[:4, :15] = 255        # a wedge
    >>> image[10:18, 10:20] = 255   # bright tissue
    >>> found = find_wedges(image)
    >>> int(found.sum()), bool(found[:4, :15].all())
    (60, True)
    """
    saturated = image >= (saturation_level(image) if level is None else level)
    if not saturated[[0, -1]].any():
        return np.zeros_like(saturated)
    from scipy import ndimage

    areas, n_areas = ndimage.label(saturated)
    sizes = np.bincount(areas.reshape(-1), minlength=n_areas + 1)
    found = np.zeros(n_areas + 1, dtype=bool)
    for area in np.setdiff1d(areas[[0, -1]], 0):
        found[area] = sizes[area] >= MIN_WEDGE_PIXELS and (
            min_solid == 0 or _solidity(areas == area) >= min_solid
        )
    return np.asarray(found[areas])


def _solidity(area: Array) -> float:
    """Share of an area that no other pixel parts from the top or the bottom in its column."""
    from_top = np.logical_and.accumulate(area, axis=0)
    from_bottom = np.logical_and.accumulate(area[::-1], axis=0)[::-1]
    return float(np.count_nonzero(from_top | from_bottom) / np.count_nonzero(area))
