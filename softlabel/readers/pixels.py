"""What any image file delivers: numbers, which axis holds the channels, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError
from softlabel.types import Array, Note


@dataclass(frozen=True, eq=False)
class Pixels:
    """The content of one file.

    Attributes
    ----------
    values : ndarray
        Numbers in native byte order, axes as in the file.
    channel_axis : int or None
        Axis of the channels; None when every axis is spatial.
    axes_known : bool
        False when the format does not say which axes are spatial (``.npy``, ``.npz``), so that
        the label map beside it has to tell.
    spacing_mm : tuple of float or None
        Distance between pixel centres along each spatial axis, if the file says.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to millimetres (RAS+), if the file says.
    slice_axis : int or None
        Spatial axis that the file says is across the slices, such as the pages of a TIFF.
    step : float or None
        Distance of neighbouring values that can be stored, where the file scales integers
        (``scl_slope`` of NIfTI): its labels are whole numbers only to half of it.
    names : mapping of int to str, or None
        Names of the values of one label map as the file states them (the segments of Slicer). The
        same name may have another value in the next file.
    layer_names : tuple of mapping of int to str
        The same for each channel, where the channels are layers of segments.
    reference_offset : tuple of int or None
        Where the first voxel lies in the image that was segmented, if the file says that it was
        cropped out of one.
    palette : ndarray of uint8, shape (N, 3), or None
        Colour of each value of a label map that is stored with a palette. The same colour may have
        another value in the next file.
    notes : tuple of Note
        What was met in the file and taken one way, though it could mean another.
    """

    values: Array
    channel_axis: int | None = None
    axes_known: bool = True
    spacing_mm: tuple[float, ...] | None = None
    affine: Array | None = None
    slice_axis: int | None = None
    step: float | None = None
    names: Mapping[int, str] | None = None
    layer_names: tuple[Mapping[int, str], ...] = ()
    reference_offset: tuple[int, ...] | None = None
    palette: Array | None = None
    notes: tuple[Note, ...] = ()

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape without the channel axis."""
        shape = self.values.shape
        if self.channel_axis is None:
            return shape
        return shape[: self.channel_axis] + shape[self.channel_axis + 1 :]

    def channels_first(self) -> Array:
        """The values as a contiguous array of shape (C, *spatial)."""
        if self.channel_axis is None:
            return np.ascontiguousarray(self.values)[np.newaxis]
        return np.ascontiguousarray(np.moveaxis(self.values, self.channel_axis, 0))


def numbers(values: Array, path: Path, what: str = "the image") -> Array:
    """Return real numbers in native byte order; truth values become 0 and 1.

    Raises
    ------
    CaseError
        For complex numbers, text, structures, Python objects, and floats wider than 64 bits.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind not in "iuf" or values.dtype.itemsize > 8:
        raise CaseError(
            f"{path}: {what} is of type {values.dtype}; expected integers or floating-point "
            "numbers of at most 64 bits. Convert the file."
        )
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def require_finite(image: Array, path: Path) -> None:
    """Raise unless every intensity is a finite number.

    Raises
    ------
    CaseError
        With the count of NaN and infinite values.
    """
    if image.dtype.kind != "f":
        return
    bad = int(image.size - np.count_nonzero(np.isfinite(image)))
    if bad:
        nan = int(np.count_nonzero(np.isnan(image)))
        raise CaseError(
            f"{path} has {bad} intensities that are no finite number ({nan} NaN, {bad - nan} "
            f"infinite) among {image.size}; expected finite intensities. "
            "Replace them, for example by the background's intensity."
        )
