"""Reading a cache: a mapping whose arrays are read on access, in any process."""

from __future__ import annotations

import gc
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
from softlabel.cache import open_cache, pack_cache, parts_folder, rebuild_index, recover
from softlabel.cache import read as read_module
from softlabel.cache.digest import case_digest
from softlabel.cache.files import put_text, seal
from softlabel.cache.schema import part_name
from softlabel.errors import CacheError


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


class Word(str):
    """Text that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        Word.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_finding_a_case_does_not_depend_on_their_number(tmp_path):
    cache = factories.make_cache(tmp_path, [f"s{i}" for i in range(30)], shape=(6, 7))
    with open_cache(cache) as opened:
        assert opened[Word("s20")].id == "s20" and Word("none") not in opened
        assert Word.compared < 10
        assert not open_parts(cache), "a case is opened when its arrays are asked for"


def open_parts(cache):
    """How many files of parts this process has open, as the system sees it."""
    links = [p for p in Path("/proc/self/fd").iterdir() if p.is_symlink()]
    return sum(parts_folder(cache) in p.readlink().parents for p in links)


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


@pytest.mark.parametrize("method", [pytest.param("spawn", marks=pytest.mark.slow), "fork"])
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


def closed_datasets():
    """Datasets of closed files that somebody still holds."""
    gc.collect()
    return sum(type(thing) is h5py.Dataset and not thing for thing in gc.get_objects())


def test_open_files_are_few(cache, monkeypatch):
    monkeypatch.setattr(read_module, "OPEN_FILES", 2)
    before, most = closed_datasets(), 0
    with open_cache(cache) as opened:
        for _ in range(3):
            for case in opened.values():
                case.labels[...]
                most = max(most, open_parts(cache))
        assert closed_datasets() == before, "of closed files nothing is known"
    assert 1 <= most <= 2


def test_a_file_that_was_closed_behind_our_back_opens_again(cache):
    with open_cache(cache) as opened:
        case = next(iter(opened.values()))
        expected = case.soft[...]
        for file in h5py.h5f.get_obj_ids(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE):
            if file.name == str(case.path).encode():
                h5py.File(file).close()
        assert not open_parts(cache)
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
    factories.relink(cache, "s1", f"{folder}/{name}" if folder else name)
    with open_cache(cache) as opened:
        with pytest.raises(CacheError, match=r"'s1' .* points to .* expected 'c\.parts/.*index"):
            opened["s1"]
        assert opened["s2"].labels.shape == (40, 44)


def test_links_to_other_files_or_nodes_are_refused(cache):
    factories.relink(cache, "s1", f"c.parts/{part_name('s2')}")
    factories.relink(cache, "s2", f"c.parts/{part_name('s2')}", "/classes")
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


def _stale(cache, path):
    """What the part was before its label map changed."""
    old = path.read_bytes()
    factories.write_scene(cache.parent / "data", "s1", seed=42)
    assert factories.computed(factories.again(cache)) == (1, 2)
    path.write_bytes(old)


def _exchanged(cache, path):
    """A part of this case and these settings, sound in itself, with other soft labels."""
    with h5py.File(path, "r+") as file:
        soft = file["case/soft"]
        soft[...] = np.where(soft[...] > 0.5, np.float32(1), np.float32(0))
        seal(soft)
        put_text(file["case"], "digest", case_digest(file["case"]))


def _older(cache, path):
    with h5py.File(path, "r+") as file:
        file.attrs["algorithm"] = np.int64(0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_stale, "is not the part that the index was written for"),
        (_exchanged, "is not the part that the index was written for"),
        (_older, "made by version 0 of the algorithm and its index by 1"),
    ],
)
def test_a_part_that_the_index_does_not_mean_is_never_read(tmp_path, change, words):
    cache = factories.make_cache(tmp_path, ("s10", "s2", "s1"))
    change(cache, factories.part(cache, "s1"))
    with open_cache(cache) as opened:
        assert opened["s2"].soft.shape == (3, 40, 44)
        for name in ("soft", "image", "labels", "group", "statistics"):
            with pytest.raises(CacheError, match=words) as told:
                np.asarray(getattr(opened["s1"], name))
            assert str(factories.part(cache, "s1")) in str(told.value)


def test_nor_is_it_trained_on(tmp_path):
    pytest.importorskip("torch")
    from softlabel_train.data import CacheDataset

    cache = factories.make_cache(tmp_path, ("s10", "s2", "s1"))
    _stale(cache, factories.part(cache, "s1"))
    data = CacheDataset(cache, ["s2", "s1"])
    data[0]
    with pytest.raises(CacheError, match="is not the part that the index was written for"):
        data[1]


def test_what_is_missing_is_known(tmp_path):
    cache = factories.make_cache(tmp_path, ("s10", "s2", "s1"), limit=2)
    with open_cache(cache) as opened:
        assert len(opened) == 2 and opened.missing == ("s10",)
    assert factories.again(cache).complete
    with open_cache(cache) as opened:
        assert opened.missing == ()
    rebuild_index(cache, recover(cache))  # the parts alone do not tell
    with open_cache(cache) as opened:
        assert opened.missing is None


def test_a_missing_chunk_is_not_taken_for_zeros(cache):
    factories.drop_chunk(factories.part(cache, "s1"), "case/soft")
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


def test_a_case_knows_the_classes_of_its_file(tmp_path):
    path = factories.full_cache(tmp_path)
    packed = tmp_path / "packed.h5"
    pack_cache(path, packed)
    for cache in (open_cache(path), open_cache(packed)):
        (case,) = cache.values()
        assert case.header.classes == factories.FULL_CLASSES
        assert case.header.ignore == 999
