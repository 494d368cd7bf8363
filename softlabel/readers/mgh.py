"""FreeSurfer's images, plain (``.mgh``) or compressed (``.mgz``), by nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from softlabel.errors import CaseError
from softlabel.readers.geometry import require_invertible, spacing_from_affine
from softlabel.readers.pixels import Pixels
from softlabel.readers.safety import COPY_AGAIN, reading
from softlabel.readers.sniff import kind_of
from softlabel.readers.voxelstream import opened, read_values

_HEADER_BYTES = 284


def stated_shape(path: Path) -> tuple[int, ...]:
    """The spatial shape that the header of a FreeSurfer image states; no voxel is read.

    Raises
    ------
    CaseError
        When it does not begin like one.
    """
    from nibabel.freesurfer.mghformat import MGHHeader

    with reading(path, "a FreeSurfer image (.mgh, .mgz)"), opened(path) as (stream, _):
        header = MGHHeader(_block(stream, path))
        return tuple(int(n) for n in header.get_data_shape()[:3])


def read_mgh(path: Path) -> Pixels:
    """Read a ``.mgh`` or ``.mgz`` file.

    Several frames are channels. A file that does not state its orientation (``goodRASFlag`` 0) has
    neither affine nor spacing.

    Returns
    -------
    Pixels
        Spatial axes in the order of the file.

    Raises
    ------
    CaseError
        When the file is damaged, cut off, promises more than it holds, or is not an image.
    """
    from nibabel.freesurfer.mghformat import MGHHeader  # loads pydicom too, which takes a while

    with reading(path, "a FreeSurfer image (.mgh, .mgz)"), opened(path) as (stream, compressed):
        block = _block(stream, path)
        header = MGHHeader(block)
        # Without the flag, nibabel puts a default in place of what the file leaves out.
        oriented = int.from_bytes(block[28:30], "big") != 0
        values = read_values(stream, compressed, header, path)
        affine = require_invertible(header.get_affine(), path) if oriented else None
    spacing_mm = None if affine is None else spacing_from_affine(affine, 3)
    channel_axis = 3 if values.ndim == 4 else None
    return Pixels(values, channel_axis, spacing_mm=spacing_mm, affine=affine)


def _block(stream: Any, path: Path) -> bytes:
    """The bytes of the header."""
    block = bytes(stream.read(_HEADER_BYTES))
    if len(block) < _HEADER_BYTES or kind_of(block) != "mgh":
        raise CaseError(
            f"{path} does not begin like a FreeSurfer image (first bytes {block[:8]!r}); "
            f"expected one of version 1 with a known voxel type. {COPY_AGAIN}"
        )
    return block
