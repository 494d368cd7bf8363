"""The report of a run, one HTML file: curves, scores with intervals, its worst predictions.

Reads what the run's folder holds; only the worst cases are predicted anew, to be looked at.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.cache import Cache, open_cache
from softlabel.colours import class_hex
from softlabel.errors import CacheError, SoftlabelError, UsageError
from softlabel.reports import (
    PREDICTION_LAYERS,
    CasePictures,
    Curve,
    Names,
    as_text,
    curves,
    from_dicom,
    prediction_thumbnails,
    publish_page,
    render_page,
    require_replaceable,
)
from softlabel.types import Array, ClassTable
from softlabel_train.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from softlabel_train.evaluate import cache_of_run, check_fit
from softlabel_train.loggers import shared_settings
from softlabel_train.metrics import DISTANCES, SURFACES, metric_of
from softlabel_train.predict import case_image, load_network, predict_classes
from softlabel_train.record import LOSS_TERMS, METRICS
from softlabel_train.runfolder import about_run, evaluation_folder
from softlabel_train.scores import (
    ALL,
    CALIBRATION,
    MEAN,
    TABLE_METRICS,
    Score,
    Summary,
    scores_from_csv,
)
from softlabel_train.splits import LEAKS

PICTURES = 8
"""Cases that are predicted anew unless another number is asked for."""

ROOM = 1_200_000
"""Characters for the pictures of a case; :data:`MOST_PICTURES` of them stay below 20 MB."""

MOST_PICTURES = 15

VALIDATION_DICE = "validation_dice"


@dataclass(frozen=True)
class Cell:
    """A mean with its interval, NaN without one.

    Attributes
    ----------
    mean, low, high : float
    digits : int
        That it is shown with.
    left_out : int
        Distances that are not in the mean, since a class was missed or is in one map only.
    """

    mean: float
    low: float
    high: float
    digits: int
    left_out: int


@dataclass(frozen=True)
class ScoreTable:
    """Means of the classes against one label map.

    Attributes
    ----------
    against : str
    metrics : tuple of str
    rows : sequence of (str, sequence of Cell or None)
        Class, and its cell for each metric.
    """

    against: str
    metrics: tuple[str, ...]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]

    @property
    def distances(self) -> bool:
        """Whether a metric is one."""
        return any(metric_of(metric) in DISTANCES for metric in self.metrics)

    @property
    def intervals(self) -> bool:
        """Whether a mean has one: few patients have none."""
        cells = [cell for _, found in self.rows for cell in found if cell is not None]
        return not all(np.isnan(cell.low) for cell in cells)


@dataclass(frozen=True)
class CaseScores:
    """A line of the table of cases: Dice of every class, NaN where it is undefined."""

    id: str
    name: str
    patient: str
    mean: float
    dice: tuple[float, ...]


@dataclass(frozen=True)
class RunContents:
    """What the report of a run tells.

    Attributes
    ----------
    title, part, unit : str
    facts : sequence of (str, str)
    recipe : sequence of (str, str)
        Keys and values that were given.
    leaks : str
        What is said below the facts where the scored patients chose the network.
    curves : sequence of softlabel.reports chart
    tables : sequence of ScoreTable
    left_out : sequence of (str, str)
        Case and reason.
    against : str
        Label map of the table of cases.
    columns : tuple of str
        Classes of that table.
    colours : tuple of str
        Theirs in the pictures.
    rows : tuple of CaseScores
        Worst first.
    anonymous : bool
    without_pictures : str
        Why no case has pictures.
    """

    title: str
    part: str
    unit: str
    facts: Sequence[tuple[str, str]]
    recipe: Sequence[tuple[str, str]]
    leaks: str
    curves: Sequence[Any]
    tables: Sequence[ScoreTable]
    left_out: Sequence[tuple[str, str]]
    against: str
    columns: tuple[str, ...]
    colours: tuple[str, ...]
    rows: tuple[CaseScores, ...]
    anonymous: bool
    without_pictures: str = ""


@dataclass(frozen=True)
class _Evaluation:
    """What an earlier evaluation left in the run's folder."""

    about: Mapping[str, Any] = field(default_factory=dict)
    summary: tuple[Summary, ...] = ()
    scores: tuple[Score, ...] = ()


