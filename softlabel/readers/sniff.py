"""What a file is by its first bytes, whatever its name says.

Endings lie: a GIF named ``.tif``, a web page that a download left in place of an image, the pointer
that Git LFS leaves where the image was not fetched. :func:`sniff` reads a few bytes and names what
is there, so that a file is read as what it is, or refused in words that say what it is.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from softlabel.errors import CaseError
from softlabel.files.regular import open_regular, require_regular
from softlabel.readers.safety import COPY_AGAIN, reading

UNKNOWN = "unknown"
"""No kind of file that is known here; whoever reads it by its ending will say what is wrong."""

NAMES = {
    "png": "a PNG image",
    "jpeg": "a JPEG image",
    "bmp": "a BMP image",
    "gif": "a GIF image",
    "tiff": "a TIFF image",
    "nifti": "a NIfTI image",
    "nifti pair": "the header of a NIfTI pair (.hdr, .img)",
    "analyze": "an Analyze 7.5 header",
    "mgh": "a FreeSurfer image (.mgh, .mgz)",
    "nrrd": "a NRRD image",
    "metaimage": "a MetaImage header",
    "npy": "a NumPy array (.npy)",
    "npz": "an archive of NumPy arrays (.npz)",
    "zip": "a ZIP archive",
    "gzip": "a gzip-compressed file",
    "hdf5": "an HDF5 file",
    "matlab": "a MATLAB file",
    "dicom": "a DICOM file",
    "heyex database": "a scan of Heidelberg's HEYEX (.e2e)",
    "topcon": "a scan of Topcon (.fda, .fds)",
    "pdf": "a PDF document",
    "web page": "a web page",
    "git lfs": "a Git LFS pointer",
    "git-annex": "a git-annex pointer",
    "empty": "empty",
}
"""The kinds that :func:`sniff` returns, in words."""

_FIXES = {
    "zip": "unpack it, and give the images in it",
    "hdf5": "export its image and label map as arrays (.npy) or NIfTI",
    "matlab": "export its image and label map as arrays (.npy) or NIfTI",
    "dicom": "give the folder of the series with --format dicom",
    "heyex database": "export it from HEYEX as .vol for --format heidelberg, or save its B-scans "
    "as an array (.npy) with the library eyepy",
    "topcon": "save its B-scans as an array (.npy) with the library OCT-Converter",
    "pdf": "extract the image, or download the image itself",
    "web page": "download the image itself, perhaps after logging in",
    "git lfs": "run git lfs pull in the data set's folder",
    "git-annex": "run git annex get in the data set's folder (or datalad get)",
    "nifti pair": "give the .hdr file with that ending, beside its .img",
    "analyze": "give the .hdr file with that ending, beside its .img",
}
"""What to do about a file of a kind that cannot be read in the place where it lies."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"NRRD00", "nrrd"),
    (b"\x93NUMPY", "npy"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"MATLAB ", "matlab"),
    (b"CMDb", "heyex database"),
    (b"E2EMultipleVolumeFile", "heyex database"),
    (b"FOCT", "topcon"),
    (b"%PDF-", "pdf"),
    (b"version https://git-lfs.github.com/spec/", "git lfs"),
    (b"/annex/objects/", "git-annex"),
)
_HEAD_BYTES = 1024
_GZIP_BYTES = 1 << 16
_META_LINE = re.compile(
    rb"\s*(ObjectType|NDims|Comment|ID|Name|TransformType|BinaryData|DimSize)[ \t]*[=:]"
)
_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_BMP_HEADER_BYTES = (12, 16, 40, 52, 56, 64, 108, 124)
_MGH_TYPES = (0, 1, 3, 4, 10)


def sniff(path: Path) -> str:
    """Kind of a file, a key of :data:`NAMES`, or :data:`UNKNOWN`.

    Compressed NIfTI and FreeSurfer files are told by what is inside.

    Raises
    ------
    CaseError
        When there is no such file, it may not be read, or it is no regular file.
    """
    with reading(path, "an image"):
        require_regular(path)
        with open_regular(path) as stream:
            head = stream.read(_HEAD_BYTES)
            if head[:2] != b"\x1f\x8b":
                return kind_of(head)
            packed = head + stream.read(_GZIP_BYTES)
    inside = kind_of(_inflated(packed))
    return inside if inside in ("nifti", "mgh") else "gzip"


def kind_of(head: bytes) -> str:
    """Kind of a file by its first bytes, of which a kilobyte is enough.

    Examples
    --------
    >>> kind_of(b"GIF89a..."), kind_of(b"<!DOCTYPE html>"), kind_of(b"")
    ('gif', 'web page', 'empty')
    """
    if not head:
        return "empty"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[128:132] == b"DICM":
        return "dicom"
    if head[512:520] == b"\x89HDF\r\n\x1a\n":  # behind a user block
        return "hdf5"
    if head[:4] == b"PK\x03\x04":
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return "npz" if name.endswith(b".npy") else "zip"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "bmp"
    if _WEB_PAGE.match(head):
        return "web page"
    if _META_LINE.match(head):
        return "metaimage"
    return _neuroimaging_kind(head)


def refuse(path: Path, kind: str, expected: str) -> CaseError:
    """The error of a file that is of a known kind, but not of one that can be read there.

    Parameters
    ----------
    path : Path
    kind : str
        What :func:`sniff` returned.
    expected : str
        What was expected, such as ``"a TIFF image"``.
    """
    if kind == "empty":
        return CaseError(
            f"{path} cannot be read: it is empty (0 bytes); expected {expected}. {COPY_AGAIN}"
        )
    ending = "".join(path.suffixes[-1:]) or "a name without ending"
    fix = _FIXES.get(kind, "convert it to a format that softlabel reads")
    return CaseError(
        f"{path} is {NAMES[kind]} named {ending}; expected {expected}. {fix[0].upper()}{fix[1:]}."
    )


def _neuroimaging_kind(head: bytes) -> str:
    """Kinds whose headers are structures of numbers."""
    for size, kinds in (
        (348, {b"n+1\0": "nifti", b"ni1\0": "nifti pair"}),
        (540, {b"n+2\0": "nifti", b"ni2\0": "nifti pair"}),
    ):
        if head[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")):
            magic = head[344:348] if size == 348 else head[4:8]
            return kinds.get(magic, "analyze" if size == 348 and len(head) >= 348 else UNKNOWN)
    words = [int.from_bytes(head[i : i + 4], "big", signed=True) for i in range(0, 24, 4)]
    version, *sizes, voxel_type = words
    if len(head) >= 30 and version == 1 and min(sizes) > 0 and voxel_type in _MGH_TYPES:
        return "mgh"
    return UNKNOWN


def _inflated(packed: bytes) -> bytes:
    """The first bytes of a gzip stream, as far as they can be had."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, _HEAD_BYTES)
    except zlib.error:
        return b"?"
