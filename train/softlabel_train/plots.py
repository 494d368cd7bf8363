"""Pictures of sweeps: Dice over a swept number."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from softlabel_train.sweep import ArmResult, SweepResult

SEGMENTS = "generate.n_segments"
"""Over this key, the superpixels that were returned are drawn and not those that were asked for."""

WIDE = 8
"""Positive values whose largest is so many times the smallest lie on a logarithmic axis."""


def plot(result: SweepResult, key: str) -> bytes | None:
    """Draw mean Dice over a swept key, a line for each label map and combination of other keys.

    Parameters
    ----------
    result : SweepResult
    key : str
        Dotted key of the recipe. Over ``generate.n_segments`` the number of superpixels that were
        returned is drawn, which differs from the number that was asked for.

    Returns
    -------
    bytes or None
        A PNG; None when the values of the key are no numbers, or there is only one.
    """
    swept = [row.arm.overrides.get(key) for row in result.arms]
    if len(set(map(json.dumps, swept))) < 2 or not all(map(_is_number, swept)):
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    drawn: list[float] = []
    for label, rows, against in _lines(result, key):
        points = [_point(row, against, key) for row in rows]
        x, y, deviation = zip(*sorted(points), strict=True)
        axes.errorbar(x, y, deviation, marker="o", capsize=3, label=label)
        drawn += x
    ticks = sorted(set(drawn))
    if key != SEGMENTS and ticks[0] > 0 and ticks[-1] / ticks[0] >= WIDE:
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.set_xlabel("superpixels returned in an image or slice" if key == SEGMENTS else key)
    axes.set_ylabel("mean Dice (deviation over seeds)")
    axes.legend()
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lines(result: SweepResult, key: str) -> list[tuple[str, list[ArmResult], str]]:
    """Label, arms and label map of every line."""
    found: dict[tuple[str, str], list[ArmResult]] = {}
    for against in dict.fromkeys(a for row in result.arms for a, _ in row.values):
        for row in result.arms:
            others = [f"{k}={v}" for k, v in row.arm.overrides.items() if k != key]
            leaks = ["(leaks)"] if row.leaks else []
            label = " ".join([*others, f"against {against}", *leaks])
            found.setdefault((label, against), []).append(row)
    return [(label, rows, against) for (label, against), rows in found.items()]


def _point(row: ArmResult, against: str, key: str) -> tuple[float, float, float]:
    """Place on the axis, mean and deviation over seeds."""
    x = row.n_superpixels if key == SEGMENTS else float(row.arm.overrides[key])
    values: Sequence[float] = row.values[against, "dice"]
    deviation = float(np.nanstd(values, ddof=1)) if len(values) > 1 else 0.0
    return x, float(np.nanmean(values)), deviation
