"""The records of a run: metrics.csv, pictures, what loggers take, and a progress bar."""

from __future__ import annotations

import csv
import io
import platform
import sys
import time
import warnings
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
from softlabel.render import class_colour
from softlabel.types import Array
from softlabel_train.checkpoint import publish
from softlabel_train.loggers import Board, close_all

METRICS = "metrics.csv"
LOSS_TERMS = ("loss", "ce", "dice", "kl")

MOST_LEGEND_CLASSES = 48
"""A legend with more names would be larger than its picture."""


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
    terms : sequence of str
        Loss terms that have a column.
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
        terms: Sequence[str] = LOSS_TERMS,
    ) -> None:
        self.folder, self.steps, self.batch_size = folder, steps, batch_size
        self.columns = [
            "step", "epoch", "lr", *terms, "images_per_second", "validation_dice",
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
    image: Array,
    prediction: npt.NDArray[np.integer],
    labels: npt.NDArray[np.integer],
    ignore: int,
    class_names: Sequence[str],
    title: str = "",
) -> Array:
    """The image, the prediction and the labels side by side, with names, uint8 (rows, columns, 3).

    Parameters
    ----------
    image : ndarray, shape (C, *spatial)
        Of a volume the middle slice of the last axis is shown. Three channels of 8 bits are red,
        green and blue, of others the first one is shown.
    prediction, labels : ndarray of int, shape (*spatial)
        Class indices.
    ignore : int
        Value in ``labels`` of pixels without an annotation, which are black.
    class_names : sequence of str
        Of all classes. The legend has those that are predicted or annotated.
    title : str
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    if prediction.ndim == 3:
        middle = prediction.shape[2] // 2
        image, prediction, labels = (a[..., middle] for a in (image, prediction, labels))
        title += f", slice {middle} of axis 2"
    table = np.array([class_colour(k) for k in range(len(class_names))])
    known = labels != ignore
    truth = np.where(known[..., None], table[np.where(known, labels, 0)], 0)
    present = np.union1d(np.unique(prediction), np.unique(labels[known])).astype(int)
    names = present[:MOST_LEGEND_CLASSES]
    columns = 4
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(9, 3.6 + 0.2 * rows), layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    panels = {"image": _shown(image), "prediction": table[prediction], "labels": truth}
    for axes, (heading, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.imshow(values, aspect="auto" if max(values.shape) > 3 * min(values.shape[:2]) else 1)
        axes.set_title(heading, fontsize=9)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9, parse_math=False)
    handles = [Patch(facecolor=class_colour(k), edgecolor="#404040") for k in names]
    # a label that begins with "_" would be left out: the texts are set below
    legend = figure.legend(
        handles, [str(k) for k in names], loc="outside lower center", ncols=columns, fontsize=8,
        frameon=False,
    )  # fmt: skip
    for text, k in zip(legend.get_texts(), names, strict=True):
        text.set_text(class_names[k])
        text.set_parse_math(False)
    with warnings.catch_warnings():  # names in scripts that the font lacks show as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _shown(image: Array) -> Array:
    """An image of (C, rows, columns) as red, green and blue in 0..1."""
    if len(image) == 3 and image.dtype == np.uint8:
        return np.moveaxis(image, 0, -1) / 255
    first = image[0].astype(np.float64)
    low, high = np.percentile(first, (0.5, 99.5))
    grey = np.clip((first - low) / max(float(high - low), 1e-9), 0, 1)
    return np.repeat(grey[..., None], 3, axis=-1)
