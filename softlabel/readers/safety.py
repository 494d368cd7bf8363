"""What a file that nobody vouches for may not do: crash with a library's error, promise terabytes,
or point out of its folder.

Everything that softlabel reads comes from elsewhere. Each call of a decoding library therefore
runs inside :func:`reading`, every size that a header states is compared with the size of the file
by :func:`check_promise` before memory is taken, and a path found inside a file is used only
after :func:`path_inside`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from softlabel.errors import CaseError, SoftlabelError, SourceError
from softlabel.files.documents import DocumentError, parse_json
from softlabel.files.frames import MAX_DEFLATE_RATIO as MAX_DEFLATE_RATIO
from softlabel.files.regular import IrregularFileError, open_regular
from softlabel.free_memory import free_bytes

MAX_VOXELS = 2**31
"""Values that one array of a file may have: four times a whole-body CT of 512 × 512 × 2000."""

ALWAYS_FREE_BYTES = 1 << 26
"""For less the system is not asked what memory is free."""

MAX_TEXT_BYTES = 64 * 2**20
"""A larger ``dataset.json`` or class table is not one."""

COPY_AGAIN = "Check that the file is complete, and copy or download it again."


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a decoding library raises inside the block into a :class:`CaseError`.

    Parameters
    ----------
    path : Path
        The file being read, for the message.
    what : str
        What it was expected to be, such as ``"a NIfTI file"``.
    """
    try:
        yield
    except SoftlabelError:
        raise
    except IrregularFileError as error:
        raise CaseError(
            f"{error.filename} {error.strerror}; expected {what}. Give the file itself."
        ) from error
    except FileNotFoundError as error:
        raise CaseError(
            f"{path} does not exist; expected {what}. Put it there, or leave the case out."
        ) from error
    except PermissionError as error:
        raise CaseError(
            f"{path} may not be read ({error.strerror}); expected {what}. Change its permissions."
        ) from error
    except MemoryError as error:
        raise CaseError(
            f"{path} does not fit into memory; expected {what} that does. "
            "Run fewer jobs at once, or crop the image."
        ) from error
    # Decoders of untrusted bytes raise nearly anything (zlib.error, struct.error, KeyError …).
    except Exception as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise CaseError(f"{path} cannot be read as {what}: {reason}. {COPY_AGAIN}") from error


def check_promise(
    path: Path,
    shape: Sequence[int],
    itemsize: int,
    stored_bytes: int,
    *,
    max_ratio: float = 1,
    what: str = "the header",
) -> None:
    """Refuse a header that promises more than the file can hold, before any memory is taken.

    Parameters
    ----------
    path : Path
    shape : sequence of int
        Shape that the header states.
    itemsize : int
        Bytes of one value.
    stored_bytes : int
        Bytes that the file really has for these values, compressed or not.
    max_ratio : float
        How far the compression can shrink data: 1 for none, :data:`MAX_DEFLATE_RATIO`.
    what : str
        What states the shape.

    Raises
    ------
    CaseError
        When the array is larger than :data:`MAX_VOXELS`, than the stored bytes can become, or than
        the memory that is free.
    """
    shape = tuple(int(n) for n in shape)  # NumPy's 32-bit integers would wrap around
    size_text = " × ".join(str(n) for n in shape) or "1"
    if any(n < 0 for n in shape):
        raise CaseError(
            f"{path}: {what} states a negative size ({size_text}); expected sizes of at least 1. "
            f"{COPY_AGAIN}"
        )
    if math.prod(shape) == 0:
        raise CaseError(
            f"{path}: {what} states an empty array ({size_text}); expected at least one pixel. "
            f"{COPY_AGAIN}"
        )
    if math.prod(shape) > MAX_VOXELS:
        raise CaseError(
            f"{path}: {what} promises {size_text} values, more than the {MAX_VOXELS} that "
            "softlabel reads from one file. Crop or split the image if it is really that large."
        )
    promised = math.prod(shape) * itemsize
    if promised > stored_bytes * max_ratio:
        raise CaseError(
            f"{path}: {what} promises {size_text} values ({promised} bytes), but the file stores "
            f"only {stored_bytes} bytes for them; it is cut off or damaged. {COPY_AGAIN}"
        )
    free = free_bytes() if promised > ALWAYS_FREE_BYTES else None
    if free is not None and promised > free:
        raise CaseError(
            f"{path}: {what} promises {size_text} values ({promised} bytes), more than the {free} "
            "bytes of memory that are free. Run fewer jobs at once, or crop the image."
        )


def path_inside(root: Path, text: object, where: str) -> Path:
    """Return the file that a text inside a data set names, if it stays inside the data set.

    Symbolic links are followed: whoever made the folder may link its files to another disk.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    text : str
        Relative path with ``/``, as found in a file.
    where : str
        Where it was found, for the message.

    Raises
    ------
    CaseError
        For anything but a relative path without ``..``, with how to fix it.
    """
    fault = None
    if not isinstance(text, str) or not text.strip():
        fault = "is not a path"
    elif "\0" in text:
        fault = "contains a NUL character"
    elif not _usable_name(text):
        fault = "is no file name (too long, or not valid Unicode)"
    elif PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive or text[0] == "\\":
        fault = "is an absolute path"
    elif ".." in text.replace("\\", "/").split("/"):
        fault = "leads out of the data set's folder"
    if fault:
        raise CaseError(
            f"{where} names the file {text!r:.120}, which {fault}; expected a path inside {root}. "
            "Correct the entry."
        )
    return root / PurePosixPath(str(text))


def _usable_name(text: str) -> bool:
    try:
        return all(len(part.encode()) <= 255 for part in text.split("/")) and len(text) <= 1000
    except UnicodeEncodeError:
        return False


def relative_name(path: Path, root: Path) -> str:
    """Path relative to the data set, with ``/`` on every system."""
    return path.relative_to(root).as_posix()


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of bounded size.

    Raises
    ------
    SourceError
        When it is missing, too large, not JSON, not an object, or goes beyond the bounds of
        :mod:`softlabel.files.documents`.
    """
    text = read_text(path)
    try:
        content = parse_json(text)
    except DocumentError as error:
        raise SourceError(
            f"{path} is not valid JSON ({error}). Correct it, or restore the original."
        ) from error
    if not isinstance(content, dict):
        raise SourceError(
            f"{path} holds a {type(content).__name__}; expected a JSON object "
            '({"key": value, …}). Correct it, or restore the original.'
        )
    return content


def read_text(path: Path, most: int | None = None) -> str:
    """Read a UTF-8 text of bounded size.

    Parameters
    ----------
    path : Path
    most : int, optional
        Bytes that it may have; :data:`MAX_TEXT_BYTES` when not given.

    Raises
    ------
    SourceError
        When it cannot be read, is too large, or is not UTF-8.
    """
    most = MAX_TEXT_BYTES if most is None else most
    try:
        with open_regular(path) as stream:
            content = stream.read(most + 1)  # what /proc holds has no size before it is read
            size = max(len(content), path.stat().st_size)
        if size > most:
            raise SourceError(
                f"{path} has {size} bytes; expected a text of at most {most}. "
                "Check that it is the right file."
            )
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}). Check the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} is not a UTF-8 text ({error.reason}). Save it as UTF-8."
        ) from error
