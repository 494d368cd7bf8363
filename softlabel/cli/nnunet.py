"""``softlabel nnunet``: soft labels in nnU-Net's own training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from softlabel.bridges import prepare as prepare_superpixels
from softlabel.bridges import trainer_folder
from softlabel.cli.options import SectionedCommand, option, verbosity_options
from softlabel.cli.setting_options import (
    boundary_settings,
    method_options,
    settings_of,
    superpixel_settings,
)
from softlabel.console.display import progress
from softlabel.console.group import EXIT_FAILED, say
from softlabel.errors import plural
from softlabel.parallel import cpu_count


@click.group()
def nnunet() -> None:
    """Train nnU-Net v2 with soft labels: superpixels for its cases, and where its trainer is."""


@nnunet.command()
def path() -> None:
    """Print the folder of the trainer, for the environment variable nnUNet_extTrainer."""
    click.echo(trainer_folder())


@nnunet.command(cls=SectionedCommand)
@click.argument("folder", type=click.Path(path_type=Path), metavar="CONFIGURATION")
@option(
    "Superpixels",
    "--superpixels",
    type=click.Choice(["slic", "grid"]),
    default="slic",
    show_default=True,
    help="SLIC of the preprocessed image, or a regular grid.",
)
@superpixel_settings
@boundary_settings
@method_options("Softening", only="superpixel")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Worker processes. Default: one a core."
)
@verbosity_options
def prepare(
    folder: Path, superpixels: str, jobs: int | None, verbose: bool, quiet: bool, **options: Any
) -> None:
    """Make the superpixels of a preprocessed configuration, on the grid that nnU-Net trains on.

    CONFIGURATION is its folder, such as nnUNet_preprocessed/Dataset001_Ball/nnUNetPlans_2d.

    They go into the folder softlabel beside it, with the settings of softening: labels are softened
    in training, patch by patch, after augmentation. Running the same command again makes only what
    is missing or out of date.
    """
    settings = settings_of(options, superpixels=superpixels)
    total = len(list(folder.glob("*.pkl"))) if folder.is_dir() else 0
    with progress(total, "superpixels", quiet) as advance:
        report = prepare_superpixels(
            folder, settings, jobs=jobs or cpu_count(),
            progress=lambda case: advance(case if verbose else ""),
        )  # fmt: skip
    if not quiet:
        kept = f", {len(report.kept)} were there" if report.kept else ""
        click.echo(f"{report.folder}: {plural(len(report.computed), 'case')} made{kept}.")
    for case, reason in report.failed.items():
        say(f"failed: {case}: {reason}")
    sys.exit(EXIT_FAILED if report.failed else 0)
