"""The folder of a run: whether a run may start or resume in it, and what it was made with.

Everything is checked before anything is changed: a mistyped path costs no trained network.
Knows nothing of training.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from softlabel.errors import UsageError
from softlabel.files.atomic import TEMPORARY_PREFIX, require_writable, sweep
from softlabel.files.documents import DocumentError, parse_json
from softlabel.files.regular import open_regular
from softlabel_train.checkpoint import BEST, LAST, load_checkpoint, publish
from softlabel_train.config import Recipe
from softlabel_train.owndata import require_same_data
from softlabel_train.prepare import LeftOut, TrainingData
from softlabel_train.record import METRICS, software_versions
from softlabel_train.splits import group_parts, leaks

LOCK, SOFT_LOCK = "training.lock", "training.softlock"
NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems that lock no files, as some shared ones."""

RECIPE, ABOUT, RESULT = "recipe.yaml", "about.json", "result.json"

PARTS = ("evaluation", "validation", "train", "new")
"""Parts of the cases that a run is evaluated on, each into a folder of its own."""


def evaluation_folder(run: Path, part: str = "evaluation") -> Path:
    """Where the scores of a part lie.

    Raises
    ------
    UsageError
        When there is no such part.

    Examples
    --------
    >>> evaluation_folder(Path("run")).name, evaluation_folder(Path("run"), "train").name
    ('evaluation', 'evaluation_train')
    """
    if part not in PARTS:
        raise UsageError(f"The part must be one of {', '.join(PARTS)}; got {part!r}.")
    return run / ("evaluation" if part == "evaluation" else f"evaluation_{part}")


WRITTEN_FOLDERS = (
    "tensorboard", "pictures", "wandb", "mlflow",
    *(evaluation_folder(Path(), part).name for part in PARTS),
)  # fmt: skip

MAY_CHANGE = (
    "name", "about", "data.cache", "data.source", "data.cache_folder", "data.format",
    "data.workers", "data.keep_mb", "data.verify", "data.may_fail",
    "train.steps", "train.accelerator", "train.devices", "train.nodes", "train.threads",
    "train.log_steps", "train.checkpoint_steps", "train.pictures",
    "train.logger",
)  # fmt: skip
"""Keys in which a run may differ from its earlier part when it goes on; all of ``evaluate`` too.

Another path of the cache may hold the same cache; that it does is checked when it is open."""

MOST_ABOUT_BYTES = 1 << 26
_RESTORE = "restore it, or train again"

FOUND = ("model.options.patch", "model.options.spacing_mm")
"""Keys that a run finds in its data when the recipe leaves them out."""


def check_folder(folder: Path, recipe: Recipe, overwrite: bool) -> None:
    """Refuse a folder that holds something else, or a run of another recipe.

    Raises
    ------
    UsageError
    CheckpointError
        When the run's last checkpoint is damaged.
    """
    require_writable(folder)
    if not folder.exists():
        return
    if folder.is_dir() and all(
        p.name in (LOCK, SOFT_LOCK) or p.name.startswith(TEMPORARY_PREFIX) for p in folder.iterdir()
    ):
        return
    # only what is a run without doubt is overwritten; one that was killed early may go on
    certain = all if overwrite else any
    if not certain((folder / name).is_file() for name in (RECIPE, ABOUT)):
        raise UsageError(
            f"The folder {folder} holds something else than a run; give a new folder for the run."
        )
    if overwrite or not (folder / LAST).is_file():
        return
    before, now = (
        {key: value for key, value in r.flat().items() if value != {}}
        for r in (load_checkpoint(folder / LAST).recipe, recipe)
    )
    differ = [
        key
        for key in before | now
        if not key.startswith(("evaluate.", "data.format_options")) and key not in MAY_CHANGE
        and before.get(key) != now.get(key) and not (key in FOUND and key not in now)
    ]  # fmt: skip
    if differ:
        key = differ[0]
        others = len(differ) - 1
        more = (
            f" ({others} more {'key differs' if others == 1 else 'keys differ'})" if others else ""
        )
        raise UsageError(
            f"The run {folder} was started with {key}={before.get(key)} and now has "
            f"{key}={now.get(key)}{more}; give another folder, or --overwrite to start anew."
        )


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder while training in it.

    Raises
    ------
    UsageError
        When another process trains in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _locked(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # before the release: afterwards another may hold it
            (folder / LOCK).unlink()
        lock.release()


def _locked(folder: Path) -> BaseFileLock:
    """Acquire the system's lock, which ends with its holder, or a lock file where there is none.

    Process and host stand in both files, a line each. The files have two names: one that a killed
    process left must not look like a soft lock, which holds as long as its file exists.
    """
    lock: BaseFileLock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        _acquire(lock, folder, "wait for it, or give another folder")
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        lock = SoftFileLock(folder / SOFT_LOCK)
        # filelock removes the file of a dead process of this host only
        fix = f"wait for it, give another folder, or delete {lock.lock_file} if it has ended"
        _acquire(lock, folder, fix)
        return lock
    with contextlib.suppress(OSError):
        (folder / LOCK).write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
    return lock


def _acquire(lock: BaseFileLock, folder: Path, fix: str) -> None:
    try:
        # a time for several tries: the first may only remove the file of a dead process
        lock.acquire(timeout=0.5)
    except Timeout:
        raise UsageError(
            f"{_holder(Path(lock.lock_file))} is training in {folder}; {fix}."
        ) from None


def _holder(lock: Path) -> str:
    with contextlib.suppress(OSError):
        lines = lock.read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) >= 2:
            host = lines[1].partition("?")[0]  # filelock appends the container's namespace
            return f"The process {lines[0]} of the host {host}"
    return "Another process"


