"""The first 48 bytes of an HDF5 file, whose checksum HDF5 1.14 gets wrong in a file image.

While a file is open for writing, a flag in its superblock is set. ``H5Fget_file_image`` clears the
flag in the image; HDF5 up to 1.14 does not update the checksum, and no version of HDF5 opens the
result. HDF5 2.0 writes the right checksum.

Source: HDF5 File Format Specification 3.0, II.A "Superblock", version 3.
"""

from __future__ import annotations

import struct

SIGNATURE = b"\x89HDF\r\n\x1a\n"
VERSION, OFFSET_BYTES = 3, 8
CHECKED, BYTES = 44, 48
"""The bytes that the checksum covers, and the bytes with it."""


def with_checksum(image: bytes) -> bytes:
    """A file image whose superblock has the checksum of its bytes.

    Parameters
    ----------
    image : bytes
        An HDF5 file with a superblock of version 3 and addresses of 8 bytes.

    Raises
    ------
    ValueError
        When it is something else.
    """
    if len(image) < BYTES or image[:10] != SIGNATURE + bytes((VERSION, OFFSET_BYTES)):
        raise ValueError("The image has no HDF5 superblock of version 3 with 8-byte addresses.")
    checksum = lookup3(image[:CHECKED]).to_bytes(4, "little")
    if image[CHECKED:BYTES] == checksum:
        return image
    return image[:CHECKED] + checksum + image[BYTES:]


def lookup3(data: bytes) -> int:
    """Jenkins' hash of HDF5's metadata, 32 bits (``hashlittle`` of lookup3.c, initial value 0).

    Examples
    --------
    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    a = b = c = (0xDEADBEEF + len(data)) & 0xFFFFFFFF
    for start in range(0, len(data), 12):
        x, y, z = struct.unpack("<3I", data[start : start + 12].ljust(12, b"\0"))
        a, b, c = (a + x) & 0xFFFFFFFF, (b + y) & 0xFFFFFFFF, (c + z) & 0xFFFFFFFF
        if start + 12 < len(data):
            a, b, c = _mixed(a, b, c)
    return _finished(a, b, c) if data else c


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & 0xFFFFFFFF) ^ _rotated(c, bits)
        c = (c + b) & 0xFFFFFFFF
        a, b, c = b, c, a
    return a, b, c


def _finished(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, bits)) & 0xFFFFFFFF
        a, b, c = b, c, a
    return b  # the one that was changed last


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF
