"""What is decided about every case before anything is written."""

from __future__ import annotations

import os
from dataclasses import replace

import factories
import numpy as np
import pytest
from PIL import Image

import softlabel
from softlabel.cache import schema
from softlabel.cache.verify import verify
from softlabel.errors import SourceError, UsageError
from softlabel.generation.plan import (
    COMPUTE,
    FAILED,
    SKIP,
    STALE,
    choose,
    common_channels,
    plan,
)
from softlabel.generation.run import generate
from softlabel.generation.settings import Settings
from softlabel.mapping import LabelMapping
from softlabel.readers import list_dataset
from softlabel.types import ClassTable, Dataset

QUICK = factories.QUICK


def decide(cache, settings=QUICK, **options):
    return plan(list_dataset(cache.parent / "data"), settings, cache, **options)


def actions(decided):
    return {step.ref.id: (step.action, step.reason) for step in decided.steps}


def test_nothing_is_there_yet(tmp_path):
    factories.write_scenes(tmp_path / "data")
    decided = decide(tmp_path / "c.h5")
    assert set(actions(decided).values()) == {(COMPUTE, "not computed yet")}
    assert [r.id for r in decided.todo] == ["a", "b", "c"] and decided.count(COMPUTE) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]  # nothing was written


def test_finished_cases_are_skipped(cache):
    assert set(actions(decide(cache)).values()) == {(SKIP, "finished")}


def test_a_touched_file_that_did_not_change_is_skipped(cache):
    image = cache.parent / "data/images/b.png"
    os.utime(image, ns=(1, 1))
    decided = decide(cache)
    assert decided.count(SKIP) == 3
    assert decided.seen["images/b.png"].mtime_ns == 1  # looked at once, not again


def test_changed_content_is_stale(cache):
    image = cache.parent / "data/images/b.png"
    data = bytearray(image.read_bytes())
    data[-20] ^= 1
    image.write_bytes(data)
    found = actions(decide(cache))
    assert found["b"] == (STALE, "images/b.png has changed")
    assert found["a"][0] == found["c"][0] == SKIP


def test_changed_size_is_stale(cache):
    image = cache.parent / "data/labels/b.png"
    image.write_bytes(image.read_bytes() + b"x")
    assert actions(decide(cache))["b"] == (STALE, "labels/b.png has another size than before")


def test_content_is_compared_on_request(cache):
    image = cache.parent / "data/images/b.png"
    status = image.stat()
    data = bytearray(image.read_bytes())
    data[-20] ^= 1
    image.write_bytes(data)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert decide(cache).count(SKIP) == 3
    found = actions(decide(cache, check_content=True))
    assert found["b"] == (STALE, "images/b.png has changed") and found["a"][0] == SKIP


def test_a_vanished_file_is_stale_so_that_it_is_reported(cache):
    dataset = list_dataset(cache.parent / "data")
    (cache.parent / "data/images/b.png").unlink()
    found = actions(plan(dataset, QUICK, cache))
    assert found["b"] == (STALE, "images/b.png cannot be read (No such file or directory)")


def test_a_file_more_or_less_is_stale(cache):
    dataset = list_dataset(cache.parent / "data")
    extra = [replace(r, files=(*r.files, "images/a.png")) for r in dataset.refs if r.id == "b"]
    fewer = [replace(r, files=r.files[:1]) for r in dataset.refs if r.id == "c"]
    found = actions(plan(replace(dataset, refs=(*extra, *fewer)), QUICK, cache))
    assert found["b"] == (STALE, "images/a.png is a new input")
    assert found["c"] == (STALE, "labels/c.png is no input any more")


def test_a_newer_algorithm_makes_all_stale(cache, monkeypatch):
    monkeypatch.setattr(schema, "ALGORITHM", 2)
    assert set(actions(decide(cache)).values()) == {
        (STALE, "made by algorithm version 1, now 2")
    }  # fmt: skip


