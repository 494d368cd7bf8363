"""Hard against soft labels, from the data to the table (`make train-oct`, `make train-mri`).

With a folder of real data the recipe is trained on them. Without one, phantoms stand in, whose
truth is known, so that both arms can be scored on what the grader drew and on what is true. On a
CPU everything is cut down to minutes: a demonstration that the parts work together, not evidence
for or against soft labels. The table says which of these it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from softlabel.errors import UsageError, plural
from softlabel.phantom import Grader, write_mri_dataset, write_oct_dataset
from softlabel_train.config import load_recipe
from softlabel_train.sweep import SweepResult, sweep


@dataclass(frozen=True)
class Size:
    """How large a demonstration is.

    Attributes
    ----------
    recipe : str
    n_segments : int
        Superpixels in an image or slice of a phantom, of about the published size.
    phantoms : mapping of str to values
        How many are drawn and how large: arguments of what writes them.
    """

    recipe: str
    n_segments: int
    phantoms: Mapping[str, Any]


@dataclass(frozen=True)
class Demonstration:
    """What one of the commands trains on.

    Attributes
    ----------
    name : str
        Of the command, and of its folder.
    modality : str
    layout : str
        What real data look like.
    arms : tuple of str
        Of the recipes: hard labels, then soft ones.
    against : tuple of str
        Label maps that real data have.
    n_segments : int
        Superpixels in an image or slice of real data.
    write : callable
        Writes a data set of phantoms.
    grader : Grader
        Who annotates them.
    small, full : Size
        Minutes on a CPU, and the published recipe.
    """

    name: str
    modality: str
    layout: str
    arms: tuple[str, str]
    against: tuple[str, ...]
    n_segments: int
    write: Callable[..., list[Path]]
    grader: Grader
    small: Size
    full: Size

    def default_size(self) -> Size:
        """The published recipe where there is a CUDA device, else the small one."""
        return self.full if torch.cuda.is_available() else self.small


OCT = Demonstration(
    name="train-oct",
    modality="OCT",
    layout="Subject_XX.mat",
    arms=("wce-hard", "wce-superpixel"),
    against=("labels", "grader2"),
    n_segments=2000,
    write=write_oct_dataset,
    # an annotator who errs more where the image shows less
    grader=Grader("contrast", rms_px=2.5, correlation_px=20),
    small=Size("oct_demo", 580, {"n_subjects": 6, "n_annotated": 8, "shape": (288, 384, 8)}),
    full=Size("oct_dme", 2000, {"n_subjects": 10, "n_annotated": 11, "shape": (496, 768, 61)}),
)
MRI = Demonstration(
    name="train-mri",
    modality="MRI",
    layout="MRBrainS18, which holds training/ID/segm.nii.gz",
    arms=("ce-hard", "ce-superpixel"),
    against=("labels",),
    n_segments=2000,
    write=write_mri_dataset,
    grader=Grader("contrast", rms_px=0.75),
    small=Size("mri_demo", 320, {"n_subjects": 7, "shape": (96, 96, 24)}),
    full=Size("mrbrains18", 2000, {"n_subjects": 7, "shape": (240, 240, 48)}),
)


def demonstrate(
    demo: Demonstration,
    folder: Path,
    *,
    data: Path | None = None,
    size: Size | None = None,
    seeds: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
    jobs: int = 1,
    show: bool = True,
    say: Callable[[str], None] = print,
) -> SweepResult:
    """Generate what is missing, train both arms, evaluate and compare.

    Parameters
    ----------
    demo : Demonstration
    folder : Path
        Data, caches and runs.
    data : Path, optional
        Folder of real data; None draws phantoms.
    size : Size, optional
        Default: the published recipe with a CUDA device, else a small one.
    seeds : sequence of int
    overrides : sequence of str
        ``key=value`` of the recipe.
    jobs : int
        Processes that generate.
    show : bool
    say : callable

    Returns
    -------
    SweepResult

    Raises
    ------
    UsageError
        When the data are not there, or phantoms of another size are.
    """
    size = size or demo.default_size()
    source, against, segments = data, demo.against, demo.n_segments
    if source is None:
        source, against, segments = folder / "phantoms", ("labels", "truth"), size.n_segments
        draw_phantoms(demo, source, size, say)
    elif not source.is_dir():
        raise UsageError(f"The data {data} are no folder; give the folder of {demo.layout}.")
    return sweep(
        size.recipe,
        {"arm": list(demo.arms)},
        folder / "runs",
        overrides=[
            f"data.source={json.dumps(str(source))}",
            f"data.cache_folder={json.dumps(str(folder / 'caches'))}",
            f"generate.n_segments={segments}",
            f"evaluate.against={json.dumps(against)}",
            *overrides,
        ],
        seeds=seeds,
        jobs=jobs,
        show=show,
        say=say,
    )


def draw_phantoms(
    demo: Demonstration, folder: Path, size: Size, say: Callable[[str], None]
) -> None:
    """Write the phantoms unless they are there.

    Raises
    ------
    UsageError
        When phantoms of another size are there.
    """
    made: dict[str, Any] = json.loads(
        json.dumps(asdict(size) | {"name": demo.name, "grader": asdict(demo.grader)})
    )
    stamp = folder.with_name(f"{folder.name}.json")
    if stamp.is_file():
        if json.loads(stamp.read_text(encoding="utf-8")) != made:
            raise UsageError(
                f"{folder} holds phantoms of another size; delete {folder} and {stamp}, or give "
                "another folder."
            )
        return
    say(f"drawing {size.phantoms['n_subjects']} phantom patients into {folder}")
    demo.write(folder, seed=1, grader=demo.grader, **size.phantoms)
    stamp.write_text(json.dumps(made), encoding="utf-8")


def what_it_is(
    demo: Demonstration,
    size: Size,
    data: Path | None,
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
) -> str:
    """What a table of this demonstration shows, and what it does not, for below the table."""
    steps = load_recipe(size.recipe, overrides).train.steps
    run = f"{size.recipe}, {plural(steps, 'step')}, {plural(len(seeds), 'seed')}"
    if data is None:
        n = size.phantoms["n_subjects"]
        return (
            f"{n} synthetic {demo.modality} patients, {run}: a demonstration that the parts work "
            "together, not evidence for or against soft labels. Differences of this size also come "
            "from another seed."
        )
    if size is demo.small:
        return (
            f"{data}, {run}: a network and a training cut down to minutes, which show that the "
            "data can be trained on. They are no results of the published setting."
        )
    return (
        f"{data}, {run}: one division of the patients. Differences of single seeds and divisions "
        "also come from others; compare several."
    )
