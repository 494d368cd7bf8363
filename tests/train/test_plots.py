"""Pictures of sweeps, by what is drawn in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from softlabel_train.arms import make_arms
from softlabel_train.plots import plot
from softlabel_train.sweep import ArmResult, SweepResult

DICE = {0.25: (0.5, 0.7), 0.5: (0.6, 0.8), 8.0: (0.9, 0.9)}


def result_of(grid, values, **changes):
    """A sweep whose arms have a Dice for each seed, and superpixels of their own."""
    rows = [
        ArmResult(arm, (0, 1), {("labels", "dice"): values(arm.overrides)}, {}, {}, 100.0 + n,
                  **changes)
        for n, arm in enumerate(make_arms(grid))
    ]  # fmt: skip
    return SweepResult(tuple(rows), {}, False, "mm", Path())


@pytest.fixture
def axes(monkeypatch):
    """Axes of the figures that are drawn."""
    found = []
    subplots = Figure.subplots

    def remember(self, *arguments, **options):
        found.append(subplots(self, *arguments, **options))
        return found[-1]

    monkeypatch.setattr(Figure, "subplots", remember)
    return found


def test_beta_has_an_axis_of_powers_of_two_and_the_deviation_over_seeds(axes):
    result = result_of({"loss.beta": list(DICE)}, lambda keys: DICE[keys["loss.beta"]])
    assert plot(result, "loss.beta").startswith(b"\x89PNG")
    (drawn,) = axes
    line, _, (bars,) = drawn.containers[0].lines
    np.testing.assert_allclose(line.get_xydata(), [(0.25, 0.6), (0.5, 0.7), (8, 0.9)])
    lengths = [np.ptp(bar[:, 1]) for bar in bars.get_segments()]
    np.testing.assert_allclose(lengths, [2 * np.std(v, ddof=1) for v in DICE.values()])
    assert drawn.get_xscale() == "log" and drawn.get_xlabel() == "loss.beta"
    assert [t.get_text() for t in drawn.get_xticklabels()] == ["0.25", "0.5", "8"]


def test_superpixels_are_those_that_were_returned(axes):
    grid = {"generate.n_segments": [500, 3500], "arm": ["hard", "soft"]}
    plot(result_of(grid, lambda keys: (0.5, 0.5), leaks=True), "generate.n_segments")
    (drawn,) = axes
    lines = {c.get_label(): c.lines[0].get_xdata().tolist() for c in drawn.containers}
    assert lines == {
        "arm=hard against labels (leaks)": [100, 102],
        "arm=soft against labels (leaks)": [101, 103],
    }
    assert drawn.get_xscale() == "linear" and "returned" in drawn.get_xlabel()


@pytest.mark.parametrize("values", [["hard", "soft"], [True, False], [1], [1, "one"], [1, None]])
def test_what_is_no_number_is_not_drawn(values, axes):
    result = result_of({"some.key": values}, lambda keys: (0.5, 0.5))
    assert plot(result, "some.key") is None and not axes
    assert plot(result, "other.key") is None
