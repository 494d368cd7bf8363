"""Medical Segmentation Decathlon: ``dataset.json`` that lists images with all channels in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softlabel.errors import CaseError, SourceError
from softlabel.readers.classfile import class_table
from softlabel.readers.datasetjson import is_msd, load_dataset_json, numbered_names, require
from softlabel.readers.filecase import look, read_case, read_labels
from softlabel.readers.imagefiles import ending_of, input_files, stem_of
from softlabel.readers.listing import GROUP_OPTION, Listing, count, require_folder
from softlabel.readers.raters import label_maps_in_folders, raters_option, split_places
from softlabel.readers.registry import Reader
from softlabel.readers.safety import path_inside, relative_name
from softlabel.types import Dataset


def detect(root: Path) -> str | None:
    """Recognise a ``dataset.json`` that lists ``training`` cases."""
    if not (root / "dataset.json").is_file():
        return None
    path, content = load_dataset_json(root)
    if not is_msd(content):
        return None
    return f"Medical Segmentation Decathlon: {path.name} with a list of training cases"


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the training cases; reads ``dataset.json`` only."""
    require_folder(root, "a task of the Medical Segmentation Decathlon")
    path, content = load_dataset_json(root)
    label_entry = require(content, "labels", dict, path, '"labels": {"0": "background"}')
    classes = class_table(numbered_names(label_entry, "labels", path), path)
    modality = require(content, "modality", dict, path, '"modality": {"0": "MRI"}')
    channels = list(numbered_names(modality, "modality", path).values())
    entries = require(content, "training", list, path, _EXAMPLE)
    listing, raters = Listing(options["group"]), split_places(options["raters"])
    for number, entry in enumerate(entries):
        _list_entry(listing, root, f"{path} (training case {number})", number, entry, raters)
    if not listing.refs and not listing.problems:
        raise SourceError(f"{path} lists no training case; expected {_EXAMPLE}. Correct it.")
    name = content.get("name") if isinstance(content.get("name"), str) else root.resolve().name
    description = (
        f"Medical Segmentation Decathlon, {name}: {count(len(listing.refs), 'case')}, "
        f"{count(len(channels), 'channel')}, {count(len(classes), 'class', 'classes')}"
        + (f", raters {' and '.join(raters)}" if raters else "")
    )
    return listing.dataset(
        "msd", root, description, options=options, classes=classes, channels=channels
    )


_EXAMPLE = '"training": [{"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"}]'


def _list_entry(
    listing: Listing, root: Path, where: str, number: int, entry: Any, raters: tuple[str, ...]
) -> None:
    case = f"training case {number}"
    try:
        if not isinstance(entry, dict):
            raise CaseError(f"{where} is {entry!r:.60}; expected an entry of {_EXAMPLE}.")
        image = path_inside(root, entry.get("image"), where)
        label = path_inside(root, entry.get("label"), where)
        if image.name.startswith("._"):
            return  # what macOS leaves beside its files
        case = stem_of(image.name) if ending_of(image.name) else image.name
        for file, what in ((image, "image"), (label, "label")):
            if not file.is_file():
                raise CaseError(
                    f"{file} does not exist; expected it as the {what} of case {case}. Put it "
                    f"there, or leave the case out.{_hint_v1(image, case)}"
                )
        of_raters = label_maps_in_folders(root, raters, label.name, case) if raters else {}
    except CaseError as error:
        listing.problem(case, str(error))
        return
    key: dict[str, Any] = {"images": [relative_name(image, root)]}
    key |= {"raters": of_raters} if raters else {"label": relative_name(label, root)}
    files = input_files(root, (*key["images"], *(of_raters.values() or [key["label"]])))
    listing.add(case, files, source=key["images"][0], key=key)


def _hint_v1(image: Path, case: str) -> str:
    """nnU-Net v1 wrote the Decathlon's description beside files named by channel."""
    first_channel = image.with_name(f"{case}_0000{ending_of(image.name)}")
    if not first_channel.is_file():
        return ""
    return (
        f" ({first_channel.name} is there: this seems to be an nnU-Net v1 data set; convert it "
        "with nnUNetv2_convert_old_nnUNet_dataset.)"
    )


READER = Reader(
    name="msd",
    title="Medical Segmentation Decathlon (dataset.json, imagesTr, labelsTr)",
    detect=detect,
    list_cases=list_cases,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=(
        raters_option(
            "Folders of several annotators' label maps, such as labelsTr,labelsTr_second"
        ),
        GROUP_OPTION,
    ),
)
