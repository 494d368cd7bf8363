"""What is decided about every case before anything is written, and how one case is computed."""

from __future__ import annotations

import os
from dataclasses import replace

import factories
import numpy as np
import pytest

import softlabel
from softlabel.cache import schema
from softlabel.cache.schema import fingerprint
from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.generation.compute import compute, make_superpixels
from softlabel.generation.plan import (
    COMPUTE,
    FAILED,
    SKIP,
    STALE,
    choose,
    first_channels,
    plan,
    settings_differences,
)
from softlabel.generation.settings import Settings, idle_settings
from softlabel.readers import list_dataset
from softlabel.types import Case, ClassTable, Dataset

QUICK = factories.QUICK


@pytest.fixture
def cache(tmp_path):
    return factories.make_cache(tmp_path)


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
    (cache.parent / "data/labels/b.png").unlink()
    found = actions(decide(cache))
    assert found["b"][0] == FAILED and "b.png" in found["b"][1]


@pytest.mark.parametrize("bad", ["a/b", "x\0y", "..", "\ud800", "e\u0301"])
def test_ids_that_cannot_name_a_case_fail_alone(cache, bad):
    dataset = list_dataset(cache.parent / "data")
    dataset = replace(dataset, refs=(replace(dataset.refs[0], id=bad), *dataset.refs[1:]))
    found = actions(plan(dataset, QUICK, cache))
    assert found[bad][0] == FAILED and "The case id" in found[bad][1]
    assert found["b"][0] == SKIP


def test_settings_without_a_say_do_not_tell_caches_apart():
    def record(**settings):
        return Settings(**settings).as_json({})

    assert record(superpixel_size=100) == record(superpixel_size=100.0, n_segments=7)
    assert record(superpixels="grid") == record(superpixels="grid", compactness=3, sigma=2)
    assert record(superpixels="file", n_segments=9) == record(superpixels="file")
    assert record(method="gaussian") == record(method="gaussian", n_segments=9, boundary="outer")
    assert record(method="gaussian") == record(method="gaussian", method_options={"blur": 1})
    assert record(method_options={"min_minority": 0}) == record()
    assert record(scale=1) == record(scale=1.0) != record()
    different = [
        record(), record(sigma=2), record(superpixels="grid"), record(method="gaussian"),
        record(normalize="sum"), record(boundary="edge"), record(superpixel_size=9),
        record(method_options={"in_plane": True}), record(compression="gzip"),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_fingerprints_tell_classes_and_ignored_values_apart():
    one, two = ClassTable.from_values([0, 1]), ClassTable.from_mapping({0: "a", 1: "b"})
    prints = {
        fingerprint(s, c, i) for s in ("{}", '{"a": 1}') for c in (one, two) for i in (None, 9)
    }
    assert len(prints) == 8


def test_differences_are_named_both_ways():
    assert settings_differences('{"a": 1, "b": 2}', '{"a": 1, "c": 3}') == [
        "b: 2 → unset", "c: unset → 3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"superpixels": "random"}, "superpixels must be one of slic, grid, file; got 'random'"),
        ({"method": "magic"}, "method must be one of superpixel, gaussian"),
        ({"boundary": "middle"}, "boundary must be one of inner"),
        ({"normalize": "max"}, "normalize must be one of none, sum"),
        ({"n_segments": 0}, "n_segments must be positive"),
        ({"superpixel_size": float("nan")}, "superpixel_size must be positive"),
        ({"scale": -1}, "scale must be positive"),
        ({"sigma": -0.1}, "sigma must not be negative"),
        ({"channel_percentiles": (50, 50)}, "channel_percentiles"),
        ({"method_options": {"blur": 1}}, "superpixel has no option 'blur'; it has: min_minority"),
        ({"method": "gaussian", "method_options": {"blur": 0}}, "blur must be a positive number"),
        ({"method": "gaussian", "method_options": {"blur": "x"}}, "The options of the method"),
        ({"method_options": {"min_minority": 2}}, "min_minority must lie in 0..1"),
    ],
)
def test_settings_that_cannot_work(options, words):
    with pytest.raises(UsageError, match=words):
        Settings(**options)


def test_superpixel_files_and_their_setting_belong_together(cache):
    with pytest.raises(UsageError, match="belong together"):
        decide(cache, Settings(superpixels="file"))
    with pytest.raises(UsageError, match="gaussian uses no superpixels"):
        decide(cache, Settings(method="gaussian", superpixels="file"))


