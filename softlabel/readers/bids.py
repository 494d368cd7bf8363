"""BIDS: raw images of ``sub-*/[ses-*/]anat`` with label maps in one folder of ``derivatives``.

A label map belongs to the images of its subject and session that agree with it in every entity of
raw data that both name (``run-2``). Entities that only derivatives have (``space``, ``desc``,
``label``) tell kinds of label maps apart.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softlabel.errors import SourceError, UsageError
from softlabel.ids import natural_key
from softlabel.raters import rater_names
from softlabel.readers.classfile import MAX_TABLE_BYTES, class_table, load_class_table
from softlabel.readers.filecase import look, read_case, read_labels
from softlabel.readers.listing import CLASSES_OPTION, GROUP_OPTION, Listing, count, require_folder
from softlabel.readers.raters import raters_option, split_places
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import read_text, relative_name
from softlabel.types import ClassTable, Dataset

ENDINGS = (".nii.gz", ".nii")
DERIVED = ("space", "res", "den", "label", "desc", "atlas", "seg", "scale", "hemi")
"""Entities of derivatives, which no raw image has."""

_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)")
_FIRST_SUFFIXES = ("T1w", "T2w", "FLAIR")

OPTIONS = (
    ReaderOption(
        "derivative",
        None,
        "Folder of derivatives that holds the label maps, where several do.",
    ),
    ReaderOption(
        "label_kind",
        None,
        "Which label maps of a derivative, by the end of their names without the ending, such as "
        "desc-aseg_dseg or label-*_mask, where there are several kinds.",
    ),
    ReaderOption(
        "suffixes",
        None,
        "Images that become channels, by their suffixes, separated by commas, such as T1w,FLAIR. "
        "Default: those that every annotated case has.",
    ),
    raters_option(
        "Folders of derivatives of several annotators, or kinds of label maps in one of them"
    ),
    CLASSES_OPTION,
    GROUP_OPTION,
)


@dataclass(frozen=True)
class _File:
    """An image or label map, by what its name says."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def session(self) -> tuple[str, str]:
        """Subject and session."""
        return self.entities["sub"], self.entities.get("ses", "")

    @property
    def raw(self) -> dict[str, str]:
        """Entities that raw images have as well."""
        return {name: value for name, value in self.entities.items() if name not in DERIVED}

    @property
    def kind(self) -> str:
        """The end of its name that other subjects' label maps share, any class for ``label``."""
        derived = [
            f"{name}-{'*' if name == 'label' else value}"
            for name, value in self.entities.items()
            if name in DERIVED
        ]
        return "_".join((*derived, self.suffix))

    @property
    def case(self) -> str:
        """Id of its case."""
        return "_".join(f"{name}-{value}" for name, value in self.raw.items())


