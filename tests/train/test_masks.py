"""Masks of raw scans: found by name, on the grid of their scan."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from softlabel_train.masks import mask_files, match_masks, read_mask

from softlabel.errors import CaseError, UsageError
from softlabel.readers.imagefiles import read_pixels


def write(path: Path, values, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


@pytest.mark.parametrize(
    ("given", "files"),
    [
        ("m", ("m/a.nii.gz", "m/b.nii.gz")),
        ("m", ("m/a_mask.nii.gz", "m/b_mask.nii.gz")),
        ("m", ("m/x/a.nii.gz", "m/y/b.nii.gz")),
        ("m/*/brain.nii.gz", ("m/a/brain.nii.gz", "m/b/brain.nii.gz")),
        ("m[1]", ("m[1]/a.nii.gz", "m[1]/b.nii.gz")),
    ],
)
def test_masks_are_found_by_name(tmp_path, monkeypatch, given, files):
    for file in files:
        write(tmp_path / file, np.ones((2, 2, 2), np.uint8))
    monkeypatch.chdir(tmp_path)
    for pattern in (given, str(tmp_path / given)):
        found = match_masks(mask_files(pattern), ["a", "b", "c"])
        assert {scan: path.resolve() for scan, path in found.items()} == {
            "a": tmp_path / files[0], "b": tmp_path / files[1]
        }  # fmt: skip


def test_one_mask_for_one_scan_may_have_any_name(tmp_path):
    mask = write(tmp_path / "brain.nii.gz", np.ones((2, 2, 2), np.uint8))
    assert match_masks(mask_files(mask), ["scan"]) == {"scan": mask}
    with pytest.raises(UsageError, match=r"has the name of a scan \(found, .* for scan\)"):
        match_masks(mask_files(mask), ["scan", "other"])
    with pytest.raises(UsageError, match="holds no image file"):
        mask_files(tmp_path / "none")


def test_two_masks_of_one_scan_are_none(tmp_path):
    for name in ("x/a.nii.gz", "y/a.nii.gz", "y/b.nii.gz"):
        write(tmp_path / name, np.ones((2, 2, 2), np.uint8))
    assert list(match_masks(mask_files(tmp_path), ["a", "b"])) == ["b"]


def test_a_mask_must_lie_on_the_grid_of_its_scan(tmp_path):
    scan = write(tmp_path / "a.nii.gz", np.zeros((4, 3, 2), np.int16))
    values = np.zeros((4, 3, 2), np.uint8)
    values[1:3] = 255
    masks = {"a": write(tmp_path / "m/a.nii.gz", values)}
    np.testing.assert_array_equal(read_mask(masks, "a", read_pixels(scan), scan), values > 0)
    moved = write(tmp_path / "m/b.nii.gz", values, np.diag([2.0, 1, 1, 1]))
    with pytest.raises(CaseError, match="lie on different grids"):
        read_mask({"a": moved}, "a", read_pixels(scan), scan)
    small = write(tmp_path / "m/c.nii.gz", values[:2])
    with pytest.raises(CaseError, match="expected the same shape"):
        read_mask({"a": small}, "a", read_pixels(scan), scan)
    with pytest.raises(CaseError, match=r"a\.nii\.gz has no mask, or several, that its name"):
        read_mask({}, "a", read_pixels(scan), scan)
