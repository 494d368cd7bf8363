"""NRRD and MetaImage (``.nrrd``, ``.mha``, ``.mhd``) by SimpleITK, an optional dependency."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, missing_extra
from softlabel.readers.geometry import require_invertible, spacing_from_affine
from softlabel.readers.itkheader import (
    DETACHED_ENDING,
    check_voxel_file,
    image_io_of,
    voxel_file_of,
)
from softlabel.readers.pixels import Pixels, numbers
from softlabel.readers.safety import MAX_DEFLATE_RATIO, check_promise, reading
from softlabel.readers.segments import reference_offset, segment_names

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_itk(path: Path, *, as_labels: bool = False) -> Pixels:
    """Read a NRRD or MetaImage file, its axes in the order of the file (x, y, z).

    Parameters
    ----------
    path : Path
    as_labels : bool
        Take the names of Slicer's segments out of the header.

    Raises
    ------
    MissingExtraError
        When SimpleITK is not installed.
    CaseError
        When the file is damaged, promises more than it holds, or takes its voxels from another
        file, which only a ``.mhd`` may.
    """
    try:
        import SimpleITK as sitk
    except ImportError:
        raise missing_extra(f"Reading {path.suffix.lower()} files", "SimpleITK", "itk") from None
    with reading(path, "a NRRD or MetaImage file"):
        reader = sitk.ImageFileReader()
        # Named, so that no other reader of ITK's can claim the file by its ending or content.
        reader.SetImageIO(image_io_of(path))
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        itemsize = max(1, sitk.GetArrayViewFromImage(_one_voxel(sitk, reader)).dtype.itemsize)
        channels = reader.GetNumberOfComponents()
        shape = (*reader.GetSize(), channels) if channels > 1 else reader.GetSize()
        voxels = voxel_file_of(path) if path.name.lower().endswith(DETACHED_ENDING) else None
        stored = (voxels or path).stat().st_size
        check_promise(path, shape, itemsize, stored, max_ratio=MAX_DEFLATE_RATIO)
        if voxels is not None:
            check_voxel_file(path, voxels, math.prod(shape) * itemsize)
        image = reader.Execute()
        # SimpleITK's arrays are (z, y, x, channel); files, and NIfTI, count x first.
        ndim = image.GetDimension()
        values = sitk.GetArrayFromImage(image)
        values = values.transpose(*reversed(range(ndim)), *range(ndim, values.ndim))
    if ndim not in (2, 3):
        raise CaseError(
            f"{path} has {ndim} axes {values.shape}; expected two or three. Split the file."
        )
    affine = require_invertible(_affine(image), path)
    pixels = Pixels(
        numbers(values, path),
        channel_axis=ndim if values.ndim > ndim else None,
        spacing_mm=spacing_from_affine(affine, ndim),
        affine=affine,
    )
    return _with_segments(pixels, image, path) if as_labels else pixels


def _with_segments(pixels: Pixels, image: Any, path: Path) -> Pixels:
    """The names and the place that the header of a segmentation of Slicer states."""
    with reading(path, "a NRRD or MetaImage file"):
        fields = {
            key: image.GetMetaData(key)
            for key in image.GetMetaDataKeys()
            if key.startswith(("Segment", "Segmentation"))
        }
    layers = segment_names(fields, max(1, image.GetNumberOfComponentsPerPixel()), path)
    if layers is None:
        return pixels
    return replace(
        pixels,
        names=layers[0] if len(layers) == 1 else None,
        layer_names=layers if len(layers) > 1 else (),
        reference_offset=reference_offset(fields, image.GetDimension(), path),
    )


def _one_voxel(sitk: Any, reader: Any) -> Any:
    """A 1 × 1 image of the file's voxel type."""
    return sitk.Image([1, 1], reader.GetPixelID(), max(1, reader.GetNumberOfComponents()))


def _affine(image: Any) -> Any:
    """Voxel indices to RAS+ millimetres; ITK counts in LPS+."""
    ndim = image.GetDimension()
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(ndim, ndim)
    affine[:ndim, :ndim] = direction * np.array(image.GetSpacing())
    affine[:ndim, 3] = image.GetOrigin()
    return _LPS_TO_RAS @ affine
