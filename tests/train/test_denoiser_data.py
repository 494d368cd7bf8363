"""B-scans to train a denoiser on, patches of them, and blind spots."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from softlabel_train import denoiser_data
from softlabel_train.denoiser_data import (
    cut_patch,
    file_data,
    file_scans,
    hide_spots,
    image_files,
    phantom_data,
    training_scan,
)

from softlabel.errors import CaseError, UsageError
from softlabel.phantom import make_oct_subject
from softlabel.preprocess import noise_sigma

RNG = np.random.default_rng


@pytest.fixture
def small_phantoms(monkeypatch):
    monkeypatch.setattr(denoiser_data, "PHANTOM_SHAPE", (224, 144, 2))


def test_phantoms_come_with_their_clean_images(small_phantoms):
    data = phantom_data(2, 5, "range")
    assert len(data.scans) == 4 and len(data.validation) == 2
    assert data.trained_on == "2 OCT phantoms of 2 B-scans, seed 5"
    subject = make_oct_subject(5, 3, (224, 144, 2))
    for b, scan in enumerate(data.validation):
        np.testing.assert_array_equal(scan.known, subject.clean[..., b] < 255)
        np.testing.assert_array_equal(scan.image[scan.known], subject.images[..., b][scan.known])
        np.testing.assert_array_equal(scan.target[scan.known], subject.clean[..., b][scan.known])
        assert (scan.low, scan.unit) == (scan.image.min(), float(scan.image.max()) - scan.low)
        assert scan.clean


def test_phantoms_to_train_on_vary_in_noise_and_pixels(small_phantoms):
    data = phantom_data(4, 5, "range")
    assert len({scan.image.shape for scan in data.scans}) > 3
    noise = [
        float((scan.image.astype(float) - scan.target)[scan.known].std()) for scan in data.scans
    ]
    assert max(noise) > 1.8 * min(noise)
    assert all(scan.target[scan.known].max() < 255 for scan in data.scans)
    with pytest.raises(UsageError, match="--phantoms is 0; give 1 or more"):
        phantom_data(0, 5, "range")


def test_units():
    image = RNG(0).normal(100, 8, (60, 60))
    known = np.ones(image.shape, bool)
    assert training_scan(image, None, known, "noise").unit == noise_sigma(image)
    assert training_scan(image, None, known, "range").unit == image.max() - image.min()
    scan = training_scan(image, None, known, "range")
    assert scan.scaled(image).dtype == np.float32
    assert (scan.scaled(image).min(), scan.scaled(image).max()) == pytest.approx((0, 1))
    assert training_scan(np.ones((9, 9)), None, np.ones((9, 9), bool), "range") is None


def volume(tmp_path, distance_mm, axis=2):
    values = RNG(0).integers(0, 250, (40, 50, 3)).astype(np.uint8)
    affine = np.diag([0.004, 0.012, distance_mm, 1.0])
    path = tmp_path / "v.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path, values


@pytest.mark.parametrize(("distance_mm", "near"), [(0.019, True), (0.021, False), (0.123, False)])
def test_neighbouring_bscans_are_targets_only_where_they_lie_close(tmp_path, distance_mm, near):
    path, values = volume(tmp_path, distance_mm)
    scans = file_scans(path, "range", distance_mm=0.001)  # what the file says goes first
    assert [scan.target is not None for scan in scans] == [near] * 3
    for b, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.image, values[..., b])
        assert not scan.clean
        if near:
            np.testing.assert_array_equal(scan.target, values[..., [1, 2, 1][b]])


def test_the_distance_of_a_volume_that_states_none(tmp_path):
    np.save(tmp_path / "v.npy", RNG(0).integers(0, 250, (40, 50, 3)).astype(np.uint8))
    for distance_mm, near in ((None, False), (0.02, True), (0.05, False)):
        scans = file_scans(tmp_path / "v.npy", "range", distance_mm)
        assert [scan.target is not None for scan in scans] == [near] * 3


@pytest.mark.parametrize("close", [True, False])
def test_pages_of_a_tiff_are_bscans(tmp_path, close):
    values = RNG(0).integers(0, 250, (3, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "v.tif", values, metadata={"axes": "ZYX"}, imagej=True)
    scans = file_scans(tmp_path / "v.tif", "range", 0.01 if close else 0.1)
    for b, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.image, values[b])
        if close:
            np.testing.assert_array_equal(scan.target, values[[1, 2, 1][b]])
        else:
            assert scan.target is None
    assert len(scans) == 3


def test_wedges_are_filled_and_do_not_count(tmp_path):
    image = RNG(0).integers(0, 200, (60, 50)).astype(np.uint8)
    image[:10] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    (scan,) = file_scans(tmp_path / "a.png", "range")
    np.testing.assert_array_equal(scan.known, np.arange(60)[:, None] >= np.full(50, 10))
    assert scan.image[:10].max() < 200
    np.testing.assert_array_equal(scan.image[10:], image[10:])


def test_files_that_are_no_bscans(tmp_path):
    Image.fromarray(RNG(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(CaseError, match=r"a\.png has 3 channels and 2 spatial axes; expected B-sc"):
        file_scans(tmp_path / "a.png", "range")
    path = tmp_path / "mri.nii.gz"
    nibabel.save(nibabel.Nifti1Image(RNG(0).random((9, 9, 9), np.float32), np.eye(4)), path)
    with pytest.raises(CaseError, match=r"mri\.nii\.gz: the pixels lie 1 mm apart"):
        file_scans(path, "range")
    with pytest.raises(UsageError, match=r"The input .*none does not exist"):
        image_files([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="There is no image in"):
        image_files([tmp_path / "empty"])


def test_a_tenth_of_the_bscans_is_held_out(tmp_path):
    for number in range(12):
        image = RNG(number).integers(0, 250, (40, 50)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    data = file_data([tmp_path], 3, "range")
    assert (len(data.scans), len(data.validation)) == (11, 1)
    assert data.trained_on == "12 B-scans of files, 0 by their neighbours, seed 3"
    everything = {scan.image.tobytes() for scan in (*data.scans, *data.validation)}
    assert len(everything) == 12
    first, *_ = image_files([tmp_path])
    assert first.name == "0.png" and image_files([tmp_path])[-1].name == "11.png"


def test_patches_keep_image_and_target_together():
    image = np.arange(60 * 70, dtype=np.float32).reshape(60, 70)
    known = np.ones(image.shape, bool)
    known[:, :20] = False
    scan = training_scan(image + RNG(0).normal(0, 1, image.shape), image, known, "range", True)
    rng, mirrored = RNG(0), 0
    for _ in range(20):
        patch = cut_patch(scan, 16, 5, rng)
        assert patch.image.shape == patch.target.shape == patch.weight.shape == (16, 16)
        steps = np.diff(patch.target, axis=1) * scan.unit
        assert np.allclose(np.abs(steps), 1, atol=1e-2)
        mirrored += steps[0, 0] < 0
        assert patch.weight.mean() > 0.5
    assert 0 < mirrored < 20


@pytest.mark.parametrize("mask_px", [1, 3, 7])
def test_nothing_of_the_square_around_a_spot_is_seen(mask_px):
    image = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    seen = []
    for seed in range(30):
        hidden, spots = hide_spots(image, mask_px, RNG(seed))
        assert set(np.unique(spots)) == {0, 1} and np.isin(hidden, image).all()
        reach = mask_px // 2
        for row, column in zip(*np.nonzero(spots), strict=True):
            square = np.s_[
                max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1
            ]
            seen.append((hidden[square] == image[square]).mean())
        near = ndimage.maximum_filter(spots, mask_px, mode="constant") == 1
        np.testing.assert_array_equal(hidden[~near], image[~near])
    assert np.mean(seen) < 0.01  # by chance one of 4096 pixels is itself


def test_a_scan_without_a_target_is_its_own_at_blind_spots():
    image = RNG(0).random((64, 64)).astype(np.float32)
    scan = training_scan(image, None, np.ones(image.shape, bool), "range")
    patch = cut_patch(scan, 64, 3, RNG(2))
    spots = patch.weight == 1
    assert 0 < spots.sum() <= 64 and (patch.image != patch.target)[spots].mean() > 0.95
    original = scan.scaled(image)
    assert any(np.array_equal(patch.target, o) for o in (original, original[:, ::-1]))
