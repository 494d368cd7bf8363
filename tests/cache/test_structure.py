"""Files that may be anybody's: nothing is read that is not as docs/format.md says."""

from __future__ import annotations

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.errors import CacheError


def foreign_file(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"not for everybody" * 400)
    return secret


def link_outside(file, name, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as target:
        target.create_dataset(
            "x", file[name].shape, "u1", external=[(str(foreign_file(tmp_path)), 0, 1760)]
        )
    del file[name]
    file[name] = h5py.ExternalLink(str(other), "/x")


def link_softly(file, name, _):
    del file[name]
    file[name] = h5py.SoftLink("/classes/values")


def store_outside(file, name, tmp_path):
    shape = file[name].shape
    del file[name]
    file["case"].create_dataset(
        name.removeprefix("case/"), shape, "u1", external=[(str(foreign_file(tmp_path)), 0, 1760)]
    )


def store_virtually(file, name, tmp_path):
    shape = file[name].shape
    with h5py.File(tmp_path / "other.h5", "w") as target:
        target["x"] = np.zeros(shape, np.uint8)
    layout = h5py.VirtualLayout(shape, np.uint8)
    layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def store_in_one_piece(file, name, _):
    shape = file[name].shape
    del file[name]
    file[name] = np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    "change", [link_outside, link_softly, store_outside, store_virtually, store_in_one_piece]
)
def test_nothing_is_read_that_lies_outside_of_the_file(cache, tmp_path, change):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        change(file, "case/labels", tmp_path)
    with open_cache(cache) as opened:
        with pytest.raises(CacheError, match=r"leads elsewhere|another file|in chunks"):
            opened["s1"].labels[...]
        assert opened["s2"].labels[...].shape == (40, 44)
    findings = verify(cache)
    assert {f.case for f in findings} == {"s1"}


def test_groups_that_hold_each_other_are_walked_once(cache):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        file["case/label_maps/inner/back"] = file["case"]
        file["case/again"] = file["case/label_maps"]
    with open_cache(cache, verify=False) as opened:
        assert opened["s1"].labels[...].shape == (40, 44)
        assert "labels" in opened["s1"].datasets


def test_a_link_in_the_index_is_refused(cache, tmp_path):
    with h5py.File(cache, "r+") as file:
        link_outside(file, "classes/values", tmp_path)
    with pytest.raises(CacheError, match="the link classes/values leads elsewhere"):
        open_cache(cache)


def test_a_size_that_no_file_holds_takes_no_memory(cache):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        kept = dict(file["case/soft"].attrs)
        del file["case/soft"]
        soft = file["case"].create_dataset(
            "soft", (3, 2**20, 2**20), "f4", chunks=(3, 64, 64), fletcher32=True
        )
        for name, value in kept.items():
            soft.attrs[name] = value
        soft.attrs["chunks_allocated"] = np.int64(0)
    with open_cache(cache) as opened, pytest.raises(CacheError, match=r"soft has shape \(3, 104"):
        opened["s1"].soft[...]


def test_chunks_that_take_too_much_memory_are_refused(cache):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        del file["case/image"]
        file["case"].create_dataset("image", (1, 40, 44), "f4", chunks=(1, 2**13, 2**13),
                                    maxshape=(None, None, None))  # fmt: skip
    with open_cache(cache) as opened, pytest.raises(CacheError, match="image has chunks of 268"):
        opened["s1"].image[...]


ATTRIBUTES = {
    "softened_pixels": ("missing", "softened_pixels is missing"),
    "soft_sum": (np.nan, "soft_sum is not finite"),
    "spacing_mm": (np.ones(3), r"spacing_mm has type float64 and shape \(3,\), expected"),
    "affine": (np.eye(2), r"affine has type float64 and shape \(2, 2\)"),
    "class_pixels": (np.ones(2, np.uint64), r"class_pixels .* and \(3,\)"),
    "n_superpixels": ("many", "n_superpixels has type"),
    "intensity_min": (np.zeros(2), r"intensity_min has type float64 and shape \(2,\)"),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_are_missing_or_wrong_are_a_sentence(cache, name):
    value, words = ATTRIBUTES[name]
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        if value is not None:
            file["case"].attrs[name] = value
        if isinstance(value, str) and value == "missing":
            del file["case"].attrs[name]
    with open_cache(cache) as opened, pytest.raises(CacheError, match=words):
        opened["s1"].labels[...]
    assert any(f.case == "s1" and name in f.where + f.problem for f in verify(cache))


def test_squares_of_large_intensities_may_be_infinite(cache):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        file["case"].attrs["intensity_sum_squares"] = np.array([np.inf])
    with open_cache(cache, verify=False) as opened:
        assert opened["s1"].labels[...].shape == (40, 44)


def test_a_spacing_that_is_not_positive(cache):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        file["case"].attrs["spacing_mm"] = np.array([1.0, 0.0])
    with open_cache(cache) as opened, pytest.raises(CacheError, match="spacing_mm is not positive"):
        opened["s1"].labels[...]
