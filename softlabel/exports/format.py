"""What a format of exports is: a frozen record of functions, one module a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from softlabel.cache import Cache
from softlabel.exports.case import ExportedCase
from softlabel.files.names import file_names
from softlabel.types import ClassTable


@dataclass(frozen=True)
class ExportOptions:
    """What only some formats ask for.

    Attributes
    ----------
    per_class : bool
        NIfTI: one file a class instead of one file of all classes.
    source : Path or None
        DICOM-SEG: the data set, with the series that the cases were read from.
    """

    per_class: bool = False
    source: Path | None = None


def no_requirement(cache: Cache, options: ExportOptions) -> None:
    """For formats that need nothing beside softlabel."""


def no_shared_files(cache: Cache) -> Mapping[str, bytes]:
    """For formats whose cases stand for themselves."""
    return {}


@dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes
    ----------
    title : str
        What is written, in a line.
    files : callable (name, classes, options) -> sequence of str
        Paths below the output of what is written of the case that is called ``name``.
    write : callable (case, paths, options)
        Writes these files, each complete or not at all.
    names : callable (ids) -> mapping of str to str
        What the cases are called: safe on every file system, each different.
    require : callable (cache, options)
        Raises UsageError or MissingExtraError where the cache cannot be exported so.
    shared : callable (cache) -> mapping of str to bytes
        Files of all cases together, by their paths below the output.
    takes : tuple of str
        Which fields of :class:`ExportOptions` it asks for.
    """

    title: str
    files: Callable[[str, ClassTable, ExportOptions], Sequence[str]]
    write: Callable[[ExportedCase, Sequence[Path], ExportOptions], None]
    names: Callable[[Sequence[str]], Mapping[str, str]] = file_names
    require: Callable[[Cache, ExportOptions], None] = no_requirement
    shared: Callable[[Cache], Mapping[str, bytes]] = no_shared_files
    takes: tuple[str, ...] = ()
