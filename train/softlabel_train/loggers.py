"""Where the numbers of a run go beside ``metrics.csv``: TensorBoard, Weights & Biases, MLflow.

What may be sent to a server is numbers and settings: no pictures, no paths and no names of
patients. Nothing leaves the machine unless ``WANDB_MODE`` or ``MLFLOW_TRACKING_URI`` say so: W&B
writes offline, MLflow into a database in the folder of the run.

A run that was killed does the steps since its last checkpoint again. TensorBoard takes their later
numbers for those of before; the others would have both, and keep the first (:class:`Logged`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from softlabel.errors import UsageError
from softlabel.types import Array
from softlabel_train.checkpoint import publish
from softlabel_train.config import Recipe

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""What a logger is imported from."""

PRIVATE = (
    "data.cache", "data.source", "data.format_options", "data.split", "model.encoder_weights",
)  # fmt: skip
"""Keys whose values may name folders and patients."""

LONGEST_PARAMETER = 500
PARAMETERS_AT_ONCE = 100
"""Limits of MLflow's servers."""


class Board(Protocol):
    """A place for numbers."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers of a step by name; not finite ones are left out."""

    def picture(self, name: str, panels: Array, step: int) -> None:
        """Write a picture, uint8 (rows, columns, 3)."""

    def close(self) -> None:
        """Write what is left."""


def check_loggers(recipe: Recipe) -> None:
    """Refuse loggers whose package is not installed.

    Raises
    ------
    UsageError
        Naming the first.
    """
    for name in recipe.train.loggers:
        package = PACKAGES.get(name)
        if package is not None and find_spec(package) is None:
            raise UsageError(
                f"train.logger is {name}, and {package} is not installed; run pip install "
                f"{package}, or take another logger (csv needs none)."
            )


def open_boards(recipe: Recipe, folder: Path, first_step: int) -> list[Board]:
    """The boards of a run, which go on with those of its earlier part.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Of the run.
    first_step : int
        Steps that are done.
    """
    return [_BOARDS[name](recipe, folder, first_step) for name in recipe.train.loggers
            if name in _BOARDS]  # fmt: skip


def shared_settings(recipe: Recipe) -> dict[str, Any]:
    """The keys of a recipe that may leave the machine."""
    return {key: value for key, value in recipe.flat().items() if not key.startswith(PRIVATE)}


class Logged:
    """What a board has of each number, in a file, so that no step of it is logged twice.

    It is told by name: a run may be killed between training and validation of a step.

    Parameters
    ----------
    path : Path
        Made when something was logged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, int] = {}
        if path.is_file():
            self._last = json.loads(path.read_text(encoding="utf-8"))

    def missing(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """The finite ones of some numbers that the board does not have of this step."""
        return {n: v for n, v in _finite(values).items() if step > self._last.get(n, -1)}

    def note(self, names: Iterable[str], step: int) -> None:
        """Remember that numbers of these names were logged up to a step."""
        self._last |= dict.fromkeys(names, step)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        publish(self._path, json.dumps(self._last).encode())


class TensorBoard:
    """Numbers and pictures in ``tensorboard/``."""

    def __init__(self, recipe: Recipe, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # also without a checkpoint: a run may be killed before its first
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Board`."""
        for name, value in _finite(values).items():
            self._writer.add_scalar(name, value, step)

    def picture(self, name: str, panels: Array, step: int) -> None:
        """See :class:`Board`."""
        self._writer.add_image(name, panels, step, dataformats="HWC")

    def close(self) -> None:
        """See :class:`Board`."""
        self._writer.close()


class WeightsAndBiases:
    """Numbers in ``wandb/``, offline unless ``WANDB_MODE`` says otherwise: ``wandb sync`` sends."""

    def __init__(self, recipe: Recipe, folder: Path, first_step: int) -> None:
        import wandb

        self._run = wandb.init(
            dir=str(folder), project="softlabel", name=recipe.name, resume="allow",
            id=_kept(folder / "wandb" / "run_id", lambda: uuid.uuid4().hex),
            mode=os.environ.get("WANDB_MODE", "offline"), config=shared_settings(recipe),
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True, save_code=False,
                x_disable_meta=True, x_disable_stats=True,
            ),
        )  # fmt: skip
        self._logged = Logged(folder / "wandb" / "logged.json")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Board`."""
        missing = self._logged.missing(values, step)
        if missing:
            self._run.log(missing, step=step)
            self._logged.note(missing, step)

    def picture(self, name: str, panels: Array, step: int) -> None:
        """Nothing: pictures of patients stay in the folder of the run."""

    def close(self) -> None:
        """See :class:`Board`."""
        self._run.finish()


class MLflow:
    """Numbers in ``mlflow/mlflow.db``, or where ``MLFLOW_TRACKING_URI`` says."""

    def __init__(self, recipe: Recipe, folder: Path, first_step: int) -> None:
        from mlflow.tracking import MlflowClient

        (folder / "mlflow").mkdir(exist_ok=True)
        database = f"sqlite:///{(folder / 'mlflow' / 'mlflow.db').resolve()}"
        uri = os.environ.get("MLFLOW_TRACKING_URI", database)
        self._client = MlflowClient(tracking_uri=uri)
        # a server knows the runs that it made itself
        own = "" if uri == database else f"-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"
        self._id = _kept(folder / "mlflow" / f"run_id{own}", lambda: self._new_run(recipe))
        self._client.update_run(self._id, status="RUNNING")
        self._logged = Logged(folder / "mlflow" / f"logged{own}.json")

    def _new_run(self, recipe: Recipe) -> str:
        from mlflow.entities import Param

        found = self._client.get_experiment_by_name("softlabel")
        experiment = found.experiment_id if found else self._client.create_experiment("softlabel")
        run = str(self._client.create_run(experiment, run_name=recipe.name).info.run_id)
        settings = [
            Param(key, str(value)[:LONGEST_PARAMETER])
            for key, value in shared_settings(recipe).items()
        ]
        for first in range(0, len(settings), PARAMETERS_AT_ONCE):
            self._client.log_batch(run, params=settings[first : first + PARAMETERS_AT_ONCE])
        return run

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`Board`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        missing = self._logged.missing(values, step)
        # its names know few characters, and names of classes are anybody's
        metrics = [
            Metric(re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII), float(value), now, step)
            for name, value in missing.items()
        ]
        if metrics:
            self._client.log_batch(self._id, metrics=metrics)
            self._logged.note(missing, step)

    def picture(self, name: str, panels: Array, step: int) -> None:
        """Nothing: pictures of patients stay in the folder of the run."""

    def close(self) -> None:
        """See :class:`Board`."""
        self._client.set_terminated(self._id)


_BOARDS: Mapping[str, Callable[[Recipe, Path, int], Board]] = {
    "tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow,
}  # fmt: skip


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The text of a file, which is made when it is not there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, make().encode())
    return path.read_text(encoding="utf-8").strip()


def close_all(boards: Sequence[Board]) -> None:
    """Close every board, also when one of them cannot."""
    first: Exception | None = None
    for board in boards:
        try:
            board.close()
        except Exception as error:
            first = first or error
    if first is not None:
        raise first
