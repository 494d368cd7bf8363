"""Score a run: predict the evaluation patients and compare with one or several label maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softlabel.cache import Cache, CachedCase, open_cache
from softlabel.errors import UsageError
from softlabel.files.atomic import require_writable, sweep
from softlabel.types import Array
from softlabel_train.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, publish
from softlabel_train.config import EvaluateConfig
from softlabel_train.memory import explain_memory, give_back
from softlabel_train.metrics import SURFACES, calibration, evaluate
from softlabel_train.predict import case_image, load_network, predict_probabilities
from softlabel_train.prepare import LeftOut, require_maps
from softlabel_train.runfolder import about_run, evaluation_folder, left_out_of
from softlabel_train.scores import (
    ALL,
    Score,
    Summary,
    as_csv,
    as_json,
    summarise,
    with_class_means,
)
from softlabel_train.splits import leaks
from softlabel_train.steps import on_original_grid, require_same_steps
from softlabel_train.validation import scored_classes, scored_set

"""Of the patients; ``new`` are those that the run has not seen."""

MADE_WITH = "settings.json"
"""File beside the scores that records what they depend on."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a run.

    Attributes
    ----------
    scores : tuple of Score
        Of every case.
    summary : tuple of Summary
        Means over cases.
    unit : str
        Of the distances: ``mm`` or ``pixels``.
    folder : Path
        Where they were written.
    left_out : tuple of LeftOut
        Cases that belong to the part, and could not be computed when the cache was generated.
    leaks : bool
        Whether the patients that were scored also chose the network (:mod:`splits`).
    """

    scores: tuple[Score, ...]
    summary: tuple[Summary, ...]
    unit: str
    folder: Path
    left_out: tuple[LeftOut, ...] = ()
    leaks: bool = False


def evaluate_run(
    run: Path,
    *,
    checkpoint: str | None = None,
    cache: Path | None = None,
    part: str = "evaluation",
    config: EvaluateConfig | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Predict and score one part of a run's split.

    Parameters
    ----------
    run : Path
        Folder of a run.
    checkpoint : str, optional
        ``best.pt`` (default where there is one) or ``last.pt``.
    cache : Path, optional
        Another cache than the run's, of the same classes and channels.
    part : {"evaluation", "validation", "train", "new"}
        Patients of the run's own split; ``new`` are those that it has not seen.
    config : EvaluateConfig, optional
        Default: the run's own.
    device : str
        A torch device, or ``auto``.
    progress : callable, optional
        Called with the id of every finished case.

    Returns
    -------
    Evaluation
        Also written into ``run/evaluation``, in place of an earlier one: ``cases.csv``,
        ``summary.csv``, ``scores.json``, and what they were made with.

    Raises
    ------
    SoftlabelError
        When there is no checkpoint, or the cache does not fit it.
    """
    path = find_checkpoint(run, checkpoint)
    run = path.parent
    folder = evaluation_folder(run, part)
    require_writable(folder)
    sweep(folder)
    found = load_checkpoint(path)
    opened = open_cache(cache or cache_of_run(run, found))
    check_fit(opened, found, str(path))
    config = config or found.recipe.evaluate
    ids = cases_of_part(opened, found, part)
    left_out = left_out_of_part(run, opened, found, part)
    spaced = all(opened[c].original_spacing_mm is not None for c in ids)
    unit = "mm" if config.unit == "mm" and spaced else "pixels"
    net = load_network(found, str(path), device)
    scores: list[Score] = []
    for case_id in ids:
        with explain_memory(
            "Set evaluate.window, the size of a sliding window, or use --device cpu."
        ):
            scores += score_case(net, opened[case_id], opened, found, config, in_mm=unit == "mm")
        if progress is not None:
            progress(case_id)
    give_back()
    scores = with_class_means(scores)
    summary = summarise(scores, resamples=config.bootstrap)
    leaking = part == "evaluation" and leaks(found.split)
    about: dict[str, Any] = {
        "checkpoint": path.name, "cache": str(opened.path), "part": part, "unit": unit,
        "convention": config.convention, "cases": len(ids), "leaks": leaking,
        "left_out": {case.id: case.reason for case in left_out},
    }  # fmt: skip
    publish(folder / "cases.csv", as_csv(scores))
    publish(folder / "summary.csv", as_csv(summary))
    publish(folder / "scores.json", as_json(about, summary))
    publish(folder / MADE_WITH, made_with(config, path.name, cache).encode())
    return Evaluation(tuple(scores), tuple(summary), unit, folder, left_out, leaking)


def made_with(config: EvaluateConfig, checkpoint: str, cache: Path | None = None) -> str:
    """What scores depend on beside the run: they are replaced when another evaluation is asked for.

    Parameters
    ----------
    config : EvaluateConfig
    checkpoint : str
        ``best.pt`` or ``last.pt``.
    cache : Path, optional
        Another cache than the run's.
    """
    chosen = {"checkpoint": checkpoint, "cache": None if cache is None else str(cache)}
    return json.dumps(chosen | {"evaluate": config.model_dump(mode="json")}, indent=2)


