"""``softlabel-train denoiser``."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.console.group import fail
from softlabel.errors import UsageError
from softlabel.interrupt import interrupted_status
from softlabel.preprocess import DnCNNSettings
from softlabel_train.denoiser import PRECISIONS, DenoiserConfig, DenoiserResult, train_denoiser
from softlabel_train.denoiser_data import file_data, phantom_data

DEFAULTS = DenoiserConfig()


@click.command()
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--phantoms", type=int, metavar="N",
    help="Train on N OCT phantoms, whose clean images are known, instead of IMAGES.",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="The weights, NAME.safetensors.",
)  # fmt: skip
@click.option("--seed", default=DEFAULTS.seed, show_default=True, help="Of everything drawn.")
@click.option("--steps", default=DEFAULTS.steps, show_default=True, help="Steps of training.")
@click.option("--depth", default=8, show_default=True, help="Convolutions; the paper has 17 or 20.")
@click.option("--channels", default=32, show_default=True, help="Channels; the paper has 64.")
@click.option(
    "--scaling", type=click.Choice(["range", "noise"]), default="range", show_default=True,
    help="range: a blind network, which sees images from 0 to 1. noise: images in units of their "
    "noise, so that there is one level.",
)  # fmt: skip
@click.option(
    "--mask-px", default=DEFAULTS.mask_px, show_default=True,
    help="[IMAGES] Side of the square around a blind spot, wider than the speckle is correlated.",
)  # fmt: skip
@click.option(
    "--distance-mm", type=float,
    help="[IMAGES] Distance of the B-scans of volumes that state none; at 0.02 or less they are "
    "trained to become their neighbours instead.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default=DEFAULTS.precision, show_default=True,
    help="Of convolutions in training; bf16 is for CPUs that compute it.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the file where it is there already.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def denoiser(
    images: tuple[Path, ...],
    phantoms: int | None,
    out: Path,
    seed: int,
    steps: int,
    depth: int,
    channels: int,
    scaling: str,
    mask_px: int,
    distance_mm: float | None,
    precision: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Train a DnCNN, and write its weights for `softlabel generate --denoise dncnn --weights FILE`.

    IMAGES are B-scans or volumes of them (files, or folders of files) without clean images: what is
    seen of them is taken to guess what is hidden. Ctrl-C keeps the best weights so far.
    """
    if bool(images) == (phantoms is not None):
        raise UsageError("Give either IMAGES or --phantoms N.")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; give another file, or --overwrite.")
    try:
        level = 1.0 if scaling == "noise" else None
        settings = DnCNNSettings(depth, channels, level, scaling)
    except ValueError as error:
        raise UsageError(str(error)) from error
    config = DenoiserConfig(steps=steps, seed=seed, mask_px=mask_px, precision=precision)
    data = (
        file_data(images, seed, scaling, distance_mm)
        if phantoms is None
        else phantom_data(phantoms, seed, scaling)
    )
    result = train_denoiser(
        data, settings, config, out,
        progress=lambda text: None if quiet else click.echo(text, err=True),
    )  # fmt: skip
    _tell(result, out, steps)


def _tell(result: DenoiserResult, out: Path, steps: int) -> None:
    if result.best is None:
        fail("Interrupted before the first validation; nothing is written.", interrupted_status())
    found = f"{result.best.text} at step {result.best_step}"
    if result.interrupted:
        fail(
            f"Interrupted after {result.steps} of {steps} steps; {out} has the best so far: "
            f"{found}.",
            interrupted_status(),
        )
    click.echo(f"{out}: {result.steps} steps in {result.seconds / 60:.1f} min, {found}")
