"""``softlabel phantom``: synthetic data sets with known truth and imprecise graders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from softlabel.console.display import progress
from softlabel.errors import plural
from softlabel.phantom import (
    Grader,
    Visibility,
    write_ct_dataset,
    write_mri_dataset,
    write_oct_dataset,
)
from softlabel.phantom.graders import WEIGHTS


class PerAxis(click.ParamType):
    """A number for each axis, with ×, x or commas between them.

    Parameters
    ----------
    axes : sequence of str
        Names of the axes, for the help.
    example : str
        A value that passes, for the message about one that does not.
    number : {int, float}
        Whole numbers, or decimal fractions as well.
    """

    def __init__(self, axes: Sequence[str], example: str, number: type[int] | type[float]) -> None:
        self.axes, self.example, self.number = axes, example, number
        self.name = "×".join(axes)  # click shows it in capitals

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse ``240x240x48``; a tuple passes."""
        if isinstance(value, tuple):
            return value
        numbers = re.split(r"[xX×,]", value.strip())
        pattern = r"[0-9]{1,6}" if self.number is int else r"[0-9]{1,6}(\.[0-9]{1,9})?"
        if len(numbers) != len(self.axes) or not all(re.fullmatch(pattern, n) for n in numbers):
            self.fail(
                f"{value!r} is not {' × '.join(self.axes)}, such as {self.example}.", param, ctx
            )
        return tuple(self.number(n) for n in numbers)


def shared_options(rms_px: float, graders: int) -> Callable[[Any], Any]:
    """Options of every phantom, with the defaults that differ between them."""
    options = [
        click.argument("folder", metavar="DIR", type=click.Path(path_type=Path)),
        click.option("--subjects", default=4, show_default=True, help="How many subjects."),
        click.option(
            "--seed", default=0, show_default=True, help="The same seed gives the same bytes."
        ),
        click.option("--graders", default=graders, show_default=True, help="How many annotators."),
        click.option(
            "--kind",
            type=click.Choice(list(WEIGHTS)),
            default="contrast",
            show_default=True,
            help="The graders' error: larger where the contrast is low, the same everywhere, or "
            "a constant offset.",
        ),
        click.option(
            "--rms", default=rms_px, show_default=True, help="RMS of the graders' error in pixels."
        ),
        click.option(
            "--correlation",
            default=20.0,
            show_default=True,
            help="Correlation length of their error along a boundary, in pixels.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
    ]

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def visibility_options(command: Any) -> Any:
    """How well the images show what they show."""
    contrast = click.option(
        "--contrast", default=1.0, show_default=True,
        help="Factor of the differences between tissues, 0 to 2.",
    )  # fmt: skip
    noise = click.option(
        "--noise", default=1.0, show_default=True, help="Factor of the noise, 0.25 to 4."
    )
    return noise(contrast(command))


@click.group()
def phantom() -> None:
    """Write a synthetic data set whose true labels are known."""


@phantom.command("oct")
@shared_options(rms_px=1.5, graders=2)
@visibility_options
@click.option(
    "--bscans",
    default=61,
    show_default=True,
    help="B-scans in a volume; they span the same 7.5 mm.",
)
@click.option(
    "--annotated", type=int, help="Annotated B-scans.  [default: 11, or all of fewer --bscans]"
)
@click.option(
    "--size",
    type=PerAxis(("ROWS", "COLUMNS"), "496x768", int),
    default="496x768",
    show_default=True,
    help="Pixels of a B-scan; fewer of them show less of the retina.",
)
def oct_command(
    folder: Path,
    bscans: int,
    annotated: int | None,
    size: tuple[int, int],
    noise: float,
    contrast: float,
    **shared: Any,
) -> None:
    """OCT B-scans of maculas with oedema, in the layout of Duke OCT-DME.

    DIR must be new or empty. It receives Subject_01.mat and so on, the true labels and the images
    without noise in truth/, and phantom.json with the settings.
    """
    _write(
        write_oct_dataset, folder, shared, shape=(*size, bscans), n_annotated=annotated,
        visibility=Visibility(noise, contrast),
    )  # fmt: skip


@phantom.command("mri")
@shared_options(rms_px=0.75, graders=1)
@visibility_options
@click.option(
    "--size",
    type=PerAxis("XYZ", "240x240x48", int),
    default="240x240x48",
    show_default=True,
    help="Voxels of a scan; the field of view stays 230 × 230 × 144 mm.",
)
def mri_command(
    folder: Path, size: tuple[int, int, int], noise: float, contrast: float, **shared: Any
) -> None:
    """Brains in three MR sequences, in the layout of MRBrainS18.

    DIR must be new or empty. It receives training/ID/pre/ and training/ID/segm.nii.gz, the true
    labels and the images without noise in truth/, and phantom.json with the settings.
    """
    _write(write_mri_dataset, folder, shared, shape=size, visibility=Visibility(noise, contrast))


@phantom.command("ct")
@shared_options(rms_px=0.75, graders=1)
@click.option(
    "--size",
    type=PerAxis("XYZ", "512x512x300", int),
    default="512x512x300",
    show_default=True,
    help="Voxels of a scan, in the order of the file.",
)
@click.option(
    "--spacing-mm",
    type=PerAxis("XYZ", "0.9,0.9,3", float),
    help="Distance of voxels in mm. Without it the field of view stays 500 × 500 × 900 mm, from "
    "the skull base to the thighs; with it the scan shows what lies in the field.",
)
def ct_command(
    folder: Path,
    size: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] | None,
    **shared: Any,
) -> None:
    """CT scans with the 104 classes of a whole trunk, in the layout of nnU-Net.

    DIR must be new or empty. It receives dataset.json, imagesTr/ and labelsTr/, the true labels and
    the images without noise in truth/, and phantom.json with the settings. A structure that no
    voxel's centre meets is absent: a few in small scans, many in those of a part of the body.
    """
    _write(write_ct_dataset, folder, shared, shape=size, spacing_mm=spacing_mm)


def _write(
    write: Callable[..., list[Path]], folder: Path, shared: dict[str, Any], **sizes: Any
) -> None:
    count = shared["subjects"]
    with progress(max(count, 0), "drawing", shared["quiet"]) as advance:
        written = write(
            folder,
            n_subjects=count,
            seed=shared["seed"],
            n_graders=shared["graders"],
            grader=Grader(shared["kind"], shared["rms"], shared["correlation"]),
            on_subject=lambda name: advance(f"wrote {name}"),
            **sizes,
        )
    if shared["quiet"]:
        return
    names = " … ".join(dict.fromkeys([written[0].name, written[-1].name]))
    click.echo(f"{plural(count, 'subject')} in {folder}: {names}")
    click.echo(f"True labels and images without noise: {folder / 'truth'}")
    click.echo(f"Settings: {folder / 'phantom.json'}")
    cache = folder.with_name(f"{folder.resolve().name}.h5")
    click.echo(
        f"Continue with: softlabel generate {shlex.quote(str(folder))} -o {shlex.quote(str(cache))}"
    )
