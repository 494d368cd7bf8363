"""verify: what is wrong with a cache, as data."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace

import factories
import h5py
import numpy as np
import pytest

from softlabel import parallel
from softlabel.cache import open_cache, read_index, rebuild_index, schema
from softlabel.cache import verify as verify_module
from softlabel.cache.digest import case_digest
from softlabel.cache.files import put_text, seal, store, text_array
from softlabel.cache.verify import verify
from softlabel.errors import CacheError
from softlabel.files.owner import claimed
from softlabel.generation.settings import Settings
from softlabel.softening import METHODS


@pytest.fixture
def cache(tmp_path):
    return factories.full_cache(tmp_path)


@pytest.fixture
def part(cache):
    return factories.part(cache, factories.full_case().id)


def rewrite(path, name, change):
    """Change stored values and seal them again, as a faulty writer would have left them."""
    with h5py.File(path, "r+") as file:
        dataset = file[f"case/{name}"]
        values = dataset[...]
        change(values)
        dataset[...] = values
        seal(dataset)


def found(cache):
    return [(f.case, f.where.rpartition(":")[2], f.problem) for f in verify(cache)]


def test_a_sound_cache_has_no_findings(cache):
    told = []
    assert verify(cache, told.append) == []
    assert told == [factories.full_case().id]


@pytest.mark.parametrize("normalize", ["none", "sum"])
@pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if not method.takes_soft_labels]
)
def test_every_method_makes_sound_caches(tmp_path, normalize, method):
    settings = Settings(n_segments=30, method=method, normalize=normalize)
    if method == "surface-cdf":  # takes layers only
        settings = replace(settings, method_options={"over": 9})
        cache = factories.oct_cache(tmp_path, settings=settings)
    else:
        cache = factories.full_cache(tmp_path, settings=settings)
    assert verify(cache) == []


def put(index, value):
    def change(values):
        values[index] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "where", "words"),
    [
        ("soft", put((1, 8, 9, 2), 1.5), "soft", "holds 1 values outside of 0..1"),
        ("soft", put((1, 8, 9, 2), np.nan), "soft", "holds 1 values outside of 0..1"),
        ("soft", put((1, 8, 0, 2), 0.5), "soft", "is not 0 in every class at 1 ignored pixels"),
        ("soft", put((slice(None), 8, 9), 0), "soft", "is 0 in every class at 5 known pixels"),
        ("image", put((1, 3, 3, 3), np.inf), "image", "channel 1 holds NaN or infinite values"),
        ("labels", put((0, 9, 0), 8), "labels", "[8]"),
        ("labels", put((0, 9, 0), 7), "labels", "other numbers of pixels per class"),
        ("superpixels", put((0, 9, 0), 10**6), "superpixels", "have ids -1..1000000, expected"),
    ],
)
def test_wrong_values_are_found(cache, part, name, change, where, words):
    rewrite(part, name, change)
    findings = found(cache)
    assert len(findings) == 1
    assert findings[0][:2] == (factories.full_case().id, where) and words in findings[0][2]


def seal_case(path, **attributes):
    """Change attributes, and let the digest say so, as a faulty writer would."""
    with h5py.File(path, "r+") as file:
        case = file["case"]
        for name, value in attributes.items():
            case.attrs.modify(name, value)
        put_text(case, schema.DIGEST, case_digest(case))


@pytest.mark.parametrize("name", ["affine", "spacing_mm", "slice_axis"])
def test_attributes_that_nothing_else_guards_are_guarded_by_the_digest(cache, part, name):
    with h5py.File(part, "r+") as file:
        value = file["case"].attrs[name]
        file["case"].attrs.modify(name, value + value.dtype.type(1))
    assert [
        (where, "is not that of the attributes" in text) for _, where, text in found(cache)
    ] == [("digest", True)]


def test_sums_of_the_own_class_are_compared_with_the_soft_maps(cache, part):
    with h5py.File(part) as file:
        sums = file["case"].attrs["own_class_sum"]
    seal_case(part, own_class_sum=sums + 1)
    rebuild_index(cache, read_index(cache))
    assert [where for _, where, _ in found(cache)] == ["soft"]
    assert "own_class_sum" in found(cache)[0][2]


def test_a_part_that_was_exchanged_is_missed_by_the_manifest(cache, part):
    seal_case(part, spacing_mm=np.array([0.5, 0.5, 2.5]))
    ((case, _, problem),) = found(cache)
    assert case == factories.full_case().id
    assert "is not the part that the index was written for" in problem
    rebuild_index(cache, read_index(cache))
    assert verify(cache) == []


def test_sums_under_normalize_sum(tmp_path):
    settings = Settings(n_segments=30, normalize="sum")
    cache = factories.full_cache(tmp_path, settings=settings)
    rewrite(factories.part(cache, factories.full_case().id), "soft", put((1, 8, 9, 2), 0.123))
    assert any("expected 1 under normalize sum" in problem for _, _, problem in found(cache))


def test_missing_datasets_and_wrong_shapes(cache, part):
    with h5py.File(part, "r+") as file:
        del file["case/soft"]
    assert [(w, p.split(";")[0]) for _, w, p in found(cache)] == [("soft", "is missing")]
    with h5py.File(part, "r+") as file:
        values = np.zeros((3, 4, 4), np.float64)
        file["case"].create_dataset("soft", data=values, chunks=(3, 4, 4), fletcher32=True)
        seal(file["case/soft"])
        del file["case/mask"]
        mask = np.zeros((18, 20, 5), np.int32)
        file["case"].create_dataset("mask", data=mask, chunks=True, fletcher32=True)
        seal(file["case/mask"])
    problems = {(w, p.split(";")[0]) for _, w, p in found(cache)}
    assert ("soft", "has shape (3, 4, 4), expected (3, 18, 20, 5)") in problems
    assert ("mask", "has type int32, expected a NumPy kind of 'u'") in problems


def test_guards_that_are_missing_or_wrong(cache, part):
    with h5py.File(part, "r+") as file:
        del file["case/image"].attrs["sha256"]
        file["case/truth"].attrs["chunks_allocated"] = np.int64(99)
        file["case/mask"].attrs["sha256"] = np.bytes_(b"0" * 64)
    problems = {w: p for _, w, p in found(cache)}
    assert "no chunks_allocated or sha256" in problems["image"]
    assert "expected 99" in problems["truth"]
    assert "SHA-256 differs" in problems["mask"]
    assert all("delete it and run `softlabel generate` again" in p for p in problems.values())


def test_a_lost_chunk_is_found(tmp_path):
    cache = factories.make_cache(tmp_path)
    factories.drop_chunk(factories.part(cache, "b"), "case/soft")
    findings = verify(cache)
    assert [(f.case, f.where) for f in findings] == [
        ("b", f"{factories.part(cache, 'b')}:soft")
    ]  # fmt: skip
    assert "has 0 chunks, expected 1" in findings[0].problem


def test_parts_that_are_missing_swapped_or_of_other_settings(tmp_path):
    cache = factories.make_cache(tmp_path)
    other = factories.make_cache(tmp_path / "other", settings=Settings(n_segments=9))
    factories.part(cache, "a").unlink()
    shutil.copy(factories.part(cache, "c"), factories.part(cache, "b"))
    shutil.copy(factories.part(other, "c"), factories.part(cache, "c"))
    problems = {f.case: f.problem for f in verify(cache)}
    assert "There is no cache file" in problems["a"]
    assert "holds the case 'c'" in problems["b"]
    assert "was made with other settings than the index records" in problems["c"]


def test_a_stray_part_is_found_and_temporary_files_are_not(tmp_path):
    cache = factories.make_cache(tmp_path)
    other = factories.make_cache(tmp_path / "other", ("z",))
    shutil.copy(factories.part(other, "z"), factories.part(cache, "z"))
    (cache.with_suffix(".parts") / ".softlabel-tmp-host-1-0123456789ab").write_bytes(b"x")
    (cache.with_suffix(".parts") / "junk.h5").write_bytes(b"x")
    findings = verify(cache)
    assert {f.where for f in findings} == {
        str(factories.part(cache, "z")), str(cache.with_suffix(".parts") / "junk.h5"),
    }  # fmt: skip
    assert all("is not in the index" in f.problem for f in findings)


def test_statistics_of_an_older_state_are_found(tmp_path):
    from softlabel.cache import IndexContent, read_index, rebuild_index

    cache = factories.make_cache(tmp_path)
    old = cache.read_bytes()
    factories.write_scene(tmp_path / "data", "b", seed=42)
    factories.generate(tmp_path / "data", cache, factories.QUICK)
    cache.write_bytes(old)  # as if the run had been killed before it wrote the index
    (finding,) = verify(cache)
    assert finding.case == "b" and "a run that has not ended" in finding.problem
    rebuild_index(cache, IndexContent(read_index(cache).header))
    assert verify(cache) == []


def test_an_index_that_cannot_be_opened_raises(tmp_path):
    (tmp_path / "c.h5").write_bytes(b"nothing")
    with pytest.raises(CacheError, match="cannot be opened"):
        verify(tmp_path / "c.h5")
    cache = factories.make_cache(tmp_path / "x")
    with h5py.File(cache, "r+") as file:
        del file["cases"]
    with pytest.raises(CacheError, match="rebuild it with `softlabel index"):
        verify(cache)


def test_a_hostile_link_is_a_finding(tmp_path):
    cache = factories.make_cache(tmp_path)
    factories.relink(cache, "a", "../secret.h5")
    assert any(f.case == "a" and "points to '../secret.h5'" in f.problem for f in verify(cache))


def test_findings_are_plain_data(cache, part):
    part.unlink()
    (finding,) = verify(cache)
    assert set(finding.as_dict()) == {"case", "where", "problem"}


@pytest.mark.parametrize("both", [True, False], ids=["copied with a folder", "copied alone"])
def test_an_index_under_another_name_is_found_and_not_taken_for_sound(cache, both):
    """Its links still lead to the parts of the first name: nothing beside it would be read."""
    copy = cache.with_name("copy.h5")
    shutil.copy(cache, copy)
    if both:
        shutil.copytree(cache.with_suffix(".parts"), copy.with_suffix(".parts"))
    [finding] = verify(copy)
    assert f"links to parts in {cache.stem}.parts, expected copy.parts" in finding.problem
    assert f"softlabel index {copy}" in finding.problem


@pytest.mark.parametrize("name", [*schema.ROOT_TEXT, *schema.ROOT_INTEGERS])
@pytest.mark.parametrize("of_part", [True, False])
def test_root_attributes_that_are_missing(cache, part, name, of_part):
    path = part if of_part else cache
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    try:
        assert any(
            name.replace("_", " ") in problem.replace("_", " ") for _, _, problem in found(cache)
        )
    except CacheError as error:  # an index that cannot be told is opened by nobody
        assert not of_part and str(cache) in str(error)


def test_settings_that_are_not_those_of_the_fingerprint(cache, part):
    for path in (part, cache):
        with h5py.File(path, "r+") as file:
            file.attrs["settings"] = np.bytes_(b"{}")
    problems = [problem for _, _, problem in found(cache)]
    assert len(problems) == 2
    assert all("a fingerprint that is not of its settings" in problem for problem in problems)


def test_superpixels_that_are_missing(cache, part):
    with h5py.File(part, "r+") as file:
        del file["case/superpixels"]
    assert [(w, p.split(";")[0]) for _, w, p in found(cache)] == [("superpixels", "is missing")]


def test_statistics_that_are_not_the_sums_are_found(cache):
    rewrite_index(cache, "statistics/pixels", lambda values: values + 1)
    ((case, _, problem),) = found(cache)
    assert case == "" and "statistics are not the sums over the parts" in problem


def rewrite_index(cache, name, change):
    with h5py.File(cache, "r+") as file:
        file[name][...] = change(file[name][...])
        seal(file[name])
    factories.reseal_index(cache)


def test_a_part_of_an_older_algorithm(cache, part):
    with h5py.File(part, "r+") as file:
        file.attrs["algorithm"] = np.int64(0)
    ((case, _, problem),) = found(cache)
    assert case == factories.full_case().id
    assert "made by version 0 of the algorithm and its index by 1" in problem


@pytest.fixture
def in_workers(monkeypatch):
    """Caches of a few small cases are worth worker processes too."""
    monkeypatch.setattr(verify_module, "CASES_A_WORKER", 1)


def test_the_number_of_workers_changes_nothing(tmp_path, in_workers, monkeypatch):
    cache = factories.make_cache(tmp_path, "abcdef")
    rewrite(factories.part(cache, "b"), "soft", put((1, 8, 9), 1.5))
    factories.part(cache, "d").unlink()
    factories.drop_chunk(factories.part(cache, "e"), "case/soft")
    factories.relink(cache, "f", "../secret.h5")
    expected = verify(cache)
    assert list(dict.fromkeys(f.case for f in expected)) == ["b", "d", "e", "f", ""]
    for jobs in (2, 3):
        told = []
        with pytest.MonkeyPatch.context() as context:
            # what this process looks at itself would count as nothing wrong
            context.setattr(verify_module, "_part_findings", lambda *_: [])
            assert verify(cache, told.append, jobs=jobs) == expected
        assert sorted(told) == list("abcdef")


def test_a_cache_of_few_small_cases_starts_no_workers(tmp_path, monkeypatch):
    cache, asked = factories.make_cache(tmp_path), []
    real = parallel.run

    def run(function, tasks, jobs, safe_point):
        asked.append(jobs)
        return real(function, tasks, 1, safe_point)

    monkeypatch.setattr(parallel, "run", run)
    assert verify(cache, jobs=8) == []
    monkeypatch.setattr(verify_module, "BYTES_A_WORKER", factories.part(cache, "a").stat().st_size)
    assert verify(cache, jobs=8) == [] and verify(cache, jobs=2) == []
    assert asked[0] == 1 and 3 <= asked[1] <= 4 and asked[2] == 2


@pytest.mark.parametrize("name", ["stored_problem", "_soft_problems"])
def test_ctrl_c_stops_between_two_pieces_of_a_case(cache, monkeypatch, name):
    real, calls = getattr(verify_module, name), []

    def press(*arguments):
        calls.append(arguments)
        signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(verify_module, name, press)
    with pytest.raises(KeyboardInterrupt):
        verify(cache)
    assert len(calls) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_killed_worker_is_a_sentence(cache, monkeypatch):
    def run(*arguments):
        raise parallel.WorkerDied("A worker process was killed.")
        yield

    monkeypatch.setattr(parallel, "run", run)
    with pytest.raises(CacheError, match=r"killed\. Use fewer --jobs\."):
        verify(cache, jobs=2)


def test_folders_of_parts_that_the_index_does_not_name(cache):
    for number, words in ((2, "an --overwrite left"), (7, "an --overwrite left")):
        folder = cache.with_suffix(f".parts.{number}")
        folder.mkdir()
        ((_, _, problem),) = found(cache)
        assert words in problem
        with claimed(cache, "anew"):
            assert found(cache) == [], "it is being written"
        folder.rmdir()
    cache.with_suffix(".parts").rename(cache.with_suffix(".parts.2"))
    content = replace(read_index(cache), number=2)
    rebuild_index(cache, content)
    assert found(cache) == []
    cache.with_suffix(".parts").mkdir()
    ((_, _, problem),) = found(cache)
    assert "left of a cache that was made anew" in problem


def test_an_index_that_lacks_a_table_of_its_statistics(cache):
    with h5py.File(cache, "r+") as file:
        del file["statistics/pixels"]
    factories.reseal_index(cache)  # as a faulty writer would have left it
    assert any("statistics are not the sums" in problem for *_, problem in found(cache))


def test_an_index_whose_tables_are_of_different_lengths(cache):
    with h5py.File(cache, "r+") as file:
        groups = text_array(["one", "two"])
        del file["statistics/groups"]
        store(file, "statistics/groups", groups, groups.shape, "zstd")
    factories.reseal_index(cache)
    with open_cache(cache) as opened, pytest.raises(CacheError, match="is damaged"):
        _ = opened.statistics
