"""Label maps as files, in the format and geometry of the images that they belong to."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from softlabel.files.atomic import publish_by
from softlabel.readers.imagefiles import (
    ITK_ENDINGS,
    NIFTI_ENDINGS,
    RASTER_ENDINGS,
    TIFF_ENDINGS,
    ending_of,
)
from softlabel.types import Array
from softlabel_train.checkpoint import publish


def write_label_map(
    out: Path,
    stem: str,
    labels: Array,
    file: Path | None,
    affine: Array | None,
    spacing_mm: tuple[float, ...] | None = None,
) -> Path:
    """Write a label map in the format and geometry of the image that it belongs to.

    Parameters
    ----------
    out : Path
        Folder.
    stem : str
        Name of the file without its ending.
    labels : ndarray of an integer type, shape (*spatial)
    file : Path or None
        The image; without one the format is NIfTI where there is an affine, else PNG in 2D and
        NPY in 3D.
    affine : ndarray, shape (4, 4), or None
        Voxel indices to millimetres, for images without a file.
    spacing_mm : tuple of float, optional
        Distance of the pixels along each axis, which a TIFF file states.

    Returns
    -------
    Path
        What was written. JPEG, which would change label values, becomes PNG; label values that a
        PNG cannot hold become NPY.
    """
    ending = (ending_of(file.name) or "").lower() if file is not None else ""
    if file is None:
        ending = ".nii.gz" if affine is not None else ".png" if labels.ndim == 2 else ".npy"
    ending = ending.removeprefix(".ome")  # what is written has no metadata of OME
    if ending in RASTER_ENDINGS and (ending != ".bmp" or labels.dtype != np.uint8):
        ending = ".png"
    if ending in (".png", ".bmp") and labels.dtype not in (np.uint8, np.uint16):
        ending = ".npy"
    path = out / f"{stem}{ending}"
    if ending in NIFTI_ENDINGS:
        data = _as_nifti(labels, file, affine, compressed=ending == ".nii.gz")
    elif ending in ITK_ENDINGS:
        return _write_itk(labels, path, file)
    elif ending in (".png", ".bmp", *TIFF_ENDINGS):
        data = _as_raster(labels, ending, spacing_mm)
    else:
        buffer = io.BytesIO()
        if ending == ".npz":
            np.savez_compressed(buffer, labels=labels)
        else:
            np.save(buffer, labels)
        data = buffer.getvalue()
    publish(path, data)
    return path


def _as_nifti(labels: Array, file: Path | None, affine: Array | None, *, compressed: bool) -> bytes:
    import gzip

    import nibabel as nib

    header = None
    if file is not None:
        original = nib.load(file)
        header = original.header.copy()  # type: ignore[attr-defined]
        affine = original.affine  # type: ignore[attr-defined]
        if labels.ndim == 2 and len(original.shape) > 2:  # type: ignore[attr-defined]
            labels = labels.reshape(original.shape[:3])  # type: ignore[attr-defined]
    image = nib.Nifti1Image(labels, affine, header)
    image.header.set_data_dtype(labels.dtype)
    image.header.set_slope_inter(1, 0)
    data = image.to_bytes()
    return gzip.compress(data, mtime=0) if compressed else data


def _write_itk(labels: Array, path: Path, file: Path | None) -> Path:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(labels.T))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    image.SetSpacing(reader.GetSpacing())
    image.SetOrigin(reader.GetOrigin())
    image.SetDirection(reader.GetDirection())
    publish_by(path, lambda file: sitk.WriteImage(image, str(file), useCompression=True))
    return path


def _write_tiff(buffer: io.BytesIO, labels: Array, spacing_mm: tuple[float, ...] | None) -> None:
    """Write pages of one channel, whatever their number: three or four of them are no colours."""
    import tifffile

    metadata: dict[str, object] = {"axes": "ZYX"[-labels.ndim :]}
    if labels.dtype not in (np.uint8, np.uint16):  # ImageJ knows no others
        tifffile.imwrite(buffer, labels, metadata=metadata)
        return
    resolution = None
    if spacing_mm is not None and len(spacing_mm) == labels.ndim:
        metadata |= {"unit": "mm"} | ({"spacing": spacing_mm[0]} if labels.ndim == 3 else {})
        resolution = (1 / spacing_mm[-1], 1 / spacing_mm[-2])
    tifffile.imwrite(buffer, labels, imagej=True, resolution=resolution, metadata=metadata)


def _as_raster(labels: Array, ending: str, spacing_mm: tuple[float, ...] | None) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    if ending in TIFF_ENDINGS:
        _write_tiff(buffer, labels, spacing_mm)
    else:
        Image.fromarray(labels).save(buffer, format=ending.removeprefix(".").upper())
    return buffer.getvalue()
