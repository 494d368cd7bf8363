"""The header of a NRRD or MetaImage file, looked at before a library follows it.

Both formats let a header say that the voxels lie in another file, which may be any file of the
machine. A header therefore passes only when it can be understood in one way, here as in the
library, and says that the voxels follow it:

* MetaImage: lines ``Name = value`` up to ``ElementDataFile = LOCAL``. The library ends a line at
  a line feed only, and looks for a missing value in the lines that follow.
* NRRD: lines up to the first empty one, none of them a field ``data file``.

Characters that could end a string or a line for the library alone are refused in both: NUL,
vertical tab, form feed, and a carriage return within a line.
"""

from __future__ import annotations

import re
from pathlib import Path

from softlabel.errors import CaseError
from softlabel.readers.safety import COPY_AGAIN

HEADER_BYTES = 1 << 22
"""A header that does not end within so many bytes is none."""

_META_END = b"ElementDataFile"
_META_LOCAL = (b"LOCAL", b"Local", b"local")
"""The library takes every other spelling for the name of a file."""

_NRRD_DATA_FILE = re.compile(rb"[ \t]*data[ \t]*file[ \t]*:(?!=)", re.IGNORECASE)
"""The field in all spellings; with ``:=`` it is a key of the user's, which the library keeps."""

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
    with path.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
    if header.startswith(b"NRRD"):
        _require_attached_nrrd(header, path)
        return "NrrdImageIO"
    _require_attached_meta(header, path)
    return "MetaImageIO"


def _require_attached_nrrd(header: bytes, path: Path) -> None:
    for line in re.split(rb"\r\n|\r|\n", header)[:-1]:
        if not line:
            return
        _require_text(line, path)
        if _NRRD_DATA_FILE.match(line):
            raise _detached(line, path)
    raise _endless("the empty line that ends the header of NRRD", path)


def _require_attached_meta(header: bytes, path: Path) -> None:
    hollow = b""
    for ended in header.split(b"\n")[:-1]:
        line = ended.removesuffix(b"\r").strip(b" \t")
        if not line:
            continue
        _require_text(line, path)
        name, value = _meta_entry(line)
        if _META_END in name:
            if name != _META_END or value not in _META_LOCAL:
                raise _detached(line, path)
            if hollow:  # the library may take this line for the value that is missing there
                raise CaseError(
                    f"{path} has the header line {_shown(hollow)} right before its end; expected "
                    "'Name = value'. Remove the line, or save the file anew."
                )
            return
        hollow = b"" if name and value else line
    raise _endless("the line 'ElementDataFile = LOCAL' that ends the header of MetaImage", path)


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
