"""Small cases for the steps, and arrays that hypothesis draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from softlabel.types import Case, ClassTable

TABLE = ClassTable((0, 3, 7, 8), ("vitreous", "inner", "outer", "choroid"))
IGNORE = 255


def case_of(bscan, **changes):
    """A phantom's B-scan as a case with the true labels as those of a grader."""
    case = Case(
        "scan 1",
        bscan.image[None],
        bscan.labels,
        ClassTable.from_values(range(10)),
        spacing_mm=(0.00387, 0.01133),
        source="scan.png",
        truth=bscan.labels,
        label_maps={"grader2": np.roll(bscan.labels, 2, axis=0)},
    )
    return replace(case, **changes)


def layered(shape=(60, 40), seed=0, **changes):
    """A case whose every kind of array lies on the same grid, without meaning."""
    rng = np.random.default_rng(seed)
    values = np.array(TABLE.values, np.uint8)
    soft = rng.dirichlet(np.ones(4), shape).astype(np.float32)
    case = Case(
        "a",
        rng.integers(0, 255, (1, *shape)).astype(np.uint8),
        values[rng.integers(0, 4, (2, *shape))],
        TABLE,
        ignore=IGNORE,
        rater_axis=0,
        raters=("x", "y"),
        mask=rng.random(shape) < 0.9,
        truth=values[rng.integers(0, 4, shape)],
        label_maps={"other": values[rng.integers(0, 4, shape)]},
        soft=np.moveaxis(soft, -1, 0),
        spacing_mm=(0.004, 0.012, 0.12)[: len(shape)],
        affine=np.diag([0.004, 0.012, 0.12, 1.0]),
    )
    return replace(case, **changes)
