"""Checkpoints: complete or absent, tensors and plain values only.

A file under its final name is complete: it was built in memory, written under a temporary name in
the same folder, flushed to the disk and renamed. It is read with ``weights_only=True`` after its
checksums were checked, and it carries what is needed to use the network without the cache that it
was trained on: recipe, classes, channels, normalisation.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from softlabel.errors import SoftlabelError, SourceError, UsageError
from softlabel.files.atomic import publish as publish_file
from softlabel.files.documents import parse_json
from softlabel.generation import Settings
from softlabel.types import ClassTable
from softlabel_train.config import Recipe, make_recipe
from softlabel_train.data import Intensity

FORMAT = "softlabel-checkpoint"
FORMAT_VERSION = 2
"""Version 2 has steps before superpixels; a checkpoint without any is of version 1."""

LAST, BEST = "last.pt", "best.pt"
"""Names of a run's checkpoints: where it stands, and where its validation score was highest."""


class CheckpointError(SoftlabelError):
    """A file that is not a readable checkpoint, or not one of this network."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that a run needs to go on, and a prediction to be made.

    Attributes
    ----------
    recipe : Recipe
    classes : ClassTable
        Along the class axis of the network's output.
    ignore : int or None
        Label value of pixels that were not annotated, in the cache.
    channels : int
        Image channels.
    dims : int
        Spatial axes of the images.
    intensity : Intensity or None
        Normalisation of every image; None: each image has its own.
    fingerprint : str
        Of the cache's settings.
    split : mapping of str to sequence of str
        Patients of the parts train, validation and evaluation.
    model : mapping of str to Tensor
    optimizer, scaler : mapping
        State dicts; empty where there is none.
    loop : mapping
        Counters of the training loop.
    steps : mapping
        The steps before superpixels that the images went through; empty without any.
    data : mapping of str to str
        Digests of the cases that train and validate (:mod:`softlabel_train.owndata`); empty in
        checkpoints of earlier versions.
    """

    recipe: Recipe
    classes: ClassTable
    ignore: int | None
    channels: int
    dims: int
    intensity: Intensity | None
    fingerprint: str
    split: Mapping[str, Sequence[str]]
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    scaler: Mapping[str, Any] = field(default_factory=dict)
    loop: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; it replaces an older one only when it is complete.

    Raises
    ------
    CheckpointError
        When the folder cannot be written or the disk is full.
    """
    intensity = checkpoint.intensity
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if checkpoint.steps else 1,
        "recipe": json.dumps(checkpoint.recipe.model_dump(mode="json")),
        "class_values": list(checkpoint.classes.values),
        "class_names": list(checkpoint.classes.names),
        "ignore": checkpoint.ignore,
        "channels": checkpoint.channels,
        "dims": checkpoint.dims,
        "mean": None if intensity is None else list(intensity.mean),
        "deviation": None if intensity is None else list(intensity.deviation),
        "fingerprint": checkpoint.fingerprint,
        "split": {part: list(patients) for part, patients in checkpoint.split.items()},
        "model": dict(checkpoint.model),
        "optimizer": dict(checkpoint.optimizer),
        "scaler": dict(checkpoint.scaler),
        "loop": dict(checkpoint.loop),
        "data": dict(checkpoint.data),
    }
    if checkpoint.steps:
        content["steps"] = json.dumps(dict(checkpoint.steps))
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        publish(path, buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be written ({error.strerror or error}); free some "
            "space or fix the folder, and resume: the previous checkpoint is still there."
        ) from error


def publish(path: Path, data: bytes | memoryview) -> None:
    """Write a file that is complete under its final name or not there; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_file(path, data)


def find_checkpoint(run: Path, name: str | None = None) -> Path:
    """The checkpoint of a run: the one asked for, else the best, else the last.

    Parameters
    ----------
    run : Path
        Folder of a run, or a checkpoint itself.
    name : {"best.pt", "last.pt"}, optional

    Raises
    ------
    UsageError
        When there is none, or two are named.
    """
    if run.is_file():
        if name not in (None, run.name):
            raise UsageError(f"{run} and {name} are two checkpoints; give one of them.")
        return run
    found = [n for n in (BEST, LAST) if (run / n).is_file()]
    wanted = [name] if name else [BEST, LAST]
    for candidate in wanted:
        if candidate in found:
            return run / candidate
    if not run.is_dir():
        raise UsageError(
            f"The run {run} does not exist; give the folder that `softlabel-train fit` wrote."
        )
    has = f"it has {' and '.join(found)}" if found else "it is no run, or was stopped too early"
    raise UsageError(f"The folder {run} has no {' or '.join(wanted)}; {has}.")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises
    ------
    CheckpointError
        When the file is missing, truncated, damaged or no checkpoint.
    """
    content = _read(Path(path))
    try:
        if content["format"] != FORMAT:
            raise KeyError("format")
        if content["format_version"] > FORMAT_VERSION:
            raise CheckpointError(
                f"The checkpoint {path} has the format version {content['format_version']}; this "
                f"version reads up to {FORMAT_VERSION}. Update softlabel."
            )
        for entry, is_right in _ENTRIES.items():
            if not is_right(content[entry]):
                raise TypeError(entry)
        mean, deviation = content["mean"], content["deviation"]
        return Checkpoint(
            recipe=make_recipe(parse_json(content["recipe"]), f"in {path}"),
            classes=ClassTable(tuple(content["class_values"]), tuple(content["class_names"])),
            ignore=content["ignore"],
            channels=content["channels"],
            dims=content["dims"],
            intensity=None if mean is None else Intensity(tuple(mean), tuple(deviation)),
            fingerprint=str(content["fingerprint"]),
            split={str(part): tuple(p) for part, p in content["split"].items()},
            model=content["model"],
            optimizer=content["optimizer"],
            scaler=content["scaler"],
            loop=content["loop"],
            steps=_steps(content.get("steps", "{}")),
            data={str(case): str(digest) for case, digest in content.get("data", {}).items()},
        )
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        SourceError,
        UsageError,
    ) as error:
        raise CheckpointError(
            f"{path} is no checkpoint of softlabel-train (it lacks or garbles {error}); give "
            "last.pt or best.pt of a run."
        ) from error


MOST_CHANNELS = 1 << 16
"""Image channels of a network at most: what is larger is no number of channels."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_numbers(values: Any) -> bool:
    return values is None or (
        isinstance(values, list | tuple)
        and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    )


