"""The header of a NRRD or MetaImage file, looked at before a library follows it.

Both formats let a header say that the voxels lie in another file, which may be any file of the
machine. A header therefore passes only when it can be understood in one way, here as in the
library, and says that the voxels follow it:

* MetaImage: lines ``Name = value`` up to ``ElementDataFile = LOCAL``. The library ends a line at
  a line feed only, and looks for a missing value in the lines that follow.
* NRRD: lines up to the first empty one, none of them a field ``data file``.

Characters that could end a string or a line for the library alone are refused in both: NUL,
vertical tab, form feed, and a carriage return within a line.

Only a MetaImage header of its own (``.mhd``) may name a file: one beside it, by its plain name, and
of the size that the header states (:func:`voxel_file_of`).
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import NamedTuple

from softlabel.errors import CaseError
from softlabel.files.regular import open_regular, require_regular
from softlabel.readers.safety import COPY_AGAIN, reading

HEADER_BYTES = 1 << 22
"""A header that does not end within so many bytes is none."""

_META_END = b"ElementDataFile"
DETACHED_ENDING = ".mhd"
"""Headers with this ending may take their voxels from a file beside them."""

_PLAIN_NAME = re.compile(rb"(?!\.|LIST)[\w.\-+()\[\]@#~, ]*\w")
"""No folder, no pattern, no list of files; what the library takes as it is."""

_META_LOCAL = (b"LOCAL", b"Local", b"local")
"""The library takes every other spelling for the name of a file."""

_NRRD_DATA_FILE = re.compile(rb"[ \t]*data[ \t]*file[ \t]*:(?!=)", re.IGNORECASE)
"""The field in all spellings; with ``:=`` it is a key of the user's, which the library keeps."""

MAX_FIELD_BYTES = 1000
"""Of a field of NRRD; comments and keys of the user's may be longer."""

LONGEST_NUMBER = 60
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (LONGEST_NUMBER + 1))
_META_DIMENSIONS = re.compile(rb"[1-9]|10")
_NRRD_KEY = re.compile(rb"[^:]*:=|#")
"""Keys of the user's, which may be long, and comments."""

_BLOCK_BYTES = 1 << 20

_CONTROL = re.compile(rb"[\x00\x0b-\x0d]")


def image_io_of(path: Path) -> str:
    """Name of the ITK class that reads a file, by its first bytes, if its header may be followed.

    Parameters
    ----------
    path : Path

    Returns
    -------
    {"NrrdImageIO", "MetaImageIO"}

    Raises
    ------
    CaseError
        When the header takes its voxels from another file, or is no plain header that ends within
        :data:`HEADER_BYTES`.
    """
    with reading(path, "a NRRD or MetaImage file"), open_regular(path) as stream:
        header = stream.read(HEADER_BYTES)
    if header.startswith(b"NRRD"):
        _require_attached_nrrd(header, path)
        return "NrrdImageIO"
    if path.name.lower().endswith(DETACHED_ENDING):
        voxel_file_of(path)
    elif (end := _meta_end(header, path)).value not in _META_LOCAL:
        raise _detached(end.line, path)
    return "MetaImageIO"


def voxel_file_of(path: Path) -> Path | None:
    """The file that holds the voxels of a MetaImage header, None when they follow it.

    Parameters
    ----------
    path : Path
        A file with the ending :data:`DETACHED_ENDING`.

    Raises
    ------
    CaseError
        When the header names anything but a regular file in its own folder, by a plain name, or
        says more after that name, or has no plain end.
    """
    with reading(path, "a MetaImage header"), open_regular(path) as stream:
        header = stream.read(HEADER_BYTES)
    if header.startswith(b"NRRD"):
        return None
    end = _meta_end(header if header.endswith(b"\n") else header + b"\n", path)
    if end.value in _META_LOCAL:
        return None
    # A header that goes on could name another file for the library than the one seen here.
    if not _PLAIN_NAME.fullmatch(end.value) or header[end.stop :].strip():
        raise CaseError(
            f"{path} takes its voxels from {_shown(end.line)}; expected, as its last line, the "
            "plain name of one file in the same folder, such as 'ElementDataFile = scan.raw'. "
            "Save it in one piece (.mha)."
        )
    voxels = path.with_name(end.value.decode())
    with reading(voxels, f"the voxels of {path.name}"):
        require_regular(voxels)
    return voxels


