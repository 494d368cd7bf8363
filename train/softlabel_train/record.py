"""The records of a run: metrics.csv, pictures, what loggers take, and a progress bar."""

from __future__ import annotations

import csv
import io
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from softlabel.console import drawing
from softlabel.files.names import file_name
from softlabel.types import Array
from softlabel_train.checkpoint import publish
from softlabel_train.loggers import Board, close_all

METRICS = "metrics.csv"
LOSS_TERMS = ("loss", "ce", "dice", "kl")


def software_versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    names = ("softlabel", "numpy", "segmentation-models-pytorch", "monai",
             "lightning-fabric")  # fmt: skip
    import torch

    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found | {"torch": torch.__version__}  # with the CUDA that it was built for


class RunRecord:
    """Writes a run's metrics as they come, and shows them.

    Parameters
    ----------
    folder : Path
    class_names : sequence of str
        Classes that are validated.
    first_step, steps : int
        Steps that are done, and of the whole run. Rows of later steps, from before an
        interruption, are dropped.
    batch_size : int
        Images a step.
    boards : sequence of Board
        Where the numbers go beside metrics.csv; closed at the end.
    show : bool
        Progress on stderr: a bar on a terminal, lines elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        class_names: Sequence[str],
        *,
        first_step: int,
        steps: int,
        batch_size: int,
        boards: Sequence[Board] = (),
        show: bool = True,
    ) -> None:
        self.folder, self.steps, self.batch_size = folder, steps, batch_size
        self.columns = [
            "step", "epoch", "lr", *LOSS_TERMS, "images_per_second", "validation_dice",
            *(f"validation_dice/{name}" for name in class_names),
        ]  # fmt: skip
        self._start_csv(first_step)
        self._boards = tuple(boards)
        self._console = drawing.console(sys.stderr, width=None)
        self._show, self._bar, self._task = show, None, TaskID(0)
        self._clock, self._clock_step, self._rate = time.perf_counter(), first_step, float("nan")
        if show and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[terms]}"), TimeRemainingColumn(), console=self._console,
            )  # fmt: skip
            self._task = self._bar.add_task("epoch 0", total=steps, completed=first_step, terms="")
            self._bar.start()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._csv.close()
        close_all(self._boards)

    def _start_csv(self, first_step: int) -> None:
        path = self.folder / METRICS
        kept: list[dict[str, str]] = []
        if path.is_file() and first_step:
            with path.open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                # a line that was cut off when the machine stopped is no step
                kept = [
                    r for r in rows if (r["step"] or "").isdigit() and int(r["step"]) <= first_step
                ]
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        publish(path, text.getvalue().encode())
        self._csv = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._csv, self.columns)

    def training(self, step: int, epoch: int, lr: float, terms: Mapping[str, float]) -> None:
        """Write the loss terms, means since they were last written."""
        now = time.perf_counter()
        self._rate = (step - self._clock_step) * self.batch_size / max(now - self._clock, 1e-9)
        self._clock, self._clock_step = now, step
        row = {"step": step, "epoch": epoch, "lr": lr, "images_per_second": self._rate}
        self._write(row | dict(terms))
        named = {f"loss/{name}" if name != "loss" else "loss": v for name, v in terms.items()}
        self._scalars(named | {"lr": lr, "images_per_second": self._rate}, step)
        if self._show and self._bar is None:
            text = " ".join(f"{n} {v:.4f}" for n, v in terms.items())
            left = (self.steps - step) * self.batch_size / max(self._rate, 1e-9)
            print(
                f"step {step}/{self.steps} epoch {epoch} {text} lr {lr:.2g} "
                f"{self._rate:.1f} images/s, {left / 60:.1f} min left",
                file=sys.stderr,
            )

    def advance(self, step: int, epoch: int, terms: Mapping[str, float]) -> None:
        """Move the bar."""
        if self._bar is not None:
            text = " ".join(f"{n} {v:.3f}" for n, v in terms.items())
            self._bar.update(
                self._task, completed=step, description=f"epoch {epoch}",
                terms=f"{text} {self._rate:.1f} images/s",
            )  # fmt: skip

    def validation(
        self, step: int, epoch: int, lr: float, score: float, scores: Mapping[str, float]
    ) -> None:
        """Write a validation score and that of every class."""
        row: dict[str, Any] = {"step": step, "epoch": epoch, "lr": lr, "validation_dice": score}
        row |= {f"validation_dice/{name}": value for name, value in scores.items()}
        self._write(row)
        named = {f"validation_dice/{name}": value for name, value in scores.items()}
        self._scalars({"validation/dice": score} | named, step)
        self.say(f"step {step}: validation Dice {score:.4f}")
        # validation takes time that is no training speed
        self._clock, self._clock_step = time.perf_counter(), step

    def picture(self, step: int, name: str, panels: Array) -> None:
        """Save a picture, uint8 (rows, columns, 3), as PNG and for the boards that take any."""
        from PIL import Image

        path = self.folder / "pictures" / f"step_{step:06d}_{file_name(name)}.png"
        buffer = io.BytesIO()
        Image.fromarray(panels).save(buffer, "png")
        publish(path, buffer.getvalue())
        for board in self._boards:
            board.picture(f"prediction/{name}", panels, step)

    def say(self, text: str) -> None:
        """A line for the user, above the bar."""
        if self._show:
            self._console.print(text)

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        for board in self._boards:
            board.scalars(values, step)

    def _write(self, row: Mapping[str, Any]) -> None:
        self._writer.writerow(row)
        self._csv.flush()


def picture_of(
    image: Array, prediction: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], ignore: int
) -> Array:
    """The image beside the prediction and the labels in colour, uint8 (rows, columns, 3).

    Parameters
    ----------
    image : ndarray of float, shape (*spatial)
        One channel; of a volume the middle slice of the last axis is shown.
    prediction, labels : ndarray of int, shape (*spatial)
        Class indices.
    ignore : int
        Value in ``labels`` that is drawn black.
    """
    if image.ndim == 3:
        middle = image.shape[2] // 2
        image, prediction, labels = (a[..., middle] for a in (image, prediction, labels))
    image, prediction, labels = (np.atleast_2d(a) for a in (image, prediction, labels))
    low, high = np.percentile(image, (0.5, 99.5))
    grey = np.clip((image - low) / max(float(high - low), 1e-9) * 255, 0, 255).astype(np.uint8)
    colours = _colours(int(max(prediction.max(), labels[labels != ignore].max(initial=0))) + 1)
    right = np.where(
        (labels == ignore)[..., None], 0, colours[np.where(labels == ignore, 0, labels)]
    )
    panels = [np.repeat(grey[..., None], 3, axis=2), colours[prediction], right.astype(np.uint8)]
    gap = np.full((image.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def _colours(n: int) -> Array:
    """Distinct colours; the first one, usually the background, is dark."""
    from matplotlib import colormaps

    table = (np.asarray(colormaps["tab20"].colors) * 255).astype(np.uint8)  # type: ignore[attr-defined]
    colours = table[(2 * np.arange(n) % 20 + (np.arange(n) // 10) % 2) % 20]
    colours[0] = (30, 30, 40)
    return colours
