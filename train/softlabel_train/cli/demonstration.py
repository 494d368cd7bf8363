"""What ``softlabel-train train-oct`` and ``train-mri`` share: all but what they train on."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.console.group import EXIT_FAILED, fail, say
from softlabel.interrupt import interrupted_status
from softlabel_train.cli import show_left_out, show_tables
from softlabel_train.demo import Demonstration, demonstrate, what_it_is
from softlabel_train.sweep import sweep_tables


def make_command(demo: Demonstration) -> click.Command:
    """The command of a demonstration."""

    @click.command(demo.name, help=_help(demo))
    @click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
    @click.option("--data", type=click.Path(path_type=Path), help=f"Folder of {demo.layout}.")
    @click.option(
        "-o", "--out", type=click.Path(path_type=Path), default=Path(demo.name), show_default=True,
        help="Folder for data, caches and runs.",
    )  # fmt: skip
    @click.option(
        "--size", type=click.Choice(["auto", "small", "full"]), default="auto", show_default=True,
        help="small: minutes on a CPU. full: the published recipe.",
    )  # fmt: skip
    @click.option("--seeds", default=1, show_default=True, help="Runs of each arm.")
    @click.option("--jobs", default=2, show_default=True, help="Processes that generate caches.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress.")
    def command(
        overrides: tuple[str, ...],
        data: Path | None,
        out: Path,
        size: str,
        seeds: int,
        jobs: int,
        quiet: bool,
    ) -> None:
        chosen = {"auto": demo.default_size(), "small": demo.small, "full": demo.full}[size]
        about = what_it_is(demo, chosen, data, range(seeds), overrides)
        result = demonstrate(
            demo, out, data=data, size=chosen, seeds=range(seeds), overrides=overrides, jobs=jobs,
            show=not quiet, say=lambda text: click.echo(text, err=True),
        )  # fmt: skip
        show_tables(sweep_tables(result, about))
        show_left_out(result.left_out)
        for name, reason in result.failures.items():
            say(f"failed: {name}: {reason}")
        if result.interrupted:
            fail("Interrupted; run the same command again to go on.", interrupted_status())
        if result.failures:
            fail(f"{len(result.failures)} runs failed.", EXIT_FAILED)
        click.echo(f"Look at: {out}/runs/*/seed_0/pictures and {out}/runs/sweep.csv")

    return command


def _help(demo: Demonstration) -> str:
    return (
        f"Train with hard and with superpixel soft labels on {demo.modality} and compare, from "
        "nothing.\n\n"
        "Without --data, on phantoms: the table then has scores against the grader and against "
        "the truth. Running the same command again goes on where it was stopped."
    )
