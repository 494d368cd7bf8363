"""How much compressed bytes would unpack to, told before a decoder takes the memory.

A few kilobytes of zstd or deflate can stand for gigabytes. HDF5's filters take what they find in a
chunk, whatever size the chunk was promised to have; so do decoders of TIFF.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Sequence

DEFLATE, SHUFFLE, FLETCHER32, ZSTD = 1, 2, 3, 32015
"""HDF5's numbers of the filters that the caches, and MATLAB's files, have."""

MAX_DEFLATE_RATIO = 1032
"""Deflate (gzip, zip, PNG, MATLAB, HDF5's gzip filter) cannot shrink data by more than this."""

HARMLESS_BYTES = 1 << 26
"""A decoder may take so much for a chunk, whatever was promised: not worth looking at deflate."""

_CHECKSUM_BYTES = 4
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 20


def chunk_problem(
    stored: bytes, filters: Sequence[int], skipped: int, chunk_bytes: int
) -> str | None:
    """Why a chunk of HDF5 would not unpack to its size; None where it would.

    Parameters
    ----------
    stored : bytes
        As they lie in the file.
    filters : sequence of int
        Of the dataset, in the order of writing, as :data:`DEFLATE`.
    skipped : int
        Bit i is set where the chunk went without ``filters[i]``.
    chunk_bytes : int
        What the shape and type of the chunks promise.

    Returns
    -------
    str or None
        A clause that follows "a chunk".
    """
    used = [number for bit, number in enumerate(filters) if not skipped >> bit & 1]
    payload = memoryview(stored)[: len(stored) - _CHECKSUM_BYTES * (FLETCHER32 in used)]
    if ZSTD in used:
        size = zstd_size(payload[:18])
    elif DEFLATE in used:
        if len(payload) * MAX_DEFLATE_RATIO <= max(chunk_bytes, HARMLESS_BYTES):
            return None
        size = deflated_size(payload, chunk_bytes)
    else:
        size = len(payload)
    if size == chunk_bytes:
        return None
    told = "an unknown number of" if size is None else size
    more = "more than " if size is not None and size > chunk_bytes and DEFLATE in used else ""
    return f"would unpack to {more}{told} bytes, expected {chunk_bytes}"


def zstd_size(head: bytes | memoryview) -> int | None:
    """The number of bytes that a zstd frame says it holds; None where it does not say.

    Parameters
    ----------
    head : bytes
        The first 18 bytes, in which every frame header ends (RFC 8878, 3.1.1.1).

    Examples
    --------
    >>> zstd_size(bytes.fromhex("28b52ffd60 1026"))
    10000
    """
    head = bytes(head)
    if head[:4] != _ZSTD_MAGIC or len(head) < 5:
        return None
    flag, single_segment, dictionary = head[4] >> 6, head[4] >> 5 & 1, head[4] & 3
    start = 5 + (not single_segment) + (0, 1, 2, 4)[dictionary]
    length = (single_segment, 2, 4, 8)[flag]
    content = head[start : start + length]
    if not length or len(content) < length:
        return None
    return int.from_bytes(content, "little") + 256 * (length == 2)


def deflated_size(packed: bytes | memoryview, most: int) -> int:
    """The number of bytes that a zlib or gzip stream holds, counted up to one beyond ``most``.

    Raises
    ------
    zlib.error
        When it is damaged.
    """
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    total, rest = 0, bytes(packed)
    while rest and not inflater.eof and total <= most:
        total += len(inflater.decompress(rest, min(_BLOCK, most + 1 - total)))
        rest = inflater.unconsumed_tail
    return total


def lzma_size(packed: bytes, most: int) -> int:
    """As :func:`deflated_size`, of an LZMA stream.

    Raises
    ------
    lzma.LZMAError
        When it is damaged, or its dictionary would take more memory than harmless chunks do.
    """
    inflater = lzma.LZMADecompressor(memlimit=2 * HARMLESS_BYTES)
    total = len(inflater.decompress(packed, min(_BLOCK, most + 1)))
    while not (inflater.eof or inflater.needs_input) and total <= most:
        total += len(inflater.decompress(b"", min(_BLOCK, most + 1 - total)))
    return total
