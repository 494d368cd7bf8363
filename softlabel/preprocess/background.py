"""Pixels that mean nothing, replaced by what lies around them.

What is filled shows no edge towards its surroundings, so that neither gradients nor superpixels see
one.
"""

from __future__ import annotations

import numpy as np

from softlabel.types import Array

SURROUNDINGS_PX = 6.0
"""Standard deviation of the Gaussian that the mean of the surroundings is weighted with."""


def fill_background(image: Array, missing: Array) -> Array:
    """Fill pixels with the mean around the nearest pixel that is there.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
    missing : ndarray of bool, shape (rows, columns)

    Returns
    -------
    ndarray of the same dtype
        The image itself where nothing is missing.

    Raises
    ------
    ValueError
        When every pixel is missing.

    Examples
    --------
    >>> image = np.array([[255, 255, 10, 10, 10, 10]], np.uint8)
    >>> fill_background(image, image == 255)
    array([[10, 10, 10, 10, 10, 10]], dtype=uint8)
    """
    from scipy import ndimage

    if not missing.any():
        return image
    if missing.all():
        raise ValueError(
            "no pixel of the image is left beside those that are masked, saturated or padded; "
            "check the mask and the image."
        )
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    known = ~missing
    weight = ndimage.gaussian_filter(known.astype(np.float64), SURROUNDINGS_PX, mode="nearest")
    total = ndimage.gaussian_filter(
        np.where(known, image, 0).astype(np.float64), SURROUNDINGS_PX, mode="nearest"
    )
    where = tuple(axis[missing] for axis in nearest)
    filled = image.copy()
    filled[missing] = as_dtype(total[where] / weight[where], image.dtype)
    return filled


def as_dtype(values: Array, dtype: np.dtype) -> Array:
    """Numbers in another type: rounded and clipped where that holds integers."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.rint(values).clip(info.min, info.max).astype(dtype)
    return values.astype(dtype)
