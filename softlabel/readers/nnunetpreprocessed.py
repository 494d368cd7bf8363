"""What nnU-Net v2 has preprocessed: ``nnUNet_preprocessed/DATASET`` with its configurations.

A folder such as ``nnUNetPlans_2d`` holds one configuration: ``CASE.b2nd`` with ``CASE_seg.b2nd``
(``CASE.npz`` with both in older versions), and ``CASE.pkl`` with properties. The pickle is never
loaded, since it could run code: the spacing comes from the plans, beside ``dataset.json``. So
nothing tells where the scanner stood (no affine), and the distance of slices, which a 2D
configuration leaves as it is, is the median of the data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from softlabel.errors import CaseError, SourceError
from softlabel.readers.arrays import read_npz_array
from softlabel.readers.b2nd import ENDING, read_b2nd
from softlabel.readers.datasetjson import (
    NAME,
    is_nnunet,
    load_dataset_json,
    numbered_names,
    require,
)
from softlabel.readers.labels import check_values
from softlabel.readers.listing import Listing, count, require_folder
from softlabel.readers.nnunet import OPTIONS as RAW_OPTIONS
from softlabel.readers.nnunet import LabelPlan, contents, parse_labels
from softlabel.readers.pixels import require_finite
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import load_json
from softlabel.types import Array, Case, CaseRef, Dataset, coarsest_axis

FORMAT = "nnunet-preprocessed"

SEGMENTATION = f"_seg{ENDING}"

OPTIONS = (
    ReaderOption(
        "configuration",
        None,
        "Folder of the configuration, such as nnUNetPlans_2d; to be given where there are several.",
    ),
    *(option for option in RAW_OPTIONS if option.name != "raters"),
)

_NO_PLANS = ("dataset.json", "dataset_fingerprint.json", "splits_final.json")
_MOST_LEVELS = 16
"""Of configurations that inherit from each other."""


@dataclass(frozen=True)
class Configuration:
    """What the plans say of a folder of preprocessed cases.

    Attributes
    ----------
    name : str
        Such as ``2d`` or ``3d_fullres``.
    spacing_mm : tuple of float
        Of the axes of a case, slices first.
    patch_size : tuple of int
        Two numbers where slices are trained on one by one.
    """

    name: str
    spacing_mm: tuple[float, float, float]
    patch_size: tuple[int, ...]

    @property
    def of_slices(self) -> bool:
        """Whether it is a configuration of slices."""
        return len(self.patch_size) == 2


def detect(root: Path) -> str | None:
    """Recognise a ``dataset.json`` beside folders of preprocessed cases."""
    if not (root / NAME).is_file() or (root / "imagesTr").is_dir() or not configurations(root):
        return None
    _, content = load_dataset_json(root)
    return f"nnU-Net v2 preprocessed: {NAME} beside its cases" if is_nnunet(content) else None


def configurations(root: Path) -> list[str]:
    """Names of the folders with preprocessed cases."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and any(_endings(path)))


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the cases; reads ``dataset.json``, the plans and file names only."""
    require_folder(root, "a preprocessed nnU-Net data set")
    path, content = load_dataset_json(root)
    channel_entry = require(content, "channel_names", dict, path, '"channel_names": {"0": "T1"}')
    channels = list(numbered_names(channel_entry, "channel_names", path).values())
    labels = require(content, "labels", dict, path, '"labels": {"background": 0}')
    plan = parse_labels(labels, path, options["regions"])
    folder = root / _chosen(root, options["configuration"])
    configuration = configuration_of(folder)
    listing = Listing(options["group"])
    for case, names in _cases(folder, listing):
        files = {what: f"{folder.name}/{name}" for what, name in names.items()}
        key = _key(files, plan, configuration)
        listing.add(case, files.values(), source=files["image"], key=key)
    if not listing.refs and not listing.problems:
        raise SourceError(
            f"{folder} holds no case; expected files such as CASE{ENDING} and CASE{SEGMENTATION}, "
            "or CASE.npz. Run nnUNetv2_plan_and_preprocess."
        )
    description = (
        f"nnU-Net v2 preprocessed, {root.resolve().name} {configuration.name}: "
        f"{contents(listing, channels, plan)}"
    )
    return listing.dataset(
        FORMAT,
        root,
        description,
        options=options,
        classes=plan.classes,
        channels=channels,
        ignore=plan.ignore,
    )


def _chosen(root: Path, wanted: str | None) -> str:
    """The folder of the configuration that was named, or of the only one."""
    found = configurations(root)
    if wanted is None and len(found) == 1:
        return found[0]
    if wanted in found:
        return wanted
    named = ", ".join(found) or "none"
    raise SourceError(
        f"{root} holds the preprocessed configurations {named}"
        + (f", and not {wanted!r}" if wanted is not None else "")
        + "; expected one of them with --configuration, or nnUNetv2_plan_and_preprocess to make it."
    )


def configuration_of(folder: Path) -> Configuration:
    """The configuration whose cases lie in a folder, from the plans beside it.

    Raises
    ------
    SourceError
        When no plans name the folder, or what they say of it cannot be used.
    """
    folder = folder.resolve()
    seen = []
    for path in sorted(folder.parent.glob("*.json")):
        if path.name in _NO_PLANS:
            continue
        seen.append(path.name)
        plans = load_json(path)
        entries = plans.get("configurations")
        entries = entries if isinstance(entries, dict) else {}
        for name in entries:
            entry = _inherited(entries, name, path)
            if entry.get("data_identifier") == folder.name:
                return _configuration(name, entry, plans, path)
    if not folder.is_dir():
        raise SourceError(f"There is no folder {folder}; check the path.")
    found = configurations(folder)
    if (folder / NAME).is_file() and found:
        raise SourceError(
            f"{folder} is a data set of nnU-Net; give the folder of one of its configurations: "
            f"{', '.join(str(folder / name) for name in found)}."
        )
    raise SourceError(
        f"{folder.parent} holds no plans with a configuration whose data_identifier is "
        f"{folder.name!r} (looked into: {', '.join(seen) or 'nothing'}); expected a file such as "
        "nnUNetPlans.json there. Run nnUNetv2_plan_and_preprocess, or check the path."
    )


def _inherited(entries: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """A configuration with what it inherits from others."""
    entry: dict[str, Any] = {}
    wanted: Any = name
    for _ in range(_MOST_LEVELS):
        found = entries.get(wanted) if isinstance(wanted, str) else None
        if not isinstance(found, dict):
            raise SourceError(
                f"{path} has no configuration {wanted!r:.60}, which {name!r} is or inherits from; "
                "expected an object of that name in 'configurations'. Plan the data set again."
            )
        entry = found | entry
        wanted = found.get("inherits_from")
        if wanted is None:
            return entry
    raise SourceError(
        f"{path} has the configuration {name!r}, which inherits in a circle; expected one that "
        "ends. Plan the data set again."
    )


def _configuration(
    name: str, entry: Mapping[str, Any], plans: Mapping[str, Any], path: Path
) -> Configuration:
    patch, spacing = entry.get("patch_size"), entry.get("spacing")
    if isinstance(spacing, list) and len(spacing) == 2:
        median = plans.get("original_median_spacing_after_transp")
        spacing = [*(median[:1] if isinstance(median, list) else ()), *spacing]
    if not _are_positive(spacing, (3,)) or not _are_positive(patch, (2, 3)):
        raise SourceError(
            f"{path} gives the configuration {name!r} the spacing {spacing!r:.80} and the patch "
            f"size {patch!r:.80}; expected two or three positive numbers each. Plan the data set "
            "again."
        )
    z, y, x = map(float, spacing)
    return Configuration(name, (z, y, x), tuple(map(int, patch)))


def _are_positive(numbers: Any, lengths: tuple[int, ...]) -> TypeGuard[list[float]]:
    return (
        isinstance(numbers, list)
        and len(numbers) in lengths
        and all(isinstance(n, int | float) and 0 < n < float("inf") for n in numbers)
    )


def _endings(folder: Path) -> tuple[bool, bool]:
    """Whether there are Blosc2 arrays with segmentations, and properties with ``.npz`` files."""
    blosc = any(folder.glob(f"*{SEGMENTATION}"))
    return blosc, not blosc and any(
        path.with_suffix(".npz").exists() for path in folder.glob("*.pkl")
    )


def _cases(folder: Path, listing: Listing) -> Iterable[tuple[str, dict[str, str]]]:
    """Cases with the names of their files; half a case becomes a problem."""
    if not _endings(folder)[0]:
        for path in folder.glob("*.npz"):
            yield path.stem, {"image": path.name}
        return
    names = {path.name for path in folder.glob(f"*{ENDING}")}
    ends = {name.removesuffix(SEGMENTATION) for name in names if name.endswith(SEGMENTATION)}
    images = {name.removesuffix(ENDING) for name in names if not name.endswith(SEGMENTATION)}
    for case in images & ends:
        yield case, {"image": f"{case}{ENDING}", "label": f"{case}{SEGMENTATION}"}
    for case in images ^ ends:
        missing = f"{case}{SEGMENTATION if case in images else ENDING}"
        listing.problem(
            case,
            f"{folder / missing} does not exist; expected it beside the other file of case {case}. "
            "Preprocess the data set again.",
        )


def _key(files: Mapping[str, str], plan: LabelPlan, configuration: Configuration) -> dict[str, Any]:
    spacing = configuration.spacing_mm
    key: dict[str, Any] = {
        **files,
        "spacing_mm": list(spacing),
        "slice_axis": 0 if configuration.of_slices else coarsest_axis(spacing),
    }
    if plan.merge:
        key["merge"] = [list(pair) for pair in plan.merge]
    return key


def read_case(dataset: Dataset, ref: CaseRef, opened: object = None) -> Case:
    """Read a case on the grid that nnU-Net trains on.

    A case of one slice, as nnU-Net keeps an image, is one of two axes here. What lies outside of
    the data (−1 in nnU-Net's segmentations) is background, as it is in training.

    Raises
    ------
    CaseError
        When a file cannot be read, they differ in shape, or a value is not allowed.
    """
    path = dataset.root / ref.key["image"]
    image = read_b2nd(path) if "label" in ref.key else read_npz_array(path, "data")
    channels = len(dataset.channels)
    if image.ndim != 4 or len(image) != channels:
        raise CaseError(
            f"{path} has the shape {image.shape}; expected {count(channels, 'channel')} and three "
            "axes, as dataset.json says. Preprocess the data set again."
        )
    require_finite(image, path)
    labels = _read_volume(dataset, ref)
    if labels.shape != image.shape[1:]:
        raise CaseError(
            f"{path} has the shape {image.shape[1:]} and its segmentation {labels.shape}; expected "
            "one grid. Preprocess the data set again."
        )
    spacing, axis = tuple(ref.key["spacing_mm"]), ref.key["slice_axis"]
    if len(labels) == 1:
        image, labels, spacing, axis = image[:, 0], labels[0], spacing[1:], None
    return Case(
        id=ref.id,
        image=image,
        labels=labels,
        classes=dataset.classes,
        ignore=dataset.ignore,
        spacing_mm=spacing,
        group=ref.group,
        source=ref.source,
        channels=dataset.channels,
        slice_axis=axis,
    )


def read_labels(dataset: Dataset, ref: CaseRef, opened: object = None) -> Array:
    """Read only the label map of a case.

    Raises
    ------
    CaseError
        As :func:`read_case`, for the label map.
    """
    labels = _read_volume(dataset, ref)
    return labels[0] if len(labels) == 1 else labels


def _read_volume(dataset: Dataset, ref: CaseRef) -> Array:
    """The label map with its three axes."""
    if "label" in ref.key:
        path = dataset.root / ref.key["label"]
        stored = read_b2nd(path)
    else:
        path = dataset.root / ref.key["image"]
        stored = read_npz_array(path, "seg")
    if stored.ndim != 4 or len(stored) != 1 or not np.issubdtype(stored.dtype, np.integer):
        raise CaseError(
            f"{path} holds a segmentation of shape {stored.shape} and type {stored.dtype}; "
            "expected integers with one channel and three axes. Preprocess the data set again."
        )
    labels = np.maximum(stored[0], 0)
    for value, becomes in ref.key.get("merge", ()):
        labels[labels == value] = becomes
    check_values(labels, dataset.classes, dataset.ignore, path)
    return labels


READER = Reader(
    name=FORMAT,
    title="nnU-Net v2 preprocessed (nnUNet_preprocessed/DATASET)",
    detect=detect,
    list_cases=list_cases,
    read_case=read_case,
    read_labels=read_labels,
    options=OPTIONS,
)