def test_a_new_case_is_computed(cache):
    factories.write_scene(cache.parent / "data", "d")
    found = actions(decide(cache))
    assert found["d"][0] == COMPUTE and found["a"][0] == SKIP


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-100]), "its part is damaged"),
        (lambda p: p.write_bytes(b""), "its part is damaged"),
        (lambda p: p.write_bytes((p.parent / schema.part_name("a")).read_bytes()), "the case 'a'"),
    ],
)
def test_a_damaged_part_is_stale(cache, damage, words):
    damage(factories.part(cache, "b"))
    found = actions(decide(cache))
    assert found["b"][0] == STALE and words in found["b"][1]
    assert found["a"][0] == found["c"][0] == SKIP


def test_a_lost_or_damaged_index_is_no_loss(cache):
    cache.write_bytes(cache.read_bytes()[:1000])
    assert decide(cache).count(SKIP) == 3
    cache.unlink()
    assert decide(cache).count(SKIP) == 3


def test_other_settings_are_refused_by_name(cache):
    with pytest.raises(
        UsageError,
        match=r"c\.h5 was made with other settings \(boundary: inner → outer; "
        r"n_segments: 24 → 30\).*another output.*--overwrite",
    ):
        decide(cache, Settings(n_segments=30, boundary="outer"))
    assert decide(cache, Settings(n_segments=30), overwrite=True).count(COMPUTE) == 3


def test_other_settings_are_refused_when_the_index_is_lost(cache):
    cache.unlink()
    with pytest.raises(UsageError, match="other settings"):
        decide(cache, Settings(n_segments=30))


def test_a_cache_without_a_finished_case_binds_nobody(tmp_path):
    """A first try in which everything fails must not stand in the way of the corrected one."""
    data = factories.write_scenes(tmp_path / "data")
    report = softlabel.generate(data, tmp_path / "c.h5", replace(QUICK, distance_unit="mm"))
    assert len(report.failures) == 3 and report.cases == 0
    assert all("--spacing-mm" in reason for reason in report.failures.values())
    assert decide(tmp_path / "c.h5", QUICK).count(COMPUTE) == 3


def test_the_reader_and_its_options_are_settings(cache):
    dataset = list_dataset(cache.parent / "data", "pairs", {"spacing_mm": "1,2"})
    with pytest.raises(UsageError, match=r"spacing_mm: unset → 1,2\)"):
        plan(dataset, QUICK, cache)


def test_another_class_table_is_refused(cache, tmp_path):
    for names in ({0: "ground", 128: "disc", 255: "core"}, {0: "a", 128: "b"}):
        dataset = replace(
            list_dataset(cache.parent / "data"), classes=ClassTable.from_mapping(names)
        )
        with pytest.raises(UsageError, match=r"made with the classes .*label 128.*--overwrite"):
            plan(dataset, QUICK, cache)
    with pytest.raises(UsageError, match="255 ignored"):
        plan(replace(list_dataset(cache.parent / "data"), ignore=255), QUICK, cache)


def test_a_scanned_table_is_kept_with_the_cache(cache, monkeypatch):
    monkeypatch.setattr(
        "softlabel.generation.plan.scan_classes", lambda d: pytest.fail("scanned again")
    )
    assert decide(cache).header.classes.values == factories.VALUES


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda p: p.write_text("a letter"), "cannot be opened as HDF5"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.symlink_to("nowhere"), "no cache file"),
    ],
)
def test_an_output_that_is_something_else_is_refused(tmp_path, prepare, words):
    factories.write_scenes(tmp_path / "data")
    prepare(tmp_path / "c.h5")
    with pytest.raises(UsageError, match=words):
        decide(tmp_path / "c.h5")


def test_unknown_ids_name_their_neighbours(cache):
    dataset = Dataset("pairs", cache.parent, "", tuple(
        softlabel.types.CaseRef(f"Subject_0{i}", "", "", ()) for i in range(3)))  # fmt: skip
    with pytest.raises(UsageError, match=r"no case 'subject_1' among 3: did you mean Subject_01,"):
        choose(dataset, ["subject_1"], None)
    with pytest.raises(UsageError, match=r"none has a similar name.*--dry-run -v"):
        choose(dataset, ["zzz"], None)


def test_choosing(cache):
    def chosen(**options):
        return [s.ref.id for s in decide(cache, **options).steps]

    assert chosen(ids=["c", "a", "c"]) == ["c", "a"]
    assert chosen(limit=2) == ["a", "b"]
    assert chosen(ids=["c", "b"], limit=1) == ["c"]
    assert chosen(ids=[]) == []
    with pytest.raises(UsageError, match="limit must be at least 1; got 0"):
        chosen(limit=0)


