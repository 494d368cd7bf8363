from __future__ import annotations

import gzip
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers.nifti import read_nifti

from .factories import truncate, volume, write_nifti


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4"])
def test_types_come_back_in_native_byte_order(tmp_path, ending, dtype):
    values = volume(dtype=dtype)
    header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(dtype)
    path = tmp_path / f"a{ending}"
    nib.save(nib.Nifti1Image(values, np.eye(4), header), path)
    found = read_nifti(path)
    np.testing.assert_array_equal(found.values, values)
    assert found.values.dtype == np.dtype(dtype).newbyteorder("=") and found.values.dtype.isnative


def test_scaled_integers_become_float32(tmp_path):
    image = nib.Nifti1Image(volume(), np.eye(4))
    image.header.set_slope_inter(0.5, -1024)
    image.header.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii")
    found = read_nifti(tmp_path / "a.nii").values
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, volume() * 0.5 - 1024)


def test_nifti_2(tmp_path):
    nib.save(nib.Nifti2Image(volume(), np.diag([2.0, 2, 2, 1])), tmp_path / "a.nii.gz")
    found = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.values, volume())
    assert found.spacing_mm == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("shape", "spatial", "channels"),
    [
        ((6, 5), (6, 5), None),
        ((6, 5, 1), (6, 5, 1), None),
        ((6, 5, 4, 3), (6, 5, 4), 3),
        ((6, 5, 4, 1, 2), (6, 5, 4), 2),
    ],
)
def test_axes(tmp_path, shape, spatial, channels):
    values = volume(shape)
    found = read_nifti(write_nifti(tmp_path / "a.nii.gz", values))
    assert found.spatial_shape == spatial and len(found.spacing_mm) == len(spatial)
    first = found.channels_first()
    assert first.shape == (channels or 1, *spatial) and first.flags.c_contiguous
    if channels:
        np.testing.assert_array_equal(first[1], values.reshape(*spatial, channels)[..., 1])


def test_time_series_are_refused(tmp_path):
    with pytest.raises(CaseError, match="5 axes"):
        read_nifti(write_nifti(tmp_path / "a.nii", volume((3, 3, 3, 2, 2))))


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(CaseError, match="complex64"):
        read_nifti(write_nifti(tmp_path / "a.nii", volume(dtype=np.complex64)))


def test_without_form_codes_only_the_spacing_is_known(tmp_path):
    image = nib.Nifti1Image(volume(), None)
    image.header.set_zooms((0.5, 0.5, 2.0))
    nib.save(image, tmp_path / "a.nii")
    found = read_nifti(tmp_path / "a.nii")
    assert found.affine is None and found.spacing_mm == (0.5, 0.5, 2.0)


def test_other_units_become_millimetres(tmp_path):
    image = nib.Nifti1Image(volume(), np.diag([4.0, 4, 100, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    found = read_nifti(tmp_path / "a.nii")
    assert found.spacing_mm == (0.004, 0.004, 0.1)
    np.testing.assert_allclose(np.diag(found.affine), [0.004, 0.004, 0.1, 1])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.3, 0.7, 0.95, 0.999])
def test_truncated(tmp_path, ending, keep):
    path = write_nifti(tmp_path / f"a{ending}", volume((20, 20, 20)))
    with pytest.raises(CaseError, match=r"a\.nii.*(download it again|first bytes)"):
        read_nifti(truncate(path, keep))


def test_a_flipped_bit_in_compressed_voxels_is_seen(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", volume((20, 20, 20), dtype=np.uint8))
    content = gzip.decompress(path.read_bytes())
    stored = bytearray(gzip.compress(content, compresslevel=0))  # bits in the open
    stored[2000] ^= 1
    path.write_bytes(stored)
    with pytest.raises(CaseError, match="CRC"):
        read_nifti(path)


def test_not_nifti_at_all(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(b"<html>not found</html>" * 40))
    with pytest.raises(CaseError, match=r"first bytes b'<htm'"):
        read_nifti(path)
    with pytest.raises(CaseError, match="does not exist"):
        read_nifti(tmp_path / "missing.nii")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("sizes", [(30000, 30000, 1000), (1000, 1000, 100), (-5, 4, 4)])
def test_headers_that_promise_too_much(tmp_path, ending, sizes):
    path = write_nifti(tmp_path / "a.nii", volume())
    content = bytearray(path.read_bytes())
    content[42:48] = struct.pack("<3h", *sizes)
    path = tmp_path / f"lie{ending}"
    path.write_bytes(gzip.compress(bytes(content)) if ending.endswith("gz") else bytes(content))
    with pytest.raises(CaseError, match=r"lie\.nii"):
        read_nifti(path)


def test_a_stream_that_never_ends_is_stopped(tmp_path):
    path = write_nifti(tmp_path / "a.nii", volume())
    content = path.read_bytes() + bytes(70 * 2**20)
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(content, compresslevel=1))
    with pytest.raises(CaseError, match="after its last voxel"):
        read_nifti(bomb)


def test_a_broken_affine_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii", volume())
    content = bytearray(path.read_bytes())
    content[280:296] = struct.pack("<4f", 0, 0, 0, 0)  # srow_x
    path.write_bytes(content)
    with pytest.raises(CaseError, match="cannot be inverted"):
        read_nifti(path)


def with_extension(path, length, compress):
    """A copy whose header is followed by an extension of zeros, and then by the voxels."""
    content = bytearray(path.read_bytes())
    assert struct.unpack_from("<f", content, 108) == (352.0,)  # vox_offset
    content[108:112] = struct.pack("<f", 352 + length)
    content[348] = 1  # extensions follow
    extension = struct.pack("<2i", length, 6) + bytes(length - 8)
    copy = path.with_name("extended.nii.gz" if compress else "extended.nii")
    whole = bytes(content[:352]) + extension + bytes(content[352:])
    copy.write_bytes(gzip.compress(whole, compresslevel=1) if compress else whole)
    return copy


@pytest.mark.parametrize("compress", [False, True])
def test_header_extensions_are_skipped_and_take_no_memory(tmp_path, compress):
    path = write_nifti(tmp_path / "a.nii", volume())
    extended = with_extension(path, 32 << 20, compress)
    expected = read_nifti(path)
    tracemalloc.start()
    try:
        found = read_nifti(extended)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.affine, expected.affine)
    assert found.spacing_mm == expected.spacing_mm


def test_extensions_that_never_end_are_not_decompressed(tmp_path):
    path = write_nifti(tmp_path / "a.nii", volume())
    with pytest.raises(CaseError, match=r"begins its voxels at byte 73400672; expected at most"):
        read_nifti(with_extension(path, 70 << 20, compress=True))


@pytest.mark.parametrize("offset", [np.nan, np.inf, -1e9, 1e9])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_that_begin_nowhere(tmp_path, ending, offset):
    content = bytearray(write_nifti(tmp_path / "a.nii", volume()).read_bytes())
    content[108:112] = struct.pack("<f", offset)
    path = tmp_path / f"lie{ending}"
    path.write_bytes(gzip.compress(bytes(content)) if ending.endswith("gz") else bytes(content))
    with pytest.raises(CaseError, match=r"lie\.nii"):
        read_nifti(path)
