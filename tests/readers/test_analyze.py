"""Analyze 7.5 and NIfTI pairs, written by nibabel."""

from __future__ import annotations

import struct

import nibabel as nib
import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers import list_dataset
from softlabel.readers.imagefiles import files_of, read_label_map, read_pixels

from .factories import label_volume, read_one, truncate, volume

AFFINE = np.array([[-0.5, 0, 0, 20], [0, 0, 3, -7], [0, 0.75, 0, 4], [0, 0, 0, 1.0]])


def write_analyze(path, values, zooms=(0.5, 0.75, 3.0), image_class=nib.AnalyzeImage, affine=None):
    path.parent.mkdir(exist_ok=True)
    image = image_class(values, affine)
    image.header.set_zooms(zooms + (1.0,) * (values.ndim - 3))
    nib.save(image, path)
    return path.with_suffix(".hdr")


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_analyze_has_a_spacing_but_no_affine(tmp_path, dtype):
    values = volume(dtype=dtype)
    path = write_analyze(tmp_path / "a.img", values)
    found = read_pixels(path)
    np.testing.assert_array_equal(found.values, values)
    assert found.affine is None and found.spacing_mm == (0.5, 0.75, 3.0) and found.axes_known
    assert files_of(path) == (path, tmp_path / "a.img")


def test_analyze_labels_with_a_last_axis_of_one(tmp_path):
    path = write_analyze(tmp_path / "a.img", label_volume((6, 5, 4, 1)))
    np.testing.assert_array_equal(read_label_map(path).values, label_volume((6, 5, 4, 1))[..., 0])


def test_big_endian_analyze_and_unknown_voxel_sizes(tmp_path, capfd):
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(np.int16)
    image = nib.AnalyzeImage(volume(), None, header)
    nib.save(image, tmp_path / "a.img")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.hdr").values, volume())
    content = bytearray((tmp_path / "a.hdr").read_bytes())
    content[76 + 12 : 76 + 16] = bytes(4)
    (tmp_path / "a.hdr").write_bytes(content)
    assert read_pixels(tmp_path / "a.hdr").spacing_mm is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("image_class", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_nifti_pairs_say_where_they_lie(tmp_path, image_class):
    path = write_analyze(tmp_path / "a.img", volume(), image_class=image_class, affine=AFFINE)
    found = read_pixels(path)
    np.testing.assert_array_equal(found.values, volume())
    np.testing.assert_allclose(found.affine, AFFINE)


def test_both_files_of_analyze_are_inputs(tmp_path):
    write_analyze(tmp_path / "images" / "a.img", volume())
    write_analyze(tmp_path / "labels" / "a.img", label_volume())
    (ref,) = list_dataset(tmp_path).refs
    assert ref.files == ("images/a.hdr", "images/a.img", "labels/a.hdr", "labels/a.img")
    np.testing.assert_array_equal(read_one(tmp_path).labels, label_volume())
    (tmp_path / "labels" / "a.img").unlink()
    with pytest.raises(CaseError, match=r"labels/a\.img does not exist; expected the voxels of a"):
        read_one(tmp_path)


@pytest.mark.parametrize("name", ["a.hdr", "a.img"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated_analyze(tmp_path, name, keep):
    path = write_analyze(tmp_path / "a.img", volume((20, 20, 20)))
    truncate(tmp_path / name, keep)
    with pytest.raises(CaseError, match=r"a\.(hdr|img).*download it again"):
        read_pixels(path)


@pytest.mark.parametrize("sizes", [(30000, 30000, 1000), (1000, 1000, 100), (-5, 4, 4)])
def test_analyze_headers_that_promise_too_much(tmp_path, sizes):
    path = write_analyze(tmp_path / "a.img", volume())
    content = bytearray(path.read_bytes())
    content[42:48] = struct.pack("<3h", *sizes)
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"a\.(hdr|img)"):
        read_pixels(path)


def test_an_analyze_header_named_otherwise_is_half_an_image(tmp_path):
    path = write_analyze(tmp_path / "a.img", volume()).rename(tmp_path / "a.nii")
    with pytest.raises(CaseError, match=r"a\.nii"):
        read_pixels(path)
    (tmp_path / "b.hdr").write_text("ENVI\nsamples = 3\n")
    with pytest.raises(CaseError, match=r"does not begin like an Analyze header \(first .*ENVI"):
        read_pixels(tmp_path / "b.hdr")
