"""Read an image or a label map from any file that softlabel knows.

Files are listed by their endings and read as what their first bytes say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError
from softlabel.ids import natural_key
from softlabel.mapping import Colour, LabelMapping
from softlabel.readers.analyze import ANALYZE_ENDING, read_analyze, voxel_file_beside
from softlabel.readers.arrays import IMAGE_KEYS, LABEL_KEYS, read_npy, read_npz
from softlabel.readers.itk import read_itk
from softlabel.readers.itkheader import DETACHED_ENDING, voxel_file_of
from softlabel.readers.labels import whole_numbers
from softlabel.readers.mgh import read_mgh
from softlabel.readers.mgh import stated_shape as stated_shape_of_mgh
from softlabel.readers.nifti import read_nifti
from softlabel.readers.nifti import stated_shape as stated_shape_of_nifti
from softlabel.readers.pixels import Pixels, require_finite
from softlabel.readers.raster import read_raster
from softlabel.readers.safety import relative_name
from softlabel.readers.segments import join_layers
from softlabel.readers.sniff import NAMES, UNKNOWN, refuse, sniff
from softlabel.readers.tiff import read_tiff
from softlabel.types import Array, Note

SEGMENTATION_ENDING = ".seg.nrrd"
"""Segmentations of Slicer, whose stem is that of their image."""

NIFTI_ENDINGS = (".nii.gz", ".nii")
ITK_ENDINGS = (SEGMENTATION_ENDING, ".nrrd", ".mha", ".mhd")
MGH_ENDINGS = (".mgz", ".mgh")
RASTER_ENDINGS = (".png", ".bmp", ".jpg", ".jpeg", ".gif")
TIFF_ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
"""The longer ones first: the stem of ``scan.ome.tif`` is ``scan``."""

ARRAY_ENDINGS = (".npy", ".npz")
ENDINGS = (
    *NIFTI_ENDINGS,
    *ITK_ENDINGS,
    *RASTER_ENDINGS,
    *TIFF_ENDINGS,
    *ARRAY_ENDINGS,
    *MGH_ENDINGS,
    ANALYZE_ENDING,
)

_KIND_OF_ENDING = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    SEGMENTATION_ENDING: "nrrd",
    ".nrrd": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".png": "png",
    ".bmp": "bmp",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".gif": "gif",
    ".ome.tif": "tiff",
    ".ome.tiff": "tiff",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "npy",
    ".npz": "npz",
    ".mgz": "mgh",
    ".mgh": "mgh",
    ANALYZE_ENDING: "analyze",
}
"""What the content of a file is to be, in the words of :mod:`softlabel.readers.sniff`."""

_READABLE = frozenset(_KIND_OF_ENDING.values()) - {"analyze"}  # which is half of an image

_FURTHER_AXES = (
    "If the further axis counts classes (one-hot), save the index of the largest (argmax); if it "
    "counts times, save one; if it counts layers that overlap, save each as a label map of its own."
)

_ALSO = defaultdict[str, tuple[str, ...]](
    tuple,
    {
        "nifti": ("gzip", "analyze", "nifti pair"),
        "npz": ("zip",),
        "mgh": ("gzip",),
        "analyze": ("analyze", "nifti pair"),
    },
)
"""Kinds that the reader of another one is the first to judge."""


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
    >>> stem_of("scan.v2.nii.gz"), stem_of("scan.ome.tif")
    ('scan.v2', 'scan')
    """
    return name[: len(name) - len(ending_of(name) or "")]


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image file; hidden files and macOS's ``._`` files are not."""
    return not path.name.startswith(".") and ending_of(path.name) is not None


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order of their names."""
    found = [path for path in folder.iterdir() if is_image_file(path)]
    return sorted(found, key=lambda path: natural_key(path.name))


def files_of(path: Path) -> tuple[Path, ...]:
    """All files that one image lies in: its own, and those that its header takes voxels from.

    A header that cannot be followed has none beside itself; reading it says why.
    """
    if path.name.lower().endswith(DETACHED_ENDING):
        try:
            voxels = voxel_file_of(path)
        except CaseError:
            return (path,)
        return (path,) if voxels is None else (path, voxels)
    if path.name.lower().endswith(ANALYZE_ENDING) and voxel_file_beside(path).is_file():
        return (path, voxel_file_beside(path))
    return (path,)


def input_files(root: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Names relative to a data set of all files that its images lie in, each once, in order."""
    paths = (path for name in names for path in files_of(root / name))
    return tuple(dict.fromkeys(relative_name(path, root) for path in paths))


def stated_shape(path: Path) -> tuple[int, ...] | None:
    """The spatial shape of a volume that may be packed a thousandfold, before it is unpacked.

    None for files of other kinds, and for those of which reading says what is wrong.

    Parameters
    ----------
    path : Path
    """
    try:
        kind = sniff(path)
        if kind == "nifti":
            return stated_shape_of_nifti(path)
        return stated_shape_of_mgh(path) if kind == "mgh" else None
    except CaseError:
        return None


def read_pixels(path: Path, *, as_labels: bool = False, key: str | None = None) -> Pixels:
    """Read a file of any known ending, as what its content is.

    A file whose content is of another known format than its ending is read as what it is, with a
    note ``ending``.

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
        When the ending is unknown, the file cannot be read, or it is something else, such as a
        web page.
    MissingExtraError
        For NRRD and MetaImage without SimpleITK.
    """
    ending = (ending_of(path.name) or "").lower()
    if not ending:
        raise CaseError(
            f"{path} has an ending that softlabel does not read; expected one of "
            f"{', '.join(ENDINGS)}. Convert the file."
        )
    promised = _KIND_OF_ENDING[ending]
    kind = sniff(path)
    if kind == UNKNOWN or kind in _ALSO[promised]:
        return _read(path, promised, as_labels, key)  # its reader says what is wrong, if anything
    if kind not in _READABLE:
        raise refuse(path, kind, NAMES[promised])
    pixels = _read(path, kind, as_labels, key)
    if kind == promised:
        return pixels
    note = Note(
        "ending",
        f"{path} is {NAMES[kind]}, though its name ends in {ending}; it was read as what it is.",
    )
    return replace(pixels, notes=(*pixels.notes, note))


