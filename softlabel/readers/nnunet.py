"""nnU-Net v2 raw data: ``dataset.json``, ``imagesTr/CASE_0000.ext``, ``labelsTr/CASE.ext``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softlabel.errors import CaseError, SourceError
from softlabel.readers.classfile import class_table
from softlabel.readers.datasetjson import (
    is_nnunet,
    load_dataset_json,
    numbered_names,
    require,
)
from softlabel.readers.filecase import look, open_source, read_case, read_labels
from softlabel.readers.imagefiles import RASTER_ENDINGS, TIFF_ENDINGS, ending_of, input_files
from softlabel.readers.listing import GROUP_OPTION, Listing, count, require_folder
from softlabel.readers.registry import Reader
from softlabel.readers.safety import path_inside, relative_name
from softlabel.types import ClassTable, Dataset

_CHANNEL_FILE = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})", re.DOTALL)


@dataclass(frozen=True)
class LabelPlan:
    """What the entry ``labels`` means.

    Attributes
    ----------
    classes : ClassTable
    ignore : int or None
    merge : tuple of (int, int)
        Label values that another value of the same class stands for.
    """

    classes: ClassTable
    ignore: int | None
    merge: tuple[tuple[int, int], ...]


def detect(root: Path) -> str | None:
    """Recognise a ``dataset.json`` with ``labels`` and ``file_ending``."""
    if not (root / "dataset.json").is_file():
        return None
    path, content = load_dataset_json(root)
    return f"nnU-Net v2 raw: {path.name} with file_ending" if is_nnunet(content) else None


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the training cases; reads ``dataset.json`` and file names only."""
    require_folder(root, "an nnU-Net data set")
    path, content = load_dataset_json(root)
    ending = require(content, "file_ending", str, path, '"file_ending": ".nii.gz"')
    if ending_of(f"x{ending}") != ending:
        raise SourceError(
            f"{path} has the file_ending {ending!r}, which softlabel does not read; expected one "
            "such as .nii.gz, .nrrd, .mha, .png, .bmp or .tif. Convert the data set."
        )
    channel_entry = require(content, "channel_names", dict, path, '"channel_names": {"0": "T1"}')
    channels = list(numbered_names(channel_entry, "channel_names", path).values())
    plan = parse_labels(require(content, "labels", dict, path, '"labels": {"background": 0}'), path)
    listing = Listing(options["group"])
    if "dataset" in content:
        _list_entries(listing, root, path, content["dataset"], plan)
    else:
        _list_folders(listing, root, ending, len(channels), plan)
    if not listing.refs and not listing.problems:
        raise SourceError(
            f"{root} holds no case; expected files such as imagesTr/CASE_0000{ending} and "
            f"labelsTr/CASE{ending}. Check the folders and the file_ending in {path}."
        )
    name = content.get("name") if isinstance(content.get("name"), str) else root.resolve().name
    description = (
        f"nnU-Net v2 raw, {name}: {count(len(listing.refs), 'case')}, "
        f"{count(len(channels), 'channel')}, {count(len(plan.classes), 'class', 'classes')}"
        + (f", ignore label {plan.ignore}" if plan.ignore is not None else "")
    )
    return listing.dataset(
        "nnunet",
        root,
        description,
        options=options,
        classes=plan.classes,
        channels=channels,
        ignore=plan.ignore,
    )


def parse_labels(entry: Mapping[str, Any], path: Path) -> LabelPlan:
    """Read the entry ``labels``: names to values, or to lists of values (regions).

    Regions that do not overlap are classes of several values, which become their smallest.

    Raises
    ------
    SourceError
        For regions that overlap, which no hard label map of classes can express, and for entries
        that are no values.
    """
    values_of = {name: _values(name, value, path) for name, value in entry.items()}
    ignore = values_of.pop("ignore", [None])[0]
    owner: dict[int, str] = {}
    for name, values in values_of.items():
        for value in values:
            if value in owner:
                raise SourceError(
                    f"{path} has the labels {owner[value]!r} and {name!r} that both contain the "
                    f"value {value}: regions that overlap. softlabel expects every pixel in one "
                    'class; list the parts instead, one value each ("edema": 1, "core": 2, '
                    '"enhancing": 3), and train on regions later.'
                )
            owner[value] = name
    if ignore in owner:
        raise SourceError(
            f"{path} gives the value {ignore} to 'ignore' and to {owner[ignore]!r}; expected a "
            "value of its own for 'ignore'. Correct it."
        )
    classes = class_table({min(v): name for name, v in values_of.items()}, path)
    merge = tuple((v, min(vs)) for vs in values_of.values() for v in vs if v != min(vs))
    return LabelPlan(classes, ignore, merge)


