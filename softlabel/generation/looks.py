"""Looks at label maps that were had before: in the user's cache folder, and in files of checks.

A look counts as long as its files have the size and the time that they had, and the data set is
read in the same way. Both kinds of files hold the same records.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softlabel.errors import UsageError
from softlabel.files.atomic import publish, require_writable, temporary_name
from softlabel.files.documents import DocumentError, parse_json
from softlabel.files.regular import open_regular
from softlabel.readers.look import LabelLook
from softlabel.types import CaseRef, Dataset

FOLDER_VARIABLE = "SOFTLABEL_CACHE_DIR"
"""Environment variable that names another folder for what is remembered."""

RECORD_VERSION = 2
KIND = "softlabel check"
MAX_BYTES = 1 << 28
"""A larger file is no saved check: a look takes some hundred bytes for each case."""

Records = Mapping[str, Any]
"""By case id: name, size and time of each of its files, and the look as plain values, or the reason
why the label map could not be read."""

Seen = LabelLook | str
"""A look, or why there is none."""


def reading_of(dataset: Dataset) -> dict[str, Any]:
    """All that a look depends on beside the files: how the data set is read, as plain values."""
    mapping = dataset.mapping
    options = {k: v for k, v in dataset.options.items() if k not in ("mapping", "group")}
    reading = {
        "format": dataset.format,
        **{name: value for name, value in options.items() if value is not None},
        "threshold": None if mapping is None else mapping.threshold,
        "colours": [] if mapping is None else sorted(mapping.colours.items()),
    }
    return dict(json.loads(json.dumps(reading, sort_keys=True, default=str)))


def unchanged(dataset: Dataset, refs: Iterable[CaseRef], records: Records) -> dict[str, Seen]:
    """What was seen of the cases whose files have not changed since."""
    found: dict[str, Seen] = {}
    for ref in refs:
        with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
            versions, record = records[ref.id]
            if versions == _versions(dataset, ref):
                text = isinstance(record, str)
                found[ref.id] = record if text else LabelLook.from_record(record)
    return found


def records_of(
    dataset: Dataset, refs: Iterable[CaseRef], seen: Mapping[str, Seen]
) -> dict[str, Any]:
    """What is written of cases; one whose files are gone by now is left out."""
    records = {}
    for ref in refs:
        if ref.id in seen:
            found = seen[ref.id]
            record = found if isinstance(found, str) else found.as_record()
            with contextlib.suppress(OSError):
                records[ref.id] = [_versions(dataset, ref), record]
    return records


def _versions(dataset: Dataset, ref: CaseRef) -> list[list[Any]]:
    statuses = [(name, (dataset.root / name).stat()) for name in ref.files]
    return [[name, status.st_size, status.st_mtime_ns] for name, status in statuses]


# --- in the user's cache folder -------------------------------------------------------------------


def memory_folder() -> Path:
    """Where what was read of label maps is remembered: a folder of the user's."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "softlabel"


def remembered(dataset: Dataset) -> dict[str, Any]:
    """Records of a data set in the cache folder; none where they are lost or damaged."""
    try:
        with open_regular(_memory_file(dataset)) as stream:
            content = parse_json(stream.read(MAX_BYTES))
        return dict(content["cases"]) if content["version"] == RECORD_VERSION else {}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):  # looked at again
        return {}


def remember(dataset: Dataset, records: Records) -> None:
    """Keep records in the cache folder; one that cannot be written is left alone."""
    content = {"version": RECORD_VERSION, "cases": dict(records)}
    with contextlib.suppress(OSError, RuntimeError):
        path = _memory_file(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        # not flushed to the disk: what is lost is looked at again
        new = path.with_name(temporary_name())
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(path)


def _memory_file(dataset: Dataset) -> Path:
    """Raises RuntimeError for a user without a home."""
    what = json.dumps([str(dataset.root.absolute()), reading_of(dataset)], sort_keys=True)
    digest = hashlib.sha256(what.encode()).hexdigest()
    return memory_folder() / "labels" / f"{digest[:32]}.json"


# --- in a file of a check -------------------------------------------------------------------------


@dataclass(frozen=True)
class SavedCheck:
    """What ``softlabel check -o`` wrote.

    Attributes
    ----------
    path : Path
    reading : mapping
        How the data set was read (:func:`reading_of`).
    records : mapping of case id to a record
    """

    path: Path
    reading: Mapping[str, Any]
    records: Records

    def require_reading(self, dataset: Dataset) -> None:
        """Refuse looks at other label maps than those of a data set.

        Raises
        ------
        UsageError
            Naming the options that differ.
        """
        now = reading_of(dataset)
        differing = [
            f"{name}: {self.reading.get(name, 'unset')} → {now.get(name, 'unset')}"
            for name in sorted({*now, *self.reading})
            if now.get(name) != self.reading.get(name)
        ]
        if differing:
            raise UsageError(
                f"{self.path} was written with other options ({'; '.join(differing)}); give the "
                "same ones, or write it again with `softlabel check SOURCE -o FILE`."
            )


def save_check(
    path: Path, dataset: Dataset, refs: Iterable[CaseRef], seen: Mapping[str, Seen]
) -> None:
    """Write what a check saw for runs to come.

    Raises
    ------
    UsageError
        When the file cannot be written.
    """
    content = {
        "kind": KIND,
        "version": RECORD_VERSION,
        "reading": reading_of(dataset),
        "cases": records_of(dataset, refs, seen),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, json.dumps(content, ensure_ascii=False).encode())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}); name another file."
        ) from error


def require_place(path: Path) -> None:
    """Refuse, before label maps are read, a file that a check could not be written to.

    Raises
    ------
    UsageError
        When there is such a file that is something else, or nothing can be written there.
    """
    if path.exists() and _content(path) is None:
        raise UsageError(f"{path} is there and is no saved check; name another file.")
    require_writable(path.parent)


def load_check(path: str | os.PathLike[str]) -> SavedCheck:
    """Read what ``softlabel check -o`` wrote.

    Raises
    ------
    UsageError
        When the file is missing, something else, too large, or of another version.
    """
    path = Path(path)
    again = "write it with `softlabel check SOURCE -o FILE`"
    if not path.is_file():
        raise UsageError(f"{path} is {'no file' if path.exists() else 'not there'}; {again}.")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UsageError(
            f"{path} has {size >> 20} MiB; expected a saved check of at most {MAX_BYTES >> 20} "
            f"MiB; {again}."
        )
    content = _content(path)
    if content is None:
        raise UsageError(f"{path} is no saved check; {again}.")
    if content["version"] != RECORD_VERSION:
        raise UsageError(
            f"{path} is a check of version {content['version']!r:.40}, and this softlabel reads "
            f"version {RECORD_VERSION}; {again}."
        )
    reading, records = content.get("reading"), content.get("cases")
    if not isinstance(reading, dict) or not isinstance(records, dict):
        raise UsageError(f"{path} is damaged: it names no cases; {again}.")
    return SavedCheck(path, reading, records)


def _content(path: Path) -> dict[str, Any] | None:
    """What a saved check holds; None when the file is something else."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return None
    try:
        with open_regular(path) as stream:
            content = parse_json(stream.read(MAX_BYTES))
    except DocumentError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}).") from error
    known = isinstance(content, dict) and content.get("kind") == KIND and "version" in content
    return content if known else None
