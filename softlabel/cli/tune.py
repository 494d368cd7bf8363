"""``softlabel tune``: superpixel settings tried on some cases, a recommendation, a picture."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from softlabel.cache import parts_folders
from softlabel.cli.generate import WEDGES, with_wedges
from softlabel.cli.given import command_line, given_words
from softlabel.cli.options import (
    SectionedCommand,
    format_option,
    given_reader_options,
    json_option,
    label_options,
    mapping_of,
    option,
    reader_options,
    verbosity_options,
)
from softlabel.cli.setting_options import (
    Numbers,
    given_step_options,
    input_settings,
    preprocessing_settings,
    settings_of,
)
from softlabel.console import drawing
from softlabel.console.display import duration, percent, progress
from softlabel.console.group import say
from softlabel.errors import UsageError, first_of, plural
from softlabel.files import require_writable
from softlabel.generation.source import list_source
from softlabel.interrupt import interrupted_status, stop_on_signals

if TYPE_CHECKING:
    from softlabel.tuning import Advice, Row, Tuning

DPI = 150

SHOWN = 3
"""Cases that are named on the terminal."""

OWN_OPTIONS = (
    "output", "cases", "seconds", "sizes", "compactness", "sigma", "as_json", "verbose", "quiet",
)  # fmt: skip
"""Those that ``softlabel generate`` does not take, or that the recommendation replaces."""


@click.command(cls=SectionedCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PLOT.png",
    help="Also draw what was measured.",
)
@click.option(
    "--cases",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Cases to look at, at most, spread over the data set.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Begin no case that would not be done by then; the first one is looked at anyway.",
)
@format_option
@label_options
@option(
    "Superpixels",
    "--superpixel-size",
    "sizes",
    type=Numbers(),
    metavar="N[,N…]",
    help="Pixels a superpixel to try. Default: 25,50,95,190,400, and for volumes "
    "27,64,125,343,1000.",
)
@option(
    "Superpixels",
    "--compactness",
    type=Numbers(),
    metavar="C[,C…]",
    help="Compactnesses to try. Default: 0.02,0.05,0.1,0.2.",
)
@option(
    "Superpixels",
    "--sigma",
    type=Numbers(),
    metavar="S[,S…]",
    help="Sigmas to try. Default: 0,1,2.",
)
@input_settings
@preprocessing_settings("Preprocessing")
@json_option
@verbosity_options
@partial(reader_options, leave_out=(WEDGES,))
def tune(
    source: Path,
    output: Path | None,
    cases: int,
    seconds: float,
    format_: str,
    map_: str | None,
    threshold: float | None,
    sizes: tuple[float, ...] | None,
    compactness: tuple[float, ...] | None,
    sigma: tuple[float, ...] | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Find superpixel settings for the data set SOURCE on some of its cases, in about a minute.

    Tries every size with every compactness and sigma and measures: superpixels returned; boundary
    recall over chance, which is that of a regular grid of as many superpixels, or the share of all
    pixels near a superpixel boundary where that is larger; the Dice that a segmentation of whole
    superpixels could reach; and the share of the pixels that becomes soft. Recommends settings,
    warns, and prints the command that takes them. Softening methods without superpixels depend on
    none of this.

    Of large images and volumes a box around the label boundaries is looked at, or some slices.
    Ctrl-C ends the measurement and prints what there is; of the defaults alone nothing is
    recommended.
    """
    dataset = list_source(
        source, format_, given_reader_options(options), mapping_of(map_, threshold)
    )
    dataset, steps = with_wedges(dataset, given_step_options(options))
    weights = steps.pop("weights", None)
    settings = settings_of(options, preprocess_options=steps)
    if dataset.soft:
        raise UsageError(
            f"{source} holds soft labels, which take no superpixels; tune is for hard label maps."
        )
    grid = _grid_of(sizes, compactness, sigma)
    if output is not None:
        require_writable(output.parent)
    from softlabel.generation.networks import with_weights
    from softlabel.tuning import advise
    from softlabel.tuning import tune as try_settings

    settings = with_weights(settings, weights)
    if not quiet:
        click.echo(dataset.description, err=True)
    count = min(cases, len(dataset.refs))
    with stop_on_signals() as stop, progress(count, "cases", quiet or as_json) as advance:
        tuning = try_settings(
            dataset, settings, grid, cases=cases, seconds=seconds, weights=weights,
            stopped=lambda: stop.asked, progress=advance,
        )  # fmt: skip
    advice = advise(tuning)
    command = None if advice.row is None else _command(source, advice.row)
    if as_json:
        click.echo(json.dumps(_record(tuning, advice, command), indent=2, ensure_ascii=False))
    else:
        _print(tuning, advice, seconds, verbose, quiet)
    for warning in advice.warnings:
        say(f"Warning: {warning}")
    if output is not None:
        from softlabel.render.cases import write_figure  # matplotlib takes a second
        from softlabel.tuning.figure import tuning_figure

        title = f"{source.name}: {_looked_at(tuning)}"
        write_figure(lambda: tuning_figure(tuning, advice, title), output, DPI)
        if not as_json:
            click.echo(f"Picture: {output}")
    if not as_json:
        click.echo(
            "Only the defaults were measured, so that nothing is recommended."
            if command is None
            else f"Recommended:\n  {command}"
        )
    if tuning.interrupted:
        say("Interrupted.")
        sys.exit(interrupted_status())


