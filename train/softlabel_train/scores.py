"""From scores of cases to a table: means, bootstrap intervals over patients, paired differences."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table
from scipy import stats

from softlabel.console.drawing import in_lines
from softlabel.types import Array
from softlabel_train.metrics import DISTANCES, HIGHER_IS_BETTER, SURFACES, metric_of

FEWEST_PATIENTS = 5
"""Patients that an interval is made of, at least."""

MEAN, ALL = "mean", "all"
"""Names in the place of a class: the mean over the scored classes, and all classes together."""


@dataclass(frozen=True)
class Score:
    """One number: a metric of a class in a case, against one of its label maps.

    Attributes
    ----------
    against : str
        ``labels``, ``truth``, or the name of another label map.
    case, patient : str
    label : str
        Name of the class, :data:`MEAN` or :data:`ALL`.
    metric : str
    value : float
        NaN where it is undefined.
    """

    against: str
    case: str
    patient: str
    label: str
    metric: str
    value: float


@dataclass(frozen=True)
class Summary:
    """The mean of a metric over cases.

    Attributes
    ----------
    against, label, metric : str
    mean : float
    low, high : float
        95 % interval from resampling patients; NaN with fewer than :data:`FEWEST_PATIENTS`.
    cases : int
        Cases in the mean.
    left_out : int
        Cases that have the class on one side only, where a distance is undefined; of the mean
        over classes, pairs of case and class.
    """

    against: str
    label: str
    metric: str
    mean: float
    low: float
    high: float
    cases: int
    left_out: int


def with_class_means(scores: Sequence[Score]) -> list[Score]:
    """The scores, and for every case the mean over its classes, undefined ones left out."""
    groups: dict[tuple[str, str, str, str], list[float]] = {}
    for s in scores:
        if s.label != ALL:
            groups.setdefault((s.against, s.case, s.patient, s.metric), []).append(s.value)
    means = [
        Score(against, case, patient, MEAN, metric, _nanmean(values))
        for (against, case, patient, metric), values in groups.items()
    ]
    return [*scores, *means]


def summarise(scores: Iterable[Score], *, resamples: int = 2000, seed: int = 0) -> list[Summary]:
    """Means over cases with intervals from resampling patients.

    Parameters
    ----------
    scores : iterable of Score
    resamples : int
        Bootstrap resamples; 0 leaves the intervals out.
    seed : int

    Returns
    -------
    list of Summary
        In the order in which the scores came.
    """
    scores = list(scores)
    absent = {
        (s.against, s.case, s.label) for s in scores if s.metric == "dice" and np.isnan(s.value)
    }
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for s in scores:
        groups.setdefault((s.against, s.label, s.metric), []).append(s)
    found = []
    for (against, label, metric), members in groups.items():
        defined = [s for s in members if not np.isnan(s.value)]
        # the mean over classes leaves out what its classes leave out
        parts = members if label != MEAN else [
            s for (a, k, m), group in groups.items() for s in group
            if (a, m) == (against, metric) and k not in (MEAN, ALL)
        ]  # fmt: skip
        left_out = sum(
            bool(np.isnan(s.value)) and (s.against, s.case, s.label) not in absent for s in parts
        )
        low, high = bootstrap_interval(
            [s.value for s in defined], [s.patient for s in defined], resamples, seed
        )
        mean = _nanmean([s.value for s in defined])
        found.append(Summary(against, label, metric, mean, low, high, len(defined), left_out))
    return found


def bootstrap_interval(
    values: Sequence[float], patients: Sequence[str], resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the mean over cases, resampling patients with their cases.

    NaN when there are fewer than :data:`FEWEST_PATIENTS`: cases of one patient are not independent,
    and of a few patients the resamples are too few different ones, so that the interval would be
    far too short.
    """
    names, member = np.unique(np.asarray(patients, str), return_inverse=True)
    if len(names) < FEWEST_PATIENTS or not resamples:
        return float("nan"), float("nan")
    sums = np.bincount(member, np.asarray(values, np.float64), len(names))
    counts = np.bincount(member, minlength=len(names))
    found = stats.bootstrap(
        (sums, counts), _mean_over_cases, paired=True, vectorized=True, n_resamples=resamples,
        method="percentile", random_state=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _mean_over_cases(sums: Array, counts: Array, axis: int = -1) -> Array:
    return np.asarray(sums.sum(axis) / counts.sum(axis))


@dataclass(frozen=True)
class Difference:
    """A paired difference between two arms.

    Attributes
    ----------
    mean : float
        Second arm minus first, over pairs.
    low, high : float
        95 % interval from resampling patients; NaN with fewer than :data:`FEWEST_PATIENTS`.
    pairs : int
    wins : int
        Pairs in which the second arm is larger.
    """

    mean: float
    low: float
    high: float
    pairs: int
    wins: int


NO_DIFFERENCE = Difference(float("nan"), float("nan"), float("nan"), 0, 0)
"""Of arms without a pair."""


def paired_difference(
    first: dict[tuple[str, int], float],
    second: dict[tuple[str, int], float],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Difference of two arms, paired by patient and seed.

    Parameters
    ----------
    first, second : mapping of (patient, seed) to float
        Pairs with an undefined or missing half are left out.
    """
    keys = [k for k in first if k in second and np.isfinite(first[k]) and np.isfinite(second[k])]
    values = np.array([second[k] - first[k] for k in keys])
    if not len(values):
        return NO_DIFFERENCE
    low, high = bootstrap_interval(values.tolist(), [k[0] for k in keys], resamples, seed)
    return Difference(float(values.mean()), low, high, len(keys), int((values > 0).sum()))


def by_patient(scores: Iterable[Score], against: str, label: str, metric: str) -> dict[str, float]:
    """Mean of a metric over the cases of every patient."""
    values: dict[str, list[float]] = {}
    for s in scores:
        if (s.against, s.label, s.metric) == (against, label, metric):
            values.setdefault(s.patient, []).append(s.value)
    return {patient: _nanmean(v) for patient, v in values.items()}


def as_csv(rows: Sequence[Score] | Sequence[Summary]) -> bytes:
    """Rows as CSV; undefined numbers are empty."""
    text = io.StringIO()
    if rows:
        writer = csv.writer(text)
        names = [f.name for f in fields(rows[0])]
        writer.writerow(names)
        for row in rows:
            values = [getattr(row, n) for n in names]
            writer.writerow(["" if isinstance(v, float) and np.isnan(v) else v for v in values])
    return text.getvalue().encode()


def scores_from_csv(text: str) -> list[Score]:
    """The inverse of :func:`as_csv` for scores."""
    return [
        Score(r["against"], r["case"], r["patient"], r["label"], r["metric"],
              float(r["value"] or "nan"))
        for r in csv.DictReader(io.StringIO(text))
    ]  # fmt: skip


def as_json(about: dict[str, Any], rows: Sequence[Summary]) -> bytes:
    """A JSON object; undefined numbers are null."""
    summaries = [
        {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in asdict(row).items()}
        for row in rows
    ]
    return json.dumps(about | {"summary": summaries}, indent=2, ensure_ascii=False).encode()


TABLE_METRICS = ("dice", "vs", "hd95", "asd", "assd", "nsd")
CALIBRATION = ("brier", "ece", "brier_boundary", "ece_boundary")


def tables(summaries: Sequence[Summary], unit: str, caption: str | None = None) -> list[Table]:
    """Tables for the terminal: one of the classes for each label map, one of the calibration.

    Parameters
    ----------
    summaries : sequence of Summary
    unit : str
        Of the distances.
    caption : str, optional
        Below every table.
    """
    found = []
    for against in dict.fromkeys(s.against for s in summaries):
        of = [s for s in summaries if s.against == against]
        found.append(_classes(of, TABLE_METRICS, f"against {against} (distances in {unit})"))
        # "hd95 (medpy)": what follows the metric's name is the convention
        for convention in dict.fromkeys(s.metric.partition(" ")[2] for s in of):
            if convention:
                metrics = [f"{m} {convention}" for m in TABLE_METRICS if m in SURFACES]
                title = f"against {against}, surfaces by {convention.strip('()')} ({unit})"
                found.append(_classes(of, metrics, title))
        rows = {(s.label, s.metric): s for s in of}
        overall = [rows.get((ALL, m)) for m in CALIBRATION]
        if any(overall):
            calibration = Table(title=f"calibration against {against}")
            for m in CALIBRATION:
                calibration.add_column(m.replace("_", ", near "), justify="right")
            calibration.add_row(*(_cell(s, "brier", with_interval=True) for s in overall))
            found.append(calibration)
    for table in found:
        table.caption = caption
    return found


def _classes(summaries: Sequence[Summary], metrics: Sequence[str], title: str) -> Table:
    """A row for each class and one for their mean."""
    rows = {(s.label, s.metric): s for s in summaries}
    table = Table(title=title)
    table.add_column("class")
    for metric in metrics:
        name = metric_of(metric)
        table.add_column(name.upper() if name != "dice" else "Dice", justify="right")
    for label in dict.fromkeys(s.label for s in summaries):
        if label == ALL:
            continue
        if label == MEAN:
            table.add_section()
        cells = [_cell(rows.get((label, m)), m, with_interval=label == MEAN) for m in metrics]
        table.add_row(label, *map(in_lines, cells))
    return table


def _cell(summary: Summary | None, metric: str, *, with_interval: bool) -> str:
    if summary is None or np.isnan(summary.mean):
        return "–"
    metric = metric_of(metric)
    digits = 2 if metric in DISTANCES else 4 if metric in CALIBRATION else 3
    text = f"{summary.mean:.{digits}f}"
    if with_interval and not np.isnan(summary.low):
        text += f"\n{summary.low:.{digits}f}\nto {summary.high:.{digits}f}"
    if metric in SURFACES and summary.left_out:
        text += f" ({summary.left_out} left out)"
    return text


def better(metric: str, difference: float) -> bool:
    """Whether a positive or negative difference of a metric is an improvement."""
    return difference > 0 if metric_of(metric) in HIGHER_IS_BETTER else difference < 0


def _nanmean(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    defined = [v for v in values if not np.isnan(v)]
    return float(np.mean(defined)) if defined else float("nan")
