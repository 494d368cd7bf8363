"""NRRD and MetaImage, where their NIfTI twins lie, and from no other file."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from softlabel.errors import CaseError, MissingExtraError
from softlabel.readers.imagefiles import read_pixels

from .factories import truncate, volume


def write_itk(path, values, spacing=(0.5, 0.75, 3.0), origin=(10.0, -20.0, 5.0)):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(values, isVector=values.ndim == 4)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_files_lie_where_their_nifti_twins_lie(tmp_path, ending):
    sitk = pytest.importorskip("SimpleITK")
    values = volume((4, 5, 6))
    path = write_itk(tmp_path / f"a{ending}", values)
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / "a.nii.gz"))
    found, twin = read_pixels(path), read_pixels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.values, twin.values)
    np.testing.assert_array_equal(found.values, values.T)
    np.testing.assert_allclose(found.affine, twin.affine, atol=1e-5)
    assert found.spacing_mm == twin.spacing_mm == (0.5, 0.75, 3.0)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_channels_and_truncation(tmp_path, ending):
    values = volume((4, 5, 6, 2), dtype=np.float32)
    path = write_itk(tmp_path / f"a{ending}", values)
    np.testing.assert_array_equal(read_pixels(path).channels_first(), values.transpose(3, 2, 1, 0))
    with pytest.raises(CaseError, match=rf"a\{ending} "):
        read_pixels(truncate(path, 0.7))


def test_itk_headers_that_point_to_other_files_are_refused(tmp_path):
    pytest.importorskip("SimpleITK")
    (tmp_path / "voxels.raw").write_bytes(bytes(27))
    mha = tmp_path / "a.mha"
    mha.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 3 3 3\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {tmp_path / 'voxels.raw'}\n"
    )
    nrrd = tmp_path / "a.nrrd"
    nrrd.write_text(
        "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 3 3\nencoding: raw\n"
        f"data file: {tmp_path / 'voxels.raw'}\n\n"
    )
    for path in (mha, nrrd):
        with pytest.raises(CaseError, match="takes its voxels from another file"):
            read_pixels(path)


def test_itk_headers_that_promise_too_much(tmp_path):
    pytest.importorskip("SimpleITK")
    path = tmp_path / "a.mha"
    path.write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 9000 9000 9000\nElementType = MET_DOUBLE\n"
        b"ElementDataFile = LOCAL\n" + bytes(100)
    )
    with pytest.raises(CaseError, match="promises 9000 × 9000 × 9000 values"):
        read_pixels(path)


def test_itk_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtraError, match=r"\.nrrd.* SimpleITK.*'\.\[itk\]' in the clone"):
        read_pixels(tmp_path / "a.nrrd")
