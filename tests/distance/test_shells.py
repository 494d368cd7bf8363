"""Shells hold every offset within their radius, once, in order of its distance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from softlabel.distance.boundary import Metric
from softlabel.distance.shells import half_ball, shell, shell_radius

METRICS = {
    "row": Metric((1.0, 1.0, 1.0), (False, False, True)),
    "plane": Metric((1.0, 1.0, 1.0), (False, True, True)),
    "volume": Metric((1.0, 1.0, 1.0), (True, True, True)),
    "thick slices": Metric((3.0, 0.7, 1.0), (True, True, True)),
    "slice by slice": Metric((3.0, 1.0, 1.0), (False, True, True)),
    "to faces": Metric((1.0, 1.0, 1.0), (True, True, True), to_face=True),
    "to faces of a plane": Metric((1.0, 2.0, 0.5), (False, True, True), to_face=True),
}


def offsets_within(metric, radius):
    """{(Δz, Δy, |Δx|): squared distance}, one offset after another."""
    found = {}
    reach = [
        int(radius / step + 1.5) if on else 0
        for step, on in zip(metric.spacing, metric.active, strict=True)
    ]
    for offset in itertools.product(*(range(-n, n + 1) for n in reach[:2]), range(reach[2] + 1)):
        gaps = [max(abs(n) - 0.5, 0) if metric.to_face else abs(n) for n in offset]
        squared = sum((g * s) ** 2 for g, s in zip(gaps, metric.spacing, strict=True))
        if squared <= radius**2 * (1 + 1e-9):
            found[offset] = squared
    return found


def content(shells):
    """The same of shells, with the level of each offset."""
    return [
        (tuple(offset), squared, level)
        for one in shells
        for number, squared in enumerate(one.squared)
        for offset in one.offsets[one.start[number] : one.start[number + 1]].tolist()
        for level in [one.first_level + number]
    ]


@pytest.mark.parametrize("name", METRICS)
def test_two_shells_hold_what_lies_within_the_second_radius(name):
    metric = METRICS[name]
    shells = [shell(metric, number) for number in range(2)]
    found = content(shells)
    wanted = offsets_within(metric, shell_radius(metric, 1))
    assert len(found) == len(wanted)
    for offset, squared, _ in found:
        assert squared == pytest.approx(wanted[offset], rel=1e-12)
    assert [level for *_, level in found] == sorted(level for *_, level in found)
    by_level = {level: squared for _, squared, level in found}
    assert list(by_level) == list(range(len(by_level))), "levels are numbered through"
    assert (np.diff(list(by_level.values())) > 0).all()
    for one, number in zip(shells, range(2), strict=True):
        assert one.reach == tuple(np.abs(one.offsets).max(axis=0))
        assert one.squared[-1] <= shell_radius(metric, number) ** 2 * (1 + 1e-5)
    assert shells[1].squared[0] > shell_radius(metric, 0) ** 2


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("limit", [0.0, 2.0, 4.5, 1e9])
def test_a_shell_can_be_cut_at_a_limit(name, limit):
    metric = METRICS[name]
    wanted = offsets_within(metric, min(limit, shell_radius(metric, 0)))
    found = shell(metric, 0).within(limit)
    assert {offset for offset, *_ in content([found])} == set(wanted)
    assert found.reach == tuple(int(n) for n in np.abs(list(wanted)).max(axis=0))


@pytest.mark.parametrize("name", ["row", "plane", "volume", "thick slices", "slice by slice"])
def test_half_a_ball_holds_about_as_many_offsets_as_said(name):
    metric = METRICS[name]
    assert half_ball(metric, 12.0) == pytest.approx(len(offsets_within(metric, 12.0)), rel=0.12)
