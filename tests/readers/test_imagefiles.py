"""PNG, BMP, JPEG, TIFF, NRRD and MetaImage, and the choice between them by ending."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import ending_of, read_label_map, read_pixels, stem_of

from .factories import label_volume, truncate, volume, write_nifti, write_npy, write_png

GREY = volume((8, 9), dtype=np.uint8)
RGB = volume((8, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
@pytest.mark.parametrize("values", [GREY, RGB], ids=["grey", "rgb"])
def test_grey_and_colour(tmp_path, ending, values):
    found = read_pixels(write_png(tmp_path / f"a{ending}", values))
    expected = values[np.newaxis] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    np.testing.assert_array_equal(found.channels_first(), expected)
    assert found.spacing_mm is None and found.affine is None and found.axes_known


@pytest.mark.parametrize(
    ("ending", "dtype"), [(".png", "u2"), (".tif", "u2"), (".tif", "i4"), (".tif", "f4")]
)
def test_wide_grey(tmp_path, ending, dtype):
    values = (GREY.astype("u2") * 655).astype(dtype)
    found = read_pixels(write_png(tmp_path / f"a{ending}", values))
    np.testing.assert_array_equal(found.values, values)


def test_transparency_is_left_out(tmp_path):
    rgba = np.concatenate([RGB, GREY[..., np.newaxis]], axis=2)
    expected = np.moveaxis(RGB, 2, 0)
    for ending in (".png", ".tif"):
        found = read_pixels(write_png(tmp_path / f"a{ending}", rgba))
        np.testing.assert_array_equal(found.channels_first(), expected)
    Image.fromarray(np.stack([GREY, GREY], axis=2), mode="LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "la.png").channels_first(), GREY[None])


def test_label_maps_saved_as_equal_colours(tmp_path):
    labels = label_volume((8, 9))
    path = write_png(tmp_path / "a.png", np.stack([labels] * 3, axis=2))
    np.testing.assert_array_equal(read_label_map(path).values, labels)
    with pytest.raises(CaseError, match="3 channels that differ"):
        read_label_map(write_png(tmp_path / "b.png", RGB))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9])
def test_truncated(tmp_path, ending, keep):
    path = truncate(write_png(tmp_path / f"a{ending}", volume((40, 50), dtype=np.uint8)), keep)
    with pytest.raises(
        CaseError, match=r"a\.(png|bmp|tif)( cannot|: the header).*(download it again)"
    ):
        read_pixels(path)


def test_endings():
    assert ending_of(".nii.gz") is None and ending_of("a.gz") is None
    assert stem_of("a.b.nii") == "a.b" and stem_of("README") == "README"


def test_unknown_endings_and_empty_files(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"")
    with pytest.raises(CaseError, match=r"does not read; expected one of \.nii\.gz"):
        read_pixels(tmp_path / "a.xyz")
    for ending in (".nii", ".nii.gz", ".png", ".tif", ".npy", ".npz", ".bmp"):
        path = tmp_path / f"empty{ending}"
        path.write_bytes(b"")
        with pytest.raises(CaseError, match="empty"):
            read_pixels(path)


def test_label_maps_of_other_dimensions(tmp_path):
    with pytest.raises(CaseError, match="1 axes"):
        read_label_map(write_npy(tmp_path / "a.npy", np.zeros(4, dtype=np.uint8)))
    path = write_nifti(tmp_path / "a.nii.gz", label_volume((6, 5, 4, 1)))
    assert read_label_map(path).values.shape == (6, 5, 4)