def begin(folder: Path, recipe: Recipe, data: TrainingData, overwrite: bool) -> None:
    """Make the folder ready for a run on these data, and write what it is made with.

    Raises
    ------
    UsageError
        When the run that is there was trained on other data.
    """
    if overwrite:
        _clear(folder)
    else:
        check_data(folder, data)
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder, *(folder / name for name in WRITTEN_FOLDERS)):
        sweep(place)  # what killed processes left half-written
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    publish(folder / RECIPE, text.encode())
    about = {
        "software": software_versions(),
        "cache": str(data.cache.path.resolve()),
        "cache_fingerprint": data.cache.header.fingerprint,
        "split": data.split.as_dict(),
        "leaks": leaks(group_parts(data.split)),
        "classes": dict(data.classes),
        "class_pixels": data.class_pixels.tolist(),
        "left_out": [asdict(case) for case in data.left_out],
    }
    publish(folder / ABOUT, json.dumps(about, indent=2).encode())


def left_out_of(folder: Path) -> tuple[LeftOut, ...]:
    """Cases that a run went without, as its folder remembers them."""
    try:
        return tuple(LeftOut(**case) for case in about_run(folder).get("left_out", []))
    except TypeError as error:  # no list, or of other things
        raise UsageError(f"{folder / ABOUT} is damaged (left_out); {_RESTORE}.") from error


def about_run(folder: Path) -> dict[str, Any]:
    """What a run was made with, as its folder remembers it; empty where it does not.

    Raises
    ------
    UsageError
        When the file is damaged.
    """
    path = folder / ABOUT
    if not path.is_file():
        return {}
    with open_regular(path) as stream:
        content = stream.read(MOST_ABOUT_BYTES)
    try:
        about = parse_json(content)
    except DocumentError as error:
        raise UsageError(f"{path} is damaged ({error}); {_RESTORE}.") from error
    if not isinstance(about, dict) or not isinstance(about.get("cache", ""), str):
        raise UsageError(f"{path} is damaged (it does not name the cache); {_RESTORE}.")
    return about


def check_data(folder: Path, data: TrainingData) -> None:
    """Refuse to resume a run with other images, labels, soft labels, classes or patients.

    Raises
    ------
    UsageError
        Saying what has changed.
    """
    if not (folder / LAST).is_file():
        return
    before = load_checkpoint(folder / LAST)
    fix = "give the cache and patients of that run, another folder, or --overwrite to start anew"
    if before.fingerprint != data.cache.header.fingerprint:
        raise UsageError(
            f"The run {folder} was started with soft labels of other settings or classes than "
            f"{data.cache.path} has (`softlabel info` lists them); {fix}."
        )
    for part, patients in group_parts(data.split).items():
        if tuple(before.split[part]) != patients:
            raise UsageError(
                f"The run {folder} was started with the {part} patients "
                f"{', '.join(before.split[part])} and now has {', '.join(patients)}; {fix}."
            )
    require_same_data(folder, data.cache.path, before.data, data.digests)


def _clear(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    for name in (LAST, BEST, METRICS, RESULT):
        (folder / name).unlink(missing_ok=True)
    for name in WRITTEN_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