def test_channels_come_from_the_first_case_that_can_be_read(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    (data / "images/a.png").write_bytes(b"broken")
    assert first_channels(list_dataset(data)) == ("intensity",)
    for name in "bc":
        (data / f"images/{name}.png").write_bytes(b"broken")
    assert first_channels(list_dataset(data)) == ()


# Computing one case


def small_case(**changes) -> Case:
    image, labels = factories.scene()
    return replace(
        Case("x", image[None], labels, ClassTable.from_values(factories.VALUES), source="x.png"),
        **changes,
    )


def header_of(case, ignore=None, channels=()):
    return softlabel.cache.Header("{}", "f", case.classes, ignore, channels)


def test_computing_is_slic_and_soften():
    case = small_case()
    result = compute(case, header_of(case), QUICK)
    scaled = (case.image - case.image.min()) / np.float32(np.ptp(case.image.astype(float)))
    ids = softlabel.slic(scaled.astype(np.float32), 24, channel_axis=0)
    np.testing.assert_array_equal(result.superpixels, ids)
    dense = softlabel.soften(case.labels, ids).dense()
    np.testing.assert_array_equal(result.soft.dense(), dense)
    numbers = result.statistics
    assert numbers.n_superpixels == ids.max() + 1 and numbers.n_superpixels_asked == 24
    assert numbers.softened_pixels == np.any((dense != 0) & (dense != 1), axis=0).sum() > 0
    assert numbers.soft_sum == pytest.approx(dense.sum(dtype=float))
    assert numbers.pixels == case.labels.size


def test_masked_pixels_have_no_superpixel_and_stay_hard():
    mask = np.ones((40, 44), bool)
    mask[:12] = mask[:, :5] = False
    case = small_case(mask=mask)
    for mode in ("after", "slic"):
        result = compute(case, header_of(case), replace(QUICK, mask_mode=mode))
        np.testing.assert_array_equal(result.superpixels < 0, ~mask)
        assert set(np.unique(result.superpixels)) == {-1, *range(result.statistics.n_superpixels)}
        hard = result.soft.dense()[:, ~mask]
        assert set(np.unique(hard)) <= {0, 1}
        assert result.statistics.pixels == mask.sum()
        assert result.statistics.intensity_max[0] == case.image[0][mask].max()


def test_an_image_that_is_masked_whole_is_hard():
    case = small_case(mask=np.zeros((40, 44), bool))
    result = compute(case, header_of(case), QUICK)
    assert (result.superpixels == -1).all() and result.statistics.n_superpixels == 0
    assert not result.soft.band.any()


def test_raters_are_averaged_and_their_maps_kept():
    labels = factories.scene()[1]
    other = np.roll(labels, 2, axis=0)
    case = small_case(labels=np.stack([labels, other]), rater_axis=0, raters=("first", "second"))
    result = compute(case, header_of(case), QUICK)
    dense = [
        softlabel.soften(m, result.superpixels, classes=case.classes).dense()
        for m in (labels, other)
    ]
    np.testing.assert_allclose(result.soft.dense(), np.mean(dense, axis=0), atol=1e-6)
    np.testing.assert_array_equal(result.labels, labels)  # the earliest of equals
    assert set(result.label_maps) == {"first", "second"}
    np.testing.assert_array_equal(result.label_maps["second"], other)


def test_the_majority_of_raters_with_ignored_pixels():
    labels = np.array([[[0, 7, 9, 9]], [[0, 0, 7, 9]], [[7, 0, 7, 9]]])
    case = Case(
        "x", np.zeros((1, 1, 4), np.float32), labels, ClassTable.from_values([0, 7]), ignore=9,
        rater_axis=0,
    )  # fmt: skip
    result = compute(case, header_of(case, ignore=9), Settings(n_segments=1))
    assert result.labels.tolist() == [[0, 0, 7, 9]]
    assert set(result.label_maps) == {"rater1", "rater2", "rater3"}
    assert result.statistics.class_pixels.tolist() == [2, 1]


def test_slices_have_superpixels_of_their_own():
    case = factories.full_case()
    settings = Settings(n_segments=6, slic_dims="slice")
    ids, asked = make_superpixels(case, settings)
    assert asked == 6 * 5  # across the axis of the coarsest spacing
    slices = [set(np.unique(ids[..., k])) - {-1} for k in range(5)]
    assert all(not slices[i] & slices[j] for i in range(5) for j in range(i))
    assert set.union(*slices) == set(range(ids.max() + 1))
    ids, asked = make_superpixels(case, replace(settings, slice_axis=0))
    assert asked == 6 * 18


OTHER = {
    "superpixels": "grid", "n_segments": 30, "superpixel_size": 25.0, "compactness": 2.0,
    "sigma": 3.0, "max_num_iter": 1, "slic_dims": "slice", "slice_axis": 0,
    "channel_percentiles": (30.0, 60.0), "mask_mode": "slic", "slic_code": "device",
    "boundary": "edge", "scale": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "base",
    [
        {},
        {"superpixel_size": 60},
        {"superpixels": "grid"},
        {"superpixels": "file"},
        {"superpixels": "file", "method_options": {"in_plane": True}},
        {"method": "gaussian"},
    ],
    ids=str,
)
def test_idle_settings_change_nothing(base):
    case = factories.full_case()
    given = np.arange(case.labels.size).reshape(case.labels.shape) // 40
    header, settings = header_of(case, ignore=999), Settings(n_segments=12)

    def values(**changes):
        result = compute(case, header, replace(settings, **changes), superpixels=given)
        return [] if result.superpixels is None else result.superpixels, result.soft.dense()

    before = values(**base)
    for name in idle_settings(replace(settings, **base)):
        for old, new in zip(before, values(**base, **{name: OTHER[name]}), strict=True):
            np.testing.assert_array_equal(new, old, err_msg=name)


def test_superpixel_size_scales_with_the_image():
    case = small_case()
    assert make_superpixels(case, Settings(superpixel_size=44))[1] == 40
    assert make_superpixels(case, Settings(superpixel_size=1e9))[1] == 1


def test_the_grid_is_the_same_for_every_image():
    one, _ = make_superpixels(small_case(), Settings(superpixels="grid", n_segments=24))
    noise = np.random.default_rng(0).random((1, 40, 44), np.float32)
    two, _ = make_superpixels(small_case(image=noise), Settings(superpixels="grid", n_segments=24))
    np.testing.assert_array_equal(one, two)


def test_given_superpixels_are_numbered_afresh():
    given = np.full((40, 44), 10**12)
    given[:20] = 5
    given[30:] = -7
    case = small_case()
    ids, asked = make_superpixels(case, Settings(superpixels="file"), given)
    assert np.unique(ids).tolist() == [-1, 0, 1] and asked == 0 and ids.dtype == np.int32
    assert (ids[:20] == 0).all() and (ids[20:30] == 1).all() and (ids[30:] == -1).all()


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({}, Settings(distance_unit="mm"), r"no pixel spacing.*--distance-unit pixel"),
        ({}, Settings(superpixels="file"), r"shape None, the image has \(40, 44\)"),
        ({}, Settings(slic_dims="slice", slice_axis=2), r"slice_axis must lie in 0\.\.1; got 2"),
        ({"labels": np.full((40, 44), 3)}, QUICK, "3"),
        ({"labels": np.zeros((40, 43), int)}, QUICK, "shape"),
        ({"labels": np.zeros((40, 44))}, QUICK, "integers"),
    ],
)
def test_what_cannot_be_computed_is_a_sentence_about_the_case(changes, settings, words):
    case = small_case(**changes)
    with pytest.raises(CaseError, match=rf"^x \(x\.png\): .*{words}"):
        compute(case, header_of(small_case()), settings)