def write_run_report(
    run: Path,
    out: Path | None = None,
    *,
    cache: Path | None = None,
    part: str = "evaluation",
    pictures: int = PICTURES,
    anonymise: bool | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a report of a run: one HTML file without any address.

    Parameters
    ----------
    run : Path
        Folder of a run.
    out : Path, optional
        Default: ``report.html`` in it. A report that is there is replaced.
    cache : Path, optional
        Another cache than that of the evaluation.
    part : {"evaluation", "validation", "train", "new"}
        Whose scores are shown.
    pictures : int
        How many of the worst cases are predicted anew and shown; 0 needs neither cache nor network.
    anonymise : bool, optional
        Show hashes instead of ids and patients. Default: where the source of the cache is DICOM, or
        the cache is not there to ask.
    device : str
        A torch device, or ``auto``.
    progress : callable, optional
        Called with the id of every case that is predicted.

    Raises
    ------
    UsageError
        When it is no run, or something else than a report is at ``out``.
    """
    if not 0 <= pictures <= MOST_PICTURES:
        raise UsageError(f"Pictures are made of 0 to {MOST_PICTURES} cases; got {pictures}.")
    if run.is_file():
        raise UsageError(
            f"{run} is a file; expected the folder of a run. The report of a cache is made by "
            f"`softlabel report {run}`."
        )
    path = out or run / "report.html"
    require_replaceable(path)
    evaluated = _read_evaluation(evaluation_folder(run, part))
    checkpoint = find_checkpoint(run, evaluated.about.get("checkpoint"))
    loaded = load_checkpoint(checkpoint)
    opened, missing = _open(run, loaded, cache, evaluated)
    try:
        if anonymise is None:
            anonymise = opened is None or from_dicom(opened)
        names = Names(anonymise, loaded.fingerprint)
        contents = run_contents(run, loaded, evaluated, part, names)
        drawn: dict[str, CasePictures | str] = {}
        if opened is not None and contents.rows and pictures:
            check_fit(opened, loaded, str(checkpoint))
            chosen = [row.id for row in contents.rows if row.id in opened][:pictures]
            drawn = _predict(opened, loaded, str(checkpoint), chosen, device, progress)
    finally:
        if opened is not None:
            opened.close()
    publish_page(path, _page(contents, drawn, names.sentence(missing, "The cache is not there.")
                             if missing and pictures else ""))  # fmt: skip
    return path


def run_contents(
    run: Path, checkpoint: Checkpoint, evaluated: _Evaluation, part: str, names: Names
) -> RunContents:
    """Collect what a report tells, from the folder of the run."""
    about = evaluated.about
    scores = evaluated.scores
    against = scores[0].against if scores else ""
    columns, rows = _case_rows(scores, against, names)
    left_out = about.get("left_out") or {}
    return RunContents(
        title="run" if names.anonymous else run.resolve().name,
        part=part,
        unit=str(about.get("unit", "pixels")),
        facts=_facts(run, checkpoint, about),
        recipe=_recipe(checkpoint, names),
        leaks=LEAKS if about.get("leaks") else "",
        curves=_curves(run, checkpoint.classes),
        tables=_tables(evaluated.summary),
        left_out=[(names.of(i), names.sentence(str(reason))) for i, reason in left_out.items()],
        against=against,
        columns=columns,
        colours=_colours(columns, checkpoint.classes),
        rows=rows,
        anonymous=names.anonymous,
    )


# --- what the folder holds ------------------------------------------------------------------------


def _read_evaluation(folder: Path) -> _Evaluation:
    if not (folder / "scores.json").is_file():
        return _Evaluation()
    try:
        about = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        rows: list[dict[str, Any]] = [
            {name: float("nan") if value is None else value for name, value in row.items()}
            for row in about.pop("summary")
        ]
        summary = tuple(Summary(**row) for row in rows)
        scores = tuple(scores_from_csv((folder / "cases.csv").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UsageError(
            f"The scores in {folder} are damaged ({error}); run softlabel-train evaluate again."
        ) from error
    return _Evaluation(about, summary, scores)


def _open(
    run: Path, checkpoint: Checkpoint, cache: Path | None, evaluated: _Evaluation
) -> tuple[Cache | None, str]:
    """The cache, or why there is none; one that was asked for must be there."""
    if cache is not None:
        return open_cache(cache), ""
    try:
        told = evaluated.about.get("cache")
        return open_cache(told if told else cache_of_run(run, checkpoint)), ""
    except (CacheError, UsageError) as error:
        return None, f"There are no pictures: {error}"


def _facts(run: Path, checkpoint: Checkpoint, about: Mapping[str, Any]) -> list[tuple[str, str]]:
    patients = ", ".join(f"{len(p)} {name}" for name, p in checkpoint.split.items())
    versions = about_run(run).get("software", {})
    recipe = checkpoint.recipe
    return [
        ("recipe", str(recipe.name)),
        ("arm and seed", f"{recipe.arm or '–'}, {recipe.seed}"),
        ("patients", patients),
        ("scored", f"{about['cases']} cases by {about['checkpoint']}" if "cases" in about else "–"),
        ("software", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]


def _recipe(checkpoint: Checkpoint, names: Names) -> list[tuple[str, str]]:
    """What it says, without the keys of which it says nothing."""
    recipe = checkpoint.recipe
    given = shared_settings(recipe) if names.anonymous else recipe.flat()
    settings = names.settings({k: v for k, v in given.items() if v not in (None, {}, [])})
    return [(key, as_text(value)) for key, value in settings.items()]


def _curves(run: Path, classes: ClassTable) -> list[Any]:
    """Loss terms and validation Dice over the steps."""
    if not (run / METRICS).is_file():
        return []
    with (run / METRICS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    dice = [name for name in columns if name and name.startswith(VALIDATION_DICE)]
    charts = [
        curves("loss over steps", [
            _curve(rows, name, name) for name in (*LOSS_TERMS, "nacl") if name in columns
        ]),
        curves("validation Dice over steps", [
            _dice_curve(rows, name, classes) for name in dice
        ]),
        curves("learning rate over steps", [_curve(rows, "lr", "lr")]),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _dice_curve(rows: Sequence[Mapping[str, str]], column: str, classes: ClassTable) -> Curve:
    """Of a class in its colour, or of their mean in that of the text."""
    label = column.partition("/")[2]
    colour = _colours([label], classes)[0] if label else "currentColor"
    return replace(_curve(rows, column, label or MEAN), colour=colour)


def _curve(rows: Sequence[Mapping[str, str]], column: str, name: str) -> Curve:
    return Curve(
        name, [_number(r.get("step")) for r in rows], [_number(r.get(column)) for r in rows]
    )


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:  # a line that was cut off when the machine stopped
        return float("nan")


def _tables(summaries: Sequence[Summary]) -> list[ScoreTable]:
    """A table of the classes and one of the calibration, for each label map."""
    tables = []
    for against in dict.fromkeys(s.against for s in summaries):
        found = {(s.label, s.metric): s for s in summaries if s.against == against}
        present = dict.fromkeys(metric for _, metric in found)
        labels = dict.fromkeys(label for label, _ in found)
        for metrics, of in ((TABLE_METRICS, [k for k in labels if k != ALL]), (CALIBRATION, [ALL])):
            shown = tuple(m for m in present if metric_of(m) in metrics)
            rows = [(label, [_cell(found.get((label, m))) for m in shown]) for label in of]
            if shown and any(any(cells) for _, cells in rows):
                tables.append(ScoreTable(against, shown, rows))
    return tables


def _cell(summary: Summary | None) -> Cell | None:
    if summary is None or np.isnan(summary.mean):
        return None
    metric = metric_of(summary.metric)
    digits = 2 if metric in DISTANCES else 4 if metric in CALIBRATION else 3
    left_out = summary.left_out if metric in SURFACES else 0
    return Cell(summary.mean, summary.low, summary.high, digits, left_out)


def _case_rows(
    scores: Sequence[Score], against: str, names: Names
) -> tuple[tuple[str, ...], tuple[CaseScores, ...]]:
    """Classes, and the cases with their Dice, the lowest mean first; undefined ones last."""
    dice = [s for s in scores if (s.against, s.metric) == (against, "dice")]
    columns = tuple(dict.fromkeys(s.label for s in dice if s.label != MEAN))
    values = {(s.case, s.label): s.value for s in dice}
    patients = {s.case: s.patient for s in dice}
    rows = [
        CaseScores(
            case, names.of(case), names.of(patient), values.get((case, MEAN), float("nan")),
            tuple(values.get((case, label), float("nan")) for label in columns),
        )
        for case, patient in patients.items()
    ]  # fmt: skip
    return columns, tuple(sorted(rows, key=lambda r: np.inf if np.isnan(r.mean) else r.mean))


def _colours(labels: Sequence[str], classes: ClassTable) -> tuple[str, ...]:
    """Colours of classes by name; a name that no class has gets the grey of the background."""
    places = {name: k for k, name in enumerate(classes.names)}
    return tuple(class_hex(places.get(label, 0)) for label in labels)


# --- pictures -------------------------------------------------------------------------------------


def _predict(
    cache: Cache,
    checkpoint: Checkpoint,
    source: str,
    ids: Sequence[str],
    device: str,
    progress: Callable[[str], None] | None,
) -> dict[str, CasePictures | str]:
    """Predict cases as an evaluation does, on the grid of the cache, and draw them."""
    config = checkpoint.recipe.evaluate
    net = load_network(checkpoint, source, device)
    place = next(net.parameters()).device
    drawn: dict[str, CasePictures | str] = {}
    for case_id in ids:
        try:
            image = case_image(cache[case_id], checkpoint.intensity).to(place)
            predicted: Array = predict_classes(
                net, image, window=config.window, overlap=config.overlap, flips=config.flips
            ).numpy()
            drawn[case_id] = prediction_thumbnails(cache, case_id, predicted, ROOM)
        except SoftlabelError as error:
            drawn[case_id] = str(error)
        if progress is not None:
            progress(case_id)
    return drawn


def _page(contents: RunContents, drawn: Mapping[str, CasePictures | str], missing: str) -> str:
    return render_page(
        "run.html", "softlabel_train",
        title=f"softlabel-train report: {contents.title}",
        r=replace(contents, without_pictures=missing),
        data={
            "layers": PREDICTION_LAYERS,
            "shown": ["errors"],
            "names": contents.columns,
            "colours": contents.colours,
            "caption": "Dice, the lowest first",
            "cases": [_for_script(row, drawn.get(row.id), contents) for row in contents.rows],
        },
    )  # fmt: skip


def _for_script(
    row: CaseScores, found: CasePictures | str | None, contents: RunContents
) -> dict[str, Any]:
    """A case as the script of the page takes it."""
    dice = [(k, round(v, 4)) for k, v in enumerate(row.dice) if v == v]
    record: dict[str, Any] = {"name": row.name, "q": sorted(dice, key=lambda item: item[1])}
    if isinstance(found, CasePictures):
        return record | found.as_json()
    why = found or "Only the worst cases have pictures."
    if contents.anonymous and found:
        why = "The pictures of this case could not be drawn."
    return record | {"pictures": [], "why": why}
