"""``softlabel-train fit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from softlabel.console.estimate import estimate_text
from softlabel.console.group import fail
from softlabel.errors import plural
from softlabel.interrupt import interrupted_status
from softlabel_train.cli import show_left_out
from softlabel_train.config import load_recipe
from softlabel_train.splits import group_parts

if TYPE_CHECKING:
    from softlabel_train.dryrun import DryRun


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--cache", type=click.Path(path_type=Path), help="The cache (data.cache).")
@click.option(
    "--source", type=click.Path(path_type=Path),
    help="The data set that the cache is generated from when it is missing (data.source).",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path),
    help="Folder of the run.  [default: runs/NAME]",
)  # fmt: skip
@click.option("--jobs", default=1, show_default=True, help="Processes that generate the cache.")
@click.option("--overwrite", is_flag=True, help="Start anew where a run is there already.")
@click.option(
    "--dry-run", is_flag=True,
    help="Check everything and say what would be done, with the time that generating the cache "
    "takes estimated from one case; write nothing.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def fit(
    recipe: str,
    overrides: tuple[str, ...],
    cache: Path | None,
    source: Path | None,
    out: Path | None,
    jobs: int,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Train a network as RECIPE says: a name of `softlabel-train recipes` or a YAML file.

    KEY=VALUE changes one key: loss.beta=0.5, or arm=ce-hard for another of the recipe's arms.
    `softlabel-train recipes --keys` lists the keys. Running the same command again goes on where
    it was stopped.
    """
    given = [*overrides]
    given += [f"data.cache={json.dumps(str(cache))}"] if cache else []
    given += [f"data.source={json.dumps(str(source))}"] if source else []
    resolved = load_recipe(recipe, given)
    leaks = "leaks" if resolved.data.split.kind == "paper" else None
    name = "-".join(part for part in (resolved.name, resolved.arm, leaks) if part)
    folder = out or Path("runs") / name
    # only now, since torch takes seconds and a wrong key is told at once
    from softlabel_train.dryrun import dry_run as foresee
    from softlabel_train.loop import fit as fit_recipe
    from softlabel_train.runfolder import left_out_of

    if dry_run:
        found = foresee(resolved, folder, jobs=jobs, overwrite=overwrite)
        click.echo(_cache_text(found, jobs))
        data, steps = resolved.data, resolved.train.steps
        click.echo(f"Then {steps:,} steps of {plural(data.batch_size, 'image')} in {folder}.")
        return
    result = fit_recipe(resolved, folder, jobs=jobs, overwrite=overwrite, show=not quiet)
    if result.interrupted:
        fail(
            f"Interrupted after {result.steps} of {resolved.train.steps} steps; {folder} is saved. "
            "Run the same command again to go on.",
            interrupted_status(),
        )
    score = "none" if result.best_score is None else f"{result.best_score:.4f}"
    click.echo(
        f"{folder}: {result.steps} steps in {result.seconds / 60:.1f} min, best validation Dice "
        f"{score} at step {result.best_step}"
    )
    show_left_out({case.id: case.reason for case in left_out_of(folder)})
    click.echo(f"Score it: softlabel-train evaluate {folder}")


def _cache_text(found: DryRun, jobs: int) -> str:
    """What the cache lacks and how long that takes, or who trains on it."""
    if found.split is not None:
        parts = group_parts(found.split)
        patients = ", ".join(f"{name} {' '.join(groups)}" for name, groups in parts.items())
        return f"{found.cache} has its {plural(found.cases, 'case')}; patients: {patients}."
    text = f"{found.cache} lacks {found.to_compute:,} of {plural(found.cases, 'case')}."
    if found.sample is None:
        return text
    if found.sample.error:
        return f"{text} The first fails, so there is no estimate: {found.sample.error}"
    workers = min(jobs, found.to_compute)
    return f"{text} {estimate_text(found.sample, found.to_compute, workers)}"
