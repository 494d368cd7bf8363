"""The short form of the faults: each breaks something and looks what became of it."""

from __future__ import annotations

import pytest

from faults import collisions, disks, flips, kills, reads


@pytest.mark.slow
def test_runs_that_a_signal_stops_lose_nothing():
    rows = kills.rows(kills=4, signals=2, workers=(1, 2), n_cases=6)
    assert sum(row["runs stopped"] for row in rows) >= 8


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_run_goes_on_with_more_space():
    try:
        rows = disks.rows(fills=3, n_cases=6)
    except disks.NoMountError:
        pytest.skip("no file system can be mounted here")
    assert rows[0]["went on to the same bytes with more space"] == 3


def test_no_byte_that_changes_is_read_as_data():
    rows = flips.rows(count=10)
    assert sum(row["faults"] for row in rows) >= 10
    assert sum(row["an error on reading"] for row in rows) >= 5


@pytest.mark.slow
def test_runs_that_meet_lose_no_case():
    assert sum(row["pairs"] for row in collisions.rows(pairs=4, n_cases=5)) == 4


@pytest.mark.slow
def test_every_sample_is_read_right_however_processes_start():
    pytest.importorskip("torch")
    rows = reads.rows(reads=800, workers=(2,))
    assert sum(row["reads"] for row in rows) >= 800
