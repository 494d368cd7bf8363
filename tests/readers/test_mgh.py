"""FreeSurfer's images, written by nibabel."""

from __future__ import annotations

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import read_pixels

from .factories import label_volume, read_one, truncate, volume

AFFINE = np.array([[-0.5, 0, 0, 20], [0, 0, 3, -7], [0, 0.75, 0, 4], [0, 0, 0, 1.0]])


def write_mgh(path, values, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.MGHImage(values, affine), path)
    return path


@pytest.mark.parametrize("ending", [".mgh", ".mgz", ".MGZ"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_freesurfer_images_lie_where_their_nifti_twins_lie(tmp_path, ending, dtype):
    values = volume(dtype=dtype)
    path = write_mgh(tmp_path / "a.mgz", values) if ending != ".mgh" else tmp_path / "a.mgh"
    if ending == ".mgh":
        write_mgh(path, values)
    path = path.rename(tmp_path / f"a{ending}")
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "a.nii.gz")
    found, twin = read_pixels(path), read_pixels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.values, values)
    assert found.values.dtype == np.dtype(dtype) and found.values.dtype.isnative
    np.testing.assert_allclose(found.affine, twin.affine, atol=1e-5)
    assert found.spacing_mm == twin.spacing_mm == (0.5, 0.75, 3.0)
    assert found.channel_axis is None and found.notes == ()


def test_frames_are_channels_and_a_missing_orientation_is_no_place(tmp_path):
    values = volume((6, 5, 4, 2))
    path = write_mgh(tmp_path / "a.mgh", values)
    np.testing.assert_array_equal(read_pixels(path).channels_first()[1], values[..., 1])
    content = bytearray(path.read_bytes())
    content[28:30] = b"\0\0"
    path.write_bytes(content)
    found = read_pixels(path)
    assert found.affine is None and found.spacing_mm is None


def test_a_freesurfer_pair_of_folders(tmp_path):
    write_mgh(tmp_path / "images" / "a.mgz", volume())
    write_mgh(tmp_path / "labels" / "a.mgz", label_volume())
    case = read_one(tmp_path)
    np.testing.assert_array_equal(case.labels, label_volume())
    assert case.id == "a" and case.spacing_mm == (0.5, 0.75, 3.0) and case.slice_axis == 2


@pytest.mark.parametrize("ending", [".mgh", ".mgz"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9, 0.98])
def test_truncated_freesurfer_images(tmp_path, ending, keep):
    path = truncate(write_mgh(tmp_path / f"a{ending}", volume((20, 20, 20))), keep)
    with pytest.raises(CaseError, match=r"a\.mg.*download it again"):
        read_pixels(path)


@pytest.mark.parametrize("ending", [".mgh", ".mgz"])
@pytest.mark.parametrize("sizes", [(30000, 30000, 1000), (1000, 1000, 100), (-5, 4, 4), (0, 4, 4)])
def test_freesurfer_headers_that_promise_too_much(tmp_path, ending, sizes):
    content = bytearray(write_mgh(tmp_path / "a.mgh", volume()).read_bytes())
    content[4:16] = struct.pack(">3i", *sizes)
    path = tmp_path / f"lie{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".mgz" else content)
    with pytest.raises(CaseError, match=r"lie\.mg"):
        read_pixels(path)
