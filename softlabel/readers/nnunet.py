"""nnU-Net v2 raw data: ``dataset.json``, ``imagesTr/CASE_0000.ext``, ``labelsTr/CASE.ext``.

Beside them, a phantom (a folder with ``phantom.json``) keeps the true labels in ``truth/CASE.ext``
and the annotations of further graders in ``labelsTr_grader2/CASE.ext`` and so on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from softlabel.readers.filecase import look, read_case, read_labels
from softlabel.readers.imagefiles import RASTER_ENDINGS, TIFF_ENDINGS, ending_of, input_files
from softlabel.readers.listing import GROUP_OPTION, Listing, count, require_folder
from softlabel.readers.raters import label_maps_in_folders, raters_option, split_places
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import path_inside, relative_name
from softlabel.types import ClassTable, Dataset

_CHANNEL_FILE = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})", re.DOTALL)


PHANTOM = "phantom.json"
"""Says that a folder holds a phantom."""

REFUSE, VALUES = "refuse", "values"

OPTIONS = (
    ReaderOption(
        "regions",
        REFUSE,
        "Labels of dataset.json that overlap (regions, such as a whole tumour and its core): "
        "refuse, or take the values of the label maps as the classes.",
        choices=(REFUSE, VALUES),
    ),
    raters_option("Folders of several annotators' label maps, such as labelsTr,labelsTr_second"),
    GROUP_OPTION,
)


@dataclass(frozen=True)
class LabelPlan:
    """What the entry ``labels`` means.

    Attributes
    ----------
    classes : ClassTable
    ignore : int or None
    merge : tuple of (int, int)
        Label values that another value of the same class stands for.
    left_out : tuple of str
        Regions that are no classes of their own: unions of others.
    raters : tuple of str
        Folders of the raters' label maps; empty for those of ``labelsTr`` alone.
    """

    classes: ClassTable
    ignore: int | None
    merge: tuple[tuple[int, int], ...]
    left_out: tuple[str, ...] = ()
    raters: tuple[str, ...] = ()


def detect(root: Path) -> str | None:
    """Recognise a ``dataset.json`` with ``labels`` and ``file_ending``.

    nnU-Net copies it into the folder of what it has preprocessed, which is another format.
    """
    if not (root / "dataset.json").is_file():
        return None
    if (root / "dataset_fingerprint.json").is_file() and not (root / "imagesTr").is_dir():
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
    labels = require(content, "labels", dict, path, '"labels": {"background": 0}')
    raters = split_places(options["raters"])
    plan = replace(parse_labels(labels, path, options["regions"]), raters=raters)
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
    description = f"nnU-Net v2 raw, {name}: {contents(listing, channels, plan)}" + (
        f", raters {' and '.join(raters)}" if raters else ""
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


def contents(listing: Listing, channels: Sequence[str], plan: LabelPlan) -> str:
    """Cases, channels and classes of a data set of nnU-Net, for its description."""
    return (
        f"{count(len(listing.refs), 'case')}, {count(len(channels), 'channel')}, "
        f"{count(len(plan.classes), 'class', 'classes')}"
        + (f", ignore label {plan.ignore}" if plan.ignore is not None else "")
        + (f", regions left out: {', '.join(plan.left_out)}" if plan.left_out else "")
    )


def parse_labels(entry: Mapping[str, Any], path: Path, regions: str = REFUSE) -> LabelPlan:
    """Read the entry ``labels``: names to values, or to lists of values (regions).

    Regions that do not overlap are classes of several values, which become their smallest. Of
    regions that overlap the values are the classes, where each has an entry of its own.

    Parameters
    ----------
    entry : mapping
    path : Path
        ``dataset.json``, for messages.
    regions : {"refuse", "values"}
        With ``values``, a value of regions that has no entry of its own is a class as well, named
        ``label 2``.

    Raises
    ------
    SourceError
        For regions that overlap, which no hard label map of classes can express, and for entries
        that are no values.
    """
    values_of = {name: _values(name, value, path) for name, value in entry.items()}
    ignore = values_of.pop("ignore", [None])[0]
    left_out: tuple[str, ...] = ()
    overlap = _overlap(values_of)
    if overlap is not None:
        parts = _parts(values_of)
        if parts is None and regions == REFUSE:
            first, second, value = overlap
            raise SourceError(
                f"{path} has the labels {first!r} and {second!r} that both contain the value "
                f"{value}: regions that overlap, as for region-based training, while a pixel "
                "belongs to one class here. Read the values of the label maps as the classes with "
                "--regions values, or give each value an entry of its own "
                '("edema": 1, "core": 2, "enhancing": 3).'
            )
        parts = parts or _parts(values_of, unnamed=True) or {}
        left_out = tuple(name for name in values_of if name not in parts)
        values_of = parts
    owner = {value: name for name, values in values_of.items() for value in values}
    if ignore in owner:
        raise SourceError(
            f"{path} gives the value {ignore} to 'ignore' and to {owner[ignore]!r}; expected a "
            "value of its own for 'ignore'. Correct it."
        )
    classes = class_table({min(v): name for name, v in values_of.items()}, path)
    merge = tuple((v, min(vs)) for vs in values_of.values() for v in vs if v != min(vs))
    return LabelPlan(classes, ignore, merge, left_out)


def _overlap(values_of: Mapping[str, list[int]]) -> tuple[str, str, int] | None:
    """Two labels that contain one value, and the value; None where there are none."""
    owner: dict[int, str] = {}
    for name, values in values_of.items():
        for value in values:
            if value in owner:
                return owner[value], name, value
            owner[value] = name
    return None


def _parts(
    values_of: Mapping[str, list[int]], *, unnamed: bool = False
) -> dict[str, list[int]] | None:
    """Labels of one value each, for all values; None where several or none name a value.

    With ``unnamed``, a value that no single label names is called ``label 2``.
    """
    parts: dict[str, list[int]] = {}
    for value in sorted({value for values in values_of.values() for value in values}):
        names = [name for name, values in values_of.items() if values == [value]]
        if len(names) != 1 and not unnamed:
            return None
        parts[names[0] if len(names) == 1 else f"label {value}"] = [value]
    return parts


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
    folder = root / (plan.raters[0] if plan.raters else "labelsTr")
    labels = {path.name.removesuffix(ending): path for path in _files(folder, ending)}
    colours = ending.lower() in (*RASTER_ENDINGS, *TIFF_ENDINGS)
    for case in sorted({*images, *labels}):
        found = images.get(case, {})
        # Colours of natural images are one file.
        expected = {0} if colours and set(found) == {0} else set(range(n_channels))
        if case not in labels:
            listing.problem(case, _missing(folder / f"{case}{ending}", case, "label"))
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
    key: dict[str, Any] = {"images": [relative_name(path, root) for path in images]}
    if plan.raters:
        try:
            key["raters"] = label_maps_in_folders(root, plan.raters, label.name, case)
        except CaseError as error:
            listing.problem(case, str(error))
            return
    else:
        key["label"] = relative_name(label, root)
    annotations = key["raters"].values() if plan.raters else [key["label"]]
    files = [*input_files(root, (*key["images"], *annotations))]
    # nnU-Net keeps the spacing of TIFF volumes in a JSON file beside the image.
    spacing_json = images[0].parent / f"{case}.json"
    if images[0].name.lower().endswith(TIFF_ENDINGS) and spacing_json.is_file():
        key["spacing_json"] = relative_name(spacing_json, root)
        files.append(key["spacing_json"])
    if plan.merge:
        key["merge"] = [list(pair) for pair in plan.merge]
    if (root / PHANTOM).is_file():
        files += _list_truth(root, label.name, key)
    listing.add(case, files, source=key["images"][0], key=key)


def _list_truth(root: Path, name: str, key: dict[str, Any]) -> list[str]:
    """Add a phantom's further label maps of one case to its key; return their relative paths."""
    truth = root / "truth" / name
    if truth.is_file():
        key["truth"] = relative_name(truth, root)
    paths = {f"grader{n}": root / f"labelsTr_grader{n}" / name for n in range(2, 10)}
    graders = {who: relative_name(path, root) for who, path in paths.items() if path.is_file()}
    graders = {k: v for k, v in graders.items() if v not in key.get("raters", {}).values()}
    if graders:
        key["label_maps"] = graders
    return [*([key["truth"]] if "truth" in key else []), *graders.values()]


READER = Reader(
    name="nnunet",
    title="nnU-Net v2 raw (dataset.json, imagesTr, labelsTr)",
    detect=detect,
    list_cases=list_cases,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=OPTIONS,
)
