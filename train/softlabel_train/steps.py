"""The steps before superpixels that a network was trained after.

A raw scan is taken through them before the network sees it, and what the network predicts is
brought back to the grid of the scanner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.cache import Cache
from softlabel.errors import CaseError, UsageError
from softlabel.generation import Settings, networks_for, recorded_settings
from softlabel.preprocess import Preprocessed, Record, preprocess, restore
from softlabel.types import Array, Case, ClassTable

Steps = Mapping[str, Any]
"""Words and options as :class:`softlabel.Settings` records them; empty without steps."""


def steps_of(cache: Cache) -> dict[str, Any]:
    """The steps that all cases of a cache went through."""
    recorded = recorded_settings(cache.header.settings)
    return dict(recorded.get("preprocess_options", {}))


def require_same_steps(cache: Cache, steps: Steps, source: str) -> None:
    """Refuse a cache whose images went through other steps than those of the training.

    Raises
    ------
    UsageError
    """
    theirs = steps_of(cache)
    if Settings(preprocess_options=theirs) != Settings(preprocess_options=steps):
        raise UsageError(
            f"The cache {cache.path} was made with the preprocessing {_words(theirs)}, and the "
            f"checkpoint {source} was trained with {_words(steps)}; use a cache of the same steps."
        )


def _words(steps: Steps) -> str:
    return ", ".join(f"{name}={value}" for name, value in steps.items()) or "none"


def apply_steps(case: Case, steps: Steps, weights: Path | None = None) -> Preprocessed:
    """Take a raw scan through the steps of the training.

    Parameters
    ----------
    case : Case
    steps : mapping
    weights : Path, optional
        The file of the denoiser's weights, where they do not come with softlabel.

    Raises
    ------
    UsageError
        When the weights are not those of the training.
    CaseError
        When a step cannot change it, or takes the brain mask from labels, which no scan has.
    """
    if steps.get("brain_mask") == "labels":
        raise CaseError(
            f"{case.name}: the network was trained on brain masks made from labels, "
            "which a scan does not have; train on masks that can be made for scans, such as "
            "--brain-mask intensity."
        )
    plan = Settings(preprocess_options=steps).preprocessing
    return preprocess(case, plan, networks_for(plan, weights))


def require_weights(steps: Steps, weights: Path | None) -> None:
    """Refuse, before the first scan, steps whose network is not there.

    Raises
    ------
    UsageError, MissingExtraError
    """
    networks_for(Settings(preprocess_options=steps).preprocessing, weights)


def require_masks(steps: Steps, given: bool) -> None:
    """Refuse, before the first scan, steps that need masks which are not given.

    Raises
    ------
    UsageError
    """
    if steps.get("brain_mask") == "given" and not given:
        raise UsageError(
            "The network was trained within brain masks that were given; give those of the scans "
            "with --masks, a folder or pattern of files named as the scans are."
        )


def scan_case(
    name: str,
    source: str,
    image: Array,
    classes: ClassTable,
    ignore: int | None,
    spacing_mm: tuple[float, ...] | None,
    affine: Array | None,
    slice_axis: int | None,
    mask: Array | None = None,
) -> Case:
    """A scan without labels as a case: its label map says nothing."""
    nothing = np.full(image.shape[1:], classes.values[0], np.int64)
    return Case(
        name, image, nothing, classes, ignore, spacing_mm=spacing_mm, affine=affine, source=source,
        slice_axis=slice_axis, mask=mask,
    )  # fmt: skip


def on_original_grid(
    records: Sequence[Record], labels: Array, probabilities: Array
) -> tuple[Array, Array]:
    """A predicted label map and its probabilities on the grid before the steps.

    Parameters
    ----------
    records : sequence of Record
        Of the case; empty without steps.
    labels : ndarray of an integer type, shape (*spatial after)
    probabilities : ndarray of float32, shape (K, *spatial after)

    Returns
    -------
    ndarray, shape (*spatial before), and ndarray, shape (K, *spatial before)

    Raises
    ------
    ValueError
        When a record is damaged.
    """
    return restore(records, labels, "labels"), restore(records, probabilities, "soft")
