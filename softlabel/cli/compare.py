"""``softlabel compare``: softening methods side by side."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.table import Table

from softlabel.cli.options import (
    SectionedCommand,
    channel_index,
    class_index,
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
    method_options,
    settings_of_methods,
    softening_settings,
    superpixel_settings,
)
from softlabel.console import drawing
from softlabel.console.display import percent, progress
from softlabel.console.group import EXIT_FAILED, fail, say
from softlabel.errors import CaseError, UsageError, did_you_mean, plural
from softlabel.softening import METHODS
from softlabel.softening.plugins import registered_names

if TYPE_CHECKING:
    from softlabel.comparison import Comparison, RaterReport
    from softlabel.generation import Settings
    from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset

DEFAULT_METHODS = "hard,superpixel,posterior,gaussian,distance,svls,smoothing"
SHOWN_FAILURES = 5


@click.command(cls=SectionedCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.png",
    help="Draw image, maps and a profile across a boundary.",
)
@click.option(
    "--methods",
    default=DEFAULT_METHODS,
    show_default=True,
    metavar="NAME,NAME,…",
    help=f"Which of {', '.join(METHODS)}.",
)
@click.option(
    "--case",
    "ids",
    multiple=True,
    metavar="ID",
    help="Which case, or cases with --against-raters ('Subject_01*' works too); may be repeated. "
    "[default: the first; all with --against-raters]",
)
@click.option(
    "--truth",
    metavar="NAME|FILE",
    help="What the soft labels are scored against: truth, another label map of the case "
    "(grader2), or a file with one.  [default: truth, else that of the second rater]",
)
@click.option(
    "--against-raters",
    is_flag=True,
    help="Where two raters disagree against where soft labels are soft: area under the ROC curve.",
)
@click.option(
    "--band",
    "band_px",
    type=click.FloatRange(min=1),
    default=8.0,
    show_default=True,
    metavar="PIXELS",
    help="How far from a boundary the scores of the band, and the area, reach; in pixels of the "
    "finest axis.",
)
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.csv",
    help="Also write the table there.",
)  # fmt: skip
@json_option
@option(
    "Picture", "--class", "class_name", metavar="NAME|VALUE",
    help="The class whose soft labels are drawn.  [default: that with the most boundary, the first "
    "class left out]",
)  # fmt: skip
@option(
    "Picture", "--channel", metavar="NAME|INDEX",
    help="Channel of the image.  [default: the first, or colours]",
)  # fmt: skip
@option(
    "Picture", "--axis", type=int,
    help="Axis across the slices of a volume, from 0.  [default: that of the coarsest spacing]",
)  # fmt: skip
@option(
    "Picture", "--slice", "slice_", type=int, metavar="N",
    help="Slice of a volume, from 0.  [default: that with the most boundary]",
)  # fmt: skip
@option(
    "Picture", "--frame", "frame_px", type=click.IntRange(16, 1024), metavar="PIXELS",
    help="Rows and columns of the part that the maps show.  [default: a quarter of the shorter "
    "side, 32 to 64]",
)  # fmt: skip
@option(
    "Picture", "--dpi", type=click.IntRange(40, 400), default=150, show_default=True,
    help="Resolution.",
)  # fmt: skip
@option(
    "Superpixels", "--superpixels", type=click.Choice(["slic", "grid"]), default="slic",
    show_default=True, help="Where superpixels come from: SLIC of the image, or a regular grid.",
)  # fmt: skip
@superpixel_settings
@partial(softening_settings, leave_out=("method",))
@method_options("Softening")
@format_option
@label_options
@verbosity_options
@reader_options
def compare(
    source: Path,
    output: Path | None,
    methods: str,
    ids: tuple[str, ...],
    truth: str | None,
    against_raters: bool,
    band_px: float,
    csv_path: Path | None,
    as_json: bool,
    class_name: str | None,
    channel: str | None,
    axis: int | None,
    slice_: int | None,
    frame_px: int | None,
    dpi: int,
    format_: str,
    map_: str | None,
    threshold: float | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Compare softening methods on a case of the data set SOURCE.

    Prints how much each softens, how uncertain its labels are, and in how many pixels another class
    becomes the most probable; with a truth or a second rater also Brier and log score, of all
    pixels and of those near a boundary. -o draws the soft labels of a class side by side.

    Options of methods go to those that have them. Steps before superpixels are not taken.
    """
    from softlabel.files import require_writable
    from softlabel.generation.plan import check_method, choose
    from softlabel.generation.source import list_source
    from softlabel.readers import scan_classes

    _check_picture_options(output, against_raters)
    for path in (output, csv_path):
        if path is not None:
            require_writable(path.parent)
    settings = settings_of_methods(options, _methods_of(methods))
    given = given_reader_options(options)
    dataset = list_source(source, format_, given, mapping_of(map_, threshold))
    for chosen in settings.values():
        check_method(dataset, chosen)
    refs = choose(dataset, ids or None, None if ids or against_raters else 1)
    if not quiet:
        click.echo(dataset.description, err=True)
    classes = scan_classes(dataset)
    if against_raters:
        report = _against_raters(dataset, refs, settings, classes, truth, band_px, verbose, quiet)
        _print_report(report, settings, csv_path, as_json)
        return
    case = _only_case(dataset, refs)
    shown_channel = channel_index(case.channels, channel, case.name)
    shown = class_index(classes, class_name), shown_channel, axis, slice_
    found = _compared(case, settings, classes, _truth_of(case, dataset, truth), band_px)
    if output is not None:
        _draw(found, output, shown, frame_px, dpi)
    _print_comparison(found, csv_path, as_json)
    if output is not None and not quiet:
        click.echo(f"Picture written: {output}", err=True)


