"""MRBrainS18: multi-sequence brain MRI, one folder a subject with ``segm.nii.gz`` in it.

Beside the challenge's files, a phantom keeps the annotations of further graders
(``segm_grader2.nii.gz``) and, in the folder ``truth``, the true labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from softlabel.errors import SourceError, UsageError
from softlabel.readers.filecase import look, read_case, read_labels
from softlabel.readers.listing import Listing, count, require_folder
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import relative_name
from softlabel.types import ClassTable, Dataset

CLASSES = ClassTable(
    tuple(range(11)),
    (
        "background",
        "cortical grey matter",
        "basal ganglia",
        "white matter",
        "white matter lesions",
        "extracerebral CSF",
        "ventricles",
        "cerebellum",
        "brain stem",
        "infarction",
        "other",
    ),
)
SEQUENCES = ("FLAIR", "IR", "reg_IR", "reg_T1", "T1")
_SPLITS = ("training", "test")

OPTIONS = (
    ReaderOption(
        "sequences",
        "FLAIR,reg_T1,reg_IR",
        "Channels, separated by commas, of FLAIR, reg_T1, reg_IR (these share the grid of the "
        "annotation), T1, IR.",
    ),
    ReaderOption(
        "bias_field",
        "corrected",
        "Take the bias-corrected images (folder pre) or the original ones (folder orig).",
        choices=("corrected", "original"),
    ),
    ReaderOption(
        "split",
        "training",
        "Which folder of the data set: the challenge's training cases, the test cases that the "
        "later release also has, or both.",
        choices=(*_SPLITS, "both"),
    ),
    ReaderOption(
        "masks",
        None,
        "File of the brain mask in the folder of each subject, such as brain.nii.gz: made by a "
        "skull-stripping tool, on the grid of the annotation. The data set has none: its "
        "orig/T1_mask lies on the grid of T1 and seems to be a mask of the face.",
    ),
)


def detect(root: Path) -> str | None:
    """Recognise ``training/ID/segm.nii.gz``, or ``ID/segm.nii.gz`` beside ``ID/pre``."""
    subjects = [s for split in (*_SPLITS, "") for s in _subjects(root / split)]
    if not subjects:
        return None
    return f"MRBrainS18: {count(len(subjects), 'subject')} with segm.nii.gz and pre/ or orig/"


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the subjects; reads no file."""
    require_folder(root, "the MRBrainS18 data set")
    sequences, masks = _sequences(options["sequences"]), _mask_name(options["masks"])
    root, folders = _case_folders(root, options["split"])
    variant = "pre" if options["bias_field"] == "corrected" else "orig"
    listing = Listing()
    for folder in folders:
        images = [f"{variant}/{s}.nii.gz" for s in sequences]
        _list_subject(listing, root, folder, images, masks)
    if not listing.refs and not listing.problems:
        raise SourceError(
            f"{root} holds no subject; expected folders such as "
            f"{options['split'].replace('both', 'training')}/1 with segm.nii.gz and "
            f"{variant}/{sequences[0]}.nii.gz in them. Check the path and the option split."
        )
    description = f"MRBrainS18: {count(len(listing.refs), 'subject')}, {', '.join(sequences)}"
    return listing.dataset(
        "mrbrains18", root, description, options=options, classes=CLASSES, channels=sequences
    )


def _subjects(folder: Path) -> list[Path]:
    """Folders that look like a subject's: the annotation with images beside it."""
    if not folder.is_dir():
        return []
    return [
        sub
        for sub in sorted(folder.iterdir())
        if (sub / "segm.nii.gz").is_file() and ((sub / "pre").is_dir() or (sub / "orig").is_dir())
    ]


def _case_folders(root: Path, split: str) -> tuple[Path, list[Path]]:
    """The folder that paths start from, and the subjects' folders in it.

    Inside the data set, in ``training`` or ``test``, paths start from the folder above, where a
    phantom keeps its truth.
    """
    splits = list(_SPLITS) if split == "both" else [split]
    if not any((root / name).is_dir() for name in _SPLITS):
        if root.name not in _SPLITS:
            splits = [""]
        else:
            root, splits = root.parent, [root.name]
    folders = [sub for name in splits if (root / name).is_dir() for sub in (root / name).iterdir()]
    return root, sorted(
        f for f in folders if f.is_dir() and not f.name.startswith(".") and _is_subject(f)
    )


def _is_subject(folder: Path) -> bool:
    return any((folder / part).exists() for part in ("segm.nii.gz", "pre", "orig"))


def _sequences(text: str) -> tuple[str, ...]:
    sequences = tuple(part.strip() for part in text.split(","))
    unknown = [s for s in sequences if s not in SEQUENCES]
    if unknown or len(set(sequences)) < len(sequences):
        raise UsageError(
            f"The option sequences is {text!r}; expected different ones of "
            f"{', '.join(SEQUENCES)}, separated by commas."
        )
    return sequences


def _mask_name(text: str | None) -> str | None:
    path = PurePosixPath(text or "")
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(
            f"The option masks is {text!r}; expected the name of a file in the folder of each "
            "subject, such as brain.nii.gz. Put the masks there, or read the data set with "
            "--format pairs, whose --masks is any folder."
        )
    return text


def _list_subject(
    listing: Listing, root: Path, folder: Path, image_names: list[str], mask_name: str | None
) -> None:
    label = folder / "segm.nii.gz"
    images = [folder / name for name in image_names]
    masks = [folder / mask_name] if mask_name else []
    for path in (label, *images, *masks):
        if not path.is_file():
            what = {label: "annotation", **dict.fromkeys(masks, "brain mask")}.get(path, "image")
            listing.problem(
                folder.name,
                f"{path} does not exist; expected the {what} of subject {folder.name}. "
                "Put it there, or leave the subject out.",
            )
            return
    key: dict[str, Any] = {
        "images": [relative_name(path, root) for path in images],
        "label": relative_name(label, root),
    }
    files = [*key["images"], key["label"]]
    for path in masks:
        key["mask"] = relative_name(path, root)
        files.append(key["mask"])
    others = {
        path.name.removeprefix("segm_").removesuffix(".nii.gz"): relative_name(path, root)
        for path in sorted(folder.glob("segm_?*.nii.gz"))
    }
    if others:
        key["label_maps"] = others
        files.extend(others.values())
    truth = root / "truth" / f"{folder.name}.nii.gz"
    if truth.is_file():
        key["truth"] = relative_name(truth, root)
        files.append(key["truth"])
    listing.add(folder.name, files, source=relative_name(folder, root), group=folder.name, key=key)


READER = Reader(
    name="mrbrains18",
    title="MRBrainS18 (training/ID/segm.nii.gz)",
    detect=detect,
    list_cases=list_cases,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=OPTIONS,
)
