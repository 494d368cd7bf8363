"""One case through the steps before superpixels, and what its part keeps of it before them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from softlabel.cache import Before, Header
from softlabel.generation.settings import Settings
from softlabel.preprocess import STEPS, DnCNN, Record, preprocess, restore
from softlabel.types import Array, Case

HardLabels = Callable[[Case, Header], tuple[Array, Mapping[str, Array]]]
"""The hard label map of a case, and its further ones by name."""


def preprocess_case(
    case: Case,
    header: Header,
    settings: Settings,
    hard_labels: HardLabels,
    networks: Mapping[str, DnCNN] | None = None,
) -> tuple[Case, Before | None, dict[str, float]]:
    """The case after the steps that the settings ask for, and what it was before them.

    The third is how many seconds each step took.

    Raises
    ------
    CaseError
        When a step cannot change this case.
    ValueError
        When superpixels of a file were given and a step moves pixels.
    """
    plan = settings.preprocessing
    if not plan:
        return case, None, {}
    case = replace(case, classes=header.classes, ignore=header.ignore)
    done = preprocess(case, plan, networks)
    moved = _moves_pixels(done.records, case.shape)
    if moved and settings.superpixels == "file":
        raise ValueError(
            f"the superpixels of the file lie on the grid of the scanner, and the step {moved} "
            "moves pixels; make superpixels with --superpixels slic, or leave that step out."
        )
    maps: dict[str, Array] = {}
    if moved:
        labels, further = hard_labels(case, header)
        maps = {"labels": labels} | {f"label_maps/{n}": m for n, m in further.items()}
        maps |= {} if case.truth is None else {"truth": case.truth}
    before = Before(
        done.records,
        done.case.notes[len(case.notes) :],
        np.asarray(case.image) if settings.keep_original else None,
        maps,
        case.spacing_mm,
        case.affine,
    )
    names = [record.step for record in done.records]
    return done.case, before, dict(zip(names, done.seconds, strict=True))


def _moves_pixels(records: Sequence[Record], shape: tuple[int, ...]) -> str:
    """The first step that leaves a pixel in another place than it was; empty when none does."""
    for record in records:
        if record.shape_after != record.shape_before:
            return record.step
    for record in records:
        if not STEPS[record.step].in_place:
            place = np.arange(math.prod(shape)).reshape(shape)
            if not np.array_equal(restore([record], place, "labels"), place):
                return record.step
    return ""
