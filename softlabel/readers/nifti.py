"""NIfTI-1 and NIfTI-2, plain (``.nii``) or compressed (``.nii.gz``), by nibabel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from softlabel.errors import CaseError
from softlabel.readers.niftiplace import checked_header, nifti_place
from softlabel.readers.pixels import Pixels
from softlabel.readers.safety import COPY_AGAIN, reading
from softlabel.readers.voxelstream import opened, read_values
from softlabel.types import Array


def read_nifti(path: Path) -> Pixels:
    """Read a NIfTI file.

    Integers without scaling keep their type. Integers with ``scl_slope`` or ``scl_inter`` become
    float32, as which they were meant; float32 and float64 stay what they are. A fourth axis (or a
    fifth, the vector axis of NIfTI) holds channels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Pixels
        Spatial axes in the order of the file. The notes say where the header contradicts itself;
        see :mod:`softlabel.readers.niftiplace`.

    Raises
    ------
    CaseError
        When the file is damaged, cut off, promises more than it holds, or is not an image.
    """
    with reading(path, "a NIfTI file"), opened(path) as (stream, compressed):
        header, pixdim = _header(stream, path)
        values = read_values(stream, compressed, header, path)
        return with_place(values, header, pixdim, path)


def stated_shape(path: Path) -> tuple[int, ...]:
    """The spatial shape that the header of a NIfTI file states; no voxel is read.

    Raises
    ------
    CaseError
        When it does not begin like one.
    """
    with reading(path, "a NIfTI file"), opened(path) as (stream, _):
        header, _ = _header(stream, path)
        return tuple(int(n) for n in header.get_data_shape()[:3])


def _header(stream: Any, path: Path) -> tuple[Any, tuple[float, ...]]:
    """The header, and its voxel size as stored; NIfTI-1 or NIfTI-2, in either byte order.

    nibabel's reader of files would take the memory of extensions, which may be gigabytes of zeros,
    and hand what is in them to further decoders.
    """
    from nibabel import Nifti1Header, Nifti2Header  # loads pydicom as well, which takes a while

    sizeof_hdr = stream.read(4)
    for header_class, size in ((Nifti1Header, 348), (Nifti2Header, 540)):
        if sizeof_hdr in (size.to_bytes(4, "little"), size.to_bytes(4, "big")):
            return checked_header(header_class, sizeof_hdr + stream.read(size - 4))
    raise CaseError(
        f"{path} does not begin like a NIfTI file (first bytes {sizeof_hdr!r}); expected NIfTI-1 "
        f"or NIfTI-2. {COPY_AGAIN}"
    )


def with_place(values: Array, header: Any, pixdim: tuple[float, ...], path: Path) -> Pixels:
    """Voxels with the channel axis and the place that a NIfTI header gives them."""
    values, channel_axis = _channels(values, path)
    shape = values.shape if channel_axis is None else values.shape[:channel_axis]
    affine, spacing_mm, notes = nifti_place(header, pixdim, shape, path)
    slope = abs(float(header["scl_slope"]))
    scaled = math.isfinite(slope) and slope > 0 and header.get_data_dtype().kind in "iu"
    return Pixels(
        values,
        channel_axis,
        spacing_mm=spacing_mm,
        affine=affine,
        step=slope if scaled and slope != 1 else None,
        notes=notes,
    )


def _channels(values: Array, path: Path) -> tuple[Array, int | None]:
    """Separate the channel axis (the fourth; or the fifth, after a time axis of length 1)."""
    if values.ndim == 5 and values.shape[3] == 1:
        values = values[:, :, :, 0]
    if values.ndim in (2, 3):
        return values, None
    if values.ndim == 4:
        return values, 3
    raise CaseError(
        f"{path} has {values.ndim} axes {values.shape}; expected two or three spatial axes and at "
        "most one of channels. Split the file."
    )
