"""The index is rebuilt from the parts, whatever happens around it."""

from __future__ import annotations

import os
import random
import shutil

import factories
import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from softlabel.cache import (
    PartsFolder,
    open_cache,
    parts_folder,
    read_index,
    read_part_summary,
    rebuild_index,
    recover,
)
from softlabel.cache import index as index_module
from softlabel.cache.files import store, text_array
from softlabel.cache.repair import repair
from softlabel.cache.verify import verify
from softlabel.cli import main
from softlabel.errors import CacheError


@pytest.fixture
def cache(tmp_path):
    return factories.make_cache(tmp_path, ("a2", "a10", "b"))


def test_a_rebuilt_index_is_the_same_bytes(cache):
    before = cache.read_bytes()
    rebuild_index(cache, read_index(cache))
    assert cache.read_bytes() == before


def test_a_lost_index_is_recovered_from_the_parts(cache):
    expected = factories.read_everything(cache)
    cache.unlink()
    rebuild_index(cache, recover(cache))
    assert factories.same(factories.read_everything(cache), expected)
    assert read_index(cache).seen == {}


def test_damaged_parts_do_not_stop_the_recovery(cache):
    for case_id in ("a2", "b"):
        path = factories.part(cache, case_id)
        path.write_bytes(path.read_bytes()[:700])
    cache.unlink()
    parts = rebuild_index(cache, recover(cache))
    assert [p.id for p in parts] == ["a10"]


def test_nothing_to_recover_from(tmp_path):
    with pytest.raises(CacheError, match=r"readable parts of 0 settings, expected 1.*--overwrite"):
        recover(tmp_path / "c.h5")


def test_parts_of_two_settings_cannot_be_told_apart(tmp_path):
    from softlabel.generation.settings import Settings

    one = factories.make_cache(tmp_path / "1", ("a",))
    two = factories.make_cache(tmp_path / "2", ("b",), Settings(n_segments=10))
    shutil.copy(factories.part(two, "b"), parts_folder(one))
    with pytest.raises(CacheError, match="2 settings"):
        recover(one)
    parts = rebuild_index(one, read_index(one))  # the index that is there says which are meant
    assert [p.id for p in parts] == ["a"]


def test_statistics_are_sums_over_groups(tmp_path):
    from dataclasses import replace

    cases = [
        replace(factories.full_case(i, seed), group=g)
        for seed, (i, g) in enumerate([("x1", "P2"), ("x2", "P1"), ("x3", "P2")])
    ]
    cache = factories.full_cache(tmp_path, cases)
    with open_cache(cache) as opened:
        statistics = opened.statistics
    assert list(statistics) == ["P1", "P2"]
    for group, numbers in statistics.items():
        members = [c for c in cases if c.group == group]
        pixels = [c.image[:, c.mask].astype(np.float64) for c in members]
        together = np.concatenate(pixels, axis=1)
        assert numbers["cases"] == len(members)
        assert numbers["pixels"] == together.shape[1]
        labels = np.concatenate([c.labels.ravel() for c in members])
        assert numbers["class_pixels"].tolist() == [np.sum(labels == v) for v in (0, 7, 300)]
        np.testing.assert_allclose(numbers["intensity_sum"], together.sum(axis=1))
        np.testing.assert_allclose(numbers["intensity_sum_squares"], (together**2).sum(axis=1))
        np.testing.assert_array_equal(numbers["intensity_min"], together.min(axis=1))
        np.testing.assert_array_equal(numbers["intensity_max"], together.max(axis=1))


def test_an_index_that_was_overtaken_is_written_again(cache, monkeypatch):
    late = factories.part(cache, "b")
    data = late.read_bytes()
    late.unlink()
    real = index_module.publish
    calls = []

    def publish(path, content):
        real(path, content)
        if not calls:  # another process publishes a part while this index is being written
            late.write_bytes(data)
        calls.append(path)

    monkeypatch.setattr(index_module, "publish", publish)
    parts = rebuild_index(cache, read_index(cache))
    assert len(calls) == 2
    assert [p.id for p in parts] == ["a2", "a10", "b"]
    assert list(open_cache(cache)) == ["a2", "a10", "b"]


def test_an_unchanged_part_is_read_once(cache, monkeypatch):
    folder = PartsFolder(parts_folder(cache))
    folder.read()
    read = []
    monkeypatch.setattr(
        index_module, "read_part_summary", lambda p: read.append(p.name) or read_part_summary(p)
    )
    folder.read()
    assert read == [] and folder.is_as_read()
    changed = factories.part(cache, "b")
    os.utime(changed, ns=(1, 1))
    assert not folder.is_as_read()
    folder.read()
    assert read == [changed.name]


def test_a_part_under_a_wrong_name_is_refused(cache):
    shutil.copy(factories.part(cache, "b"), factories.part(cache, "a2"))
    with pytest.raises(CacheError, match="holds the case 'b', which belongs into a file named"):
        read_part_summary(factories.part(cache, "a2"))


@pytest.mark.parametrize("fault", ["inputs", "class_pixels", "group", "id"])
def test_a_part_that_lacks_an_attribute_is_refused(cache, fault):
    path = factories.part(cache, "b")
    with h5py.File(path, "r+") as file:
        del file["case"].attrs[fault]
    with pytest.raises(CacheError, match=f"no attribute {fault}.*softlabel generate"):
        read_part_summary(path)