def test_channels_must_be_those_of_the_data_set():
    case = small_case()
    header = header_of(case, channels=("red", "green", "blue"))
    with pytest.raises(CaseError, match=r"1 channels, the data set 3 \(red, green, blue\)"):
        compute(case, header, QUICK)


def test_distances_in_mm_use_the_spacing():
    case = factories.full_case()
    settings = Settings(n_segments=20, distance_unit="mm")
    result = compute(case, header_of(case, 999), settings)
    expected = softlabel.soften(
        case.labels, result.superpixels, classes=case.classes, ignore=999, spacing=case.spacing_mm
    )
    np.testing.assert_array_equal(result.soft.dense(), expected.dense())
    in_plane = replace(settings, method_options={"in_plane": True}, slice_axis=0)
    result = compute(case, header_of(case, 999), in_plane)
    expected = softlabel.soften(
        case.labels, result.superpixels, classes=case.classes, ignore=999,
        spacing=case.spacing_mm, in_plane=True, slice_axis=0,
    )  # fmt: skip
    np.testing.assert_array_equal(result.soft.dense(), expected.dense())


def test_the_gaussian_method_makes_no_superpixels():
    case = small_case()
    result = compute(case, header_of(case), Settings(method="gaussian", method_options={"blur": 2}))
    assert result.superpixels is None and result.statistics.n_superpixels == 0
    np.testing.assert_array_equal(
        result.soft.dense(), softlabel.soften(case.labels, method="gaussian", blur=2).dense()
    )


@pytest.mark.parametrize(
    ("shape", "labels"),
    [((1, 1), 0), ((1, 1, 1), 255), ((1, 30), 128), ((40, 44), 0)],
)
def test_degenerate_images_are_valid(shape, labels):
    case = small_case(image=np.zeros((1, *shape), np.uint8), labels=np.full(shape, labels))
    result = compute(case, header_of(case), QUICK)
    dense = result.soft.dense()
    assert (dense[factories.VALUES.index(labels)] == 1).all()
    assert dense.sum() == np.prod(shape)


def test_a_class_of_one_pixel_is_kept():
    labels = np.zeros((40, 44), np.uint8)
    labels[20, 20] = 255
    case = small_case(labels=labels)
    result = compute(case, header_of(case), QUICK)
    assert result.statistics.class_pixels.tolist() == [40 * 44 - 1, 0, 1]
    assert result.soft.dense()[2, 20, 20] == 0.5


def test_a_data_set_without_classes_cannot_be_planned(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ("a",))
    (data / "labels/a.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match="no class was found"):
        decide(tmp_path / "c.h5")
