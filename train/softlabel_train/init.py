"""A recipe for a data set of one's own, as text with comments that is there to be edited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from softlabel.errors import plural
from softlabel.generation import Settings, resolved
from softlabel.types import Dataset
from softlabel_train.fingerprint import Fingerprint, patch_for

IMAGE_SUPERPIXEL_SIZE = 190
"""Pixels of a superpixel of an image: those of 2000 in a B-scan of Duke OCT-DME."""

CT_WINDOW = (-160, 240)
"""Hounsfield units of soft tissue."""

EVALUATED = 5
"""One patient in so many is evaluated."""

NAMED_CLASSES = 12


def recipe_text(name: str, dataset: Dataset, facts: Fingerprint, memory_gb: float) -> str:
    """A YAML recipe on ``generic_2d``, ``generic_3d`` or ``ct``.

    Parameters
    ----------
    name : str
    dataset : Dataset
    facts : Fingerprint
    memory_gb : float
        Of the device that trains.
    """
    volumes = facts.dims == 3
    patch = patch_for(facts.shape, facts.spacing_mm, memory_gb) if volumes else None
    return "\n".join([
        *_head(facts),
        f"base: {_base(facts)}",
        f"name: {_quoted(name)}",
        *_data(dataset, facts, patch, memory_gb),
        *_generate(facts),
        *([f"evaluate: {{window: {_row(patch)}}}"] if patch else []),
    ]) + "\n"  # fmt: skip


def superpixels_of(facts: Fingerprint) -> Settings:
    """Superpixels for such data: those of volumes are what ``--preset auto`` chooses."""
    if facts.dims == 2:
        return Settings(superpixel_size=IMAGE_SUPERPIXEL_SIZE)
    return resolved(Settings(preset="auto"), facts.shape)


def _base(facts: Fingerprint) -> str:
    """The recipe that is shipped for such data."""
    return "ct" if _is_ct(facts) and facts.dims == 3 else f"generic_{facts.dims}d"


def _is_ct(facts: Fingerprint) -> bool:
    return any(channel.upper() == "CT" for channel in facts.channels)


def _head(facts: Fingerprint) -> list[str]:
    voxels = "" if facts.spacing_mm is None else f", pixels of {_by(facts.spacing_mm)} mm"
    named = ", ".join(f"{value} {label}".strip() for value, label in facts.classes[:NAMED_CLASSES])
    more = ", …" if len(facts.classes) > NAMED_CLASSES else ""
    return [
        f"# {plural(facts.cases, 'case')} of {plural(facts.patients, 'patient')}, in the median "
        f"{_by(facts.shape)}{voxels}.",
        f"# Classes: {named}{more}",
        "# `softlabel-train recipes --keys` lists every key; `softlabel-train recipes "
        f"{_base(facts)}` what this builds on.",
    ]


def _data(
    dataset: Dataset, facts: Fingerprint, patch: Sequence[int] | None, memory_gb: float
) -> list[str]:
    lines = [
        "data:",
        f"  source: {_quoted(dataset.root.resolve().as_posix())}",
        f"  format: {dataset.format}",
    ]
    options = {name: value for name, value in dataset.options.items() if value is not None}
    if options:
        lines.append(f"  format_options: {_quoted(options)}")
    lines.append(f"  classes: {len(facts.classes)} # a cache with another number is refused")
    lines += _split(facts.patients, "group" in dataset.options)
    if patch:
        lines.append(
            f"  crop: {_row(patch)} # patches for about {memory_gb:g} GB in batches of two; `fit` "
            "says what they take"
        )
    return lines


def _split(patients: int, groups: bool) -> list[str]:
    if patients < 3:
        regroup = (
            "  # If cases are of several patients: `softlabel-train init SOURCE group=REGEX`, anew."
        )
        return [
            f"  # Training, the learning rate's schedule and the score need patients of their own, "
            f"and there {'is' if patients == 1 else 'are'} {patients}:",
            "  # `fit` refuses.",
            *([regroup] if groups else []),
        ]
    n = max(1, patients // EVALUATED)
    return [f"  split: {{kind: random, n_evaluation: {n}, held_out: 1}} # of {patients} patients"]


def _generate(facts: Fingerprint) -> list[str]:
    chosen = superpixels_of(facts)
    volumes = facts.dims == 3
    unit = "voxels; these are the superpixels of `softlabel generate --preset auto`"
    size = f"{chosen.superpixel_size:g} # {unit if volumes else 'pixels'}"
    lines = ["generate:", f"  superpixel_size: {size}"]
    if volumes:
        lines += [
            f"  compactness: {chosen.compactness:g}",
            f"  sigma: {chosen.sigma:g}",
            f"  channel_percentiles: {_row(chosen.channel_percentiles)}",
        ]
        if facts.spacings_differ and facts.spacing_mm is not None:
            lines.append(
                f"  resample_mm: {_row(facts.spacing_mm)} # the median; training never resamples, "
                "and predictions come back to the grid of the scan"
            )
        elif facts.spacing_mm is None:
            lines.append("  # no spacing is stated: voxels are taken for cubes of equal size")
    if _is_ct(facts):
        low, high = CT_WINDOW
        lines += [
            "  normalise: zscore",
            f"  preprocess_options: {{window: [{low}, {high}]}} # Hounsfield units of soft tissue; "
            "wider for bone and lung",
        ]
    return lines


def _by(numbers: Sequence[float]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)


def _row(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"


def _quoted(value: Any) -> str:
    """JSON, which is YAML as well."""
    return json.dumps(value, ensure_ascii=False)
