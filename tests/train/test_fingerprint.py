"""Facts of data sets, and the sizes that follow."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from softlabel_train.dynunet import network_shape
from softlabel_train.fingerprint import PATCH_VOXELS, fingerprint, patch_for

from softlabel.errors import UsageError
from softlabel.generation import Settings, check_dataset
from softlabel.readers import list_dataset

SHAPES = {"a": (20, 16, 10), "b": (24, 20, 12), "c": (40, 36, 6)}
SPACINGS = {"a": (1.0, 1.0, 2.0), "b": (1.0, 1.0, 2.0), "c": (0.5, 0.5, 4.0)}


def volumes(folder, shapes, spacings):
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for name, shape in shapes.items():
        affine = np.diag([*spacings[name], 1.0])
        image = nib.Nifti1Image(rng.normal(size=shape).astype(np.float32), affine)
        labels = np.zeros(shape, np.uint8)
        labels[: shape[0] // 2] = 1
        nib.save(image, folder / "images" / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(labels, affine), folder / "labels" / f"{name}.nii.gz")
    dataset = list_dataset(folder, "pairs", {"images": "images", "labels": "labels"})
    return fingerprint(check_dataset(dataset, Settings(), remember=False))


def test_images_of_several_spacings_are_counted_on_the_median_one(tmp_path):
    found = volumes(tmp_path / "data", SHAPES, SPACINGS)
    assert (found.cases, found.patients, found.dims) == (3, 3, 3)
    assert [value for value, _ in found.classes] == [0, 1]
    assert found.spacing_mm == (1.0, 1.0, 2.0) and found.spacings_differ
    # c is 20 × 18 × 12 voxels of 1 × 1 × 2 mm
    assert found.shape == (20, 18, 12)


def test_images_of_one_spacing_need_no_resampling(tmp_path):
    same = dict.fromkeys(SHAPES, (1.0, 1.0, 2.0))
    found = volumes(tmp_path / "data", SHAPES, same)
    assert not found.spacings_differ and found.shape == (24, 20, 10)


def test_volumes_and_images_together_are_refused(tmp_path):
    found = list_dataset_of_both(tmp_path)
    with pytest.raises(UsageError, match="2 and 3 spatial axes"):
        fingerprint(found)


def list_dataset_of_both(folder):
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
        np.save(folder / kind / "a.npy", np.arange(64, dtype=np.uint8).reshape(8, 8) % 2)
        image = np.arange(512, dtype=np.uint8).reshape(8, 8, 8) % 2
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / kind / "b.nii")
    dataset = list_dataset(folder, "pairs", {"images": "images", "labels": "labels"})
    return check_dataset(dataset, Settings(), remember=False)


@given(
    shape=st.lists(st.integers(24, 600), min_size=3, max_size=3),
    spacing=st.lists(st.floats(0.4, 5), min_size=3, max_size=3),
    memory_gb=st.sampled_from([4.0, 8.0, 40.0]),
)
def test_patches_fit_the_memory_and_the_network(shape, spacing, memory_gb):
    patch = patch_for(shape, spacing, memory_gb)
    strides = network_shape(patch, spacing).strides
    divisors = [math.prod(axis) for axis in zip(*strides, strict=True)]
    assert all(n % by == 0 for n, by in zip(patch, divisors, strict=True))
    # an axis that is whole may be rounded up
    assert math.prod(patch) <= PATCH_VOXELS * memory_gb / 8 * 1.6
    assert all(n < whole + by for n, whole, by in zip(patch, shape, divisors, strict=True))


def test_images_too_small_for_any_network_are_refused():
    with pytest.raises(UsageError, match="no DynUNet for these images"):
        patch_for((8, 8, 4), None)