def check_voxel_file(path: Path, voxels: Path, promised_bytes: int) -> None:
    """Compare the size of a file of voxels with what its header promises.

    Raises
    ------
    CaseError
        When uncompressed voxels take another number of bytes, or the header states sizes that
        the file does not have.
    """
    with reading(path, "a MetaImage header"), open_regular(path) as stream:
        header = stream.read(HEADER_BYTES)
    fields = dict(
        _meta_entry(line.removesuffix(b"\r").strip(b" \t")) for line in header.split(b"\n")
    )
    if fields.get(b"BinaryData", b"True").upper() != b"TRUE":
        raise CaseError(
            f"{path} says that {voxels.name} holds its voxels as text; expected binary numbers. "
            "Save it anew."
        )
    size = voxels.stat().st_size
    if fields.get(b"CompressedData", b"False").upper() == b"TRUE":
        packed = _whole(fields.get(b"CompressedDataSize", b"0"))
        if packed is None or packed > size:
            raise CaseError(
                f"{path} promises {_shown(fields[b'CompressedDataSize'])} compressed bytes, but "
                f"{voxels} has {size}; it is cut off or damaged. {COPY_AGAIN}"
            )
        # The library takes what a stream that was cut off gives, and leaves the rest as it was.
        with reading(voxels, "voxels compressed by zlib"):
            inflated = _inflated_bytes(voxels, promised_bytes)
        if inflated != promised_bytes:
            raise CaseError(
                f"{voxels} holds {'more than ' if inflated > promised_bytes else ''}"
                f"{min(inflated, promised_bytes)} bytes of voxels, but its header {path} promises "
                f"{promised_bytes}; expected the same. {COPY_AGAIN}"
            )
        return
    skipped = _whole(fields.get(b"HeaderSize", b"0"))
    expected = promised_bytes + (skipped or 0)
    fits = size >= promised_bytes if skipped == -1 else skipped is not None and size == expected
    if not fits:
        raise CaseError(
            f"{voxels} has {size} bytes, but its header {path} promises {expected}; expected the "
            f"same. {COPY_AGAIN}"
        )


def _require_attached_nrrd(header: bytes, path: Path) -> None:
    for line in re.split(rb"\r\n|\r|\n", header)[:-1]:
        if not line:
            return
        _require_text(line, path)
        if not _NRRD_KEY.match(line):
            _require_bounded(line, path, MAX_FIELD_BYTES)
        if _NRRD_DATA_FILE.match(line):
            raise _detached(line, path)
    raise _endless("the empty line that ends the header of NRRD", path)


def _inflated_bytes(voxels: Path, most: int) -> int:
    """How many bytes a zlib or gzip stream holds, counted up to one beyond ``most``."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    total = 0
    with open_regular(voxels) as stream:
        block = stream.read(_BLOCK_BYTES)
        while block and not inflater.eof and total <= most:
            total += len(inflater.decompress(block, _BLOCK_BYTES))
            block = inflater.unconsumed_tail or stream.read(_BLOCK_BYTES)
    return total


class _End(NamedTuple):
    """The line that ends a MetaImage header, what it names, and where the next line begins."""

    line: bytes
    value: bytes
    stop: int


def _meta_end(header: bytes, path: Path) -> _End:
    hollow, stop = b"", 0
    for ended in header.split(b"\n")[:-1]:
        stop += len(ended) + 1
        line = ended.removesuffix(b"\r").strip(b" \t")
        if not line:
            continue
        _require_text(line, path)
        _require_bounded(line, path, HEADER_BYTES)
        name, value = _meta_entry(line)
        if name == b"NDims" and not _META_DIMENSIONS.fullmatch(value):
            raise CaseError(
                f"{path} has the header line {_shown(line)}; expected 1 to 10 dimensions. "
                f"{COPY_AGAIN}"
            )
        if _META_END in name:
            if name != _META_END or not value:
                raise _detached(line, path)
            if hollow:  # the library may take this line for the value that is missing there
                raise CaseError(
                    f"{path} has the header line {_shown(hollow)} right before its end; expected "
                    "'Name = value'. Remove the line, or save the file anew."
                )
            return _End(line, value, stop)
        hollow = b"" if name and value else line
    raise _endless("the line 'ElementDataFile = LOCAL' that ends the header of MetaImage", path)


def _whole(text: bytes) -> int | None:
    """A whole number of at least -1, None for any other text."""
    return int(text) if re.fullmatch(rb"-1|[0-9]{1,15}", text) else None


def _meta_entry(line: bytes) -> tuple[bytes, bytes]:
    """Name and value; the separator is any run of ``=`` and ``:``."""
    name = re.split(rb"[=:]", line, maxsplit=1)[0]
    return name.rstrip(b" \t"), line[len(name) :].lstrip(b"=: \t")


def _require_text(line: bytes, path: Path) -> None:
    if _CONTROL.search(line):
        raise CaseError(
            f"{path} has a control character in the header line {_shown(line)}; expected lines of "
            f"text. {COPY_AGAIN}"
        )


def _require_bounded(line: bytes, path: Path, most: int) -> None:
    """Refuse what the library has no room for: ITK 5.4 ends the process by a segmentation fault."""
    if len(line) > most or _LONG_NUMBER.search(line):
        raise CaseError(
            f"{path} has a header line of {len(line)} characters or a number of more than "
            f"{LONGEST_NUMBER} digits ({_shown(line)}); expected less. {COPY_AGAIN}"
        )


def _detached(line: bytes, path: Path) -> CaseError:
    return CaseError(
        f"{path} takes its voxels from another file ({_shown(line)}); expected a file that holds "
        "them. Save it in one piece (.nrrd, .mha)."
    )


def _endless(expected: str, path: Path) -> CaseError:
    return CaseError(
        f"{path} has no header that ends within {HEADER_BYTES} bytes; expected {expected}. "
        f"{COPY_AGAIN}"
    )


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("latin-1"))
