"""``softlabel-train predict``."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.console.group import EXIT_FAILED, fail, say
from softlabel.errors import UsageError, plural
from softlabel.types import spacing_in_order
from softlabel_train.checkpoint import find_checkpoint
from softlabel_train.predict import predict_images


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--probabilities", is_flag=True, help="Also write NAME.probabilities.npz.")
@click.option(
    "--window", metavar="N,N[,N]",
    help="Predict in windows of this size, which slide.  [default: the recipe's evaluate.window]",
)  # fmt: skip
@click.option(
    "--spacing-mm", metavar="MM,MM[,MM]",
    help="Distance of pixels along each axis, for images that state none; the steps go by it.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="Weights of the denoiser dncnn that the network was trained after, where they are not "
    "those that come with softlabel.",
)  # fmt: skip
@click.option(
    "--masks", metavar="FOLDER|PATTERN",
    help="Masks of the region to look at, such as the brain, for image files: matched by their "
    "names as label maps are. What `softlabel generate --masks` is for the training.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def predict(
    run: Path,
    images: tuple[Path, ...],
    out: Path,
    probabilities: bool,
    window: str | None,
    spacing_mm: str | None,
    weights: Path | None,
    masks: str | None,
    device: str,
    quiet: bool,
) -> None:
    """Write label maps of IMAGES (files, folders, or a cache) with the network of RUN.

    RUN is the folder of a run or a checkpoint. Label maps have the format and the geometry of
    their images. Channels in several files are named NAME_0000.ext, NAME_0001.ext, …. Images go
    through the steps before superpixels that the network was trained after.
    """
    report = predict_images(
        find_checkpoint(run), images, out, probabilities=probabilities, device=device,
        window=None if window is None else _sizes(window),
        spacing_mm=None if spacing_mm is None else _spacing(spacing_mm), weights=weights,
        masks=masks,
        progress=None if quiet else lambda name: click.echo(f"{name} done", err=True),
    )  # fmt: skip
    for name, notes in report.notes.items():
        for note in notes:
            say(f"Warning: {name}: {note}")
    click.echo(f"{plural(len(report.written), 'file')} written to {out}")
    if report.failures:
        for name, reason in report.failures.items():
            say(f"failed: {name}: {reason}")
        fail(f"{plural(len(report.failures), 'image')} could not be predicted.", EXIT_FAILED)


def _sizes(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(n.strip().isdecimal() and int(n) > 0 for n in numbers):
        raise UsageError(f"--window is {text!r}; give whole numbers, such as 256,256.")
    return [int(n) for n in numbers]


def _spacing(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
        return spacing_in_order(numbers, len(numbers))
    except ValueError as error:
        raise UsageError(
            f"--spacing-mm is {text!r}; give positive numbers, one for each axis, such as "
            "0.00387,0.01133."
        ) from error
