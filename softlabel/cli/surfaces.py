"""``softlabel surfaces``: layer boundaries of OCT in µm, their errors and thickness."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from softlabel.cli.options import (
    SectionedCommand,
    format_option,
    given_reader_options,
    label_options,
    mapping_of,
    reader_options,
    verbosity_options,
)
from softlabel.console import drawing
from softlabel.console.display import percent, progress
from softlabel.console.group import EXIT_FAILED, fail, say
from softlabel.errors import UsageError, first_of, plural

if TYPE_CHECKING:
    from softlabel.measurements import Report

SHOWN = 5
"""Failures and names that are listed on the terminal."""


@click.command(cls=SectionedCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the tables.  [default: NAME.surfaces beside SOURCE]",
)
@click.option(
    "--rater",
    default="labels",
    show_default=True,
    metavar="NAME",
    help="Which label map of each case: labels, truth, or another that it has (grader2).",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="SOURCE2",
    help="Errors against the label maps of the same cases there.  [default with --against-rater: "
    "SOURCE]",
)
@click.option(
    "--against-rater",
    metavar="NAME",
    help="Which label map of the cases of SOURCE2.  [default: labels]",
)
@click.option(
    "--surfaces",
    metavar="NAME,NAME,…",
    help="The boundaries from the top: class k lies below exactly k of them.  [default: the 8 of "
    "Duke OCT-DME]",
)
@click.option(
    "--fluid",
    default="9",
    show_default=True,
    metavar="VALUES",
    help="Label values, separated by commas, that lie over the layers; or none.",
)
@click.option(
    "--axial-axis",
    type=click.IntRange(0, 2),
    default=0,
    show_default=True,
    help="Axis along the A-scans.",
)
@click.option(
    "--bscan-mm",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MM",
    help="Distance of B-scans that are cases of their own, such as Subject_01_bscan_010, for the "
    "ETDRS grid. Duke OCT-DME: 0.123.",
)
@click.option(
    "--eye",
    type=click.Choice(["right", "left"]),
    help="Eye of all volumes, which tells nasal from temporal.",
)
@click.option(
    "--first-bscan",
    type=click.Choice(["inferior", "superior"]),
    default="inferior",
    show_default=True,
    help="Where B-scan 0 of the volumes lies.",
)
@click.option("--duke", is_flag=True, help="Also write NAME.mat in the layout of Duke OCT-DME.")
@click.option("--pictures", is_flag=True, help="Also draw NAME.png: thickness and surfaces.")
@format_option
@label_options
@verbosity_options
@reader_options
def surfaces(
    source: Path,
    output: Path | None,
    rater: str,
    against: Path | None,
    against_rater: str | None,
    bscan_mm: float | None,
    eye: str | None,
    first_bscan: str,
    duke: bool,
    pictures: bool,
    format_: str,
    map_: str | None,
    threshold: float | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Write the layer boundaries of OCT label maps, their errors and thickness in µm.

    SOURCE is a cache, a data set, or label maps alone such as `softlabel-train predict` writes,
    named by case. Predictions with SOURCE2, the data set that they are of: errors a case and
    surface, beside those between its two graders. Formats and --map are of the data set among both.

    Writes NAME.surfaces.csv (every A-scan) and NAME.thickness.npz of each volume, cases.csv (each
    case and surface: errors, coverage, violations of the order), and etdrs.csv.
    """
    from softlabel.measurements.sources import open_pair
    from softlabel.measurements.surfaces import Comparison
    from softlabel.measurements.write import Outputs, write_surfaces

    layers, scales, given = _settings_of(options)
    measured, reference = open_pair(source, against, format_, given, mapping_of(map_, threshold))
    if against is None and against_rater is not None:
        reference = measured
    comparison = Comparison(
        measured, rater, reference, against_rater or "labels", layers, scales, bscan_mm
    )
    draw = None
    if pictures:
        from softlabel.render.surfaces import draw_volume  # matplotlib takes a second

        draw = lambda volume: draw_volume(volume, layers)  # noqa: E731
    if not quiet:
        for found in (measured,) if reference in (None, measured) else (measured, reference):
            click.echo(f"{found.path}: {found.description}", err=True)
    folder = output or source.with_name(f"{source.resolve().stem}.surfaces")
    with progress(len(measured.ids), "cases", quiet) as advance:
        report = write_surfaces(
            comparison, folder, Outputs(duke, eye, first_bscan, draw),
            done=lambda case_id: advance(case_id if verbose else ""),
        )  # fmt: skip
    _print(report, folder, quiet)
    if report.failures:
        fail(f"{plural(len(report.failures), 'case')} could not be measured.", EXIT_FAILED)


def _settings_of(options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Layers, scales and the options of the readers."""
    from softlabel.measurements.scans import SURFACES, Layers, Scales
    from softlabel.readers.listing import parse_spacing

    names, fluid, axial_axis = (options.pop(n) for n in ("surfaces", "fluid", "axial_axis"))
    chosen = SURFACES if names is None else tuple(name.strip() for name in names.split(","))
    try:
        layers = Layers(chosen, _values(fluid))
    except ValueError as error:
        raise UsageError(f"--surfaces and --fluid: {error}") from error
    given = given_reader_options(options)
    return layers, Scales(parse_spacing(given.get("spacing_mm")), axial_axis), given


def _values(text: str) -> tuple[int, ...]:
    parts = [] if text.strip() == "none" else text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(
            f"--fluid is {text!r}; give label values separated by commas, such as 9, or none."
        )
    return tuple(int(part) for part in parts)


def _print(report: Report, folder: Path, quiet: bool) -> None:
    if not quiet:
        _print_table(report)
        share = report.disordered / report.ascans
        click.echo(
            f"{plural(report.cases, 'case')} in {plural(report.volumes, 'volume')}; classes were "
            f"out of order in {percent(share)} of the A-scans, and were repaired."
        )
        click.echo(f"{plural(len(report.written), 'file')} written to {folder}")
    if report.absent:
        click.echo(
            f"Warning: no case shows {', '.join(report.absent)}. Check that class k of the label "
            "maps lies below exactly k boundaries (--map, --surfaces).",
            err=True,
        )
    if report.unmatched:
        click.echo(
            f"Warning: {plural(len(report.unmatched), 'case')} without a reference, and without "
            f"errors: {first_of(report.unmatched, SHOWN)}.",
            err=True,
        )
    if report.without_grid and not quiet:
        click.echo(
            "No ETDRS grid: nothing states the distance of the B-scans of "
            f"{first_of(report.without_grid, SHOWN)}; give it with --bscan-mm.",
            err=True,
        )
    for case_id, reason in list(report.failures.items())[:SHOWN]:
        say(f"failed: {case_id}: {reason}")


def _print_table(report: Report) -> None:
    console = drawing.console(sys.stdout)
    table = Table("surface", "coverage")
    columns = {
        "error µm": "absolute_um", "signed µm": "signed_um",
        "graders µm": "graders_absolute_um", "graders, signed µm": "graders_signed_um",
    }  # fmt: skip
    shown = {
        head: name for head, name in columns.items()
        if any(getattr(s, name) == getattr(s, name) for s in report.surfaces)
    }  # fmt: skip
    for head in shown:
        table.add_column(head, justify="right")
    for surface in report.surfaces:
        numbers = [getattr(surface, name) for name in shown.values()]
        cells = ["–" if n != n else f"{n:.2f}" for n in numbers]
        table.add_row(surface.name, percent(surface.coverage), *cells)
    console.print(table)