def test_problems_of_the_listing_are_steps(cache):
    dataset = list_dataset(cache.parent / "data")
    refs = [ref for ref in dataset.refs if ref.id != "b"]
    dataset = replace(dataset, refs=tuple(refs), problems={"b": "labels/b.png is torn."})
    found = actions(plan(dataset, QUICK, cache))
    assert found["b"][0] == FAILED and "b.png" in found["b"][1]


@pytest.mark.parametrize("bad", ["a/b", "x\0y", "..", "\ud800", "e\u0301"])
def test_ids_that_cannot_name_a_case_fail_alone(cache, bad):
    dataset = list_dataset(cache.parent / "data")
    dataset = replace(dataset, refs=(replace(dataset.refs[0], id=bad), *dataset.refs[1:]))
    found = actions(plan(dataset, QUICK, cache))
    assert found[bad][0] == FAILED and "The case id" in found[bad][1]
    assert found["b"][0] == SKIP


def test_superpixel_files_and_their_setting_belong_together(cache):
    with pytest.raises(UsageError, match="belong together"):
        decide(cache, Settings(superpixels="file"))
    with pytest.raises(UsageError, match="gaussian uses no superpixels"):
        decide(cache, Settings(method="gaussian", superpixels="file"))


def test_channels_come_from_the_cases_that_can_be_read(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    (data / "images/a.png").write_bytes(b"broken")
    assert common_channels(list_dataset(data)) == ("intensity",)
    for name in "bc":
        (data / f"images/{name}.png").write_bytes(b"broken")
    assert common_channels(list_dataset(data)) == ()


def test_channels_are_those_that_most_images_have(tmp_path):
    data = factories.write_scenes(tmp_path / "data", "abcd")
    for name in "bcd":  # a grey image stands first
        grey = np.asarray(Image.open(data / f"images/{name}.png"))
        Image.fromarray(np.stack([grey] * 3, axis=2)).save(data / f"images/{name}.png")
    assert len(common_channels(list_dataset(data))) == 3


def test_a_data_set_without_classes_cannot_be_planned(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ("a",))
    (data / "labels/a.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match="no class was found"):
        decide(tmp_path / "c.h5")


def soft_scenes(root):
    """Scenes whose label maps are probabilities of 8 bits."""
    factories.write_scenes(root)
    rng = np.random.default_rng(0)
    for path in sorted((root / "labels").iterdir()):
        shape = np.asarray(Image.open(path)).shape
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(path)
    return root


def test_soft_labels_take_the_method_given_and_hard_ones_take_none(tmp_path):
    root, given = soft_scenes(tmp_path / "data"), Settings(method="given")
    soft = list_dataset(root, options={"soft_range": 255})
    assert plan(soft, given, tmp_path / "c.h5").count(COMPUTE) == 3
    with pytest.raises(UsageError, match=r"soft labels.*--method given.*--threshold"):
        plan(soft, QUICK, tmp_path / "c.h5")
    with pytest.raises(UsageError, match=r"is read as hard labels.*--soft-range"):
        plan(list_dataset(root), given, tmp_path / "c.h5")
    hard = list_dataset(root, options={"soft_range": 255}, mapping=LabelMapping(threshold=128))
    assert plan(hard, QUICK, tmp_path / "c.h5").header.classes.values == (0, 1)


def test_grey_levels_are_cached_as_their_8_bits(tmp_path):
    root = soft_scenes(tmp_path / "data")
    dataset = list_dataset(root, options={"soft_range": 255})
    assert generate(dataset, tmp_path / "c.h5", Settings(method="given")).complete
    assert verify(tmp_path / "c.h5") == []
    with softlabel.open_cache(tmp_path / "c.h5") as cache:
        for case_id in ("a", "b", "c"):
            stored = np.asarray(Image.open(root / f"labels/{case_id}.png"), np.float32)
            np.testing.assert_array_equal(cache[case_id].soft[1], stored / np.float32(255))
            np.testing.assert_array_equal(cache[case_id].labels[:], stored > 127.5)
