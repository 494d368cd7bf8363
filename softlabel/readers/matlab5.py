"""MATLAB files of version 5: the list of their variables, and arrays of numbers out of them.

A file is a row of elements, one a variable, each perhaps compressed by zlib on its own. An element
begins with type and length; that of an array holds smaller elements for class, shape, name and
values (MathWorks, "MAT-File Format"). Only what leads to arrays of numbers is understood here: any
other variable is listed by its class and left alone, so that a string or a table beside the images
does no harm. Values are taken out of the stream as it is inflated, which keeps the chosen part of a
volume in memory instead of all of it twice.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.safety import COPY_AGAIN, MAX_DEFLATE_RATIO, check_promise
from softlabel.types import Array

FILE_HEADER_BYTES = 128
ByteOrder = Literal["little", "big"]

_MATRIX, _COMPRESSED = 14, 15
_TEXT = (1, 2, 16)
_SIZES = (5, 6)
_FLAGS = 6
_STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {
    1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single",
    8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64",
    15: "uint64", 16: "function", 17: "opaque",
}  # fmt: skip
_SPARSE, _OPAQUE = 5, 17
_NUMERIC = {name for number, name in _CLASSES.items() if 6 <= number <= 15} | {"logical"}
_LOGICAL_FLAG, _COMPLEX_FLAG = 0x02, 0x08
_MAX_AXES = 32
_MAX_HEAD_BYTES = 1024
_BLOCK = 1 << 18
_PADDING = 7


@dataclass(frozen=True)
class Element:
    """One variable of a file.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Empty where the class has none.
    kind : str
        MATLAB class, ``logical`` for truth values.
    start, stop : int
        First byte and the byte after the last in the file.
    is_complex : bool
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    stop: int
    is_complex: bool = False


def list_elements(stream: IO[bytes], size: int, order: ByteOrder, path: Path) -> list[Element]:
    """Walk over the elements of a file and read the head of each.

    Parameters
    ----------
    stream : binary stream
    size : int
        Bytes of the file.
    order : {"little", "big"}
    path : Path

    Raises
    ------
    CaseError
        When the file ends within an element, or the head of one is damaged.
    """
    elements = []
    start = FILE_HEADER_BYTES
    while start < size:
        stream.seek(start)
        tag = stream.read(8)
        stop = start + 8 + int.from_bytes(tag[4:], order)
        if len(tag) < 8 or stop > size:
            raise CaseError(
                f"{path} ends within a variable (at byte {size} of at least {stop}); it is cut "
                f"off. {COPY_AGAIN}"
            )
        if int.from_bytes(tag[:4], order) in (_MATRIX, _COMPRESSED):
            head = _Head(_open(stream, start, stop, order, path), order, path)
            elements.append(head.element(start, stop))
        start = stop
    return elements


def read_element(
    stream: IO[bytes],
    element: Element,
    order: ByteOrder,
    path: Path,
    last: Sequence[int] | None = None,
) -> Array:
    """Read an array of numbers in the type in which the file stores it.

    Parameters
    ----------
    stream : binary stream
    element : Element
    order : {"little", "big"}
    path : Path
    last : sequence of int or None
        Ascending positions on the last axis, which only are kept in memory; None for all.

    Returns
    -------
    ndarray
        In MATLAB's order of axes.

    Raises
    ------
    CaseError
        When it is no array of numbers, promises more than the file holds, or is damaged.
    """
    what = f"the variable {element.name!r}"
    if element.kind not in _NUMERIC or element.is_complex:
        kind = "complex array" if element.is_complex else f"MATLAB {element.kind}"
        raise CaseError(
            f"{path}: {what} is a {kind}, which is no array of real numbers; expected one. Save it "
            "as a numeric array."
        )
    check_promise(
        path,
        element.shape,
        1,  # MATLAB stores whole doubles in as little as one byte each
        element.stop - element.start,
        max_ratio=MAX_DEFLATE_RATIO,
        what=f"the header of {element.name!r}",
    )
    source = _open(stream, element.start, element.stop, order, path)
    head = _Head(source, order, path)
    head.element(element.start, element.stop)  # up to the values
    stored, n_bytes, inline = head.tag()
    item = _STORED.get(stored, "")
    if not item or n_bytes != math.prod(element.shape) * int(item[1]):
        raise CaseError(
            f"{path}: {what} has the shape {element.shape}, but {n_bytes} bytes of the type "
            f"{stored}; expected as many as the shape says. {COPY_AGAIN}"
        )
    dtype = np.dtype(item).newbyteorder("<" if order == "little" else ">")
    if inline is not None:
        source = _Plain(io.BytesIO(inline), 0, n_bytes, path)
    values = _slices(source, element.shape, dtype, last)
    source.finish()
    return values


def _slices(
    source: _Plain | _Inflated,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    last: Sequence[int] | None,
) -> Array:
    """Values at positions of the last axis, along which they follow each other in the stream."""
    wanted = range(shape[-1]) if last is None else last
    values: Array = np.empty((len(wanted), *reversed(shape[:-1])), dtype=dtype)
    slice_bytes = math.prod(shape[:-1]) * dtype.itemsize
    passed = 0
    for target, position in zip(values, wanted, strict=True):
        source.skip((position - passed) * slice_bytes)
        target[...] = np.frombuffer(source.read(slice_bytes), dtype).reshape(target.shape)
        passed = position + 1
    source.skip((shape[-1] - passed) * slice_bytes)
    return values.T


