"""The checksum of a file image's first bytes, whatever HDF5 made it."""

import h5py
import numpy as np
import pytest

from softlabel.cache.files import build_in_memory
from softlabel.cache.superblock import BYTES, CHECKED, lookup3, with_checksum


@pytest.fixture
def image():
    with build_in_memory() as (file, built):
        file["a"] = np.arange(10)
    return built[0]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        # what the author of the hash prints for his own tests
        (b"", 0xDEADBEEF),
        (b"Four score and seven years ago", 0x17770551),
    ],
)
def test_known_values(data, value):
    assert lookup3(data) == value


@pytest.mark.parametrize("libver", ["v108", "v110"])
@pytest.mark.parametrize("n", [1, 1000])
def test_superblocks_of_closed_files(tmp_path, libver, n):
    """HDF5 itself wrote these checksums when it closed the files."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=(libver, libver)) as file:
        file["a"] = np.arange(n)
    data = path.read_bytes()
    assert lookup3(data[:CHECKED]).to_bytes(4, "little") == data[CHECKED:BYTES]


def test_a_stale_checksum_is_fixed(tmp_path, image):
    stale = image[:CHECKED] + b"\x85\x60\x25\xa4" + image[BYTES:]  # as HDF5 1.14 leaves it
    path = tmp_path / "x.h5"
    path.write_bytes(stale)
    with pytest.raises(OSError, match="checksum"):
        h5py.File(path, "r")
    path.write_bytes(with_checksum(stale))
    with h5py.File(path, "r") as file:
        assert file["a"][:].tolist() == list(range(10))
    assert with_checksum(stale) == image
    assert with_checksum(image) is image


@pytest.mark.parametrize("spoilt", [b"", b"\x89HDF\r\n\x1a\n", b"\0" * 100])
def test_what_is_no_such_image_is_refused(image, spoilt):
    with pytest.raises(ValueError, match="no HDF5 superblock of version 3"):
        with_checksum(spoilt)
    with pytest.raises(ValueError, match="no HDF5 superblock of version 3"):
        with_checksum(image[:8] + b"\x02" + image[9:])
