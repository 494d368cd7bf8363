"""``softlabel inspect``: one picture of each case of a cache."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.cache import open_cache
from softlabel.cli.options import (
    cache_argument,
    channel_index,
    class_index,
    given_window,
    verbosity_options,
    window_option,
)
from softlabel.console.display import progress
from softlabel.errors import CaseError, first_of, plural
from softlabel.parallel import cpu_count

SHOWN_NAMES = 10
CASES_A_WORKER = 8
"""Starting a worker takes as long as a few pictures."""


@click.command()
@cache_argument
@click.argument("ids", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the pictures.  [default: NAME.overlays beside NAME.h5]",
)
@click.option(
    "--class",
    "class_name",
    metavar="NAME|VALUE",
    help="Show the soft label of this class.  [default: the entropy over the classes]",
)
@click.option(
    "--channel",
    metavar="NAME|INDEX",
    help="Channel of the image.  [default: the first, or colours]",
)
@window_option
@click.option(
    "--axis",
    type=int,
    help="Axis across the slices of a volume, from 0.  [default: that of the coarsest spacing]",
)
@click.option("--slice", "slice_", type=int, metavar="N", help="Only this slice, from 0.")
@click.option(
    "--slices",
    type=click.IntRange(1, 12),
    default=4,
    show_default=True,
    help="Slices of a volume, evenly over those that a class boundary crosses.",
)
@click.option("--zoom", is_flag=True, help="Only the part around the class boundaries.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N cases.")
@click.option(
    "--dpi", type=click.IntRange(40, 400), default=150, show_default=True, help="Resolution."
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Worker processes. Default: up to one a core."
)
@verbosity_options
def inspect(
    cache: Path,
    ids: tuple[str, ...],
    output: Path | None,
    class_name: str | None,
    channel: str | None,
    window: tuple[float, float] | None,
    axis: int | None,
    slice_: int | None,
    slices: int,
    zoom: bool,
    limit: int | None,
    dpi: int,
    jobs: int | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Draw a picture of each case of CACHE.h5, or of the cases IDS ('Subject_01*' works too).

    Side by side: the image; superpixels and label contours; and the soft label of a class, or
    the entropy over the classes. A second picture shows a preprocessed case before and after the
    steps, with the membrane that flattening found. Prints the files that it wrote.
    """
    # matplotlib takes a second to import, which --help need not wait for
    from softlabel.files.names import file_names
    from softlabel.render.cases import draw_cases, picture_path
    from softlabel.render.sections import View
    from softlabel.render.steps import shows_steps, steps_path

    with open_cache(cache) as opened:
        chosen = opened.chosen(ids)[:limit]
        view = View(
            class_index(opened.classes, class_name),
            channel_index(opened.channels, channel, opened.path),
            axis,
            slice_,
            slices,
            zoom,
            given_window(window),
        )
        folder = output or cache.with_suffix(".overlays")
        names = file_names(list(opened))
        files = {i: picture_path(folder, names[i], opened.classes, view) for i in chosen}
        jobs = jobs or min(cpu_count(), 1 + len(chosen) // CASES_A_WORKER)
        failures = {}
        with progress(len(chosen), "pictures", quiet or len(chosen) == 1) as advance:
            for case_id, failure in draw_cases(opened, files, view, dpi=dpi, jobs=jobs):
                if failure:
                    failures[case_id] = failure
                    advance(f"failed: {case_id}: {failure}")
                    continue
                click.echo(str(files[case_id]))
                if shows_steps(opened[case_id]):
                    click.echo(str(steps_path(files[case_id])))
                advance(case_id if verbose else "")
    if failures:
        raise CaseError(
            f"{plural(len(failures), 'case')} of {len(chosen)} could not be drawn: "
            + "; ".join(
                failures.values() if len(chosen) == 1 else [first_of(failures, SHOWN_NAMES)]
            )
        )