class _Head:
    """The elements of an array that come before its values, read one after the other."""

    def __init__(self, source: _Plain | _Inflated, order: ByteOrder, path: Path) -> None:
        self._source, self._order, self._path = source, order, path

    def element(self, start: int, stop: int) -> Element:
        """Class, shape and name."""
        kind, n_bytes, _ = self.tag()
        self._require(kind == _MATRIX, f"an element of the type {kind} instead of a variable")
        if not n_bytes:
            return Element("", (0, 0), "double", start, stop)
        flags = self._numbers((_FLAGS,), "flags")
        self._require(len(flags) == 2, f"{len(flags)} flags instead of 2")
        number, bits = flags[0] & 0xFF, flags[0] >> 8
        if number == _OPAQUE:
            return Element(self._text(), (), self._class_of_opaque(), start, stop)
        shape = self._numbers(_SIZES, "sizes")
        self._require(2 <= len(shape) <= _MAX_AXES, f"{len(shape)} axes")
        name = self._text()
        logical = bits & _LOGICAL_FLAG and number != _SPARSE
        class_name = _CLASSES.get(number, f"class {number}")
        return Element(
            name, shape, "logical" if logical else class_name, start, stop,
            is_complex=bool(bits & _COMPLEX_FLAG),
        )  # fmt: skip

    def tag(self) -> tuple[int, int, bytes | None]:
        """Type and length of the next element, and its content if that lies in the tag itself."""
        tag = self._source.read(8)
        word = int.from_bytes(tag[:4], self._order)
        if length := word >> 16:
            self._require(length <= 4, f"an element of {length} bytes in four")
            return word & 0xFFFF, length, tag[4 : 4 + length]
        return word, int.from_bytes(tag[4:], self._order), None

    def _class_of_opaque(self) -> str:
        """Name of the class of an object: behind that of the system it belongs to (MCOS)."""
        self._text()
        return self._text() or "object"

    def _numbers(self, types: tuple[int, ...], what: str) -> tuple[int, ...]:
        content = self._content(types, what)
        return tuple(
            int.from_bytes(content[i : i + 4], self._order, signed=what == "sizes")
            for i in range(0, len(content), 4)
        )

    def _text(self) -> str:
        return self._content(_TEXT, "a name").decode("utf-8", "replace")

    def _content(self, types: tuple[int, ...], what: str) -> bytes:
        kind, length, inline = self.tag()
        self._require(kind in types, f"{what} of the type {kind}")
        self._require(length <= _MAX_HEAD_BYTES, f"{what} of {length} bytes")
        if inline is not None:
            return inline
        content = self._source.read(length)
        self._source.skip(-length % 8)
        return content

    def _require(self, plain: bool, found: str) -> None:
        if not plain:
            raise CaseError(
                f"{self._path} has a variable with {found}, as no MATLAB file of version 5 has; "
                f"it is damaged. {COPY_AGAIN}"
            )


def _open(
    stream: IO[bytes], start: int, stop: int, order: ByteOrder, path: Path
) -> _Plain | _Inflated:
    """The bytes of an element, inflated if they are compressed."""
    stream.seek(start)
    if int.from_bytes(stream.read(4), order) == _COMPRESSED:
        return _Inflated(stream, start + 8, stop, path)
    return _Plain(stream, start, stop, path)


class _Plain:
    """Bytes of a file from ``start`` to ``stop``."""

    def __init__(self, stream: IO[bytes], start: int, stop: int, path: Path) -> None:
        stream.seek(start)
        self._stream, self._left, self._path = stream, stop - start, path

    def read(self, n: int) -> bytes:
        """Exactly ``n`` bytes."""
        content = self._stream.read(min(n, self._left))
        self._left -= len(content)
        if len(content) < n:
            raise _ends_early(self._path)
        return content

    def skip(self, n: int) -> None:
        """Pass over ``n`` bytes."""
        if n > self._left:
            raise _ends_early(self._path)
        self._left -= n
        self._stream.seek(n, 1)

    def finish(self) -> None:
        """Nothing: plain bytes have no checksum."""


class _Inflated:
    """Bytes that zlib compressed, from ``start`` to ``stop`` of a file."""

    def __init__(self, stream: IO[bytes], start: int, stop: int, path: Path) -> None:
        stream.seek(start)
        self._stream, self._left, self._path = stream, stop - start, path
        self._zlib = zlib.decompressobj()

    def read(self, n: int) -> bytes:
        """Exactly ``n`` bytes."""
        return b"".join(self._blocks(n))

    def skip(self, n: int) -> None:
        """Pass over ``n`` bytes."""
        for _ in self._blocks(n):
            pass

    def finish(self) -> None:
        """Go to the end, where zlib compares its checksum.

        Raises
        ------
        zlib.error
            When it differs.
        CaseError
            When more than padding follows, or the stream has no end.
        """
        rest = 0
        while not self._zlib.eof:
            rest += len(self._some(_PADDING + 1))
            if rest > _PADDING:
                raise CaseError(
                    f"{self._path} goes on behind the values of a variable; expected it to end "
                    f"there. {COPY_AGAIN}"
                )

    def _blocks(self, n: int) -> Iterator[bytes]:
        while n:
            if self._zlib.eof:
                raise _ends_early(self._path)
            block = self._some(min(n, _BLOCK))
            n -= len(block)
            yield block

    def _some(self, n: int) -> bytes:
        """Up to ``n`` bytes, none where zlib needs more of the file to go on."""
        packed = self._zlib.unconsumed_tail
        if not packed:
            packed = self._stream.read(min(_BLOCK, self._left))
            self._left -= len(packed)
        block = self._zlib.decompress(packed, n)
        if not packed and not block and not self._zlib.eof:
            raise _ends_early(self._path)
        return block


def _ends_early(path: Path) -> CaseError:
    return CaseError(f"{path} ends within a variable; it is cut off or damaged. {COPY_AGAIN}")
