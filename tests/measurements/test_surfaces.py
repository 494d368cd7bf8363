"""Which cases are measured against which, and how failures are told."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import UsageError
from softlabel.measurements.surfaces import Comparison, measure_surfaces

from .factories import TWO, block, source


def measure(comparison):
    told = {"failed": {}, "done": [], "unmatched": []}
    volumes = list(
        measure_surfaces(
            comparison, failed=told["failed"].__setitem__, done=told["done"].append,
            unmatched=told["unmatched"].append,
        )
    )  # fmt: skip
    return volumes, told


def test_b_scans_of_a_volume_are_together_in_the_order_of_their_numbers():
    maps = {name: block() for name in ("b_bscan_10", "b_bscan_9", "a", "c_bscan_1")}
    volumes, told = measure(Comparison(source(**maps), layers=TWO))
    assert [(v.name, v.places) for v in volumes] == [("a", (0,)), ("b", (9, 10)), ("c", (1,))]
    assert [s.id for s in volumes[1].scans] == ["b_bscan_9", "b_bscan_10"]
    assert sorted(told["done"]) == sorted(maps) and not told["failed"]


def test_two_b_scans_of_one_number_are_two_volumes():
    names = ("v_bscan_1", "v_bscan_01", "v_bscan_2", "w", "w_bscan_0")
    volumes, _ = measure(Comparison(source(**dict.fromkeys(names, block())), layers=TWO))
    found = {v.name: [s.id for s in v.scans] for v in volumes}
    assert sorted(s for ids in found.values() for s in ids) == sorted(names)
    assert len(found["v"]) == 2 and found["w"] == ["w"] and found["w_bscan_0"] == ["w_bscan_0"]


def test_cases_are_compared_by_their_ids():
    reference = source("there", a=block(), b=block(top=1), d=block())
    one = source(a=block(top=3), b=block(), c=block())
    volumes, told = measure(Comparison(one, reference=reference, layers=TWO))
    signed = {v.name: v.scans[0].errors and v.scans[0].errors.signed_um[0] for v in volumes}
    assert signed == {"a": 4.0, "b": 4.0, "c": None}
    assert told["unmatched"] == ["c"]


def test_a_case_that_fails_leaves_the_others():
    maps = {"a": block(), "b": block() + 5, "c_bscan_0": block(), "c_bscan_1": block(shape=(9, 9))}
    volumes, told = measure(Comparison(source(**maps), layers=TWO))
    assert [v.name for v in volumes] == ["a"]
    assert list(told["failed"]) == ["b", "c"] and "holds the value" in told["failed"]["b"]
    assert len(told["done"]) == 4


def test_a_label_map_is_not_compared_with_itself():
    one = source(a=block())
    with pytest.raises(UsageError, match="'labels' of source would be compared with itself"):
        Comparison(one, reference=one)
    volumes, _ = measure(Comparison(one, "other", one, layers=TWO))
    np.testing.assert_array_equal(volumes[0].scans[0].errors.absolute_um, 0)