def _read(path: Path, kind: str, as_labels: bool, key: str | None) -> Pixels:
    """Read a file of one of the kinds of :data:`_READABLE`."""
    if kind == "nifti":
        return read_nifti(path)
    if kind == "mgh":
        return read_mgh(path)
    if kind == "analyze":
        return read_analyze(path)
    if kind in ("nrrd", "metaimage"):
        return read_itk(path, as_labels=as_labels)
    if kind == "tiff":
        return read_tiff(path, as_labels=as_labels)
    if kind == "npy":
        return read_npy(path)
    if kind == "npz":
        return read_npz(path, key, LABEL_KEYS if as_labels else IMAGE_KEYS)
    return read_raster(path, as_labels=as_labels)


def read_label_map(
    path: Path, key: str | None = None, mapping: LabelMapping | None = None
) -> Pixels:
    """Read one label map: whole numbers of shape (*spatial), two- or three-dimensional.

    The threshold and the colours of a mapping are applied, since they are of the file and not of
    its labels; its rules are not.

    Layers of segments are joined where they do not overlap;
    see :func:`softlabel.readers.segments.join_layers`.

    Raises
    ------
    CaseError
        When it cannot be read, has channels that differ or layers that overlap, or is no label
        map.
    """
    pixels = read_pixels(path, as_labels=True, key=key)
    if pixels.layer_names:
        joined = join_layers(_layers(pixels, path), pixels.layer_names, path)
        return replace(
            pixels,
            values=joined.values,
            names=joined.names,
            notes=(*pixels.notes, *joined.notes),
            channel_axis=None,
            layer_names=(),
        )
    values = pixels.values
    if mapping is not None and mapping.colours:
        return replace(
            pixels, values=_by_colour(pixels, mapping.colours, path), channel_axis=None,
            palette=None,
        )  # fmt: skip
    if pixels.channel_axis is not None:
        values = _one_channel(values, pixels.channel_axis, path)
    if values.ndim not in (2, 3):
        raise CaseError(
            f"{path} has {values.ndim} axes {values.shape}; expected a label map of two or three "
            f"axes with one value a pixel. {_FURTHER_AXES}"
        )
    if mapping is not None and mapping.threshold is not None:
        require_finite(values, path)
        labels = (values >= mapping.threshold).astype(np.uint8)
    else:
        labels = whole_numbers(values, path, pixels.step)
    return replace(pixels, values=labels, channel_axis=None)


def _by_colour(pixels: Pixels, colours: Mapping[Colour, int], path: Path) -> Array:
    """Label values of the colours of a label map.

    Raises
    ------
    CaseError
        When it is neither in colour nor has a palette, or has a colour without a value.
    """
    if pixels.palette is not None:
        index, table = pixels.values, pixels.palette
    elif pixels.channel_axis is not None and len(pixels.channels_first()) == 3:
        rgb = pixels.channels_first()
        table, index = np.unique(rgb.reshape(3, -1).T, axis=0, return_inverse=True)
        index = index.reshape(pixels.spatial_shape)
    else:
        grey = pixels.values
        table, index = np.unique(grey, return_inverse=True)
        table, index = np.repeat(table[:, None], 3, axis=1), index.reshape(grey.shape)
    used = np.unique(index)
    value_of = np.zeros(int(used.max()) + 1, np.int64)
    for number in used.tolist():
        red, green, blue = (int(c) for c in table[number])
        colour = red, green, blue
        if colour not in colours:
            raise CaseError(
                f"{path} has the colour {colour} in {np.count_nonzero(index == number)} pixels; "
                f"expected those of the class table ({', '.join(map(str, list(colours)[:8]))}). "
                "Add the colour to the table, or correct the label map."
            )
        value_of[number] = colours[colour]
    return value_of[index].astype(np.min_scalar_type(int(value_of.max())))


def _layers(pixels: Pixels, path: Path) -> list[Array]:
    return [whole_numbers(layer, path) for layer in pixels.channels_first()]


def _one_channel(values: Array, channel_axis: int, path: Path) -> Array:
    """The one label map in an array of channels: grey masks are often saved as RGB."""
    channels = np.moveaxis(values, channel_axis, 0)
    if all(np.array_equal(channels[0], other) for other in channels[1:]):
        return np.asarray(channels[0])
    if channels[0].ndim > 2:
        raise CaseError(
            f"{path} has {len(channels)} values a voxel {values.shape}{_looks_like(channels)}; "
            f"expected one label value a voxel. {_FURTHER_AXES}"
        )
    raise CaseError(
        f"{path} has {len(channels)} channels that differ; expected one label value a pixel. "
        "Convert colours to label values (grey, or a palette) first."
    )


def _looks_like(channels: Array) -> str:
    """What the further axis of a label volume holds, where its values tell."""
    two_valued = all(((channel == 0) | (channel == 1)).all() for channel in channels)
    if not two_valued:
        return ""
    covered = np.count_nonzero(channels, axis=0)
    if (covered == 1).all():
        return ", of which one is 1 (one-hot)"
    if (covered <= 1).all():
        return ", of which at most one is 1 (one-hot without a background, or layers)"
    return ", of which several may be 1 (layers that overlap, or time)"
