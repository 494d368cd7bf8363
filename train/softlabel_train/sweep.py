"""Compare settings: a grid of runs over recipe keys and seeds, ending in one table.

Every combination of the swept keys is an *arm*; every arm is trained once for each seed, on the
cache that its generation keys ask for, and evaluated. Folds (``data.split.fold``) are no arms:
each seed is trained on all of them and scored on the patients of all. Runs that are finished are
not repeated, so the same call goes on where it was stopped. Arms are compared with the first one,
paired by patient and seed: two runs of one seed draw the same batches.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from softlabel.cache import Cache, open_cache
from softlabel.console.drawing import in_lines
from softlabel.errors import SoftlabelError, UsageError
from softlabel.files import atomic
from softlabel.generation import recorded_settings
from softlabel_train.arms import Arm, make_arms
from softlabel_train.checkpoint import find_checkpoint, publish
from softlabel_train.config import Recipe, load_recipe, parse_override
from softlabel_train.evaluate import MADE_WITH, evaluate_run, made_with
from softlabel_train.loop import fit
from softlabel_train.metrics import DISTANCES, metric_of
from softlabel_train.plots import plot
from softlabel_train.runfolder import ABOUT, check_folder, evaluation_folder
from softlabel_train.scores import (
    ALL,
    MEAN,
    NO_DIFFERENCE,
    Difference,
    Score,
    by_patient,
    paired_difference,
    scores_from_csv,
    summarise,
    with_class_means,
)
from softlabel_train.splits import LEAKS

SHOWN = ("dice", "hd95", "assd")

FOLD = "data.split.fold"
"""The key whose values are no arms: patients of all folds are scored together."""

WITH_FOLDS = ("halves", "kfold", "rotate", "file")
"""Kinds of split that have folds."""


@dataclass(frozen=True)
class ArmResult:
    """How an arm did.

    Attributes
    ----------
    arm : Arm
    seeds : tuple of int
        Finished seeds.
    values : mapping of (against, metric) to tuple of float
        Mean over cases and classes, one number a seed.
    differences : mapping of (against, metric) to Difference
        From the first arm; empty for the first, and when the first has no finished run.
    left_out : mapping of (against, metric) to int
        Pairs of case and class, over all seeds, that only the label map or only the prediction
        has: a distance is undefined there.
    n_superpixels : float
        Superpixels in an image or slice of its cache (:func:`superpixels_returned`).
    leaks : bool
        Whether the patients that were scored also chose the networks.
    """

    arm: Arm
    seeds: tuple[int, ...]
    values: Mapping[tuple[str, str], tuple[float, ...]]
    differences: Mapping[tuple[str, str], Difference]
    left_out: Mapping[tuple[str, str], int]
    n_superpixels: float
    leaks: bool = False


@dataclass(frozen=True)
class SweepResult:
    """A finished or interrupted sweep.

    Attributes
    ----------
    arms : tuple of ArmResult
        Arms with at least one finished run.
    failures : mapping of str to str
        Run to reason.
    interrupted : bool
    unit : str
        Of distances.
    folder : Path
    left_out : mapping of str to str
        Evaluated cases that an arm lacks, since they could not be computed: id to reason.
    folds : tuple of int
        Folds whose patients are scored together; empty where none were listed.
    """

    arms: tuple[ArmResult, ...]
    failures: Mapping[str, str]
    interrupted: bool
    unit: str
    folder: Path
    left_out: Mapping[str, str] = field(default_factory=dict)
    folds: tuple[int, ...] = ()


def sweep(
    recipe: str | Path,
    grid: Mapping[str, Sequence[Any]],
    folder: Path,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    show: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> SweepResult:
    """Train and evaluate every arm with every seed, and compare.

    Parameters
    ----------
    recipe : str or Path
    grid : mapping of str to sequence
        Dotted key of the recipe (or ``arm``) to its values. Those of ``data.split.fold`` are
        trained one by one and scored together.
    folder : Path
        Runs go to ``folder/<arm>/seed_<n>``, with folds to ``…/seed_<n>_fold_<n>``; the table to
        ``sweep.csv``, ``sweep.json`` and ``sweep.png``.
    overrides : sequence of str
        ``key=value`` for all arms.
    seeds : sequence of int
    jobs : int
        Processes that generate caches.
    show : bool
        Progress of the runs on stderr.
    say : callable
        Called with a line before each run.

    Returns
    -------
    SweepResult

    Raises
    ------
    UsageError
        Before anything is trained: for a key or value that no recipe can have, and when a run is
        there that was trained with other values.
    """
    if any(parse_override(text)[0] == "seed" for text in overrides):
        raise UsageError("The seeds of a sweep are listed as seed=0,1,2 and not set for all arms.")
    grid = dict(grid)
    folds = tuple(grid.pop(FOLD, ()))
    arms = make_arms(grid)
    if len({arm.name for arm in arms}) < len(arms) or len(set(folds)) < len(folds):
        raise UsageError("Two arms of the sweep are the same; list every value once.")
    runs = [
        _planned(recipe, overrides, folder, arm, seed, fold)
        for seed in seeds for arm in arms for fold in folds or (None,)
    ]  # fmt: skip
    _check(runs, grid)
    atomic.sweep(folder)  # what killed processes left half-written
    failures: dict[str, str] = {}
    left_out: dict[str, str] = {}
    found: dict[tuple[str, int], list[_Finished]] = {}
    interrupted = False
    for number, run in enumerate(runs, 1):
        say(f"run {number} of {len(runs)}: {run.name}")
        try:
            finished = _one_run(run.recipe, run.folder, jobs, show)
            if finished is None:
                interrupted = True
                break
            found.setdefault((run.arm.name, run.seed), []).append(finished)
            left_out |= _left_out(run.folder)
        except SoftlabelError as error:
            failures[run.name] = str(error)
        except KeyboardInterrupt:
            interrupted = True
            break
    # patients of some folds only are other patients than those of the other arms
    whole = {key: parts for key, parts in found.items() if len(parts) == max(len(folds), 1)}
    results = compare(
        arms,
        {key: [s for part in parts for s in part.scores] for key, parts in whole.items()},
        {arm: parts[-1].n_superpixels for (arm, _), parts in whole.items()},
        {arm for (arm, _), parts in whole.items() if any(part.leaks for part in parts)},
    )
    unit = next((part.unit for parts in whole.values() for part in parts), "pixels")
    result = SweepResult(tuple(results), failures, interrupted, unit, folder, left_out, folds)
    # an empty table must not replace an earlier one
    if whole or not (folder / "sweep.csv").is_file():
        _write(result, list(grid))
    return result


@dataclass(frozen=True)
class _Planned:
    """One run of a sweep."""

    arm: Arm
    seed: int
    recipe: Recipe
    folder: Path
    name: str


@dataclass(frozen=True)
class _Finished:
    """What a run found: scores, their unit, superpixels in an image, and whether it leaks."""

    scores: list[Score]
    unit: str
    n_superpixels: float
    leaks: bool


def _planned(
    recipe: str | Path,
    overrides: Sequence[str],
    folder: Path,
    arm: Arm,
    seed: int,
    fold: int | None,
) -> _Planned:
    """The recipe and the place of a run."""
    of_fold = [] if fold is None else [f"{FOLD}={json.dumps(fold)}"]
    wanted = load_recipe(recipe, [*overrides, *arm.words, f"seed={seed}", *of_fold])
    if fold is not None and wanted.data.split.kind not in WITH_FOLDS:
        raise UsageError(
            f"{FOLD} is listed and data.split.kind is {wanted.data.split.kind}, which has no "
            f"folds; choose one of {', '.join(WITH_FOLDS)}."
        )
    place = f"seed_{seed}" if fold is None else f"seed_{seed}_fold_{fold}"
    name = f"{arm.name}, seed {seed}" + ("" if fold is None else f", fold {fold}")
    return _Planned(arm, seed, wanted, folder / arm.folder / place, name)


def _check(runs: Sequence[_Planned], grid: Mapping[str, Sequence[Any]]) -> None:
    """Refuse what would surface after hours: caches that cannot be made, runs of other values."""
    generated = [key for key in grid if key.startswith("generate.")]
    if generated and any(run.recipe.data.source is None for run in runs):
        raise UsageError(
            f"{generated[0]} is swept and every value needs a cache of its own; give "
            "--set data.source=FOLDER, so that they can be generated."
        )
    for run in runs:
        check_folder(run.folder, run.recipe, overwrite=False)


def _one_run(recipe: Recipe, run: Path, jobs: int, show: bool) -> _Finished | None:
    """Train and evaluate unless that is done; None when it was interrupted."""
    if fit(recipe, run, jobs=jobs, show=show).interrupted:
        return None
    folder = evaluation_folder(run)
    content = folder / "scores.json"
    settings = made_with(recipe.evaluate, find_checkpoint(run).name)
    stamp = folder / MADE_WITH
    newest = max(p.stat().st_mtime_ns for p in run.glob("*.pt"))
    fresh = (
        content.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == settings
        and stamp.stat().st_mtime_ns > newest
    )  # fmt: skip
    if not fresh:
        evaluate_run(run, config=recipe.evaluate)
    cases = scores_from_csv((folder / "cases.csv").read_text(encoding="utf-8"))
    made = json.loads(content.read_text(encoding="utf-8"))
    about = json.loads((run / ABOUT).read_text(encoding="utf-8"))
    with open_cache(about["cache"]) as cache:
        n_superpixels = superpixels_returned(cache)
    return _Finished(cases, str(made["unit"]), n_superpixels, bool(made.get("leaks", False)))


def superpixels_returned(cache: Cache) -> float:
    """Mean number of superpixels in an image, or in a slice where slices are divided one by one.

    NaN without superpixels. This is what ``n_segments`` asks for.
    """
    settings = recorded_settings(cache.header.settings)
    returned = []
    for case in cache.values():
        axis = case.slice_axis if settings.get("slic_dims") == "slice" else None
        slices = 1 if axis is None or len(case.shape) < 3 else case.shape[axis]
        returned.append(float(case.statistics.get("n_superpixels", 0)) / slices)
    return float(np.mean(returned)) or float("nan")


def _left_out(run: Path) -> dict[str, str]:
    """Cases that the scores of a run lack, since they could not be computed."""
    about = json.loads((evaluation_folder(run) / "scores.json").read_text(encoding="utf-8"))
    return dict(about.get("left_out", {}))


def compare(
    arms: Sequence[Arm],
    scores: Mapping[tuple[str, int], Sequence[Score]],
    superpixels: Mapping[str, float],
    leaking: Collection[str] = (),
) -> list[ArmResult]:
    """Sum up every arm and compare it with the first, paired by patient and seed.

    Without a finished run of the first arm there is nothing to compare with. Differences of
    distances are over the classes that both arms found, since a missed class has no distance.
    """
    measured = list(dict.fromkeys(
        (s.against, s.metric) for run in scores.values() for s in run if s.label == MEAN
    ))  # fmt: skip
    first = arms[0].name
    results = []
    for arm in arms:
        seeds = tuple(seed for name, seed in scores if name == arm.name)
        if not seeds:
            continue
        summaries = [
            s for seed in seeds for s in summarise(scores[arm.name, seed], resamples=0)
            if s.label == MEAN
        ]  # fmt: skip
        values: dict[tuple[str, str], tuple[float, ...]] = {}
        left_out: dict[tuple[str, str], int] = {}
        differences: dict[tuple[str, str], Difference] = {}
        for against, metric in measured:
            means = [s for s in summaries if (s.against, s.metric) == (against, metric)]
            values[against, metric] = tuple(s.mean for s in means)
            left_out[against, metric] = sum(s.left_out for s in means)
            common = [seed for seed in seeds if (first, seed) in scores]
            if arm.name != first and common:
                pairs: tuple[dict[tuple[str, int], float], ...] = ({}, {})
                for seed in common:
                    both = scores[first, seed], scores[arm.name, seed]
                    for side, found in zip(pairs, _by_patient(*both, against, metric), strict=True):
                        side.update({(patient, seed): v for patient, v in found.items()})
                differences[against, metric] = paired_difference(*pairs)
        n = superpixels.get(arm.name, float("nan"))
        results.append(ArmResult(arm, seeds, values, differences, left_out, n, arm.name in leaking))
    return results


def _by_patient(
    first: Sequence[Score], second: Sequence[Score], against: str, metric: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean of a metric for every patient in two runs."""
    if metric_of(metric) not in DISTANCES:
        return (
            by_patient(first, against, MEAN, metric),
            by_patient(second, against, MEAN, metric),
        )

    def defined(scores: Sequence[Score]) -> set[tuple[str, str]]:
        return {
            (s.case, s.label) for s in scores
            if (s.against, s.metric) == (against, metric) and s.label not in (MEAN, ALL)
            and math.isfinite(s.value)
        }  # fmt: skip

    common = defined(first) & defined(second)
    means = [
        with_class_means([
            s for s in scores
            if (s.against, s.metric) == (against, metric) and (s.case, s.label) in common
        ])
        for scores in (first, second)
    ]  # fmt: skip
    return by_patient(means[0], against, MEAN, metric), by_patient(means[1], against, MEAN, metric)