def _grid_of(
    sizes: tuple[float, ...] | None,
    compactness: tuple[float, ...] | None,
    sigma: tuple[float, ...] | None,
) -> Any:
    """The settings to try.

    Raises
    ------
    UsageError
        For numbers that SLIC cannot take.
    """
    from softlabel.tuning import Grid

    for flag, values, allows_zero in (
        ("--superpixel-size", sizes, False), ("--compactness", compactness, False),
        ("--sigma", sigma, True),
    ):  # fmt: skip
        for value in values or ():
            if not 0 <= value < float("inf") or (value == 0 and not allows_zero):
                least = "not negative" if allows_zero else "positive"
                raise UsageError(f"{flag} takes numbers that are {least}; got {value:g}.")
    given = {"sizes": sizes, "compactness": compactness, "sigma": sigma}
    return Grid(**{name: tuple(dict.fromkeys(v)) for name, v in given.items() if v is not None})


def _command(source: Path, row: Row) -> str:
    """The ``generate`` command that takes the settings of a row."""
    given = given_words(click.get_current_context(), leave_out=OWN_OPTIONS)
    trial = row.trial
    chosen = [] if trial.size is None else ["--superpixel-size", f"{trial.size:g}"]
    chosen += ["--compactness", f"{trial.compactness:g}", "--sigma", f"{trial.sigma:g}"]
    name = _unused_name(source.resolve().stem or "cache")
    return command_line("softlabel generate", str(source), ["-o", name, *chosen, *given])


def _unused_name(stem: str) -> str:
    """A cache that is not here yet: one of other settings would refuse the command."""
    numbers = itertools.count(2)
    names = itertools.chain([f"{stem}.h5"], (f"{stem}-{number}.h5" for number in numbers))
    return next(n for n in names if not Path(n).exists() and not parts_folders(Path(n)))


def _record(tuning: Tuning, advice: Advice, command: str | None) -> dict[str, Any]:
    return {
        "cases": [vars(case) for case in tuning.cases],
        "of": tuning.of,
        "failures": dict(tuning.failures),
        "classes": {str(v): name for v, name in tuning.classes.items()},
        "settings": [row.as_dict() for row in tuning.rows],
        "recommended": None if advice.row is None else advice.row.as_dict(),
        "warnings": list(advice.warnings),
        "command": command,
        "interrupted": tuning.interrupted,
        "out_of_time": tuning.out_of_time,
    }


