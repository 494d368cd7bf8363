"""Cases in files of their own: channels, spacing and grids that must fit together."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import tifffile

from softlabel.errors import CaseError, UsageError
from softlabel.readers import list_dataset, mgh, nifti

from .factories import (
    label_volume,
    nnunet_json,
    read_one,
    volume,
    write_json,
    write_nifti,
    write_npy,
    write_pairs,
)


def test_channel_axis_of_arrays(tmp_path):
    def write(image, labels):
        write_npy(tmp_path / "images/a.npy", image)
        write_npy(tmp_path / "labels/a.npy", labels)

    labels = label_volume((6, 5))
    for axis in range(3):
        image = np.moveaxis(volume((3, 6, 5)), 0, axis)
        write(image, labels)
        np.testing.assert_array_equal(read_one(tmp_path).image, volume((3, 6, 5)))
    write(volume((6, 6, 6)), label_volume((6, 6)))
    with pytest.raises(CaseError, match=r"axes \[0, 1, 2\] may hold the channels"):
        read_one(tmp_path)
    case = read_one(tmp_path, "auto", channel_axis=-1)
    np.testing.assert_array_equal(case.image, np.moveaxis(volume((6, 6, 6)), 2, 0))
    with pytest.raises(UsageError, match="channel_axis is 3"):
        read_one(tmp_path, "auto", channel_axis=3)
    write(volume((6, 4)), label_volume((6, 6)))
    with pytest.raises(CaseError, match="expected the same shape"):
        read_one(tmp_path)
    write(volume((6, 4, 2)), label_volume((6, 6)))
    with pytest.raises(CaseError, match="one more axis for channels"):
        read_one(tmp_path)


def test_spacing_for_files_that_state_none(tmp_path):
    write_pairs(tmp_path, ("a",))
    assert read_one(tmp_path, "auto", spacing_mm="0.002,0.03").spacing_mm == (0.002, 0.03)
    with pytest.raises(CaseError, match="2 spatial axes"):
        read_one(tmp_path, "auto", spacing_mm="1,1,1")


def test_grids_that_differ_are_refused_naming_both(tmp_path):
    write_nifti(tmp_path / "images/a.nii.gz", volume(), spacing=(1.0, 1.0, 1.0))
    affine = np.diag([0.98125, 0.96875, 1.0, 1.0])
    affine[:3, 3] = (3, 6, 0)
    write_nifti(tmp_path / "labels/a.nii.gz", label_volume(), affine)
    with pytest.raises(CaseError) as caught:
        read_one(tmp_path)
    for part in ("images/a.nii.gz", "labels/a.nii.gz", "1 × 1 × 1", "0.98125", "(3, 6, 0)"):
        assert part in str(caught.value)


def test_an_array_label_map_beside_a_nifti_image_takes_its_place(tmp_path):
    write_nifti(tmp_path / "images/a.nii.gz", volume(), spacing=(2.0, 2.0, 2.0))
    write_npy(tmp_path / "labels/a.npy", label_volume())
    assert read_one(tmp_path).spacing_mm == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.full((8, 9), 0.5), "72 labels that are not whole numbers"),
        (np.full((8, 9), -1), "72 negative label values"),
        (np.full((8, 9), np.nan), "72 labels that are NaN"),
        (np.zeros((8, 8)), "8 × 9 and .* has 8 × 8"),
    ],
)
def test_label_maps_that_are_none(tmp_path, labels, reason):
    write_pairs(tmp_path, ("a",))
    (tmp_path / "mask/a.png").unlink()
    write_npy(tmp_path / "mask/a.npy", labels)
    with pytest.raises(CaseError, match=reason):
        read_one(tmp_path)


def test_infinite_intensities(tmp_path):
    image = volume((6, 5), dtype=np.float32)
    image[0, 0], image[1, 1] = np.nan, np.inf
    write_npy(tmp_path / "images/a.npy", image)
    write_npy(tmp_path / "labels/a.npy", label_volume((6, 5)))
    with pytest.raises(CaseError, match=r"2 intensities .*\(1 NaN, 1 infinite\) among 30"):
        read_one(tmp_path)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1)])
def test_one_pixel_is_a_valid_image(tmp_path, shape):
    write_npy(tmp_path / "images/a.npy", np.full(shape, 3.0))
    write_npy(tmp_path / "labels/a.npy", np.zeros(shape, dtype=np.uint8))
    assert read_one(tmp_path).image.shape == (1, *shape)


def test_microscopic_voxels_in_headers(tmp_path):
    for folder, values in (("images", volume()), ("labels", label_volume())):
        image = nib.Nifti1Image(values, np.diag([4.0, 4, 4, 1]))
        image.header.set_xyzt_units("micron")
        (tmp_path / folder).mkdir()
        nib.save(image, tmp_path / folder / "a.nii.gz")
    assert read_one(tmp_path).spacing_mm == (0.004, 0.004, 0.004)


def test_tiff_volumes_take_their_spacing_from_the_json_beside(tmp_path):
    content = nnunet_json(channel_names={"0": "EM"}, file_ending=".tif")
    write_json(tmp_path / "dataset.json", content)
    for path, values in (("imagesTr/a_0000.tif", volume()), ("labelsTr/a.tif", label_volume())):
        (tmp_path / path).parent.mkdir()
        tifffile.imwrite(tmp_path / path, values, photometric="minisblack")
    spacing = write_json(tmp_path / "imagesTr/a.json", {"spacing": [7.6, 3, 3]})
    assert "imagesTr/a.json" in list_dataset(tmp_path).refs[0].files
    assert read_one(tmp_path).spacing_mm == (7.6, 3.0, 3.0)
    for bad in ([1, 2], [1, 2, "x"], [0, 1, 1], None):
        write_json(spacing, {"spacing": bad})
        with pytest.raises(CaseError, match="spacing"):
            read_one(tmp_path)


@pytest.mark.parametrize("ending", [".nii.gz", ".mgz"])
def test_shapes_that_differ_are_told_before_a_voxel_is_unpacked(tmp_path, monkeypatch, ending):
    for folder, shape in (("images", (60, 50, 40)), ("labels", (6, 5, 4))):
        path = tmp_path / folder / f"a{ending}"
        path.parent.mkdir()
        kind = nib.MGHImage if ending == ".mgz" else nib.Nifti1Image
        nib.save(kind(np.zeros(shape, np.uint8), np.eye(4)), path)

    def unpack(*_):
        raise AssertionError("voxels were unpacked")

    for module in (nifti, mgh):
        monkeypatch.setattr(module, "read_values", unpack)
    with pytest.raises(CaseError, match=r"60 × 50 × 40 and .*labels.* 6 × 5 × 4; expected"):
        read_one(tmp_path)
