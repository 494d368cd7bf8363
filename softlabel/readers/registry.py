"""What a reader is: a frozen record of functions, one module a format.

A reader lists a data set without reading an image (:class:`~softlabel.types.Dataset`), opens a
source that several cases may share, and reads one case out of it. It raises
:class:`~softlabel.errors.SourceError` when the data set cannot be listed and
:class:`~softlabel.errors.CaseError` when one case cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softlabel.readers.look import LabelLook
from softlabel.types import Array, Case, CaseRef, Dataset


@dataclass(frozen=True)
class ReaderOption:
    """An option that one reader understands, as the command line shows it.

    Attributes
    ----------
    name : str
        Python name; the command line writes it with dashes (``row_base`` → ``--row-base``).
    default : str, int, bool or None
        Value when it is not given; its absence (None) is explained in ``help``.
    help : str
        One sentence.
    choices : tuple of str
        Allowed values; empty when anything of the type is.
    kind : {"text", "int", "path", "table"}
        How the command line parses it; a table is a file or the word for one that needs none.
    """

    name: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    kind: str = "text"


def nothing_shared(dataset: Dataset, source: str) -> None:
    """What cases in files of their own share."""


@dataclass(frozen=True)
class Reader:
    """One input format.

    Attributes
    ----------
    name : str
        What ``--format`` takes.
    title : str
        The format in a few words.
    detect : callable (root: Path) -> str or None
        One sentence on what was recognised in this folder (or file), None if it is not this
        format. Looks at names and small text files only.
    list_cases : callable (root: Path, options: mapping) -> Dataset
        ``options`` holds a value for every one of the reader's options.
    read_case : callable (dataset: Dataset, ref: CaseRef, opened: object) -> Case
    read_labels : callable (dataset: Dataset, ref: CaseRef, opened: object) -> ndarray
        Only the label map(s); what the scan for a class table reads.
    options : tuple of ReaderOption
    open_source : callable (dataset: Dataset, source: str) -> object, optional
        Whatever the cases of one source share, read once; by default nothing.
    open_labels : callable (dataset: Dataset, source: str) -> object, optional
        What ``read_labels`` and ``look`` need of a source, where that is less than what
        ``open_source`` reads; they take either.
    look : callable (dataset: Dataset, ref: CaseRef, opened: object) -> LabelLook, optional
        What the check of a data set wants to know of a case's annotation. Without it, the check
        looks at the label map of ``read_labels`` alone.
    decided_by : tuple of str
        Options that decide for the format where none recognises the folder: they name what
        ``detect`` cannot know.
    """

    name: str
    title: str
    detect: Callable[[Path], str | None]
    list_cases: Callable[[Path, Mapping[str, Any]], Dataset]
    read_case: Callable[[Dataset, CaseRef, Any], Case]
    read_labels: Callable[[Dataset, CaseRef, Any], Array]
    options: tuple[ReaderOption, ...] = ()
    open_source: Callable[[Dataset, str], Any] = nothing_shared
    look: Callable[[Dataset, CaseRef, Any], LabelLook] | None = None
    open_labels: Callable[[Dataset, str], Any] | None = None
    decided_by: tuple[str, ...] = ()

    def opened_labels(self, dataset: Dataset, source: str) -> Any:
        """What ``read_labels`` and ``look`` take, where no image is to be read."""
        return (self.open_labels or self.open_source)(dataset, source)
