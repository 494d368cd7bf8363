"""What a run reports, warns of, and lists as failed."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.generation.failures import failures_path, read_failures
from softlabel.generation.run import generate
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset

QUICK = factories.QUICK


def test_the_report_of_a_first_and_a_second_run(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    told = []
    report = generate(data, tmp_path / "new" / "c.h5", QUICK, progress=told.append)
    assert report.complete and factories.computed(report) == (3, 0)
    assert sorted(r.id for r in told) == ["a", "b", "c"]
    assert report.bytes == sum(p.stat().st_size for p in (tmp_path / "new/c.parts").iterdir())
    with open_cache(report.out) as opened:
        softs = [np.asarray(c.soft) for c in opened.values()]
        share = np.mean([np.any((s != 0) & (s != 1), axis=0) for s in softs])
        assert report.softened_share == pytest.approx(share)
        assert report.mean_soft_sum == pytest.approx(np.mean([s.sum(axis=0) for s in softs]))
        mean = np.mean([c.statistics["n_superpixels"] for c in opened.values()])
    assert (report.n_superpixels, report.n_superpixels_asked) == (mean, 24)
    before = factories.inodes_of(tmp_path / "new" / "c.h5")
    second = generate(data, tmp_path / "new" / "c.h5", QUICK)
    assert second.complete and factories.computed(second) == (0, 3)
    assert factories.replaced(tmp_path / "new" / "c.h5", before) == set()
    assert second.as_dict()["softened_share"] is None


def test_the_list_of_failures_goes_when_they_are_fixed(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    good = (data / "labels/b.png").read_bytes()
    (data / "labels/b.png").write_bytes(b"broken")
    out = tmp_path / "c.h5"
    assert list(generate(data, out, QUICK).failures) == ["b"]
    assert failures_path(out).exists()
    (data / "labels/b.png").write_bytes(good)
    assert factories.computed(generate(data, out, QUICK)) == (1, 2)
    assert not failures_path(out).exists()


def test_a_failed_case_with_an_earlier_result_is_a_warning(cache):
    (cache.parent / "data/labels/b.png").write_bytes(b"broken")
    report = factories.again(cache)
    assert list(report.failures) == ["b"]
    assert any("1 of the failed cases still have an earlier result" in w for w in report.warnings)


def test_cases_that_left_the_data_set_are_a_warning(cache):
    for folder in ("images", "labels"):
        (cache.parent / f"data/{folder}/b.png").unlink()
    report = factories.again(cache)
    assert report.complete and len(open_cache(cache)) == 3
    assert (
        "holds 1 case that the data set does not have any more (for example b)"
        in report.warnings[0]
    )
    assert factories.again(cache, overwrite=True).warnings == ()
    assert len(open_cache(cache)) == 2 and verify(cache) == []


def test_few_superpixels_are_a_warning(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ("a",), shape=(8, 9))
    report = generate(data, tmp_path / "c.h5", Settings(n_segments=2000))
    assert "1 of 1 cases have fewer than half of the superpixels asked for" in report.warnings[0]


@pytest.mark.parametrize("bad", ["a/b", "x\0y", "../../evil"])
def test_ids_with_slashes_or_nul_never_reach_the_disk(tmp_path, bad):
    dataset = list_dataset(factories.write_scenes(tmp_path / "data"))
    refs = (replace(dataset.refs[0], id=bad), *dataset.refs[1:])
    report = generate(replace(dataset, refs=refs), tmp_path / "c.h5", QUICK)
    assert list(report.failures) == [bad] and report.cases == 2
    assert "expected one short line of text without slashes" in report.failures[bad]
    lines = failures_path(tmp_path / "c.h5").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and "\0" not in lines[1]
    assert {p.name for p in tmp_path.iterdir()} == {"c.h5", "c.parts", "c.failed.tsv", "data"}


def test_the_list_of_failed_cases_can_be_read(tmp_path, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("two\nlines")  # unexpected, so that its traceback is in the list

    data = factories.write_scenes(tmp_path / "data", ("a", "b"))
    (data / "labels" / "a.png").write_bytes(b"no image")
    with monkeypatch.context() as patch:
        patch.setattr("softlabel.generation.worker.compute", fails)
        report = generate(data, tmp_path / "c.h5", QUICK)
    found = read_failures(tmp_path / "c.h5")
    assert list(found) == list(report.failures) == ["a", "b"]
    assert found == {case: " ".join(why.split()) for case, why in report.failures.items()}
    assert read_failures(tmp_path / "other.h5") == {}


def test_the_list_of_failures_belongs_to_the_cache_and_not_to_the_last_run(tmp_path):
    """As of shards that share a cache: each tells of its own cases."""
    data = factories.write_scenes(tmp_path / "data", ("a", "b", "c", "d"))
    out = tmp_path / "c.h5"
    good = (data / "images/b.png").read_bytes()
    for name in "bd":
        (data / f"images/{name}.png").write_bytes(b"no picture")
    for ids in (["a", "b"], ["c"], ["d"], ["a"]):
        generate(data, out, factories.QUICK, ids=ids)
    assert set(read_failures(out)) == {"b", "d"}
    assert "b.png" in read_failures(out)["b"]
    (data / "images/b.png").write_bytes(good)
    generate(data, out, factories.QUICK, ids=["b"])
    assert set(read_failures(out)) == {"d"}
    (data / "images/d.png").unlink()
    (data / "labels/d.png").unlink()
    generate(data, out, factories.QUICK, ids=["a"])
    assert not failures_path(out).exists(), "the data set does not have it any more"
