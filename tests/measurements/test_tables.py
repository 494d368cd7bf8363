"""Rows of the tables, against numbers on the pixels."""

from __future__ import annotations

import csv
import io

import numpy as np

from softlabel.measurements.scans import Compared, Scales, scan_surfaces
from softlabel.measurements.sources import CaseLabels
from softlabel.measurements.tables import (
    CASE_COLUMNS,
    ETDRS_COLUMNS,
    case_rows,
    csv_bytes,
    etdrs_rows,
    surface_columns,
    surface_rows,
)
from softlabel.measurements.volumes import volume_from
from softlabel.surfaces import Sector

from .factories import TWO, block, scan


def read(columns, rows):
    return list(csv.DictReader(io.StringIO(csv_bytes(columns, rows).decode())))


def test_every_a_scan_has_the_depth_of_its_surfaces_below_the_upper_edge():
    labels = block()
    labels[1:4, 1] = 9  # the top runs through fluid
    labels[:, 3] = 255
    labels[6:, 4] = [1, 2, 1, 2]  # one step upwards
    volume = volume_from("v", [scan("v_bscan_7", labels)], None)
    rows = read(surface_columns(TWO), surface_rows(volume, TWO))
    assert [row["ascan"] for row in rows] == list("01234")
    assert {row["bscan"] for row in rows} == {"7"}
    # the first row of class 1 is row 2: two pixels of 4 µm lie above it
    assert [row["top (um)"] for row in rows] == ["8.000", "8.000", "8.000", "", "8.000"]
    assert [row["bottom (um)"] for row in rows[:4]] == ["24.000", "24.000", "24.000", ""]
    assert [row["through_fluid"] for row in rows] == ["", "top", "", "", ""]
    assert [row["violations"] for row in rows] == ["0", "0", "0", "0", "1"]


def test_a_case_has_a_row_for_each_surface():
    one = block(top=3)
    one[:, 0] = 255
    maps = {"labels": block(), "grader2": block(bottom=7)}
    reference = CaseLabels("a", "a", "p", maps, spacing_mm=(0.004, 0.01))
    case = CaseLabels("a", "a", "", {"labels": one})
    found = scan_surfaces(Compared(case, "labels", reference, "labels"), TWO, Scales())
    top, bottom = read(CASE_COLUMNS, case_rows(found, TWO))
    assert (top["case"], top["patient"], top["surface"]) == ("a", "p", "top")
    assert (top["ascans"], top["coverage"], top["violations"]) == ("5", "0.800", "0")
    assert (top["absolute_um"], top["signed_um"]) == ("4.000", "4.000")
    assert (top["compared"], top["missing"]) == ("4", "1")
    assert (bottom["absolute_um"], bottom["graders_absolute_um"]) == ("0.000", "4.000")
    assert (bottom["graders_signed_um"], bottom["graders_compared"]) == ("4.000", "5")


def test_what_is_not_known_is_empty():
    (row, _) = read(CASE_COLUMNS, case_rows(scan("a"), TWO))
    assert {name for name, value in row.items() if value == ""} == {
        "absolute_um", "signed_um", "compared", "missing", "graders_absolute_um",
        "graders_signed_um", "graders_compared",
    }  # fmt: skip
    sectors = {"retina": [Sector("centre", float("nan"), 0, 0.0)]}
    volume = volume_from("v", [scan("v")], None)
    (row,) = read(ETDRS_COLUMNS, etdrs_rows(volume, sectors))
    assert (row["volume"], row["patient"], row["mean_um"]) == ("v", "patient", "")
    assert csv_bytes(("a",), [(np.float64("inf"),)]) == b'a\n""\n'


def test_text_is_quoted():
    data = csv_bytes(("a", "b"), [("x,y", 'say "z"')])
    assert list(csv.reader(io.StringIO(data.decode())))[1] == ["x,y", 'say "z"']
