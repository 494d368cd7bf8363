"""Hard against soft labels on OCT, from the data to the table (`make train-oct`).

With a folder of Duke OCT-DME files the published recipe is trained on them. Without one, phantoms
stand in, whose truth is known, so that both arms can be scored on what the grader drew and on what
is true. On a CPU everything is cut down to minutes: a demonstration that the parts work together,
not evidence for or against soft labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from softlabel.errors import UsageError
from softlabel.phantom import Grader, write_oct_dataset
from softlabel_train.sweep import SweepResult, sweep

ARMS = ("wce-hard", "wce-superpixel")


@dataclass(frozen=True)
class Size:
    """How large the demonstration is.

    Attributes
    ----------
    recipe : str
    n_subjects, n_annotated : int
        Phantom patients, and annotated B-scans of each.
    shape : tuple of int
        Rows, columns and B-scans of a phantom.
    n_segments : int
        Superpixels in a B-scan, of about the published size.
    """

    recipe: str
    n_subjects: int
    n_annotated: int
    shape: tuple[int, int, int]
    n_segments: int


GRADER = Grader("contrast", rms_px=2.5, correlation_px=20)
"""An annotator who errs more where the image shows less."""
SMALL = Size("oct_demo", 6, 8, (288, 384, 8), 580)
FULL = Size("oct_dme", 10, 11, (496, 768, 61), 2000)

SHORT_RUN = (
    "So short a run on phantoms is a demonstration that the parts work together, not evidence for "
    "or against soft labels: differences of this size also come from another seed."
)


def train_oct(
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
    folder : Path
        Data, caches and runs.
    data : Path, optional
        Folder of ``Subject_XX.mat``; None draws phantoms.
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
    """
    size = size or (FULL if torch.cuda.is_available() else SMALL)
    if data is None:
        source = folder / "phantoms"
        draw_phantoms(source, size, say)
        against = ["labels", "truth"]
        segments = size.n_segments
    else:
        if not data.is_dir():
            raise UsageError(f"The data {data} are no folder; give the folder of Subject_XX.mat.")
        source, against, segments = data, ["labels", "grader2"], 2000
    return sweep(
        size.recipe,
        {"arm": list(ARMS)},
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


def draw_phantoms(folder: Path, size: Size, say: Callable[[str], None]) -> None:
    """Write the phantoms unless they are there."""
    made: dict[str, Any] = json.loads(json.dumps(asdict(size) | {"grader": asdict(GRADER)}))
    stamp = folder.with_name(f"{folder.name}.json")
    if stamp.is_file():
        if json.loads(stamp.read_text(encoding="utf-8")) != made:
            raise UsageError(
                f"{folder} holds phantoms of another size; delete {folder} and {stamp}, or give "
                "another folder."
            )
        return
    say(f"drawing {size.n_subjects} phantom patients into {folder}")
    write_oct_dataset(
        folder, n_subjects=size.n_subjects, seed=1, grader=GRADER, shape=size.shape,
        n_annotated=size.n_annotated,
    )  # fmt: skip
    stamp.write_text(json.dumps(made), encoding="utf-8")