def _is_split(parts: Any) -> bool:
    return isinstance(parts, dict) and all(
        isinstance(patients, list | tuple) and all(isinstance(p, str) for p in patients)
        for patients in parts.values()
    )


_ENTRIES: dict[str, Callable[[Any], bool]] = {
    "recipe": lambda text: isinstance(text, str),
    "class_values": lambda values: isinstance(values, list | tuple) and all(map(_is_whole, values)),
    "class_names": lambda names: (
        isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    ),
    "ignore": lambda value: value is None or _is_whole(value),
    "channels": lambda count: _is_whole(count) and 1 <= count <= MOST_CHANNELS,
    "dims": lambda count: _is_whole(count) and count in (2, 3),
    "mean": _are_numbers,
    "deviation": _are_numbers,
    "split": _is_split,
    "model": lambda state: (
        isinstance(state, dict)
        and all(isinstance(v, torch.Tensor) and _is_stored(v) for v in state.values())
    ),
    "optimizer": lambda state: isinstance(state, dict) and _are_stored(state),
    "scaler": lambda state: isinstance(state, dict) and _are_stored(state),
    "loop": lambda state: isinstance(state, dict),
}
"""What each entry of a file must be, whoever wrote it."""


def _is_stored(tensor: torch.Tensor) -> bool:
    """Whether all values of a tensor are in the file: strides of 0 would repeat one for ever."""
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _are_stored(state: Any) -> bool:
    """:func:`_is_stored` for all tensors in a state, however deep."""
    waiting, seen = [state], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:  # a pickle may hold a list that holds itself
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if not _is_stored(value):
                return False
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return True


def _steps(text: str) -> dict[str, Any]:
    """Steps that this version knows, as :class:`softlabel.Settings` records them.

    Raises
    ------
    ValueError
        When it does not know one.
    """
    try:
        recorded = Settings(preprocess_options=parse_json(text)).recorded()
    except UsageError as error:
        raise ValueError(str(error)) from error
    return dict(recorded.get("preprocess_options", {}))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"The checkpoint {path} does not exist.")
    try:
        with zipfile.ZipFile(path) as archive:
            # torch packs nothing, and unpacks whatever is packed
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise zipfile.BadZipFile("its entries are compressed, as torch writes none")
            broken = archive.testzip()  # compares checksums, which torch does not
        if broken is not None:
            raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(
            f"The checkpoint {path} is truncated, damaged or none ({reason}); use the other one "
            "of last.pt and best.pt, or train again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no checkpoint of softlabel-train.")
    return content


def load_model_state(net: nn.Module, checkpoint: Checkpoint, source: str) -> None:
    """Load the weights into a network of the same kind.

    Raises
    ------
    CheckpointError
        When they belong to another network, naming the first difference.
    """
    require_same_network(net, checkpoint, source)
    net.load_state_dict(dict(checkpoint.model))


def require_same_network(net: nn.Module, checkpoint: Checkpoint, source: str) -> None:
    """Compare names and shapes of the weights with those of a network, which may have no memory.

    Raises
    ------
    CheckpointError
        When they belong to another network, naming the first difference.
    """
    own, given = net.state_dict(), checkpoint.model
    for name in own:
        if name not in given:
            raise CheckpointError(
                f"The checkpoint {source} is of another network: it lacks {name}. Its recipe says "
                f"{_kind(checkpoint.recipe)}."
            )
        if own[name].shape != given[name].shape:
            raise CheckpointError(
                f"The checkpoint {source} is of another network: {name} has the shape "
                f"{tuple(given[name].shape)}, expected {tuple(own[name].shape)}. Its recipe says "
                f"{_kind(checkpoint.recipe)}."
            )
    if extra := sorted(set(given) - set(own)):
        raise CheckpointError(
            f"The checkpoint {source} is of another network: it has {extra[0]} besides. Its "
            f"recipe says {_kind(checkpoint.recipe)}."
        )


def _kind(recipe: Recipe) -> str:
    model = recipe.model
    return f"model.architecture={model.architecture}, model.encoder={model.encoder}"