def test_names_of_links_cannot_leave_the_group(tmp_path):
    cache = factories.make_cache(tmp_path, ("a", "b..c", "c.d"))
    with h5py.File(cache) as file:
        assert set(file["cases"]) == {"a", "b..c", "c.d"}
        assert file["cases"]["b..c"]["labels"].shape == (40, 44)


def test_both_move_together(cache, tmp_path):
    expected = factories.read_everything(cache)
    moved = factories.copy_cache(cache, tmp_path / "other place")
    shutil.rmtree(cache.with_suffix(".parts"))
    assert factories.same(factories.read_everything(moved), expected)
    with h5py.File(moved) as file:
        assert file["cases/a2/soft"].shape == (3, 40, 44)


def rewritten(name, change):
    """Replace the values of a dataset of an index by others, with right checksums."""

    def rewrite(file):
        values = change(file[name][...])
        kept = file[name].attrs
        attributes = {n: kept[n] for n in kept if n not in ("sha256", "chunks_allocated")}
        del file[name]
        made = store(file, name, values, values.shape, "zstd")
        made.attrs.update(attributes)

    return rewrite


def another(values):
    """The last text is another one."""
    texts = [value.decode() for value in values]
    return text_array([*texts[:-1], "another"])


ALTERATIONS = {
    "a class": rewritten("classes/names", another),
    "a class value": rewritten("classes/values", lambda values: values + 1),
    "a channel": rewritten("channels", another),
    "a group": rewritten("statistics/groups", another),
    "class pixels": rewritten("statistics/class_pixels", lambda values: values + np.uint64(7)),
    "intensities": rewritten("statistics/intensity_sum", lambda values: values * 2),
    "what info tells": rewritten("manifest/facts", another),
    "a digest": rewritten("manifest/digest", another),
    "a size": rewritten("manifest/bytes", lambda values: values + 1),
    "a finding": rewritten("findings", lambda values: text_array(['{"code": "x"}'])),
    "the cases that are expected": rewritten("expected", another),
    "an ignored value": lambda file: file["classes/values"].attrs.modify("ignore", np.int64(5)),
    "a dataset that is gone": lambda file: file.pop("findings"),
    "a dataset more": lambda file: store(file, "more", np.arange(3), (3,), "zstd"),
    "the settings": lambda file: file.attrs.modify("settings", np.bytes_(b"{}")),
    "the software": lambda file: file.attrs.modify("software", np.bytes_(b"{}")),
    "the folder of parts": lambda file: file.attrs.create("parts", np.int64(2)),
    "a case that is gone": lambda file: file["cases"].pop(factories.full_case().id),
}
"""What somebody may do to an index with a library that writes HDF5 files."""


@pytest.fixture
def full(tmp_path):
    """A cache with everything that an index can have."""
    return factories.full_cache(tmp_path)


@pytest.mark.parametrize("what", ALTERATIONS)
def test_an_altered_index_is_found_by_readers_and_by_verify(full, what):
    parts = factories.files_of(full)
    with open_cache(full) as opened:
        before = (dict(opened.classes), opened.channels, opened.ignore, opened.statistics.keys())
    with h5py.File(full, "r+") as file:
        ALTERATIONS[what](file)
    for read in (open_cache, read_index):
        with pytest.raises(CacheError, match="softlabel index") as told:
            read(full)
        assert str(full) in str(told.value)
    assert [(f.case, f.where) for f in verify(full)][:1] == [("", str(full))]
    done = CliRunner().invoke(main, ["index", str(full)])
    assert done.exit_code == 0, done.output
    with open_cache(full) as opened:
        after = (dict(opened.classes), opened.channels, opened.ignore, opened.statistics.keys())
    assert after == before and verify(full) == [] and factories.files_of(full) == parts


def test_an_index_of_earlier_softlabel_has_no_digest_and_reads(full):
    expected = factories.read_everything(full)
    with h5py.File(full, "r+") as file:
        del file["cases"].attrs["digest"]
    assert verify(full) == []
    assert factories.same(factories.read_everything(full), expected)


def test_a_run_goes_on_from_the_parts_where_the_index_was_altered(tmp_path):
    cache = factories.make_cache(tmp_path)
    good = cache.read_bytes()
    with h5py.File(cache, "r+") as file:
        rewritten("classes/names", another)(file)
    assert factories.computed(factories.again(cache)) == (0, 3)
    assert verify(cache) == [] and set(open_cache(cache).classes.names) != {"another"}
    with h5py.File(cache, "r+") as file:
        rewritten("channels", another)(file)
    assert repair(cache, verify(cache)) == [] and verify(cache) == []
    assert factories.computed(factories.again(cache)) == (0, 3)
    assert open_cache(cache).channels == ("intensity",) and len(cache.read_bytes()) == len(good)


@pytest.mark.slow
def test_no_flipped_bit_of_an_index_stays(full):
    """Wherever it is: readers and verify refuse the index, or read what they read before."""
    whole, content = full.read_bytes(), factories.read_everything(full)
    rng, found = random.Random(3), 0
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        full.write_bytes(data)
        try:
            findings = verify(full)
        except CacheError:
            findings = ["the index cannot be opened"]
        try:
            assert factories.same(factories.read_everything(full), content) or findings
        except CacheError:
            assert findings
        found += bool(findings)
    assert found > 150
