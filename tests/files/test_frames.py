"""What compressed bytes say they hold, against what the libraries make of them."""

from __future__ import annotations

import io
import zlib

import h5py
import hdf5plugin
import numpy as np
import pytest

from softlabel.files import frames
from softlabel.files.frames import chunk_problem, deflated_size, zstd_size

FILTERS = {
    "zstd": dict(hdf5plugin.Zstd(clevel=3)),
    "gzip": {"compression": "gzip"},
    "none": {},
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("fletcher32", [False, True])
@pytest.mark.parametrize("shape", [(1,), (255,), (256,), (70_000,), (1 << 17,), (300, 700)])
@pytest.mark.parametrize("noise", [0, 1 << 32])
def test_chunks_that_libraries_wrote(monkeypatch, name, fletcher32, shape, noise):
    """With random values deflate gives up, and HDF5 leaves the filter out."""
    monkeypatch.setattr(frames, "HARMLESS_BYTES", 0)
    monkeypatch.setattr(frames, "MAX_DEFLATE_RATIO", 1e9)
    values = np.random.default_rng(0).integers(0, noise + 1, shape).astype("u4")
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset(
            "x", data=values, chunks=shape, shuffle=True, fletcher32=fletcher32, **FILTERS[name]
        )
        storage = dataset.id.get_create_plist()
        filters = [storage.get_filter(n)[0] for n in range(storage.get_nfilters())]
        skipped, stored = dataset.id.read_direct_chunk((0,) * len(shape))
    assert chunk_problem(stored, filters, skipped, values.nbytes) is None
    problem = chunk_problem(stored, filters, skipped, values.nbytes - 4)
    assert problem is not None and problem.endswith(f"expected {values.nbytes - 4}")


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ("28b52ffd 20 07", 7),
        ("28b52ffd 60 0000", 256),
        ("28b52ffd a0 00000100", 65536),
        ("28b52ffd e0 0000000010000000", 1 << 36),
        ("28b52ffd c3 00 01020304 0000000010000000", 1 << 36),  # a window and a dictionary
        ("28b52ffd 00 58", None),
        ("28b52ffd e0 00", None),
        ("502a4d18 04000000", None),  # a frame that is to be skipped
        ("", None),
    ],
)
def test_heads_of_zstd(head, size):
    """As RFC 8878 draws them."""
    assert zstd_size(bytes.fromhex(head)) == size


def test_counting_ends_soon_after_the_bound():
    bomb = zlib.compress(bytes(8 << 20))
    assert deflated_size(bomb, 1000) == 1001
    assert deflated_size(bomb, 8 << 20) == 8 << 20
    assert deflated_size(bomb[:100], 8 << 20) < 8 << 20
    assert "more than 1001 bytes" in chunk_problem(bomb * 9, [1], 0, 1000)