def cases_of_part(cache: Cache, checkpoint: Checkpoint, part: str) -> list[str]:
    """Cases of the patients that were in a part of the run's split, whatever else the cache has.

    Raises
    ------
    UsageError
        When there is none.
    """
    groups = {case_id: cache[case_id].group for case_id in cache}
    seen = {patient for patients in checkpoint.split.values() for patient in patients}
    new = sorted(set(groups.values()) - seen)
    wanted = new if part == "new" else checkpoint.split[part]
    ids = [case_id for case_id, patient in groups.items() if patient in wanted]
    if not ids and part == "new":
        raise UsageError(f"The cache {cache.path} has no patient that the run has not seen.")
    if not ids:
        hint = f" It has {len(new)} new patients: --part new scores them." if new else ""
        raise UsageError(
            f"The cache {cache.path} has none of the run's {part} patients "
            f"({', '.join(wanted[:8])}{', …' if len(wanted) > 8 else ''}).{hint}"
        )
    return ids


def left_out_of_part(
    run: Path, cache: Cache, checkpoint: Checkpoint, part: str
) -> tuple[LeftOut, ...]:
    """Cases of a part that the run went without, and the cache still lacks.

    One whose patient nobody knows may belong to any part.
    """
    patients = (None, *checkpoint.split.get(part, ()))
    return tuple(
        case for case in left_out_of(run) if case.patient in patients and case.id not in cache
    )


def score_case(
    net: torch.nn.Module,
    case: CachedCase,
    cache: Cache,
    checkpoint: Checkpoint,
    config: EvaluateConfig,
    *,
    in_mm: bool,
) -> list[Score]:
    """Scores of one case against every label map that is asked for, on the grid of the scanner.

    Pixels that the case's labels ignore are ignored against every map, so that all of them are
    compared over the same pixels.
    """
    device = next(net.parameters()).device
    image = case_image(case, checkpoint.intensity).to(device)
    probabilities = predict_probabilities(
        net, image, window=config.window, overlap=config.overlap, flips=config.flips
    ).cpu().numpy()  # fmt: skip
    values = np.asarray(checkpoint.classes.values)
    prediction, probabilities = on_original_grid(
        case.preprocessing, values[probabilities.argmax(0)], probabilities
    )
    classes = scored_classes(config.classes, dict(checkpoint.classes))
    chosen = scored_set(config.classes, classes)
    labels = case.original_labels[...].astype(np.int64)
    spacing = case.original_spacing_mm if in_mm else None
    scores = []
    for against, truth in label_maps(case, config.against, labels).items():
        ignore = None
        if cache.ignore is not None:
            ignore = cache.ignore
            truth = np.where(labels == ignore, ignore, truth)
        first, *others = config.conventions
        found = evaluate(
            prediction, truth, chosen, spacing, ignore=ignore, probabilities=probabilities,
            class_values=values.tolist(), convention=first, tolerance=config.tolerance,
        )  # fmt: skip
        for convention in others:
            again = evaluate(
                prediction, truth, chosen, spacing, ignore=ignore, convention=convention,
                tolerance=config.tolerance,
            )  # fmt: skip
            for label, metrics in again.items():
                found[label] |= {f"{m} ({convention})": metrics[m] for m in SURFACES}
        named: dict[str, Mapping[str, float]] = {classes[int(v)]: m for v, m in found.items()}
        named[ALL] = calibration(
            probabilities, truth, values.tolist(), ignore=ignore, excluded=chosen.excluded
        )
        scores += [
            Score(against, case.id, case.group, label, metric, float(value))
            for label, metrics in named.items()
            for metric, value in metrics.items()
        ]
    return scores


def label_maps(case: CachedCase, names: Sequence[str], labels: Array) -> dict[str, Array]:
    """The label maps of a case by name, on the grid of the scanner.

    Raises
    ------
    UsageError
        When the case lacks one.
    """
    require_maps(case, names)
    stored = dict(case.original_label_maps)
    if case.original_truth is not None:
        stored["truth"] = case.original_truth
    return {
        name: labels if name == "labels" else stored[name][...].astype(np.int64) for name in names
    }


def check_fit(cache: Cache, checkpoint: Checkpoint, source: str) -> None:
    """Refuse a cache of other classes, channels, dimensions or steps than the network's.

    Raises
    ------
    UsageError
    """
    if not len(cache):
        raise UsageError(f"The cache {cache.path} is empty.")
    if cache.classes.values != checkpoint.classes.values:
        raise UsageError(
            f"The cache {cache.path} has the label values {list(cache.classes.values)} and the "
            f"checkpoint {source} was trained on {list(checkpoint.classes.values)}; use a cache of "
            "the same classes."
        )
    first = cache[next(iter(cache))]
    channels, dims = first.image.shape[0], len(first.shape)
    if (channels, dims) != (checkpoint.channels, checkpoint.dims):
        raise UsageError(
            f"The images of {cache.path} have {channels} channels and {dims} spatial axes; the "
            f"checkpoint {source} was trained on {checkpoint.channels} and {checkpoint.dims}."
        )
    require_same_steps(cache, checkpoint.steps, source)


def cache_of_run(run: Path, checkpoint: Checkpoint) -> Path:
    """The cache that the run was trained on, as its folder remembers it.

    Raises
    ------
    UsageError
        When it is not there any more.
    """
    about = about_run(run)
    if "cache" in about:
        path = Path(about["cache"])
        if path.is_file():
            return path
        raise UsageError(
            f"The cache {path} of the run {run} is not there any more; give one with --cache."
        )
    if checkpoint.recipe.data.cache is not None:
        return Path(checkpoint.recipe.data.cache)
    raise UsageError(f"The run {run} does not say which cache it used; give one with --cache.")
