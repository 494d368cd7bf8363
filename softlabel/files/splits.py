"""Files that say which cases train: nnU-Net's ``splits_final.json``, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softlabel.errors import UsageError
from softlabel.files.documents import DocumentError, parse_json
from softlabel.files.regular import open_regular

SUFFIXES = (".json", ".csv")

LARGEST = 64 << 20
"""Bytes of a file of splits."""

PARTS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "evaluation", "evaluation": "evaluation",
}  # fmt: skip
"""Names of parts that people give, and ours."""

NAMES = ("case", "id", "patient", "group", "subject")
"""Columns of a CSV file that may name a case or a patient; the first one that is there counts."""

PART_COLUMNS = ("part", "split")


def read_split(path: Path, fold: int = 0) -> dict[str, tuple[str, ...]]:
    """The cases or patients of each part.

    Parameters
    ----------
    path : Path
        ``splits_final.json`` of nnU-Net, a list with an object ``{"train": […], "val": […]}`` for
        each fold, or one such object. Or CSV with a header: a column ``case`` (or ``patient``), a
        column ``part`` with train, val or test, and where there are several folds ``fold``.
    fold : int
        The first is 0.

    Returns
    -------
    dict of str to tuple of str
        The parts that the file has, of ``train``, ``validation`` and ``evaluation``.

    Raises
    ------
    UsageError
        When the file cannot be read as one, lacks the fold, or names a case twice in it.
    """
    text = _text(path)
    found = _from_json(path, text, fold) if path.suffix == ".json" else _from_csv(path, text, fold)
    listed = [name for names in found.values() for name in names]
    if len(set(listed)) < len(listed):
        twice = next(name for n, name in enumerate(listed) if name in listed[:n])
        raise UsageError(
            f"The split {path} names {twice!r} twice in fold {fold}; list it in one part, once."
        )
    if not found.get("train"):
        raise UsageError(
            f"The split {path} has nothing that trains in fold {fold}; expected a part train."
        )
    return found


def _text(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise UsageError(f"The split {path} must end in .json or .csv.")
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(
            f"The split {path} cannot be read ({error.strerror}); give a file of splits."
        ) from error
    if len(data) > LARGEST:
        raise UsageError(f"The split {path} has more than {LARGEST} bytes; give a file of splits.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"The split {path} is not UTF-8; save it as UTF-8.") from error


def _from_json(path: Path, text: str, fold: int) -> dict[str, tuple[str, ...]]:
    try:
        content = parse_json(text)
    except DocumentError as error:
        raise UsageError(f"The split {path} cannot be used: {error}. Correct it.") from error
    folds = content if isinstance(content, list) else [content]
    _require_fold(path, fold, range(len(folds)))
    parts = folds[fold]
    if not isinstance(parts, Mapping) or not all(map(_are_names, parts.values())):
        raise UsageError(
            f'The split {path} must be a list of {{"train": [names], "val": [names]}}, one for '
            f"each fold, as nnU-Net writes it; fold {fold} is another kind of value."
        )
    found: dict[str, tuple[str, ...]] = {}
    for name, names in parts.items():  # val and validation are one part
        own = _part(path, name)
        found[own] = (*found.get(own, ()), *names)
    return found


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _from_csv(path: Path, text: str, fold: int) -> dict[str, tuple[str, ...]]:
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = list(reader)
    except csv.Error as error:
        raise UsageError(f"The split {path} is not valid CSV ({error}); correct it.") from error
    name = _column(path, columns, NAMES)
    part = _column(path, columns, PART_COLUMNS)
    if "fold" in columns:
        folds = [_whole(path, row["fold"]) for row in rows]
        _require_fold(path, fold, sorted(set(folds)))
        rows = [row for row, number in zip(rows, folds, strict=True) if number == fold]
    else:
        _require_fold(path, fold, range(1))
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        own = _part(path, (row[part] or "").strip())
        found[own] = (*found.get(own, ()), (row[name] or "").strip())
    return found


def _column(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> str:
    for name in wanted:
        if name in columns:
            return name
    raise UsageError(
        f"The split {path} has the columns {', '.join(columns) or 'none'}; expected one of "
        f"{', '.join(wanted)} in its first line."
    )


def _whole(path: Path, text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError as error:
        raise UsageError(
            f"The split {path} has the fold {text!r}; expected whole numbers from 0."
        ) from error


def _require_fold(path: Path, fold: int, folds: Sequence[int]) -> None:
    if fold not in folds:
        known = ", ".join(map(str, folds)) or "none"
        raise UsageError(f"The split {path} has no fold {fold}; its folds are {known}.")


def _part(path: Path, name: str) -> str:
    if name not in PARTS:
        raise UsageError(f"The split {path} has the part {name!r}; expected {', '.join(PARTS)}.")
    return PARTS[name]
