"""Scores of a 240×240×48 label map with 9 classes: softlabel_train.metrics against MedPy.

Run with ``python benchmarks/metrics.py``. Both compute Dice, HD95, ASD and ASSD of every class
from the same two label maps in the same run; every value must agree within 1e-6.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import ndimage

SHAPE = (240, 240, 48)
SPACING_MM = (0.958, 0.958, 3.0)
CLASSES = range(1, 10)
NAMES = ("dice", "hd95", "asd", "assd")


def brain(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A label map of nested folded shells and blobs, and a copy displaced by about two voxels."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    fold = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (5, 5, 1.5))
    fold /= fold.std()
    head = np.sqrt((x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 0.95) ** 2)
    shell = head + 0.05 * fold
    truth = np.zeros(SHAPE, np.uint8)
    truth[head < 1] = 5
    for value, radius in ((1, 0.88), (3, 0.75), (2, 0.35), (6, 0.2)):
        truth[shell < radius] = value
    truth[(fold > 2) & (truth == 3)] = 4
    truth[(fold < -2.3) & (truth == 3)] = 9
    below = np.sqrt((x / 0.4) ** 2 + ((y - 0.55) / 0.25) ** 2 + ((z + 0.6) / 0.3) ** 2)
    truth[below + 0.05 * fold < 1] = 7
    stem = np.sqrt((x / 0.12) ** 2 + ((y - 0.3) / 0.15) ** 2 + ((z + 0.6) / 0.4) ** 2)
    truth[stem < 1] = 8
    shift = [ndimage.gaussian_filter(rng.standard_normal(SHAPE), (6, 6, 2)) for _ in range(3)]
    moved = [
        grid + size * s / s.std()
        for grid, s, size in zip(np.indices(SHAPE), shift, (2, 2, 0.6), strict=True)
    ]
    return ndimage.map_coordinates(truth, moved, order=0, mode="nearest"), truth


def medpy_scores(pred: np.ndarray, truth: np.ndarray) -> dict[int, dict[str, float]]:
    from medpy.metric import binary

    scores = {}
    for value in CLASSES:
        p, g = pred == value, truth == value
        scores[value] = {
            "dice": binary.dc(p, g),
            "hd95": binary.hd95(p, g, SPACING_MM),
            "asd": binary.asd(p, g, SPACING_MM),
            "assd": binary.assd(p, g, SPACING_MM),
        }
    return scores


def seconds(function: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main(repeats: int = 3) -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    from softlabel_train.metrics import evaluate

    pred, truth = brain()
    mine = evaluate(pred, truth, CLASSES, SPACING_MM)
    peer = medpy_scores(pred, truth)
    worst = max(abs(mine[c][n] - peer[c][n]) for c in CLASSES for n in NAMES)
    if not worst < 1e-6:
        raise AssertionError(f"The scores differ from MedPy's by {worst}.")
    medpy_seconds = seconds(lambda: medpy_scores(pred, truth), repeats)
    rows: list[dict[str, Any]] = [
        {"what": "MedPy: Dice, HD95, ASD, ASSD", "seconds": medpy_seconds, "ratio": 1.0},
    ]
    for convention in ("medpy", "evalseg", "mrbrains18"):
        took = seconds(
            lambda c=convention: evaluate(pred, truth, CLASSES, SPACING_MM, convention=c),  # type: ignore[misc]
            repeats,
        )
        what = f"softlabel_train, {convention}: the same, VS, precision, recall, NSD"
        rows.append({"what": what, "seconds": took, "ratio": medpy_seconds / took})
    table = Table(title=f"Metrics, {'×'.join(map(str, SHAPE))}, {len(CLASSES)} classes")
    table.add_column("what")
    table.add_column("s", justify="right")
    table.add_column("times as fast", justify="right")
    for row in rows:
        table.add_row(row["what"], f"{row['seconds']:.2f}", f"{row['ratio']:.1f}")
    console = Console()
    console.print(table)
    console.print(f"Largest difference from MedPy: {worst:.1e}")
    return rows


if __name__ == "__main__":
    main()
