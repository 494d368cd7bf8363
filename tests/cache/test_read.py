"""Reading a cache: a mapping whose arrays are read on access, in any process."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import factories
import h5py
import numpy as np
import pytest

import softlabel
from softlabel.cache import open_cache
from softlabel.cache import read as read_module
from softlabel.cache.schema import part_name
from softlabel.cache.verify import verify
from softlabel.errors import CacheError


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return factories.make_cache(tmp_path_factory.mktemp("read"), ("s10", "s2", "s1"))


@pytest.fixture
def cache(shared, tmp_path):
    return factories.copy_cache(shared, tmp_path / "copy")


def test_it_is_a_mapping_in_natural_order(cache):
    with open_cache(str(cache)) as opened:
        assert list(opened) == ["s1", "s2", "s10"]
        assert len(opened) == 3
        assert "s2" in opened and "s3" not in opened and 5 not in opened
        assert [c.id for c in opened.values()] == list(opened.keys())
        assert opened.get("s3") is None
        with pytest.raises(KeyError, match="no case 's3'"):
            opened["s3"]
        assert "3 cases, 3 classes" in repr(opened)
        assert opened.classes.values == factories.VALUES
        assert opened.ignore is None
        assert opened.channels == ("intensity",)


def test_finding_a_case_does_not_depend_on_their_number(cache):
    with open_cache(cache) as opened:
        assert isinstance(opened._ids, dict)
        opened["s1"]  # not by Mapping.__contains__, which would open the case
        assert not opened._handles._checked


def test_a_case_has_what_was_put_in(tmp_path):
    case = factories.full_case()
    with open_cache(factories.full_cache(tmp_path, [case])) as opened:
        stored = opened[case.id]
        np.testing.assert_array_equal(stored.image, case.image)
        assert stored.image.dtype == np.float32
        np.testing.assert_array_equal(stored.labels, case.labels)
        np.testing.assert_array_equal(stored.truth, case.truth)
        np.testing.assert_array_equal(stored.mask, case.mask)
        np.testing.assert_array_equal(np.asarray(stored.superpixels) < 0, ~case.mask)
        assert set(stored.label_maps) == {"other grader"}
        np.testing.assert_array_equal(
            stored.label_maps["other grader"], case.label_maps["other grader"]
        )
        assert stored.spacing_mm == case.spacing_mm
        np.testing.assert_array_equal(stored.affine, case.affine)
        assert (stored.group, stored.source) == (case.group, case.source)
        assert stored.shape == case.labels.shape and len(stored.soft) == 3
        assert stored.soft.shape == (3, *case.labels.shape) and stored.soft.ndim == 4
        expected = softlabel.soften(
            case.labels, np.asarray(stored.superpixels), classes=case.classes, ignore=999
        )
        np.testing.assert_array_equal(stored.soft, expected.dense())
        assert stored.statistics["softened_pixels"] == expected.band.sum()
        assert stored.statistics["soft_sum"] == pytest.approx(expected.dense().sum(), rel=1e-6)


def test_what_notebooks_show_is_short(cache):
    with open_cache(cache) as opened:
        case = opened["s1"]
        assert repr(case) == f"<case 's1' of the cache file {case.path}>"
        assert repr(case.soft) == "<array soft of 's1': float32 (3, 40, 44), in the file>"


def test_what_is_absent_is_none(cache):
    with open_cache(cache) as opened:
        case = opened["s1"]
        assert case.mask is None and case.truth is None
        assert case.spacing_mm is None and case.affine is None
        assert dict(case.label_maps) == {}


@pytest.mark.parametrize(
    "key", [np.s_[:, 3:9, 5:6], np.s_[1], np.s_[..., -1], np.s_[0, 2, 3], np.s_[[0, 2], 4:5]]
)
def test_patches_are_those_of_the_whole(cache, key):
    with open_cache(cache) as opened:
        soft = opened["s1"].soft
        np.testing.assert_array_equal(soft[key], np.asarray(soft)[key])


def test_reading_into_memory_that_is_there(cache):
    with open_cache(cache) as opened:
        soft = opened["s1"].soft
        out = np.empty((3, 4, 44), np.float32)
        soft.read_into(out, np.s_[:, 2:6])
        np.testing.assert_array_equal(out, soft[:, 2:6])
        assert soft.fillvalue == 0


def test_wrong_keys_are_the_callers_fault(cache):
    with open_cache(cache) as opened:
        with pytest.raises(IndexError):
            opened["s1"].soft[7]
        with pytest.raises((ValueError, TypeError)):
            opened["s1"].soft["x"]


def test_numpy_conversion(cache):
    with open_cache(cache) as opened:
        labels = opened["s1"].labels
        assert np.asarray(labels, np.float64).dtype == np.float64
        assert np.array(labels).flags.writeable
        assert (np.asarray(labels) == 128).any()
        if np.lib.NumpyVersion(np.__version__) >= "2.0.0":  # an older one does not ask
            with pytest.raises(ValueError, match="without a copy"):
                np.array(labels, copy=False)


def read_in_process(cache, queue=None):
    result = {i: np.asarray(c.soft).tobytes() for i, c in cache.items()}
    if queue is None:
        return result
    return queue.put(result)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_other_processes_read_the_same(cache, method):
    with open_cache(cache) as opened:
        expected = read_in_process(opened)  # opened and read before the fork
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        workers = [context.Process(target=read_in_process, args=(opened, queue)) for _ in range(2)]
        for worker in workers:
            worker.start()
        assert read_in_process(opened) == expected  # while the others read
        results = [queue.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        assert all(r == expected for r in results)
        assert read_in_process(opened) == expected


def test_pickles_hold_no_handles(cache):
    opened = open_cache(cache)
    case = opened["s1"]
    expected = np.asarray(case.soft)
    for thing in (opened, case, case.soft):
        again = pickle.loads(pickle.dumps(thing))
        soft = again["s1"].soft if thing is opened else again.soft if thing is case else again
        np.testing.assert_array_equal(soft, expected)
    opened.close()
    np.testing.assert_array_equal(case.soft, expected)  # opens again


def test_open_files_are_few(cache, monkeypatch):
    monkeypatch.setattr(read_module, "OPEN_FILES", 2)
    descriptors = []
    with open_cache(cache) as opened:
        for _ in range(3):
            for case in opened.values():
                case.labels[...]
                links = [p for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
                descriptors.append(sum(cache.parent in p.readlink().parents for p in links))
                assert len(opened._handles._datasets) <= 2, "of closed files nothing is known"
    assert max(descriptors) <= 2


def test_a_file_that_was_closed_behind_our_back_opens_again(cache):
    with open_cache(cache) as opened:
        case = next(iter(opened.values()))
        expected = case.soft[...]
        opened._handles._files[case.path].close()
        np.testing.assert_array_equal(case.soft[...], expected)


def test_threads_read_what_one_thread_reads(cache, monkeypatch):
    monkeypatch.setattr(read_module, "OPEN_FILES", 1)  # each closes what the others have open
    with open_cache(cache) as opened:
        expected = {i: np.asarray(c.soft) for i, c in opened.items()}
        with ThreadPoolExecutor(4) as pool:
            ids = list(opened) * 20
            for case_id, soft in zip(
                ids, pool.map(lambda i: np.asarray(opened[i].soft), ids), strict=True
            ):
                np.testing.assert_array_equal(soft, expected[case_id])


def relink(cache, case_id, filename, path="/case"):
    with h5py.File(cache, "r+") as file:
        del file["cases"][case_id]
        file["cases"][case_id] = h5py.ExternalLink(filename, path)


@pytest.mark.parametrize(
    "folder",
    [
        "..",
        ".",
        "",
        "../c.parts",
        "/etc",
        "other",
        "c.parts/..",
        "..\\x.parts",
        "D:x.parts",
        ".parts",
    ],
)
def test_links_out_of_the_folder_are_refused(cache, folder):
    name = part_name("s1")
    relink(cache, "s1", f"{folder}/{name}" if folder else name)
    with open_cache(cache) as opened:
        with pytest.raises(CacheError, match=r"'s1' .* points to .* expected 'c\.parts/.*index"):
            opened["s1"]
        assert opened["s2"].labels.shape == (40, 44)


def test_links_to_other_files_or_nodes_are_refused(cache):
    relink(cache, "s1", f"c.parts/{part_name('s2')}")
    relink(cache, "s2", f"c.parts/{part_name('s2')}", "/classes")
    with open_cache(cache) as opened:
        for case_id in ("s1", "s2"):
            with pytest.raises(CacheError, match="points to"):
                opened[case_id]


def test_a_renamed_index_finds_its_folder(cache):
    renamed = cache.with_name("renamed.h5")
    cache.rename(renamed)
    with open_cache(renamed) as opened:
        assert opened["s1"].labels.shape == (40, 44)


def test_a_missing_part_is_a_sentence(cache):
    factories.part(cache, "s1").unlink()
    with open_cache(cache) as opened, pytest.raises(CacheError, match="There is no cache file"):
        opened["s1"].labels[...]


def test_a_part_of_another_case_is_refused(cache):
    shutil.copy(factories.part(cache, "s2"), factories.part(cache, "s1"))
    with open_cache(cache) as opened, pytest.raises(CacheError, match="holds the case 's2'"):
        opened["s1"].labels[...]


def test_a_part_of_other_settings_is_refused(cache, tmp_path):
    other = factories.make_cache(
        tmp_path / "other", ("s10", "s2", "s1"), softlabel.Settings(n_segments=9)
    )
    shutil.copy(factories.part(other, "s1"), factories.part(cache, "s1"))
    with open_cache(cache) as opened, pytest.raises(CacheError, match="other settings"):
        opened["s1"].soft[...]


def drop_chunk(path, name):
    """Write a dataset anew without its last chunk, as a lost one would look."""
    with h5py.File(path, "r+") as file:
        old = file[name]
        attributes = {n: (old.attrs[n], old.attrs.get_id(n).dtype) for n in old.attrs}
        chunks = [old.id.get_chunk_info(i).chunk_offset for i in range(old.id.get_num_chunks())]
        data = {offset: old.id.read_direct_chunk(offset) for offset in chunks[:-1]}
        shape, dtype, plist = old.shape, old.id.get_type(), old.id.get_create_plist()
        del file[name]
        new = h5py.h5d.create(file.id, name.encode(), dtype, h5py.h5s.create_simple(shape), plist)
        for offset, (mask, content) in data.items():
            new.write_direct_chunk(offset, content, mask)
        for attribute, (value, kind) in attributes.items():
            h5py.Dataset(new).attrs.create(attribute, value, dtype=kind)


def test_a_missing_chunk_is_not_taken_for_zeros(cache):
    drop_chunk(factories.part(cache, "s1"), "case/soft")
    with (
        open_cache(cache) as opened,
        pytest.raises(CacheError, match="soft has 0 chunks, expected 1"),
    ):
        opened["s1"].soft[...]


def test_a_damaged_index_says_how_to_rebuild_it(cache):
    with h5py.File(cache, "r+") as file:
        del file["classes/names"]
    with pytest.raises(CacheError, match=f"softlabel index {cache}") as kept:
        open_cache(cache)
    with h5py.File(cache, "r+") as file:  # it is closed, though the error is kept
        file["classes/names"] = np.array([b"twice", b"twice", b"x"])
    with pytest.raises(CacheError, match="softlabel index"):
        open_cache(cache)
    assert kept.value.__traceback__ is not None


def test_an_index_without_cases_reads(tmp_path):
    cache = factories.full_cache(tmp_path, [])
    with open_cache(cache) as opened:
        assert len(opened) == 0 and opened.statistics == {}


def test_a_fresh_cache_can_be_read_while_it_is_made_anew(cache, shared):
    with open_cache(cache) as opened:
        expected = np.asarray(opened["s1"].soft)
        path = factories.part(cache, "s1")
        shutil.copy(path, path.with_name(".softlabel-tmp-x"))
        path.with_name(".softlabel-tmp-x").replace(path)
        np.testing.assert_array_equal(opened["s1"].soft, expected)


# --- files that may be anybody's ------------------------------------------------------------------


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
    with open_cache(cache) as opened:
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
    with open_cache(cache) as opened:
        assert opened["s1"].labels[...].shape == (40, 44)


def test_a_spacing_that_is_not_positive(cache):
    with h5py.File(factories.part(cache, "s1"), "r+") as file:
        file["case"].attrs["spacing_mm"] = np.array([1.0, 0.0])
    with open_cache(cache) as opened, pytest.raises(CacheError, match="spacing_mm is not positive"):
        opened["s1"].labels[...]
