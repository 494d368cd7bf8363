"""The folder of measurements: which files there are, and what the report adds up."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from softlabel.errors import CaseError, UsageError
from softlabel.measurements.sources import open_labels
from softlabel.measurements.surfaces import Comparison
from softlabel.measurements.write import Outputs, write_surfaces

from .factories import TWO, block, source


def test_files_of_each_volume_and_tables_of_all(duke, predictions, tmp_path):
    comparison = Comparison(
        open_labels(predictions),
        reference=open_labels(duke),
        reference_rater="truth",
        bscan_mm=1.25,
    )
    out, done = tmp_path / "a" / "b", []
    outputs = Outputs(duke=True, draw=lambda volume: volume.name.encode())
    report = write_surfaces(comparison, out, outputs, done.append)
    assert {p.name for p in out.iterdir()} == {
        "Subject_01.surfaces.csv", "Subject_01.thickness.npz", "Subject_01.mat", "Subject_01.png",
        "cases.csv", "etdrs.csv",
    }  # fmt: skip
    assert set(report.written) == set(out.iterdir())
    assert (out / "Subject_01.png").read_bytes() == b"Subject_01"
    assert (report.cases, report.volumes, len(done)) == (3, 1, 3)
    assert report.failures == {} and report.absent == () and report.without_grid == ()
    # the predictions are the truth one row too deep
    for surface in report.surfaces:
        assert surface.absolute_um == pytest.approx(3.87, abs=0.05)
        assert surface.signed_um == pytest.approx(3.87, abs=0.05)
        assert surface.graders_absolute_um > 0
    with (out / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 8
    ilm = [float(row["absolute_um"]) for row in rows if row["surface"] == "ILM"]
    assert report.surfaces[0].absolute_um == pytest.approx(np.mean(ilm))
    with (out / "etdrs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8 * 9


def test_the_report_counts_a_scans_out_of_order_and_names_what_no_case_has(tmp_path):
    noisy = block()
    noisy[8, :2] = 1
    report = write_surfaces(
        Comparison(source(a=noisy, b=block(), c=block() + 7), layers=TWO), tmp_path
    )
    assert (report.ascans, report.disordered, report.absent) == (10, 2, ())
    assert list(report.failures) == ["c"]
    only_top = np.minimum(block(), 1)
    report = write_surfaces(Comparison(source(a=only_top), layers=TWO), tmp_path)
    assert report.absent == ("bottom",)


def test_names_of_volumes_are_never_paths(tmp_path):
    names = ("../x", "con", "a:b_bscan_1")
    report = write_surfaces(
        Comparison(source(**dict.fromkeys(names, block())), layers=TWO), tmp_path / "out"
    )
    assert {path.parent for path in report.written} == {tmp_path / "out"}
    assert len(report.written) == 2 * 3 + 1
    assert not any(set(path.name) & set(":/\\") for path in report.written)


def test_volumes_without_a_distance_of_b_scans_are_named(tmp_path):
    maps = {"v_bscan_0": block(), "v_bscan_1": block(), "w": block()}
    report = write_surfaces(Comparison(source(**maps), layers=TWO), tmp_path)
    assert report.without_grid == ("v",) and not (tmp_path / "etdrs.csv").exists()


def test_nothing_to_measure(tmp_path):
    with pytest.raises(CaseError, match="Nothing could be measured: a: the label map holds"):
        write_surfaces(Comparison(source(a=block() + 5), layers=TWO), tmp_path)
    with pytest.raises(CaseError, match="source has no case"):
        write_surfaces(Comparison(source(), layers=TWO), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_among_the_label_maps(duke, tmp_path):
    before = sorted(duke.iterdir())
    with pytest.raises(UsageError, match="is that of the label maps, beside which nothing"):
        write_surfaces(Comparison(open_labels(duke)), duke)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; choose another folder"):
        write_surfaces(Comparison(open_labels(duke)), tmp_path / "file" / "out")
    assert sorted(duke.iterdir()) == before


def test_a_full_disk_leaves_no_half_file(monkeypatch, tmp_path):
    import factories as shared

    shared.fill_disk_after(monkeypatch, 1)
    with pytest.raises(OSError, match="thickness"):
        write_surfaces(Comparison(source(a=block()), layers=TWO), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.surfaces.csv"]
