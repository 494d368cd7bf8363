"""Read an image or a label map from any file that softlabel knows, by its ending."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.arrays import IMAGE_KEYS, LABEL_KEYS, read_npy, read_npz
from softlabel.readers.itk import read_itk
from softlabel.readers.labels import whole_numbers
from softlabel.readers.nifti import read_nifti
from softlabel.readers.pixels import Pixels
from softlabel.readers.raster import read_raster
from softlabel.readers.tiff import read_tiff
from softlabel.types import Array

NIFTI_ENDINGS = (".nii.gz", ".nii")
ITK_ENDINGS = (".nrrd", ".mha")
RASTER_ENDINGS = (".png", ".bmp", ".jpg", ".jpeg")
TIFF_ENDINGS = (".tif", ".tiff")
ARRAY_ENDINGS = (".npy", ".npz")
ENDINGS = (*NIFTI_ENDINGS, *ITK_ENDINGS, *RASTER_ENDINGS, *TIFF_ENDINGS, *ARRAY_ENDINGS)


def ending_of(name: str) -> str | None:
    """The known ending of a file name, as written in it, or None.

    Examples
    --------
    >>> ending_of("scan.v2.nii.gz"), ending_of("Scan.PNG"), ending_of("README.md")
    ('.nii.gz', '.PNG', None)
    """
    lower = name.lower()
    ending = next((e for e in ENDINGS if lower.endswith(e) and lower != e), None)
    return name[-len(ending) :] if ending else None


def stem_of(name: str) -> str:
    """The file name without its known ending.

    Examples
    --------
    >>> stem_of("scan.v2.nii.gz")
    'scan.v2'
    """
    return name[: len(name) - len(ending_of(name) or "")]


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image file; hidden files and macOS's ``._`` files are not."""
    return not path.name.startswith(".") and ending_of(path.name) is not None


def read_pixels(path: Path, *, as_labels: bool = False, key: str | None = None) -> Pixels:
    """Read a file of any known ending.

    Parameters
    ----------
    path : Path
    as_labels : bool
        True for label maps: palettes give their indices.
    key : str or None
        Name of the array in a ``.npz`` file.

    Raises
    ------
    CaseError
        When the ending is unknown or the file cannot be read.
    MissingExtraError
        For NRRD and MetaImage without SimpleITK.
    """
    ending = (ending_of(path.name) or "").lower()
    if ending in NIFTI_ENDINGS:
        return read_nifti(path)
    if ending in ITK_ENDINGS:
        return read_itk(path)
    if ending in RASTER_ENDINGS:
        return read_raster(path, as_labels=as_labels)
    if ending in TIFF_ENDINGS:
        return read_tiff(path, as_labels=as_labels)
    if ending == ".npy":
        return read_npy(path)
    if ending == ".npz":
        return read_npz(path, key, LABEL_KEYS if as_labels else IMAGE_KEYS)
    raise CaseError(
        f"{path} has an ending that softlabel does not read; expected one of "
        f"{', '.join(ENDINGS)}. Convert the file."
    )


def read_label_map(path: Path, key: str | None = None) -> Pixels:
    """Read one label map: whole numbers of shape (*spatial), two- or three-dimensional.

    Raises
    ------
    CaseError
        When it cannot be read, has channels that differ, or is no label map.
    """
    pixels = read_pixels(path, as_labels=True, key=key)
    values = pixels.values
    if pixels.channel_axis is not None:
        values = _one_channel(values, pixels.channel_axis, path)
    if values.ndim not in (2, 3):
        raise CaseError(
            f"{path} has {values.ndim} axes {values.shape}; expected a label map of two or three "
            "axes with one value a pixel. Save it without further axes."
        )
    labels = whole_numbers(values, path)
    return replace(pixels, values=labels, channel_axis=None)


def _one_channel(values: Array, channel_axis: int, path: Path) -> Array:
    """The one label map in an array of channels: grey masks are often saved as RGB."""
    channels = np.moveaxis(values, channel_axis, 0)
    if all(np.array_equal(channels[0], other) for other in channels[1:]):
        return np.asarray(channels[0])
    raise CaseError(
        f"{path} has {len(channels)} channels that differ; expected one label value a pixel. "
        "Convert colours to label values (grey, or a palette) first."
    )
