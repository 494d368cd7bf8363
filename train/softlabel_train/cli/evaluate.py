"""``softlabel-train evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel_train.checkpoint import BEST, LAST, find_checkpoint, load_checkpoint
from softlabel_train.cli import show_left_out, show_tables
from softlabel_train.config import make_recipe, parse_override
from softlabel_train.evaluate import evaluate_run
from softlabel_train.runfolder import PARTS
from softlabel_train.scores import tables
from softlabel_train.splits import LEAKS


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--cache", type=click.Path(path_type=Path), help="Another cache than the run's.")
@click.option(
    "--part", type=click.Choice(PARTS), default="evaluation",
    show_default=True, help="Part of the run's split; new: patients that it has not seen.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Choice([BEST, LAST]),
    help="Default: best.pt where there is one.",
)  # fmt: skip
@click.option(
    "--against", multiple=True,
    help="labels, truth, or the name of another label map; can be repeated.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--json", "as_json", is_flag=True, help="Print scores.json instead of tables.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def evaluate(
    run: Path,
    overrides: tuple[str, ...],
    cache: Path | None,
    part: str,
    checkpoint: str | None,
    against: tuple[str, ...],
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score the run in the folder RUN on the patients that it was not trained on.

    KEY=VALUE changes a key of the recipe's section evaluate, for example convention=evalseg.
    Scores are also written as CSV and JSON into RUN/evaluation.
    """
    found = load_checkpoint(find_checkpoint(run, checkpoint))
    values = found.recipe.model_dump(mode="json")
    for text in overrides:
        key, value = parse_override(text)
        values["evaluate"][key.removeprefix("evaluate.")] = value
    if against:
        values["evaluate"]["against"] = list(against)
    config = make_recipe(values, f"of {run}").evaluate
    result = evaluate_run(
        run, checkpoint=checkpoint, cache=cache, part=part, config=config, device=device,
        progress=None if quiet else lambda case: click.echo(f"{case} done", err=True),
    )  # fmt: skip
    if as_json:
        click.echo((result.folder / "scores.json").read_text(encoding="utf-8"))
        return
    show_tables(tables(result.summary, result.unit, caption=LEAKS if result.leaks else None))
    show_left_out({case.id: case.reason for case in result.left_out})
    click.echo(f"Written to {result.folder}: cases.csv, summary.csv, scores.json")
