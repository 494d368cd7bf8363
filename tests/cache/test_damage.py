"""Whether the stored bytes of a part are those that were written."""

from __future__ import annotations

import random

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache.damage import damage
from softlabel.cache.files import seal


@pytest.fixture
def part(tmp_path):
    return factories.part(factories.full_cache(tmp_path), factories.full_case().id)


def test_a_sound_part_has_none(part):
    assert damage(part) is None


def test_every_byte_of_every_chunk_counts(part):
    """HDF5's own checksum does not tell words of zeros from words of ones, this does."""
    good = part.read_bytes()
    places: dict[str, tuple[int, int]] = {}

    def add(name, node):
        if isinstance(node, h5py.Dataset):
            chunk = node.id.get_chunk_info(0)
            places[name] = (chunk.byte_offset, chunk.size)

    with h5py.File(part) as file:
        file.visititems(add)
    assert {"case/soft", "case/image", "classes/values", "classes/names", "channels"} <= set(places)
    rng = random.Random(1)
    for name, (start, size) in places.items():
        for _ in range(5):
            data = bytearray(good)
            data[start + rng.randrange(size)] ^= 1 << rng.randrange(8)
            part.write_bytes(data)
            assert name in damage(part)
        data = bytearray(good)
        data[start : start + 2] = b"\xff\xff" if data[start : start + 2] == b"\0\0" else b"\0\0"
        part.write_bytes(data)
        assert damage(part)


@pytest.mark.parametrize(
    "content", [b"", b"something else", lambda b: b[:900], lambda b: b[: len(b) // 2]]
)
def test_a_file_that_is_no_part(part, content):
    part.write_bytes(content(part.read_bytes()) if callable(content) else content)
    assert str(part) in damage(part)


def test_attributes_and_lost_chunks(part):
    with h5py.File(part, "r+") as file:
        file["case"].attrs["spacing_mm"] = np.array([0.5, 0.5, 2.5])
    assert "digest" in damage(part)
    with h5py.File(part, "r+") as file:
        file["case/mask"].attrs["chunks_allocated"] = np.int64(99)
    assert "expected 99" in damage(part)
    with h5py.File(part, "r+") as file:
        file["case/truth"][...] = 0
        seal(file["case/truth"])
        file["case/mask"].attrs["chunks_allocated"] = np.int64(1)
    assert "digest" in damage(part)
