from __future__ import annotations

import gzip
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import read_label_map
from softlabel.readers.nifti import read_nifti

from .factories import label_volume, truncate, volume, write_nifti


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


def test_labels_with_a_slope_are_whole_to_half_of_it(tmp_path):
    """25 labels in 8 bits: ``scl_slope`` 25/51 × 1/10 lets 10 read as 10.0490."""
    labels = label_volume(n=26)
    slope = 25 / 255
    stored = np.rint(labels / slope).astype(np.uint8)
    path = write_scaled(tmp_path / "a.nii", stored, slope)
    found = read_nifti(path)
    assert found.step == pytest.approx(slope) and found.values.dtype == np.float32
    assert np.abs(found.values - labels).max() > 0.02
    np.testing.assert_array_equal(read_label_map(path).values, labels)


@pytest.mark.parametrize("slope", [0.3, 4.0])
def test_a_slope_that_lost_labels_is_named(tmp_path, slope):
    path = write_scaled(tmp_path / "a.nii.gz", volume(dtype=np.uint8), slope, inter=0.5)
    with pytest.raises(
        CaseError, match=rf"slope \(scl_slope\) of {slope:g}, by which .* not whole"
    ):
        read_label_map(path)


def test_a_slope_above_one_may_still_give_whole_numbers(tmp_path):
    path = write_scaled(tmp_path / "a.nii", label_volume(), 50.0)
    np.testing.assert_array_equal(read_label_map(path).values, label_volume() * 50)


def write_scaled(path, stored, slope, inter=0.0):
    """A file with these integers, slope and intercept, which nibabel would choose itself."""
    plain = path.with_name("plain.nii")
    nib.save(nib.Nifti1Image(stored, np.eye(4)), plain)
    content = bytearray(plain.read_bytes())
    content[112:120] = struct.pack("<2f", slope, inter)
    np.testing.assert_allclose(
        nib.Nifti1Image.from_bytes(bytes(content)).get_fdata(), stored * slope + inter, rtol=1e-6
    )
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_forms(path, sform, qform, zooms=None):
    image = nib.Nifti1Image(volume(), None)
    if zooms is not None:
        image.header.set_zooms(zooms)
    if qform is not None:
        image.set_qform(qform, code=1)
    if sform is not None:
        image.set_sform(sform, code=2)
    nib.save(image, path)
    return path


def test_forms_that_differ_are_told(tmp_path):
    sform, qform = np.diag([1.0, 1, 3, 1]), np.diag([1.0, 1, 3, 1])
    sform[0, 3] = 0.05
    assert read_nifti(write_forms(tmp_path / "a.nii", sform, qform)).notes == ()
    sform[0, 3] = 7.5
    found = read_nifti(write_forms(tmp_path / "b.nii", sform, qform))
    np.testing.assert_array_equal(found.affine, sform)
    (note,) = found.notes
    assert note.code == "sform-qform"
    for part in ("b.nii", "(1 0 0 7.5;", "(1 0 0 0;", "corners 7.5 voxels apart"):
        assert part in note.text


def test_an_identity_affine_beside_another_voxel_size_is_told(tmp_path):
    path = write_forms(tmp_path / "a.nii.gz", np.eye(4), None, zooms=(1.5, 1.5, 10.0))
    found = read_nifti(path)
    assert found.spacing_mm == (1.0, 1.0, 1.0)
    (note,) = found.notes
    assert note.code == "identity-affine"
    assert "1 × 1 × 1 mm" in note.text and "1.5 × 1.5 × 10 mm" in note.text
    path = write_forms(tmp_path / "b.nii.gz", np.eye(4), np.diag([1.5, 1.5, 10, 1]))
    assert [note.code for note in read_nifti(path).notes] == ["identity-affine"]
    assert read_nifti(write_forms(tmp_path / "c.nii.gz", np.eye(4), np.eye(4))).notes == ()


@pytest.mark.parametrize("code", [0, 1])
def test_a_voxel_size_of_zero_is_unknown(tmp_path, capfd, code):
    content = bytearray(write_nifti(tmp_path / "a.nii", volume()).read_bytes())
    content[252:256] = struct.pack("<2h", code, 0)  # qform_code, sform_code
    content[76 + 12 : 76 + 16] = struct.pack("<f", 0)  # pixdim[3]
    (tmp_path / "a.nii").write_bytes(content)
    found = read_nifti(tmp_path / "a.nii")
    assert found.spacing_mm is None and found.affine is None
    (note,) = found.notes
    assert note.code == "pixdim" and "1 × 1 × 0 mm" in note.text and "a.nii" in note.text
    assert capfd.readouterr() == ("", "")


def test_flat_images_need_no_third_voxel_size(tmp_path):
    content = bytearray(write_nifti(tmp_path / "a.nii", volume((6, 5))).read_bytes())
    content[252:256] = struct.pack("<2h", 0, 0)
    content[76 + 4 : 76 + 16] = struct.pack("<3f", 0.5, 0.5, 0)
    (tmp_path / "a.nii").write_bytes(content)
    found = read_nifti(tmp_path / "a.nii")
    assert found.spacing_mm == (0.5, 0.5) and found.notes == ()


def test_labels_with_a_fourth_axis_speak_of_what_it_may_be(tmp_path):
    labels = label_volume()
    one_hot = np.moveaxis(np.eye(3, dtype=np.uint8)[labels], -1, 3)
    over = np.stack([labels > 0, labels > 1], axis=3).astype(np.uint8)
    for values, words in (
        (one_hot, r"3 values a voxel \(6, 5, 4, 3\), of which one is 1 \(one-hot\); .*argmax"),
        (one_hot[..., 1:], r"at most one is 1 \(one-hot without a background"),
        (over, "several may be 1"),
        (volume((6, 5, 4, 2)), "if it counts times, save one"),
    ):
        with pytest.raises(CaseError, match=words):
            read_label_map(write_nifti(tmp_path / "a.nii.gz", values))
