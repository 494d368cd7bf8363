"""Analyze 7.5 and NIfTI pairs by nibabel: a header (``.hdr``) and its voxels beside it (``.img``).

Analyze does not say whether its first axis runs to the left or to the right, and writers differed:
what is read has a spacing but no affine. NIfTI pairs say where they lie. An intensity scale that
SPM kept in an unused field of Analyze is left out: labels are stored numbers, and superpixels see
intensities by their range.
"""

from __future__ import annotations

import math
from pathlib import Path

from softlabel.errors import CaseError
from softlabel.files.regular import open_regular, require_regular
from softlabel.readers.nifti import with_place
from softlabel.readers.niftiplace import checked_header
from softlabel.readers.pixels import Pixels
from softlabel.readers.safety import COPY_AGAIN, reading
from softlabel.readers.sniff import kind_of
from softlabel.readers.voxelstream import opened, read_values
from softlabel.types import Array

ANALYZE_ENDING = ".hdr"
_HEADER_BYTES = 540


def voxel_file_beside(path: Path) -> Path:
    """The ``.img`` that belongs to a ``.hdr``, written in the same case."""
    return path.with_suffix(".IMG" if path.suffix.isupper() else ".img")


def read_analyze(path: Path) -> Pixels:
    """Read an Analyze 7.5 image or a NIfTI pair by its header.

    Returns
    -------
    Pixels
        Spatial axes in the order of the file.

    Raises
    ------
    CaseError
        When the header or the file of voxels is missing, damaged, cut off, or they do not fit.
    """
    import nibabel  # loads pydicom as well, which takes a while

    with reading(path, "an Analyze header"):
        require_regular(path)
        with open_regular(path) as stream:
            block = stream.read(_HEADER_BYTES)
        kind = kind_of(block)
        if kind not in ("analyze", "nifti pair"):
            raise CaseError(
                f"{path} does not begin like an Analyze header (first bytes {block[:4]!r}); "
                f"expected Analyze 7.5 or the header of a NIfTI pair. {COPY_AGAIN}"
            )
        nifti_1 = 348 in (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big"))
        if kind == "analyze":
            header, pixdim = checked_header(nibabel.analyze.AnalyzeHeader, block[:348])
        elif nifti_1:
            header, pixdim = checked_header(nibabel.nifti1.Nifti1PairHeader, block[:348])
        else:
            header, pixdim = checked_header(nibabel.nifti2.Nifti2PairHeader, block)
    voxels = voxel_file_beside(path)
    with reading(voxels, f"the voxels of {path.name}"):
        require_regular(voxels)
        with opened(voxels) as (stream, compressed):
            values = read_values(stream, compressed, header, voxels)
    if kind == "nifti pair":
        return with_place(values, header, pixdim, path)
    return _analyze_pixels(values, pixdim, path)


def _analyze_pixels(values: Array, pixdim: tuple[float, ...], path: Path) -> Pixels:
    if values.ndim not in (2, 3, 4):
        raise CaseError(
            f"{path} has {values.ndim} axes {values.shape}; expected two or three spatial axes and "
            "at most one of channels. Split the file."
        )
    sizes = pixdim[: min(values.ndim, 3)]
    spacing_mm = tuple(float(f"{abs(size):.7g}") for size in sizes)
    stated = all(math.isfinite(size) and size > 0 for size in spacing_mm)
    channel_axis = 3 if values.ndim == 4 else None
    return Pixels(values, channel_axis, spacing_mm=spacing_mm if stated else None)
