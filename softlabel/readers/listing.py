"""What every reader's listing shares: checked ids, groups, options, and the finished Dataset."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.ids import check_id, natural_key
from softlabel.readers.registry import ReaderOption
from softlabel.types import CaseRef, ClassTable, Dataset

GROUP_OPTION = ReaderOption(
    "group",
    None,
    "Regular expression whose first group, found in the case id, is the patient, so that splits "
    "never cut through one; without it every case is its own.",
)

CLASSES_OPTION = ReaderOption(
    "classes",
    None,
    "Class table: a JSON or YAML file with {value: name}, {name: [values]} or {name: '#rrggbb'}; a "
    "label table of CVAT, ITK-SNAP, 3D Slicer or FreeSurfer; or the word freesurfer. Without it "
    "values are collected from all label maps, and names of outlines and segments are numbered "
    "from 1.",
    kind="table",
)


class Listing:
    """Collects cases and problems while a reader walks through a data set.

    A case whose id cannot be used, or is taken, becomes a problem of its own.
    """

    def __init__(self, group_pattern: str | None = None) -> None:
        self.refs: dict[str, CaseRef] = {}
        self.problems: dict[str, str] = {}
        self._group = _compile_group(group_pattern)

    def add(
        self,
        case_id: str,
        files: Iterable[str],
        *,
        source: str,
        group: str | None = None,
        key: Mapping[str, Any],
    ) -> None:
        """Add a case; its id is put into composed Unicode form, which macOS's file names lack."""
        case_id = unicodedata.normalize("NFC", case_id)
        files = tuple(files)
        try:
            check_id(case_id)
        except CaseError as error:
            self.problem(case_id, f"{_listed(files)}: {error}")
            return
        if case_id in self.refs or case_id in self.problems:
            taken = self.refs[case_id].files if case_id in self.refs else ("a case with a problem",)
            self.refs.pop(case_id, None)
            self.problem(
                case_id,
                f"The id {case_id!r} would name two cases ({_listed(taken)} and {_listed(files)}); "
                "expected ids that differ. Rename the files of one.",
            )
            return
        if group is None:
            group = self._group_of(case_id)
        self.refs[case_id] = CaseRef(case_id, group, source, files, dict(key))

    def problem(self, case_id: str, sentence: str) -> None:
        """Note that a case cannot be read."""
        name = "".join(ch if ch.isprintable() else f"\\x{ord(ch):02x}" for ch in case_id)
        self.problems[name[:200] or "(no name)"] = sentence

    def dataset(
        self,
        format: str,
        root: Path,
        description: str,
        *,
        options: Mapping[str, Any],
        classes: ClassTable | None,
        channels: Iterable[str] = (),
        ignore: int | None = None,
        unlabelled: Iterable[str] = (),
        soft: bool = False,
    ) -> Dataset:
        """Finish the listing, the cases in natural order."""
        refs = sorted(self.refs.values(), key=lambda ref: natural_key(ref.id))
        problems = {name: self.problems[name] for name in sorted(self.problems, key=natural_key)}
        return Dataset(
            format=format,
            root=root,
            description=description,
            refs=tuple(refs),
            problems=problems,
            classes=classes,
            channels=tuple(channels),
            ignore=ignore,
            options=dict(options),
            unlabelled=tuple(unlabelled),
            soft=soft,
        )

    def _group_of(self, case_id: str) -> str:
        if self._group is None:
            return case_id
        match = self._group.search(case_id)
        if match is None or not match.group(1):
            raise UsageError(
                f"The option group, {self._group.pattern!r}, finds no patient in the case id "
                f"{case_id!r}; expected a regular expression whose first group matches in every "
                "id. Widen it."
            )
        return match.group(1)


def _compile_group(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"The option group, {pattern!r}, is not a regular expression ({error}); expected one "
            r"such as '(patient\d+)_'."
        ) from error
    if compiled.groups < 1:
        raise UsageError(
            f"The option group, {pattern!r}, has no group; expected parentheses around the part "
            r"of the id that names the patient, as in '(patient\d+)_'."
        )
    return compiled


def parse_spacing(text: str | None) -> tuple[float, ...] | None:
    """Parse the option ``spacing_mm``: positive numbers separated by commas, None for none.

    Raises
    ------
    UsageError
        When it is anything else.

    Examples
    --------
    >>> parse_spacing("0.00387, 0.01133")
    (0.00387, 0.01133)
    """
    if text is None:
        return None
    try:
        spacing = tuple(float(part) for part in text.split(","))
    except ValueError:
        spacing = ()
    if not 2 <= len(spacing) <= 3 or not all(0 < s < float("inf") for s in spacing):
        raise UsageError(
            f"The option spacing_mm is {text!r}; expected two or three positive numbers, one for "
            "each spatial axis, separated by commas, such as 0.00387,0.01133."
        )
    return spacing


def require_folder(root: Path, what: str) -> None:
    """Raise unless ``root`` is a folder.

    Raises
    ------
    SourceError
        Saying what was expected there.
    """
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise SourceError(f"{root} {state}; expected the folder of {what}. Check the path.")


def count(n: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``count(1, "case")`` is ``"1 case"``."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def _listed(files: Iterable[str]) -> str:
    """File names for a message, with bytes that are no text escaped."""
    return ", ".join(files).encode("utf-8", "backslashreplace").decode()
