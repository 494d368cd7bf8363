"""The readers by name, and which of them a data set is for.

:data:`READERS` holds them by the name that ``--format`` takes. :func:`list_dataset` lists a data
set (recognising its format if asked to) without reading an image; the reader's ``open_source`` and
``read_case`` then deliver one case at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softlabel.errors import SourceError, UsageError
from softlabel.mapping import LabelMapping
from softlabel.readers import (
    bids,
    coco,
    dicom,
    duke,
    heidelberg,
    labelme,
    mrbrains18,
    msd,
    nnunet,
    nnunetpreprocessed,
    pairs,
)
from softlabel.readers.classfile import joined_mapping, load_class_file
from softlabel.readers.mapped import with_mapping
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.vendors import scan_sentence
from softlabel.types import Dataset

READERS: dict[str, Reader] = {
    module.READER.name: module.READER
    for module in (
        duke,
        mrbrains18,
        nnunet,
        nnunetpreprocessed,
        msd,
        coco,
        labelme,
        dicom,
        heidelberg,
        bids,
        pairs,
    )
}

_GENERAL = "pairs"
"""The format that fits nearly any folder; asked only when no other recognises it."""

HINTED_LEVELS = 2
"""Folders above a path in which the data set is looked for that was perhaps meant."""

HINTED_FOLDERS = 4

_LOOKED_FOR = {
    "duke": "Subject_*.mat (duke)",
    "mrbrains18": "training/*/segm.nii.gz (mrbrains18)",
    "nnunet": "dataset.json with file_ending (nnunet)",
    "nnunet-preprocessed": "folders with *_seg.b2nd beside such a file (nnunet-preprocessed)",
    "msd": "dataset.json with a list of training cases (msd)",
    "coco": "a JSON file with images, annotations and categories (coco)",
    "labelme": "JSON files with shapes beside their images (labelme)",
    "dicom": "DICOM files (dicom)",
    "heidelberg": "*.vol of HEYEX (heidelberg)",
    "bids": "sub-*/anat beside derivatives (bids)",
    "pairs": "folders such as images and labels, names ending in _seg or _mask, or .npz files with "
    "both (pairs)",
}


def detect(root: Path | str) -> tuple[Reader, str]:
    """Recognise the format of a data set by what the folder holds.

    Parameters
    ----------
    root : path
        Folder of the data set, or a file that is one.

    Returns
    -------
    Reader
    str
        One sentence on what was recognised.

    Raises
    ------
    SourceError
        When no reader or more than one recognises it, naming what was looked for and how to fix it.
    """
    root = Path(root)
    if not root.exists():
        raise SourceError(f"{root} does not exist; expected the folder of a data set.")
    found = _recognised(root)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{sentence} ({reader.name})" for reader, sentence in found)
        raise SourceError(
            f"{root} could be more than one format: {names}. Say which with --format "
            f"{'|'.join(reader.name for reader, _ in found)}."
        )
    if (sentence := scan_sentence([root])) is not None:
        raise SourceError(sentence)
    raise SourceError(
        f"{root} is of no format that softlabel recognises; looked for "
        f"{'; '.join(_LOOKED_FOR.values())}.{_hint_above(root)}{_hint_below(root)} Say "
        f"which it is with --format {'|'.join(READERS)} (for pairs with --images and --labels)."
    )


def list_dataset(
    root: Path | str,
    format: str = "auto",
    options: Mapping[str, Any] | None = None,
    mapping: LabelMapping | None = None,
) -> Dataset:
    """List the cases of a data set without reading an image.

    Parameters
    ----------
    root : path
        Folder of the data set, or a file that is one.
    format : str
        A key of :data:`READERS`, or ``"auto"`` to recognise it.
    options : mapping of str to values
        Options of the reader; what is left out or None takes its default. With ``"auto"``, the
        options ``images`` and ``labels`` stand for the format ``pairs``, and options that only
        one format has decide where the folder does not.
    mapping : LabelMapping, optional
        Which label values are which class (:func:`softlabel.mapping.parse_mapping`).

    Returns
    -------
    Dataset
        Its ``description`` says what was recognised.

    Raises
    ------
    SourceError
        When the data set cannot be listed.
    UsageError
        For an unknown format, an option that the format does not have, or a value it cannot take.

    Examples
    --------
    >>> list_dataset("nowhere")
    Traceback (most recent call last):
    softlabel.errors.SourceError: nowhere does not exist; expected the folder of a data set.
    """
    root = Path(root)
    given = {name: value for name, value in (options or {}).items() if value is not None}
    reader = _choose(root, format, given)
    try:
        complete = _complete(reader, given)
        if complete.get("classes"):
            mapping = joined_mapping(load_class_file(Path(complete["classes"])).mapping, mapping)
        return with_mapping(reader.list_cases(root, complete), mapping)
    except OSError as error:
        raise SourceError(
            f"{error.filename or root} cannot be listed ({error.strerror}). "
            "Check the path and its permissions."
        ) from error


def _choose(root: Path, format: str, given: Mapping[str, Any]) -> Reader:
    if format == "auto":
        if not {"images", "labels"}.isdisjoint(given):
            return READERS[_GENERAL]  # whoever says where both lie has named the format
        able = [r for r in READERS.values() if set(given) <= {o.name for o in r.options}]
        if root.exists() and not _recognised(root):
            decided = [r for r in READERS.values() if not set(given).isdisjoint(r.decided_by)]
            for only in (able, decided):
                if len(only) == 1:
                    return only[0]
        return detect(root)[0]
    if format not in READERS:
        raise UsageError(f"There is no format {format!r}; expected auto or {'|'.join(READERS)}.")
    return READERS[format]


def _complete(reader: Reader, given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every option of a reader."""
    known = {option.name: option for option in reader.options}
    for name in given:
        if name not in known:
            raise UsageError(
                f"The format {reader.name} has no option {name!r}; its options are: "
                f"{', '.join(known) or 'none'}."
            )
    return {name: _checked(option, given.get(name)) for name, option in known.items()}