def _print(tuning: Tuning, advice: Advice, seconds: float, verbose: bool, quiet: bool) -> None:
    """Tables of the settings and of the classes, and what was looked at."""
    for case_id, reason in list(tuning.failures.items())[:SHOWN]:
        say(f"failed: {case_id}: {reason}")
    if quiet:
        return
    console = drawing.console(sys.stdout)
    console.print(_setting_table(tuning, advice, verbose))
    console.print(_class_table(tuning, advice))
    click.echo(_looked_at(tuning) + ".")
    if tuning.out_of_time:
        what = "the others" if tuning.complete else "all settings on the first"
        click.echo(f"{duration(seconds)} were too short for {what}; give more --seconds.")
    if tuning.interrupted and not tuning.complete:
        click.echo("It was interrupted before all settings were measured on a case.")


def _looked_at(tuning: Tuning) -> str:
    """How many settings and cases, and how much of them."""
    named = first_of((case.id for case in tuning.cases), SHOWN)
    text = (
        f"Measured {plural(len(tuning.rows), 'setting')} on {len(tuning.cases)} of "
        f"{plural(tuning.of, 'case')} ({named})"
    )
    parts = [case for case in tuning.cases if case.part != case.shape]
    if parts:
        part, whole = ("×".join(map(str, n)) for n in (parts[0].part, parts[0].shape))
        text += f", at {part} of {whole} pixels around the label boundaries"
    return text


def _setting_table(tuning: Tuning, advice: Advice, verbose: bool) -> Table:
    """The best of each size, or all."""
    from softlabel.tuning.advice import is_grid, score

    table = Table(title="Superpixel settings", title_justify="left", caption_justify="left")
    table.add_column("", no_wrap=True)
    for head in ("size", "compact.", "sigma", "returned", "each", "recall", "over\nchance", "Dice",
                 "a grid's", "lowest", "soft", "soft of\nclasses"):  # fmt: skip
        table.add_column(drawing.in_lines(head), justify="right")
    best: dict[float | None, Row] = {}
    for row in tuning.rows:
        size = row.trial.size
        if size not in best or score(row) > score(best[size]):
            best[size] = row
    for row in tuning.rows:
        if not (verbose or row is advice.row or row is best[row.trial.size]):
            continue
        words = ["*"] if row is advice.row else ["default"] if row.trial.size is None else []
        words += ["grid"] if is_grid(row) else []
        table.add_row(" ".join(words), *_cells(row))
    table.caption = (
        ("" if verbose else "The best of each size (-v shows all). ")
        + ("" if advice.row is None else "*: recommended; ")
        + "default: n = 2000; grid: superpixels that ignore the image. Size, each: "
        "pixels a superpixel, asked for and returned. Dice: what whole superpixels reach at best, "
        "mean and lowest class. Soft: share of all pixels, and of those of all classes but the "
        "largest."
    )
    return table


def _cells(row: Row) -> list[str]:
    trial = row.trial
    lowest = min(row.dice.values(), default=float("nan"))
    return [
        "–" if trial.size is None else f"{trial.size:g}",
        f"{trial.compactness:g}", f"{trial.sigma:g}", f"{row.made:.0f}", f"{row.made_size:.0f}",
        _number(row.recall), _number(row.over_chance, "+.2f"), _number(row.mean_dice),
        _number(row.mean_grid_dice), _number(lowest), percent(row.softened),
        percent(row.softened_of_classes),
    ]  # fmt: skip


def _number(value: float, form: str = ".2f") -> str:
    return "–" if value != value else f"{value:{form}}"


def _class_table(tuning: Tuning, advice: Advice) -> Table:
    """Achievable Dice of each class."""
    table = Table("class", title="Achievable Dice of each class", title_justify="left")
    columns: dict[str, Mapping[int, float]] = {}
    if advice.row is not None:
        columns["recommended"] = advice.row.dice
    if advice.default is not None:
        columns["default"] = advice.default.dice
    if (row := advice.row or advice.default) is not None:
        columns["a grid"] = row.grid_dice
    for head in columns:
        table.add_column(head, justify="right")
    for value, name in tuning.classes.items():
        table.add_row(name, *(_number(d.get(value, float("nan"))) for d in columns.values()))
    return table