def sweep_tables(result: SweepResult, about: str | None = None) -> list[Table]:
    """Mean ± deviation over seeds and the paired difference from the first arm.

    Parameters
    ----------
    result : SweepResult
    about : str, optional
        What the tables show, for below each.
    """
    notes = [about] if about else []
    if any(row.leaks for row in result.arms):
        notes.append(LEAKS)
    found = []
    everything = list(dict.fromkeys(k for a in result.arms for k in a.values))
    for against in dict.fromkeys(a for a, _ in everything):
        pooled = f", folds {', '.join(map(str, result.folds))}" if result.folds else ""
        table = Table(
            title=f"against {against} (distances in {result.unit}{pooled})",
            caption=in_lines("\n".join(notes)) if notes else None,
        )
        table.add_column("arm")
        table.add_column("seeds", justify="right")
        for metric in SHOWN:
            table.add_column("Dice" if metric == "dice" else metric.upper(), justify="right")
        table.add_column("Dice − first arm", justify="right")
        table.add_column("better in", justify="right")
        for row in result.arms:
            cells = [_cell(row, against, m) for m in SHOWN]
            difference = row.differences.get((against, "dice"))
            if difference is None or not difference.pairs:
                tail = ["–", "–"]
            else:
                text = f"{difference.mean:+.4f}"
                if not math.isnan(difference.low):
                    text += f"\n{difference.low:+.4f} to {difference.high:+.4f}"
                tail = [text, f"{difference.wins} of {difference.pairs}"]
            name = f"{row.arm.name} (leaks)" if row.leaks else row.arm.name
            table.add_row(name, str(len(row.seeds)), *map(in_lines, (*cells, *tail)))
        found.append(table)
    return found


