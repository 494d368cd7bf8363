"""TIFF by tifffile: two-dimensional images, stacks of pages as volumes, channels or colours."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from softlabel.errors import CaseError
from softlabel.files.frames import HARMLESS_BYTES, deflated_size, lzma_size, zstd_size
from softlabel.files.regular import open_regular, require_regular
from softlabel.readers.pixels import Pixels, numbers
from softlabel.readers.safety import COPY_AGAIN, MAX_DEFLATE_RATIO, check_promise, reading
from softlabel.readers.tiffspacing import tiff_spacing_mm
from softlabel.types import Array

if TYPE_CHECKING:
    from tifffile import TiffFile

_MAX_TIFF_RATIO = 4096
"""LZW, the densest of TIFF's usual compressions, writes 4096 bytes in at least 12 bits each."""

_DEFLATE = (8, 32946)
_UNBOUNDED: dict[int, Callable[[bytes, int], int | None]] = {
    **dict.fromkeys(_DEFLATE, deflated_size),
    34925: lzma_size,
    50000: lambda packed, most: zstd_size(packed),
    34926: lambda packed, most: zstd_size(packed),
}
"""What tells the size of a strip or tile, by the number of a compression that bounds none."""

_CHANNEL_AXES = "CS"
_SPATIAL_AXES = "ZYXIQ"
_PAGE_AXES = "ZIQ"


def read_tiff(path: Path, *, as_labels: bool) -> Pixels:
    """Read a TIFF file with one image or one stack.

    Parameters
    ----------
    path : Path
    as_labels : bool
        A palette then gives its indices; else its colours.

    Returns
    -------
    Pixels
        Axes in the order of the file; pages are slices, whose axis is ``slice_axis``. The spacing
        is that of :mod:`softlabel.readers.tiffspacing`. Transparency is left out.

    Raises
    ------
    CaseError
        When the file is damaged, cut off, or holds several images or a time series.
    """
    with reading(path, "a TIFF image"), _opened(path) as tif:
        if len(tif.series) != 1:
            raise CaseError(
                f"{path} holds {len(tif.series)} separate images; expected one image or one stack "
                "of pages of the same size. Split the file."
            )
        series = tif.series[0]
        page = series.keyframe
        itemsize = np.dtype(page.dtype).itemsize
        unpacking = max(1.0, 8 * itemsize / page.bitspersample)  # black and white: 8 to the byte
        check_promise(
            path,
            series.shape,
            itemsize,
            path.stat().st_size,
            max_ratio=unpacking * (1 if int(page.compression) == 1 else _MAX_TIFF_RATIO),
        )
        _require_segments(tif, series, path)
        values, axes = _decoded(series, path)
        palette = page.colormap
        transparency = any(int(sample) in (1, 2) for sample in page.extrasamples)
        values, axes, channel_axis = _spatial_and_channels(numbers(values, path), axes, path)
        spatial = "".join(axis for axis in axes if axis in _SPATIAL_AXES)
        spacing_mm = tiff_spacing_mm(tif, spatial)
    slice_axis = next((i for i, axis in enumerate(spatial) if axis in _PAGE_AXES), None)
    if values.ndim - (channel_axis is not None) == 2:
        slice_axis = None
    if transparency and channel_axis is not None:
        opaque = range(values.shape[channel_axis] - 1)
        values = np.take(values, opaque, axis=channel_axis)
    colours = None
    if palette is not None and channel_axis is None:
        if as_labels:
            colours = (np.asarray(palette).T >> 8).astype(np.uint8)  # TIFF has 16 bits a colour
        else:
            values, channel_axis = np.asarray(palette)[:, values], 0
    return Pixels(
        values, channel_axis, spacing_mm=spacing_mm, slice_axis=slice_axis, palette=colours
    )


def _require_segments(tif: TiffFile, series: Any, path: Path) -> None:
    """Refuse strips and tiles that would unpack to more than one holds: tifffile unpacks all."""
    page = series.keyframe
    kind = int(page.compression)
    if kind not in _UNBOUNDED:
        return
    most = max(HARMLESS_BYTES, math.prod(page.chunks) * np.dtype(page.dtype).itemsize)
    for part in series.pages:
        if part is None:
            continue
        for start, length in zip(part.dataoffsets, part.databytecounts, strict=True):
            if kind in _DEFLATE and length * MAX_DEFLATE_RATIO <= most:
                continue
            tif.filehandle.seek(start)
            size = _UNBOUNDED[kind](tif.filehandle.read(min(length, path.stat().st_size)), most)
            if size is None or size > most:
                raise CaseError(
                    f"{path} has a strip or tile at byte {start} that would unpack to more than "
                    f"{most} bytes; it is damaged. {COPY_AGAIN}"
                )


def _opened(path: Path) -> TiffFile:
    from tifffile import TiffFile

    require_regular(path)
    return TiffFile(path)


def _decoded(series: Any, path: Path) -> tuple[Array, str]:
    """All values, by tifffile, or by Pillow where tifffile lacks the decoder (LZW)."""
    try:
        return np.asarray(series.asarray()), series.axes
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    with open_regular(path) as file, Image.open(file, formats=("TIFF",)) as image:
        pages = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            pages.append(np.array(image))
    values = np.stack(pages)
    if values.size != math.prod(series.shape) or values.dtype != series.dtype:
        raise CaseError(
            f"{path} is compressed in a way that needs the package imagecodecs; expected LZW, "
            "deflate or no compression. Install it (pip install imagecodecs), or save the file "
            "without compression."
        )
    return values.reshape(series.shape), series.axes


def _spatial_and_channels(values: Array, axes: str, path: Path) -> tuple[Array, str, int | None]:
    """Drop axes of length 1 that are not spatial, and find the channels."""
    foreign = [i for i, axis in enumerate(axes) if axis not in _SPATIAL_AXES]
    single = tuple(i for i in foreign if values.shape[i] == 1)
    values = values.squeeze(single)
    axes = "".join(axis for i, axis in enumerate(axes) if i not in single)
    foreign = [i for i, axis in enumerate(axes) if axis not in _SPATIAL_AXES]
    channel = foreign[0] if len(foreign) == 1 and axes[foreign[0]] in _CHANNEL_AXES else None
    if (foreign and channel is None) or values.ndim - len(foreign) not in (2, 3):
        raise CaseError(
            f"{path} has the axes {axes} {values.shape}; expected two or three spatial axes and at "
            "most one of channels or colours. Split the file."
        )
    return values, axes, channel
