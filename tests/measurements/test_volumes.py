"""B-scans become volumes: where they lie, their maps, and what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.measurements.volumes import volume_from
from softlabel.surfaces import etdrs_table

from .factories import TWO, block, scan


def test_b_scans_lie_where_their_names_say():
    scans = [scan(f"v_bscan_{n:03d}", block(bottom=4 + n)) for n in (1, 4)]
    volume = volume_from("v", scans, 0.05)
    assert (volume.places, volume.axial_um, volume.lateral_um) == ((1, 4), 4.0, 10.0)
    assert volume.between_um == pytest.approx(50)
    thickness = volume.thickness(TWO)["retina"]
    assert thickness.shape == (5, 5)
    expected = np.full(5, np.nan)
    expected[[1, 4]] = 4 * 3, 4 * 6
    np.testing.assert_array_equal(thickness, np.broadcast_to(expected, (5, 5)))
    assert list(volume.thickness(TWO)) == ["retina", "top to bottom"]


def test_the_grid_lies_around_the_middle_of_what_is_known():
    rng = np.random.default_rng(0)
    scans = [
        scan(f"v_bscan_{n}", block(bottom=4 + rng.integers(3), shape=(10, 300))) for n in (2, 3, 8)
    ]
    volume = volume_from("v", scans, 0.5)
    assert volume.centre == (149.5, 5.0)
    grid = volume.etdrs(TWO, "left", "superior")
    expected = etdrs_table(
        volume.thickness(TWO)["retina"], (0.01, 0.5), (149.5, 5.0), "left", "superior"
    )
    assert [s.name for s in grid["retina"]] == [s.name for s in expected]
    np.testing.assert_equal([s.mean_um for s in grid["retina"]], [s.mean_um for s in expected])
    assert any(np.isfinite(s.mean_um) for s in expected)


def test_without_a_distance_or_a_second_b_scan_there_is_no_grid():
    two = [scan("v_bscan_0"), scan("v_bscan_1")]
    assert volume_from("v", two, None).etdrs(TWO, None, "inferior") == {}
    assert volume_from("v", two, 0.1).etdrs(TWO, None, "inferior")
    assert volume_from("v", [scan("v")], 0.1).etdrs(TWO, None, "inferior") == {}


def test_what_does_not_fit_together():
    wide = scan("v_bscan_1", block(shape=(10, 6)))
    with pytest.raises(CaseError, match="v_bscan_1 has 6 A-scans 10 µm apart and v_bscan_0 has 5"):
        volume_from("v", [scan("v_bscan_0"), wide], None)
    with pytest.raises(CaseError, match="would be B-scan 99999 of a volume; expected fewer than"):
        volume_from("v", [scan("v_bscan_99999")], None)
