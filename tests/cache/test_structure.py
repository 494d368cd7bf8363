"""Files that may be anybody's: nothing is read that is not as docs/format.md says."""

from __future__ import annotations

import factories
import h5py
import hdf5plugin
import numpy as np
import pytest

from softlabel.cache import open_cache, structure
from softlabel.cache.files import put_text, seal, stored_digest
from softlabel.cache.structure import UncheckedChunks
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


def bomb(size):
    """A frame of zstd that says, and holds, so many zeros: 128 KiB in four bytes each."""
    head = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little")
    blocks = [min(1 << 17, size - start) for start in range(0, size, 1 << 17)]
    last = len(blocks) - 1
    return head + b"".join(
        (length << 3 | 1 << 1 | (n == last)).to_bytes(3, "little") + b"\0"
        for n, length in enumerate(blocks)
    )


def fletcher32(content):
    """The checksum that HDF5 puts behind a chunk (H5_checksum_fletcher32)."""
    words = np.frombuffer(content + b"\0" * (len(content) % 2), ">u2").astype(object)
    low = high = 0
    for word in words:
        low += word
        high += low
    low, high = (0xFFFF if n and n % 0xFFFF == 0 else n % 0xFFFF for n in (low, high))
    return (high << 16 | low).to_bytes(4, "little")


def with_chunk(path, name, content):
    """Exchange the first chunk of a dataset, its checksum with it."""
    with h5py.File(path, "r+") as file:
        dataset = file[name]
        offset = dataset.id.get_chunk_info(0).chunk_offset
        dataset.id.write_direct_chunk(offset, content + fletcher32(content))


def test_a_chunk_that_holds_more_than_its_share_is_not_unpacked(cache):
    """HDF5 would unpack it, and answer with what it keeps of it."""
    part = factories.part(cache, "s1")
    with_chunk(part, "case/labels", bomb(40 * 44))
    with h5py.File(part) as file:
        assert not file["case/labels"][...].any()  # the frame is one that the library takes
    with_chunk(part, "case/labels", bomb(1 << 26))
    with open_cache(cache, verify=False) as opened:  # digests are as whoever wrote it likes
        with pytest.raises(CacheError, match=r"labels.*would unpack to 67108864 bytes, expected"):
            opened["s1"].labels[...]
        with pytest.raises(CacheError, match="would unpack"):
            opened["s1"].labels[3:5, 1]
        assert opened["s2"].labels[...].shape == (40, 44)
    assert {f.case for f in verify(cache)} == {"s1"}


def test_only_chunks_that_are_read_are_looked_at(tmp_path):
    """A patch of a volume costs what it touches."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", (40, 40), "u1", chunks=(10, 10), compression="gzip")
        dataset[:10, :10] = 1
        dataset[30:, 30:] = 1
        dataset.id.write_direct_chunk((30, 30), b"x" * 50, 0b1)
        chunks = UncheckedChunks(dataset)
        for key in ("name", slice("a", "b"), None, 1.5):
            assert structure._touched(dataset, key) is None  # HDF5 says what is wrong with it
        for key in ((slice(0, 30), slice(0, 30)), (5, 5), slice(0, 20), (slice(25, 28), ...), ()):
            if key not in ((slice(25, 28), ...), ()):
                chunks.require(dataset, key)
            else:
                with pytest.raises(ValueError, match=r"a chunk at \(30, 30\) would unpack to 50"):
                    UncheckedChunks(dataset).require(dataset, key)


def test_a_table_that_promises_what_no_memory_holds(cache, tmp_path):
    """All of its chunks are there, and each is a few bytes."""
    with h5py.File(cache, "r+") as file:
        del file["channels"]
        dataset = file.create_dataset(
            "channels", (1 << 27,), "S64", chunks=(1 << 20,), **dict(hdf5plugin.Zstd())
        )
        for start in range(0, 1 << 27, 1 << 20):
            dataset.id.write_direct_chunk((start,), bomb(1 << 26))
        seal(dataset)
    factories.reseal_index(cache)
    with pytest.raises(CacheError, match=r"channels has 8589934592 bytes, expected at most"):
        open_cache(cache)


def test_a_map_without_chunks_promises_nothing(cache):
    part = factories.part(cache, "s1")
    with h5py.File(part, "r+") as file:
        for name in ("image", "labels", "superpixels", "soft"):
            old = file["case"][name]
            leading = old.shape[: old.ndim - 2]
            shape, chunks, dtype = (*leading, 1 << 25, 1 << 25), old.chunks, old.dtype
            del file["case"][name]
            new = file["case"].create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True)
            new.attrs["chunks_allocated"] = 0
            put_text(new, "sha256", stored_digest(new)[1])
    with open_cache(cache) as opened, pytest.raises(CacheError, match="has 0 chunks, expected"):
        opened["s1"].labels[...]
    assert {f.case for f in verify(cache)} == {"s1"}


@pytest.mark.parametrize("filters", [{"compression": "lzf"}, dict(hdf5plugin.Blosc2())])
def test_other_filters_are_not_run(cache, filters):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        values = file["case/labels"][...]
        del file["case/labels"]
        file.create_dataset("case/labels", data=values, chunks=values.shape, **filters)
    with open_cache(cache) as opened, pytest.raises(CacheError, match="has the HDF5 filters"):
        opened["s1"].labels[...]