def _write(result: SweepResult, keys: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["arm", "against", "metric", "seeds", "mean", "deviation", "difference", "low", "high",
         "pairs", "larger_in", "left_out", "n_superpixels", "leaks"]
    )  # fmt: skip
    for row in result.arms:
        for (against, metric), values in row.values.items():
            deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            d = row.differences.get((against, metric), NO_DIFFERENCE)
            numbers = [_nanmean(values), deviation, d.mean, d.low, d.high]
            writer.writerow(
                [row.arm.name, against, metric, len(values),
                 *("" if math.isnan(n) else n for n in numbers), d.pairs, d.wins,
                 row.left_out.get((against, metric), 0),
                 "" if math.isnan(row.n_superpixels) else row.n_superpixels, row.leaks]
            )  # fmt: skip
    publish(result.folder / "sweep.csv", text.getvalue().encode())
    content = {
        "interrupted": result.interrupted,
        "unit": result.unit,
        "failures": dict(result.failures),
        "left_out": dict(result.left_out),
        "folds": list(result.folds),
        "arms": [
            {
                "name": row.arm.name,
                "overrides": dict(row.arm.overrides),
                "seeds": list(row.seeds),
                "leaks": row.leaks,
            }
            for row in result.arms
        ],
    }
    publish(result.folder / "sweep.json", json.dumps(content, indent=2).encode())
    for key in keys:
        picture = plot(result, key) if result.arms else None
        if picture is not None:
            publish(result.folder / "sweep.png", picture)
            break


def _cell(row: ArmResult, against: str, metric: str) -> str:
    text = _mean_and_deviation(row.values.get((against, metric), ()), metric)
    left_out = row.left_out.get((against, metric), 0) if metric in DISTANCES else 0
    return f"{text}\n{left_out} left out" if left_out else text


def _mean_and_deviation(values: Sequence[float], metric: str) -> str:
    mean = _nanmean(values)
    if math.isnan(mean):
        return "–"
    digits = 2 if metric in DISTANCES else 3
    text = f"{mean:.{digits}f}"
    return text + (f" ± {np.nanstd(values, ddof=1):.{digits}f}" if len(values) > 1 else "")


def _nanmean(values: Sequence[float]) -> float:
    defined = [v for v in values if not math.isnan(v)]
    return float(np.mean(defined)) if defined else float("nan")


__all__ = [
    "ArmResult",
    "SweepResult",
    "compare",
    "sweep",
    "sweep_tables",
]
