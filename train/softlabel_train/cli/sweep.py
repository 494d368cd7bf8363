"""``softlabel-train sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from softlabel.console.group import EXIT_FAILED, fail, say
from softlabel.errors import UsageError
from softlabel.interrupt import interrupted_status
from softlabel_train.arms import Arm, make_arms
from softlabel_train.cli import show_left_out, show_tables
from softlabel_train.config import load_recipe, parse_grid, recipe_grids


@click.command()
@click.argument("recipe")
@click.argument("grid", nargs=-1, metavar="GRID|KEY=V1,V2...")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For all arms.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="Folder of the sweep.  [default: sweeps/RECIPE]",
)  # fmt: skip
@click.option("--jobs", default=1, show_default=True, help="Processes that generate caches.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def sweep(
    recipe: str,
    grid: tuple[str, ...],
    overrides: tuple[str, ...],
    out: Path | None,
    jobs: int,
    quiet: bool,
) -> None:
    """Train RECIPE with every combination of the values, and compare with the first.

    A key with one value holds for all arms. Examples: arm=ce-hard,ce-superpixel seed=0,1,2 or
    generate.n_segments=500,1000,2000 with data.source=FOLDER, so that the caches can be made. GRID
    is the name of a grid of the recipe, such as beta. Values of data.split.fold are no arms: their
    patients are scored together. Running the same command again goes on where it was stopped.
    """
    keys: dict[str, list[Any]] = {}
    for text in grid:
        keys |= _named_grid(recipe, text) if "=" not in text else dict([parse_grid(text)])
    seeds = keys.pop("seed", [0])
    if not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds):
        raise UsageError(f"seed must be whole numbers; got {seeds}.")
    single = Arm({key: values[0] for key, values in keys.items() if len(values) == 1})
    swept = {key: values for key, values in keys.items() if len(values) > 1}
    folder = out or Path("sweeps") / Path(recipe).stem
    given = [*overrides, *single.words]
    for arm in make_arms(swept):
        load_recipe(recipe, [*given, *arm.words])
    # only now, since torch takes seconds and a wrong key is told at once
    from softlabel_train.sweep import sweep as run_sweep
    from softlabel_train.sweep import sweep_tables

    result = run_sweep(
        recipe, swept, folder, overrides=given, seeds=seeds, jobs=jobs,
        show=not quiet, say=lambda text: click.echo(text, err=True),
    )  # fmt: skip
    show_tables(sweep_tables(result))
    show_left_out(result.left_out)
    click.echo(f"Written to {folder}: sweep.csv, sweep.json")
    for name, reason in result.failures.items():
        say(f"failed: {name}: {reason}")
    if result.interrupted:
        fail("Interrupted; run the same command again to go on.", interrupted_status())
    if result.failures:
        fail(f"{len(result.failures)} runs failed.", EXIT_FAILED)


def _named_grid(recipe: str, name: str) -> dict[str, list[Any]]:
    """A grid of the recipe by its name.

    Raises
    ------
    UsageError
        When the recipe has no such grid.
    """
    grids = recipe_grids(recipe)
    if name not in grids:
        known = ", ".join(grids) or "none"
        raise UsageError(
            f"The recipe {recipe} has no grid {name!r}; its grids are: {known}. A swept key is "
            "written key=v1,v2."
        )
    return grids[name]
