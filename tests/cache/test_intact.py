"""What is decoded is what was written, or an error: damage that HDF5's own checksums miss."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import intact as intact_module
from softlabel.cache import open_cache, read_index, rebuild_index
from softlabel.cache.digest import case_digest
from softlabel.cache.files import put_text, seal
from softlabel.cache.intact import outside_of_0_to_1
from softlabel.errors import CacheError


@pytest.fixture
def blind(tmp_path):
    """A cache in whose stored chunk of the image 0x0000 can be exchanged for 0xFFFF.

    Noise that no filter makes smaller lies in the file as it is.
    """
    case = factories.full_case()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 128, 64), np.uint8)
    noise[0, 5, :4] = 0
    labels = np.where(np.arange(64) < 30, 0, 7) + np.zeros((128, 1), int)
    plain = replace(
        factories.small_case(), id=case.id, image=noise, labels=labels,
        classes=factories.FULL_CLASSES, ignore=999, channels=("T1",),
    )  # fmt: skip
    return factories.full_cache(tmp_path, [plain]), case.id, noise


def exchange(path, name):
    """Exchange the first aligned word 0x0000 of the chunk for 0xFFFF, which Fletcher-32 misses."""
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file[f"case/{name}"].id.get_chunk_info(0)
    words = range(chunk.byte_offset, chunk.byte_offset + chunk.size - 4, 2)
    where = next(i for i in words if data[i : i + 2] == b"\0\0" and data[i - 1] and i > words[20])
    data[where : where + 2] = b"\xff\xff"
    path.write_bytes(data)


def test_an_exchange_that_the_checksum_of_a_chunk_misses_is_found(blind):
    cache, case_id, noise = blind
    path = factories.part(cache, case_id)
    exchange(path, "image")
    with open_cache(cache, verify=False) as opened:
        silent = np.asarray(opened[case_id].image)
    assert (silent != noise).sum() in (1, 2), "HDF5 reads another image"
    with open_cache(cache) as opened:
        for _ in range(2):  # a failure is not remembered as sound
            with pytest.raises(CacheError, match="image has other bytes than were wri") as told:
                opened[case_id].image[:, 100:]  # any part of it
        assert str(path) in str(told.value) and "run `softlabel generate` again" in str(told.value)
        assert opened[case_id].labels[...].any(), "what is sound can be read"


def test_the_choice_travels_to_other_processes(blind):
    cache, case_id, _ = blind
    exchange(factories.part(cache, case_id), "image")
    assert pickle.loads(pickle.dumps(open_cache(cache, verify=False)))[case_id].image[...].any()
    with pytest.raises(CacheError):
        pickle.loads(pickle.dumps(open_cache(cache)))[case_id].image[...]


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e-6, 1.5])
def test_soft_labels_that_are_none_are_refused_though_they_are_what_was_written(tmp_path, value):
    cache = factories.make_cache(tmp_path, ("a",))
    with h5py.File(factories.part(cache, "a"), "r+") as file:
        soft = file["case/soft"]
        soft[1, 3, 5] = value
        seal(soft)
        put_text(file["case"], "digest", case_digest(file["case"]))
    rebuild_index(cache, read_index(cache))
    with open_cache(cache) as opened:
        soft, out = opened["a"].soft, np.empty((3, 40, 44), np.float32)
        assert soft[0].shape == (40, 44), "what is read of it is sound"
        for read in (lambda: soft[1], lambda: soft[1, 3, 5], lambda: soft.read_into(out, ...)):
            with pytest.raises(CacheError, match="holds 1 soft labels that are not"):
                read()
    with open_cache(cache, verify=False) as opened:
        np.testing.assert_equal(opened["a"].soft[1, 3, 5], np.float32(value))


def test_attributes_and_digests_of_the_case_are_bound_to_its_index(tmp_path):
    cache = factories.full_cache(tmp_path)
    case_id = factories.full_case().id
    with h5py.File(factories.part(cache, case_id), "r+") as file:
        labels = file["case/labels"]
        labels[9, 9] = 0
        seal(labels)  # its own SHA-256 is right again
    with open_cache(cache) as opened, pytest.raises(CacheError, match="has another digest than"):
        opened[case_id].image[...]


@pytest.fixture
def hashed(monkeypatch):
    """Names of the datasets that are hashed."""
    found = []
    real = intact_module.stored_problem

    def stored_problem(dataset):
        found.append(dataset.name)
        return real(dataset)

    monkeypatch.setattr(intact_module, "stored_problem", stored_problem)
    return found


def test_patches_are_hashed_once_a_process_though_files_are_closed(tmp_path, hashed, monkeypatch):
    cache = factories.make_cache(tmp_path)
    monkeypatch.setattr("softlabel.cache.read.OPEN_FILES", 1)
    with open_cache(cache) as opened:
        for _ in range(3):
            for case in opened.values():
                _ = case.soft[:, 3:9], case.soft[:, 20:], case.soft.shape, case.image.dtype
    assert hashed == ["/case/soft"] * 3


def test_a_file_that_has_changed_is_hashed_again(tmp_path, hashed):
    cache = factories.make_cache(tmp_path)
    path = factories.part(cache, "a")
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        data[file["case/soft"].id.get_chunk_info(0).byte_offset + 40] ^= 0xFF
    with open_cache(cache) as opened:
        opened["a"].soft[...]
        with path.open("rb+") as file:  # in the file that is open
            file.write(data)
        os.utime(path, ns=(1, 1))
        with pytest.raises(CacheError, match="soft"):
            opened["a"].soft[...]
        assert len(hashed) == 2


def test_values_that_are_no_soft_labels_are_counted():
    values = np.array([0, -0.0, 1e-45, 0.5, 1], np.float32)
    edges = np.array([np.nextafter(np.float32(1), np.float32(2)), -1e-45, np.nan, -np.inf, 2])
    for dtype in (np.float32, np.float64):
        assert outside_of_0_to_1(values.astype(dtype)) == 0
        assert outside_of_0_to_1(edges.astype(np.float32).astype(dtype)) == 5
        assert outside_of_0_to_1(np.concatenate([values, edges]).astype(dtype)[::2]) == 2
    assert outside_of_0_to_1(values[:0]) == 0 and outside_of_0_to_1(np.float32(2)[...]) == 1