def _checked(option: ReaderOption, value: Any) -> Any:
    if value is None:
        return option.default
    if option.kind == "int":
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"The option {option.name} is {value!r}; expected an integer.")
        return value
    text = str(value)
    if option.choices and text not in option.choices:
        raise UsageError(
            f"The option {option.name} is {text!r}; expected one of {', '.join(option.choices)}."
        )
    return text


def _recognised(root: Path) -> list[tuple[Reader, str]]:
    special = [reader for name, reader in READERS.items() if name != _GENERAL]
    try:
        for readers in (special, [READERS[_GENERAL]]):
            asked = [(reader, reader.detect(root)) for reader in readers]
            if found := [(reader, sentence) for reader, sentence in asked if sentence is not None]:
                return found
    except OSError as error:
        raise SourceError(
            f"{error.filename or root} cannot be listed ({error.strerror}). "
            "Check the path and its permissions."
        ) from error
    return []


def _hint_above(root: Path) -> str:
    """Name the data set that the path is a part of: a file, or a folder such as imagesTr."""
    for folder in list(root.resolve().parents)[:HINTED_LEVELS]:
        if found := _one_format(folder):
            return f" It lies in {folder}, which is {found}: perhaps that was meant."
    return ""


def _hint_below(root: Path) -> str:
    """Name the folders inside that are recognised: archives often unpack one level deeper."""
    if not root.is_dir():
        return ""
    below = sorted(path for path in root.iterdir() if path.is_dir())[:50]
    found = [(folder.name, text) for folder in below if (text := _one_format(folder))]
    if not found:
        return ""
    if len(found) == 1:
        return f" Its folder {found[0][0]} is {found[0][1]}: perhaps it was meant."
    named = ", ".join(f"{name} is {text}" for name, text in found[:HINTED_FOLDERS])
    more = ", …" if len(found) > HINTED_FOLDERS else ""
    return f" {len(found)} of its folders are data sets: {named}{more}; give one of them."


def _one_format(folder: Path) -> str:
    """What a folder is, if that is one thing."""
    try:
        found = _recognised(folder)
    except SourceError:
        return ""
    return found[0][1] if len(found) == 1 else ""
