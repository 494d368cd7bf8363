"""Phantom brains and small volumes as cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from softlabel.types import Case, ClassTable

TABLE = ClassTable((0, 3, 7, 8), ("air", "grey", "white", "lesion"))
IGNORE = 255
OBLIQUE = np.array([[0.8, 0.3, 0.1, -40], [-0.3, 0.9, 0.2, 7], [0, -0.2, 3, 9], [0, 0, 0, 1.0]])


def case_of(brain, **changes):
    """A phantom's brain as a case with the true labels as those of a grader, without a mask."""
    case = Case(
        "7",
        brain.images,
        brain.labels,
        ClassTable.from_values(range(11)),
        spacing_mm=brain.spacing_mm,
        affine=brain.affine,
        channels=("FLAIR", "reg_T1", "reg_IR"),
        slice_axis=2,
        source="training/7",
    )
    return replace(case, **changes)


def volume(shape=(9, 7, 5), seed=0, **changes):
    """A case whose every kind of array lies on the same grid, without meaning."""
    rng = np.random.default_rng(seed)
    values = np.array(TABLE.values, np.uint8)
    mask = rng.random(shape) < 0.6
    mask[tuple(n // 2 for n in shape)] = True
    case = Case(
        "a",
        rng.integers(1, 2000, (2, *shape)).astype(np.int16),
        values[rng.integers(0, 4, (2, *shape))],
        TABLE,
        ignore=IGNORE,
        rater_axis=0,
        raters=("x", "y"),
        mask=mask,
        truth=values[rng.integers(0, 4, shape)],
        label_maps={"other": values[rng.integers(0, 4, shape)]},
        soft=np.moveaxis(rng.dirichlet(np.ones(4), shape).astype(np.float32), -1, 0),
        spacing_mm=(0.9, 1.0, 3.0)[: len(shape)],
        affine=OBLIQUE,
        channels=("T1", "FLAIR"),
    )
    return replace(case, **changes)
