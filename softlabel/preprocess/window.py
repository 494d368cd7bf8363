"""A window of rows for every A-scan, and back: what flattening and cropping have in common.

Row i of a window is row ``start + i`` of its A-scan. A window may begin above the image and end
below it; nothing is lost where it holds all of the A-scan. The way back is a window as well: it
begins at ``-start`` and has as many rows as the image had. With whole ``start`` both ways copy
pixels; with fractions images and soft values are interpolated linearly between two neighbours, and
labels come from the nearest one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from softlabel.preprocess.background import as_dtype
from softlabel.preprocess.bscans import Axes, fill_bscans
from softlabel.preprocess.grid import change_maps
from softlabel.preprocess.step import Kind
from softlabel.types import Array, Case


@dataclass(frozen=True, eq=False)
class RowWindow:
    """Rows to take out of every A-scan.

    Attributes
    ----------
    start : ndarray, shape (spatial axes without that of the rows)
        First row of each A-scan's window, integers or with fractions; below 0 above the image.
    height : int
        Rows of the window.
    rows : int
        Rows of the image.
    axis : int
        Spatial axis of the rows.
    """

    start: Array
    height: int
    rows: int
    axis: int = 0

    @property
    def inverse(self) -> RowWindow:
        """The window that takes every row back to where it was."""
        return RowWindow(-self.start, self.rows, self.height, self.axis)

    @property
    def is_whole(self) -> bool:
        """Whether pixels are copied and not interpolated."""
        return bool((self.start == np.rint(self.start)).all())


def take_rows(
    array: Array, window: RowWindow, kind: Kind, outside: float | Array | None = None
) -> Array:
    """Take a window of rows out of an array.

    Parameters
    ----------
    array : ndarray, shape (..., *spatial)
    window : RowWindow
    kind : {"image", "labels", "soft"}
        Labels come from the nearest row; the others are interpolated, in their own dtype.
    outside : float, ndarray that broadcasts to (..., *spatial), or None
        What lies outside of the image; None repeats the outermost row.

    Returns
    -------
    ndarray of the same dtype, shape (..., *spatial) with ``window.height`` rows

    Examples
    --------
    >>> window = RowWindow(np.array([-1, 1]), 3, 3)
    >>> image = np.array([[1, 4], [2, 5], [3, 6]])
    >>> take_rows(image, window, "image", 0)
    array([[0, 5],
           [1, 6],
           [2, 0]])
    >>> take_rows(take_rows(image, window, "image", 0), window.inverse, "image", 9)
    array([[1, 9],
           [2, 5],
           [9, 6]])
    """
    axis = array.ndim - (window.start.ndim + 1) + window.axis
    row = _rows_of(window)
    whole = np.rint(row) if kind == "labels" or window.is_whole else np.floor(row)
    taken = _gather(array, whole.astype(np.int64), axis, window.rows)
    if kind != "labels" and not window.is_whole:
        share = _in_place(row - whole, array.ndim)
        below = _gather(array, whole.astype(np.int64) + 1, axis, window.rows)
        mixed = (1 - share) * taken.astype(np.float64) + share * below.astype(np.float64)
        taken = as_dtype(mixed, array.dtype)
    if outside is None:
        return taken
    inside = _in_place(inside_rows(window), array.ndim)
    return np.where(inside, taken, np.asarray(outside, dtype=array.dtype))


def inside_rows(window: RowWindow) -> Array:
    """Which pixels of a window lie in the image: bool, (*spatial) with ``window.height`` rows."""
    nearest = np.rint(_rows_of(window))
    return np.asarray((nearest >= 0) & (nearest < window.rows))


def _rows_of(window: RowWindow) -> Array:
    """Row of the image for every pixel of the window."""
    count = np.arange(window.height).reshape((-1,) + (1,) * window.start.ndim)
    return np.moveaxis(count + window.start[None], 0, window.axis)


def _gather(array: Array, row: Array, axis: int, rows: int) -> Array:
    index = _in_place(row.clip(0, rows - 1), array.ndim)
    return np.take_along_axis(array, index, axis)


def _in_place(spatial: Array, ndim: int) -> Array:
    """With leading axes of length 1 for channels, raters or classes."""
    return spatial.reshape((1,) * (ndim - spatial.ndim) + spatial.shape)


def window_case(case: Case, window: RowWindow, axes: Axes) -> Case:
    """Take a window of rows out of a case: the image, the mask and every label map.

    Pixels from outside of the image are masked. In the image they continue the background; labels
    are ignored there where the data set knows an ignored value, and otherwise repeat the outermost
    row.
    """
    inside = inside_rows(window)
    padded = not bool(inside.all())
    image = take_rows(case.image, window, "image")
    if padded:
        image = fill_bscans(image, ~inside, axes)
    mask = case.mask
    if mask is not None or padded:
        known = np.ones(case.shape, np.bool_) if mask is None else mask
        mask = take_rows(known, window, "labels", False)

    outside = {"labels": case.ignore, "soft": None if case.ignore is None else 0}

    def taken(array: Array, kind: Kind) -> Array:
        return image if kind == "image" else take_rows(array, window, kind, outside[kind])

    return replace(change_maps(replace(case, mask=None), taken), mask=mask)
