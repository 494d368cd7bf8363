"""What an export decides before it writes, and what it does about failures."""

from __future__ import annotations

import errno
import os

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache, pack_cache
from softlabel.errors import UsageError
from softlabel.exports import FORMATS, export_cache
from softlabel.exports import case as case_module
from softlabel.exports.format import ExportOptions


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_some_cases_have_the_names_that_they_have_among_all(volumes, tmp_path, ids):
    export_cache(volumes, tmp_path / "all", "npz")
    for case_id in ids:
        export_cache(volumes, tmp_path / "one", "npz", ids=[case_id])
    assert files_below(tmp_path / "all") == files_below(tmp_path / "one")
    with open_cache(volumes) as cache:
        assert cache.chosen(["sub-*"]) == ["sub-02"] and cache.chosen() == ids


@pytest.mark.parametrize("to", ["nifti", "npz"])
def test_files_that_are_there_are_refused_before_any_is_written(volumes, tmp_path, to):
    first = export_cache(volumes, tmp_path, to, ids=["sub-02"]).written[0]
    first.write_bytes(b"mine")
    before = files_below(tmp_path)
    with pytest.raises(UsageError, match=r"exists.*--overwrite"):
        export_cache(volumes, tmp_path, to)
    assert files_below(tmp_path) == before and first.read_bytes() == b"mine"
    export_cache(volumes, tmp_path, to, overwrite=True)
    assert first.read_bytes() != b"mine"


def test_tables_of_another_data_set_are_not_replaced(volumes, tmp_path):
    (tmp_path / "dseg.tsv").write_text("index\tname\n1\tbrain\n")
    with pytest.raises(UsageError, match=r"dseg.tsv exists"):
        export_cache(volumes, tmp_path, "nifti")


def test_a_damaged_case_fails_and_the_others_are_done(tmp_path):
    cache = factories.make_cache(tmp_path)
    path = factories.part(cache, "b")
    path.write_bytes(path.read_bytes()[:-100])
    report = export_cache(cache, tmp_path / "out", "npz")
    assert list(report.failures) == ["b"] and str(path) in report.failures["b"]
    assert files_below(tmp_path / "out") == ["a.npz", "c.npz"]


def test_steps_that_cannot_be_undone_name_the_grid_of_the_cache(slices, tmp_path, monkeypatch):
    def refuse(*args):
        raise ValueError("the record names the step 'x'")

    monkeypatch.setattr(case_module, "restore", refuse)
    report = export_cache(slices, tmp_path, "npz")
    assert "names the step 'x'" in report.failures["scan"]
    assert "--grid cache" in report.failures["scan"]
    assert not export_cache(slices, tmp_path, "npz", grid="cache").failures


@pytest.mark.parametrize("to", ["nifti", "npz"])
def test_a_full_disk_stops_and_leaves_no_half_file(volumes, tmp_path, monkeypatch, to):
    factories.fill_disk_after(monkeypatch, 1)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as raised:
        export_cache(volumes, tmp_path / "out", to)
    assert str(raised.value.filename).startswith(str(tmp_path / "out"))
    assert len(files_below(tmp_path / "out")) == 1


def test_a_packed_cache_is_exported_the_same(volumes, tmp_path):
    packed = pack_cache(volumes, tmp_path / "p.h5")
    for path, out in ((volumes, "a"), (packed, "b")):
        export_cache(path, tmp_path / out, "nifti")
    assert files_below(tmp_path / "a") == files_below(tmp_path / "b")
    for name in files_below(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_options_that_cannot_work_are_refused(volumes, tmp_path):
    for to, options, words in (
        ("nifty", {}, "did you mean nifti"),
        ("matlab", {}, "expected one of nifti, npz"),
        ("npz", {"per_class": True}, "per_class has no meaning for npz, only for nifti"),
        ("nifti", {"source": tmp_path}, "source has no meaning for nifti, only for dicom-seg"),
        ("npz", {"grid": "mine"}, "grid is 'mine'; expected one of scanner, cache"),
        ("npz", {"ids": ["sub-2"]}, "has no case 'sub-2'; did you mean sub-02"),
    ):
        with pytest.raises(UsageError, match=words):
            export_cache(volumes, tmp_path / "out", to, **options)
    assert not (tmp_path / "out").exists()


def test_ids_never_leave_the_folder(tmp_path):
    """The cache of a stranger may have any id."""
    wild = ("../x", "con", "a:b", "Ä" * 190, f"sub-{'a' * 300}")
    for format_ in FORMATS.values():
        names = format_.names(list(wild))
        classes = factories.FULL_CLASSES
        for name in names.values():
            for file in format_.files(name, classes, ExportOptions(per_class=True)):
                assert ".." not in file.split("/") and not file.startswith("/")
                assert all(len(part) < 200 for part in file.split("/")) and file.isascii()


def test_soft_labels_are_those_of_the_cache_class_by_class(volumes, tmp_path):
    export_cache(volumes, tmp_path, "npz", ids=["sub-02"])
    with open_cache(volumes) as cache, np.load(tmp_path / "sub-02.npz") as found:
        np.testing.assert_array_equal(found["soft"].sum(0), cache["sub-02"].soft[...].sum(0))
