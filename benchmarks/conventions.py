"""What the convention and the unit do to surface distances of the same two label maps.

Run with ``python -m benchmarks.conventions``. A grader of a phantom is scored against its truth,
over the classes that the paper averages; conventions are those of ``evaluate.convention``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, get_args

from benchmarks.measure import one_thread, show

one_thread()

import numpy as np  # noqa: E402
from softlabel_train.metrics import Convention, evaluate  # noqa: E402

from benchmarks import data  # noqa: E402
from softlabel.types import Case  # noqa: E402

DISTANCES = ("hd95", "asd", "assd")

Row = dict[str, Any]


def table(name: str, cases: Sequence[Case], classes: str, units: Sequence[str]) -> list[Row]:
    """Mean distances over cases and classes, by convention and unit."""
    return [
        {name: convention, "unit": unit} | mean_distances(cases, classes, convention, unit)
        for unit in units
        for convention in get_args(Convention)
    ]


def mean_distances(
    cases: Sequence[Case], classes: str, convention: Convention, unit: str
) -> dict[str, float]:
    """Means over cases and classes that both label maps have."""
    found: dict[str, list[float]] = {metric: [] for metric in DISTANCES}
    for case in cases:
        assert case.truth is not None
        scores = evaluate(
            case.truth, case.labels, classes, case.spacing_mm if unit == "mm" else None,
            ignore=case.ignore, convention=convention,
        )  # fmt: skip
        for of_class in scores.values():
            for metric in DISTANCES:
                found[metric].append(of_class[metric])
    return {metric: float(np.nanmean(values)) for metric, values in found.items()}


def main(repeats: int = 1) -> list[Row]:
    """Print the tables and return their rows; nothing is timed or repeated."""
    bscans, brains = data.annotated_bscans(), data.annotated_brains()
    name = f"{len(bscans)} B-scans of 496×768, 3.87×11.33 µm"
    rows = table(name, bscans, "oct", ("pixels", "mm"))
    brain_rows = table("a brain of 240×240×48, 0.96×0.96×3 mm", brains, "mrbrains18", ("mm",))
    for one in (rows, brain_rows):
        show("A grader of a phantom against its truth", one)
    return rows + brain_rows


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