def _methods_of(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--methods names none; give names separated by commas.")
    known = (*METHODS, *registered_names())  # of other packages, with their default options
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or ";"
            raise UsageError(
                f"--methods: there is no method {name!r}{hint} methods are {', '.join(known)}."
            )
    return list(dict.fromkeys(names))


def _check_picture_options(output: Path | None, against_raters: bool) -> None:
    """Refuse a picture over several cases, and options of a picture without one."""
    context = click.get_current_context()
    of_pictures = ("class_name", "channel", "axis", "slice_", "frame_px", "dpi")
    for name in of_pictures if output is None else ():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            [given] = [p.opts[0] for p in context.command.params if p.name == name]
            raise UsageError(f"{given} is of the picture, and has no meaning without -o.")
    if output is not None and output.suffix.lower() != ".png":
        raise UsageError(
            f"-o is {output}; the picture is a PNG file, so give a name ending in .png."
        )
    if output is not None and against_raters:
        raise UsageError(
            "-o draws one case, and --against-raters compares over cases; leave one of them out."
        )


# --- one case -------------------------------------------------------------------------------------


def _only_case(dataset: Dataset, refs: Sequence[CaseRef]) -> Case:
    from softlabel.comparison.cases import cases_of

    if len(refs) != 1:
        raise UsageError(
            f"--case names {plural(len(refs), 'case')}; give one (--against-raters takes several)."
        )
    [case] = cases_of(dataset, refs)
    if isinstance(case, CaseError):
        raise case
    return case


def _truth_of(case: Case, dataset: Dataset, truth: str | None) -> tuple[Array | None, str]:
    """What the soft labels are scored against, and its name; none of raters that are fused."""
    from softlabel.comparison.cases import TRUTH, other_map, second_rater
    from softlabel.readers.imagefiles import read_label_map

    if truth is None:
        name = TRUTH if case.truth is not None else second_rater(case)
        if name is None or (name != TRUTH and case.rater_axis is not None):
            return None, ""
        return other_map(case, name), name
    path = Path(truth)
    if path.is_file():
        pixels = read_label_map(path, mapping=dataset.mapping)
        values = pixels.values
        return values if dataset.mapping is None else dataset.mapping.apply(values), path.name
    if path.suffix and truth not in case.label_maps:
        raise UsageError(
            f"--truth: there is no file {truth}; give one, or a label map by its name."
        )
    return other_map(case, truth), truth


def _compared(
    case: Case,
    settings: Mapping[str, Settings],
    classes: ClassTable,
    truth: tuple[Array | None, str],
    band_px: float,
) -> Comparison:
    from softlabel.comparison import compare_case

    return compare_case(
        case, settings, classes=classes, truth=truth[0], truth_name=truth[1], band_px=band_px
    )


def _draw(
    found: Comparison,
    output: Path,
    shown: tuple[int | None, int | None, int | None, int | None],
    frame_px: int | None,
    dpi: int,
) -> None:
    """Write the picture; matplotlib, which takes a second to import, is needed here only."""
    from softlabel.render.cases import write_figure
    from softlabel.render.comparison import comparison_picture
    from softlabel.render.comparison_figure import draw_comparison
    from softlabel.render.sections import View

    picture = comparison_picture(found, View(*shown), frame_px)
    write_figure(lambda: draw_comparison(picture), output, dpi)


def _print_comparison(found: Comparison, csv_path: Path | None, as_json: bool) -> None:
    facts = found.as_dict()
    rows = [{"method": name} | scores for name, scores in facts["methods"].items()]
    _write_csv(csv_path, rows)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    table = Table("method", title=found.case.id, title_justify="left")
    heads = ["softened", "entropy", "argmax changed"]
    if found.truth is not None:
        heads += ["Brier", "log", "Brier, band", "log, band"]
        table.caption = (
            f"scores against {found.truth_name}, lower is better; band: at most "
            f"{found.band_px:g} pixels from a boundary"
        )
    for head in heads:
        table.add_column(head, justify="right")
    for name, s in found.scores.items():
        cells = [percent(s.softened), f"{s.entropy_bits:.4f}", percent(s.changed)]
        if found.truth is not None:
            cells += [f"{v:.4f}" for v in (s.brier, s.log, s.near_brier, s.near_log)]
        table.add_row(name, *cells)
    drawing.console(sys.stdout).print(table)


# --- raters ---------------------------------------------------------------------------------------


def _against_raters(
    dataset: Dataset,
    refs: Sequence[CaseRef],
    settings: Mapping[str, Settings],
    classes: ClassTable,
    other: str | None,
    band_px: float,
    verbose: bool,
    quiet: bool,
) -> RaterReport:
    from softlabel.comparison import against_raters

    with progress(len(refs), "cases", quiet) as advance:
        return against_raters(
            dataset, refs, settings, classes, other=other, band_px=band_px,
            done=lambda case_id: advance(case_id if verbose else ""),
        )  # fmt: skip


def _print_report(
    report: RaterReport, settings: Mapping[str, Settings], csv_path: Path | None, as_json: bool
) -> None:
    facts = report.as_dict()
    _write_csv(csv_path, facts["areas"])
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    elif report.cases:
        drawing.console(sys.stdout).print(_rater_table(report, list(settings)))
    for case_id, reason in list(report.failures.items())[:SHOWN_FAILURES]:
        say(f"failed: {case_id}: {reason}")
    if report.failures:
        fail(f"{plural(len(report.failures), 'case')} could not be compared.", EXIT_FAILED)


def _rater_table(report: RaterReport, methods: Sequence[str]) -> Table:
    table = Table("class", title="Where raters disagree: area under the ROC curve of softness")
    for head in (*methods, "disagree", "cases"):
        table.add_column(head, justify="right")
    by_class: dict[str, list[Any]] = {}
    for area in report.areas:
        by_class.setdefault(area.class_name, []).append(area)
    for name, areas in by_class.items():
        cells = [f"{a.area:.3f}" if a.cases else "–" for a in areas]
        table.add_row(name, *cells, percent(areas[0].disagreeing), str(areas[0].cases))
    means = [report.mean_area(method) for method in methods]
    table.add_row("mean", *(f"{m:.3f}" if m == m else "–" for m in means), "", "")
    table.caption = (
        f"means over {plural(report.cases, 'case')}; at most {report.band_px:g} pixels from the "
        "boundary of the class; 0.5 is chance"
    )
    return table


def _write_csv(path: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    from softlabel.files import publish

    if path is None:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    publish(path, text.getvalue().encode())