def _values(name: str, value: Any, path: Path) -> list[int]:
    values = value if isinstance(value, list) else [value]
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
    if not values or not whole or (name == "ignore" and len(values) > 1):
        raise SourceError(
            f"{path} gives the label {name!r} the value {value!r:.60}; expected an integer of at "
            'least 0, as in "labels": {"background": 0, "lesion": 1}. '
            "(The Decathlon's order, value first, belongs to the format msd.)"
        )
    return sorted(set(values))


def _list_folders(
    listing: Listing, root: Path, ending: str, n_channels: int, plan: LabelPlan
) -> None:
    """Add what lies in imagesTr and labelsTr, and say what has no partner there."""
    images = _channel_files(root / "imagesTr", ending)
    labels = {path.name.removesuffix(ending): path for path in _files(root / "labelsTr", ending)}
    colours = ending.lower() in (*RASTER_ENDINGS, *TIFF_ENDINGS)
    for case in sorted({*images, *labels}):
        found = images.get(case, {})
        # Colours of natural images are one file.
        expected = {0} if colours and set(found) == {0} else set(range(n_channels))
        if case not in labels:
            listing.problem(case, _missing(root / "labelsTr" / f"{case}{ending}", case, "label"))
        elif missing := sorted(expected - set(found)):
            name = f"{case}_{missing[0]:04d}{ending}"
            listing.problem(case, _missing(root / "imagesTr" / name, case, "image"))
        elif extra := sorted(set(found) - expected):
            listing.problem(
                case,
                f"{found[extra[0]]} is a channel that dataset.json does not name (it names "
                f"{n_channels}); expected as many files. Correct channel_names or remove the file.",
            )
        else:
            paths = [found[channel] for channel in sorted(found)]
            _add(listing, root, case, paths, labels[case], plan)


def _channel_files(folder: Path, ending: str) -> dict[str, dict[int, Path]]:
    images: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in _files(folder, ending):
        if match := _CHANNEL_FILE.fullmatch(path.name.removesuffix(ending)):
            images[match["case"]][int(match["channel"])] = path
    return images


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is not a folder; expected the files of an nnU-Net data set in it. "
            "Check the path."
        )
    names = sorted(path for path in folder.iterdir() if path.name.endswith(ending))
    return [path for path in names if not path.name.startswith(".")]


def _missing(path: Path, case: str, what: str) -> str:
    return (
        f"{path} does not exist; expected it as the {what} of case {case}. "
        "Put it there, or leave the case out."
    )


def _list_entries(listing: Listing, root: Path, path: Path, entries: Any, plan: LabelPlan) -> None:
    """Add the cases that the optional entry ``dataset`` lists by their paths."""
    if not isinstance(entries, dict):
        raise SourceError(
            f"{path} has an unusable entry 'dataset'; expected "
            '{"CASE": {"images": ["imagesTr/CASE_0000.nii.gz"], "label": "labelsTr/CASE.nii.gz"}}. '
            "Correct it."
        )
    for case, entry in entries.items():
        try:
            images = entry.get("images") if isinstance(entry, dict) else None
            if not isinstance(images, list) or not images:
                raise CaseError(
                    f"{path} lists no images for {case!r}; expected a list of paths. Correct it."
                )
            where = f"{path} (case {case!r})"
            image_paths = [path_inside(root, image, where) for image in images]
            label_path = path_inside(root, entry.get("label"), where)
            for file in (*image_paths, label_path):
                if not file.is_file():
                    what = "label" if file == label_path else "image"
                    raise CaseError(_missing(file, case, what))
        except CaseError as error:
            listing.problem(case, str(error))
            continue
        _add(listing, root, case, image_paths, label_path, plan)


def _add(
    listing: Listing, root: Path, case: str, images: list[Path], label: Path, plan: LabelPlan
) -> None:
    key: dict[str, Any] = {
        "images": [relative_name(path, root) for path in images],
        "label": relative_name(label, root),
    }
    files = [*input_files(root, (*key["images"], key["label"]))]
    # nnU-Net keeps the spacing of TIFF volumes in a JSON file beside the image.
    spacing_json = images[0].parent / f"{case}.json"
    if images[0].name.lower().endswith(TIFF_ENDINGS) and spacing_json.is_file():
        key["spacing_json"] = relative_name(spacing_json, root)
        files.append(key["spacing_json"])
    if plan.merge:
        key["merge"] = [list(pair) for pair in plan.merge]
    listing.add(case, files, source=key["images"][0], key=key)


READER = Reader(
    name="nnunet",
    title="nnU-Net v2 raw (dataset.json, imagesTr, labelsTr)",
    detect=detect,
    list_cases=list_cases,
    open_source=open_source,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=(GROUP_OPTION,),
)