def detect(root: Path) -> str | None:
    """Recognise images of subjects beside a folder ``derivatives``."""
    if not (root / "derivatives").is_dir():
        return None
    first = next(_files_below(root), None)
    return f"BIDS: {relative_name(first.path, root)} and derivatives" if first else None


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the annotated images; reads file names, and tables of classes."""
    require_folder(root, "a BIDS data set")
    images = [file for file in _files_below(root) if file.suffix not in ("dseg", "mask")]
    of_raters = _of_raters(root, options)
    derivative, labels = next(iter(of_raters.values()))
    of_case: dict[str, list[_File]] = defaultdict(list)
    for label in labels:
        of_case[label.case].append(label)
    others = _of_others(of_raters)
    listing = Listing(options["group"])
    matched = {case: _matching(files[0], images) for case, files in of_case.items()}
    suffixes = _suffixes(matched, options["suffixes"], root)
    values = _mask_values(labels)
    for case, files in of_case.items():
        problem = _problem(case, files, matched[case], suffixes) or _lacking(case, others)
        if problem:
            listing.problem(case, problem)
        else:
            chosen = [matched[case][suffix][0].path for suffix in suffixes]
            group = f"sub-{files[0].entities['sub']}" if options["group"] is None else None
            of_case_raters = {name: maps[case] for name, maps in others.items()}
            _add(listing, root, case, group, chosen, files, values, of_case_raters)
    for case in {case for maps in others.values() for case in maps} - set(of_case):
        listing.problem(case, _lacking(case, others))
    classes, ignore = _classes(derivative, labels, values, options["classes"])
    used = {
        **options,
        "derivative": derivative.name,
        "label_kind": labels[0].kind,
        "suffixes": ",".join(suffixes),
        "classes": Path(options["classes"]).name if options["classes"] else None,
    }
    annotated = {label.session for label in labels}
    description = (
        f"BIDS: {count(len(listing.refs), 'case')}, images {', '.join(suffixes)}, label maps "
        f"{labels[0].kind} of derivatives/{derivative.name}"
        + (f", raters {' and '.join(others)}" if others else "")
    )
    return listing.dataset(
        "bids", root, description, options=used, classes=classes, channels=suffixes, ignore=ignore,
        unlabelled=[relative_name(i.path, root) for i in images if i.session not in annotated],
    )  # fmt: skip


# --- names ----------------------------------------------------------------------------------------


def _files_below(folder: Path) -> Iterator[_File]:
    """Files of ``sub-*/[ses-*/]anat`` whose names are made of entities and a suffix."""
    for pattern in ("sub-*/anat/*", "sub-*/ses-*/anat/*"):
        for path in sorted(folder.glob(pattern)):
            file = _parsed(path)
            if file is not None and path.is_file():
                yield file


def _parsed(path: Path) -> _File | None:
    ending = next((e for e in ENDINGS if path.name.endswith(e)), None)
    if ending is None:
        return None
    *parts, suffix = path.name.removesuffix(ending).split("_")
    found = [_ENTITY.fullmatch(part) for part in parts]
    entities = {match[1]: match[2] for match in found if match is not None}
    if len(entities) < len(parts) or "sub" not in entities or not suffix.isalnum():
        return None
    return _File(path, entities, suffix)


# --- which label maps -----------------------------------------------------------------------------


def _derivative(root: Path, given: str | None) -> tuple[Path, list[_File]]:
    """The folder of derivatives that holds label maps, and these."""
    folders = sorted(p for p in (root / "derivatives").iterdir() if p.is_dir())
    found = {
        folder: labels
        for folder in folders
        if (labels := [file for file in _files_below(folder) if file.suffix in ("dseg", "mask")])
    }
    names = [folder.name for folder in found]
    if given is not None:
        folder = root / "derivatives" / given
        if folder not in found:
            raise SourceError(
                f"{folder} holds no label map; expected one of {', '.join(names) or 'none'} as the "
                "option derivative."
            )
        return folder, found[folder]
    if not found:
        raise SourceError(
            f"{root / 'derivatives'} holds no label map; expected files such as "
            "NAME/sub-01/anat/sub-01_dseg.nii.gz. Put them there, or name images and label maps "
            "with --images and --labels."
        )
    if len(found) > 1:
        raise SourceError(
            f"{root / 'derivatives'} has label maps in {', '.join(names)}; expected one folder. "
            f"Say which with --derivative {'|'.join(names)}."
        )
    return next(iter(found.items()))


def _of_raters(root: Path, options: Mapping[str, Any]) -> dict[str, tuple[Path, list[_File]]]:
    """Derivative and label maps of each rater; of one that has no name without raters.

    Raises
    ------
    UsageError
        When a rater is no derivative and no kind of label maps, or has masks of single classes.
    """
    raters = split_places(options["raters"])
    if not raters:
        derivative, found = _derivative(root, options["derivative"])
        return {"": (derivative, _of_kind(derivative, found, options["label_kind"]))}
    of_raters = {}
    for name, rater in zip(rater_names(raters), raters, strict=True):
        is_folder = (root / "derivatives" / rater).is_dir()
        derivative, found = _derivative(root, rater if is_folder else options["derivative"])
        kind = options["label_kind"] if is_folder else rater
        of_raters[name] = derivative, _of_kind(derivative, found, kind)
        if of_raters[name][1][0].suffix == "mask":
            raise UsageError(
                f"The rater {rater} has masks of single classes in {derivative}; expected label "
                "maps of all classes, *_dseg.nii.gz. Join the masks first."
            )
    return of_raters


def _of_others(
    of_raters: Mapping[str, tuple[Path, list[_File]]],
) -> dict[str, dict[str, list[_File]]]:
    """Label maps of every rater by case; empty without raters."""
    others: dict[str, dict[str, list[_File]]] = {}
    for rater, (_, labels) in of_raters.items():
        if rater:
            others[rater] = defaultdict(list)
            for label in labels:
                others[rater][label.case].append(label)
    return others


def _of_kind(derivative: Path, labels: Sequence[_File], given: str | None) -> list[_File]:
    """Label maps of one kind: segmentations, else masks that name their class, else masks."""
    kinds = sorted({label.kind for label in labels})
    if given is not None:
        if given not in kinds:
            raise UsageError(
                f"The option label_kind is {given!r}; expected one of {', '.join(kinds)}, which "
                f"{derivative} holds."
            )
        return [label for label in labels if label.kind == given]
    segmentations = [kind for kind in kinds if kind.endswith("dseg")]
    of_classes = [kind for kind in kinds if "label-*" in kind]
    able = segmentations or of_classes or kinds
    if len(able) > 1:
        raise SourceError(
            f"{derivative} has label maps of the kinds {', '.join(able)}; expected one. Say which "
            f"with --label-kind, such as '{able[0]}'."
        )
    return [label for label in labels if label.kind == able[0]]


def _matching(label: _File, images: Iterable[_File]) -> dict[str, list[_File]]:
    """Images that agree with a label map, by suffix; only the one of the same entities, if any."""
    found: dict[str, list[_File]] = defaultdict(list)
    for image in images:
        if image.session == label.session and all(
            label.entities.get(name, value) == value for name, value in image.entities.items()
        ):
            found[image.suffix].append(image)
    return {
        suffix: [image for image in of_suffix if image.entities == label.raw] or of_suffix
        for suffix, of_suffix in found.items()
    }


def _suffixes(
    matched: Mapping[str, Mapping[str, Any]], given: str | None, root: Path
) -> tuple[str, ...]:
    """Suffixes of the channels: those given, else those that every annotated case has."""
    if given is not None:
        return tuple(part.strip() for part in given.split(",") if part.strip())
    with_images = [set(found) for found in matched.values() if found]
    common = set.intersection(*with_images) if with_images else set()
    if not common:
        seen = sorted(set().union(*with_images))
        raise SourceError(
            f"{root}: no image suffix is there for every annotated case "
            f"(found {', '.join(seen) or 'no image'}); expected one such as T1w. Say which with "
            "--suffixes; cases without it are then left out."
        )
    first = [suffix for suffix in _FIRST_SUFFIXES if suffix in common]
    return (*first, *sorted(common.difference(first), key=natural_key))


# --- cases ----------------------------------------------------------------------------------------


def _problem(
    case: str,
    labels: Sequence[_File],
    images: Mapping[str, Sequence[_File]],
    suffixes: Sequence[str],
) -> str:
    """Why a label map is no case; empty when it is one."""
    if len(labels) > 1 and "label" not in labels[0].entities:
        names = ", ".join(label.path.name for label in labels)
        return f"The case {case!r} has the label maps {names}; expected one. Remove the others."
    for suffix in suffixes:
        found = images.get(suffix, ())
        if len(found) != 1:
            names = ", ".join(image.path.name for image in found) or "none"
            return (
                f"{labels[0].path} belongs to one {suffix} of its subject and session, but there "
                f"are {len(found)} that fit ({names}); expected one. Give both the same entities, "
                "such as run-1, or choose other images with --suffixes."
            )
    return ""


def _lacking(case: str, raters: Mapping[str, Mapping[str, Sequence[_File]]]) -> str:
    """Why a case has not one label map of each rater; empty when it has."""
    for rater, maps in raters.items():
        found = maps.get(case, ())
        if len(found) != 1:
            names = ", ".join(label.path.name for label in found) or "none"
            return (
                f"The case {case!r} has {len(found)} label maps of the rater {rater} ({names}); "
                "expected one. Add it, or leave the case out."
            )
    return ""


def _mask_values(labels: Sequence[_File]) -> dict[str, int]:
    """Label values of the classes that are masks of their own: 1, 2 … by name."""
    names = {_class_of(label) for label in labels if label.suffix == "mask"}
    return {name: value for value, name in enumerate(sorted(names, key=natural_key), start=1)}


def _class_of(mask: _File) -> str:
    return mask.entities.get("label") or mask.entities.get("desc") or "mask"


def _add(
    listing: Listing,
    root: Path,
    case: str,
    group: str | None,
    images: Sequence[Path],
    labels: Sequence[_File],
    values: Mapping[str, int],
    raters: Mapping[str, Sequence[_File]],
) -> None:
    names = [relative_name(path, root) for path in images]
    if values:
        labels = sorted(labels, key=lambda label: values[_class_of(label)])
    files = [relative_name(label.path, root) for label in labels]
    key: dict[str, Any] = {"images": names}
    if values:
        key["label_files"] = [
            [name, values[_class_of(label)]] for name, label in zip(files, labels, strict=True)
        ]
    elif raters:
        key["raters"] = {name: relative_name(maps[0].path, root) for name, maps in raters.items()}
        files = list(key["raters"].values())
    else:
        key["label"] = files[0]
    listing.add(case, (*names, *files), source=names[0], group=group, key=key)


# --- classes --------------------------------------------------------------------------------------


def _classes(
    derivative: Path, labels: Sequence[_File], values: Mapping[str, int], given: str | None
) -> tuple[ClassTable | None, int | None]:
    """Classes of the table that was given, of the masks, or of the tables beside label maps."""
    if given:
        return load_class_table(Path(given))
    if values:
        table = {value: name for name, value in values.items()}
        return class_table({0: "background", **table}, derivative), None
    named: dict[int, str] = {}
    for path in _tables(derivative, labels):
        for value, name in _read_table(path).items():
            if named.setdefault(value, name) != name:
                raise SourceError(
                    f"{path} calls the value {value} {name!r}, another table {named[value]!r}; "
                    "expected one name. Correct the tables, or give one with --classes."
                )
    return (class_table({0: "background", **named}, derivative) if named else None), None


def _tables(derivative: Path, labels: Sequence[_File]) -> list[Path]:
    """Tables beside the label maps and, for all of a kind, in the folder of the derivative."""
    beside = [label.path.with_name(f"{label.path.name.partition('.')[0]}.tsv") for label in labels]
    shared = [derivative / f"{labels[0].kind}.tsv", derivative / "dseg.tsv"]
    found = [path for path in beside if path.is_file()]
    return found or [path for path in shared if path.is_file()][:1]


def _read_table(path: Path) -> dict[int, str]:
    """Names of label values by the columns ``index`` and ``name``."""
    rows = csv.DictReader(read_text(path, MAX_TABLE_BYTES).splitlines(), delimiter="\t")
    try:
        table = {int(row["index"]): str(row["name"]).strip() for row in rows}
    except (KeyError, TypeError, ValueError, csv.Error):  # of a cell that is too long
        table = {}
    if not table or not all(table.values()):
        raise SourceError(
            f"{path} is no table of classes; expected the columns index and name, separated by "
            "tabs, with a whole number and a text in each row. Correct it, or give --classes."
        )
    return table


READER = Reader(
    name="bids",
    title="BIDS (sub-*/anat with label maps in derivatives)",
    detect=detect,
    list_cases=list_cases,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=OPTIONS,
)
