"""The nine sectors of the ETDRS grid on maps whose means are known."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.surfaces import etdrs_table

SPACING = (0.02, 0.04)
SHAPE = (321, 161)  # 6.4 × 6.4 mm

NAMES = ["centre", *(f"{ring} {quadrant}" for ring in ("inner", "outer")
                     for quadrant in ("superior", "nasal", "inferior", "temporal"))]  # fmt: skip


def places():
    """Distance from the fovea along B-scans and across them, in mm."""
    along = (np.arange(SHAPE[0]) - 160) * SPACING[0]
    across = (np.arange(SHAPE[1]) - 80) * SPACING[1]
    return np.meshgrid(along, across, indexing="ij")


def table(thickness, **options):
    return {s.name: s for s in etdrs_table(thickness, SPACING, **options)}


def test_a_bowl_has_the_means_of_its_rings():
    """The mean of r² over a ring from a to b is (a² + b²) / 2."""
    along, across = places()
    found = table(200 + 10 * (along**2 + across**2), eye="right")
    assert list(found) == NAMES
    for name, sector in found.items():
        low, high = {"c": (0, 0.5), "i": (0.5, 1.5), "o": (1.5, 3)}[name[0]]
        assert sector.mean_um == pytest.approx(200 + 5 * (low**2 + high**2), abs=0.5)
        assert sector.covered == pytest.approx(1, abs=0.02)
    # The quadrants share the rings out: no A-scan is counted twice or left out.
    inside = np.hypot(along, across) <= 3
    assert sum(s.n for s in found.values()) == np.count_nonzero(inside)


def test_directions():
    """On a slope each quadrant of a ring has the mean of its chord: 4√2 (b³−a³) / 3π (b²−a²)."""
    along, across = places()
    mean = 4 * np.sqrt(2) / (3 * np.pi) * (1.5**3 - 0.5**3) / (1.5**2 - 0.5**2)
    for eye, sign in (("right", 1), ("left", -1)):
        found = table(along, eye=eye)
        assert found["inner nasal"].mean_um == pytest.approx(sign * mean, rel=0.02)
        assert found["inner temporal"].mean_um == pytest.approx(-sign * mean, rel=0.02)
        assert found["inner superior"].mean_um == pytest.approx(0, abs=1e-9)
    unknown = table(along)
    assert unknown["outer first columns"].mean_um < 0 < unknown["outer last columns"].mean_um
    for first, sign in (("inferior", 1), ("superior", -1)):
        found = table(across, eye="right", first_bscan=first)
        assert found["inner superior"].mean_um == pytest.approx(sign * mean, rel=0.02)
        assert found["inner inferior"].mean_um == pytest.approx(-sign * mean, rel=0.02)


def test_what_is_not_known_is_not_covered():
    thickness = np.full(SHAPE, 300.0)
    thickness[:, :80] = np.nan  # inferior, below the fovea
    found = table(thickness, eye="left")
    assert found["outer inferior"].n == 0 and np.isnan(found["outer inferior"].mean_um)
    assert found["outer nasal"].covered == pytest.approx(0.5, abs=0.03)
    assert found["outer superior"].mean_um == 300 and found["outer superior"].covered > 0.97
    corner = table(np.full(SHAPE, 300.0), centre=(0, 0))
    assert corner["centre"].covered == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((9,), {}, r"has the shape \(9,\); expected \(columns, B-scans\) of a volume"),
        ((9, 1), {}, r"has the shape \(9, 1\)"),
        ((9, 9), {"spacing_mm": (0.1, 0)}, "spacing_mm must be the distance of A-scans and"),
        ((9, 9), {"eye": "OD"}, "eye must be one of right, left; got 'OD'"),
        ((9, 9), {"first_bscan": "top"}, "first_bscan must be inferior or superior; got 'top'"),
    ],
)
def test_bad_input(shape, options, message):
    with pytest.raises(ValueError, match=message):
        etdrs_table(np.zeros(shape), **{"spacing_mm": SPACING, **options})
