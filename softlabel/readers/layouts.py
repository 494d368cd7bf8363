"""Where images and label maps lie in a folder, by how people and public data sets name them.

:func:`find_patterns` looks at names only (and into one ``.npz`` file). It takes a layout when the
names leave no doubt; otherwise it says which options settle it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from softlabel.errors import CaseError, SourceError
from softlabel.readers.arrays import IMAGE_KEYS, LABEL_KEYS, find_key, npz_keys
from softlabel.readers.imagefiles import (
    SEGMENTATION_ENDING,
    ending_of,
    is_image_file,
    stem_of,
)
from softlabel.readers.matching import split_suffix

IMAGE_FOLDERS = (
    "image", "images", "img", "imgs", "imagestr", "scan", "scans", "volume", "volumes",
    "jpegimages",
)  # fmt: skip
MASK_FOLDERS = ("mask", "masks")
"""The label maps, or beside a folder of manual annotations the field of view (DRIVE, HRF)."""

MANUAL_FOLDERS = ("manual", "manual1", "1st_manual")

ANNOTATION_FOLDERS = (
    "label", "labels", "labelstr", "seg", "segs", "segmentation", "segmentations",
    "segmentationclass", "annotation", "annotations", "anno", "gt", "groundtruth", "ground_truth",
)  # fmt: skip
LABEL_FOLDERS = (*ANNOTATION_FOLDERS, *MANUAL_FOLDERS, *MASK_FOLDERS)

BRATS_CHANNELS = ("flair", "t1", "t1ce", "t2", "t1c", "t1n", "t2f", "t2w")
"""Ends of the names of BraTS's channels, in the older and the newer spelling."""

LOOKED_AT = 50
"""Folders of cases whose names are looked at."""


@dataclass(frozen=True)
class Patterns:
    """Where the files of a data set lie: patterns relative to it.

    Attributes
    ----------
    images : tuple of str
        One for each channel.
    labels : str
        Empty when there are raters instead.
    same_file : bool
        Each ``.npz`` file holds both.
    raters : tuple of str
    masks : str
        Empty when there are none.
    label_files : {"one", "class", "union"}
        One label map a case; one file a class; several masks that are one class.
    layout : str
        Name of the layout, for the description; empty for the usual names.
    """

    images: tuple[str, ...]
    labels: str
    same_file: bool = False
    raters: tuple[str, ...] = ()
    masks: str = ""
    label_files: str = "one"
    layout: str = ""


def find_patterns(root: Path) -> Patterns:
    """Find images and label maps in a folder.

    Raises
    ------
    SourceError
        When nothing is found, or more than one possibility.
    """
    if root.is_file():
        if root.suffix.lower() == ".npz":
            return Patterns((escape(root.name),), escape(root.name), same_file=True)
        raise SourceError(
            f"{root} is a file; expected a folder, or a .npz file that holds image and label map."
        )
    folders = [p.name for p in entries(root) if p.is_dir()]
    images = [name for name in folders if name.lower() in IMAGE_FOLDERS]
    labels = [name for name in folders if name.lower() in LABEL_FOLDERS]
    if len(images) == 1 and len(labels) == 1:
        return _several_or_one(root, Patterns((images[0],), labels[0]))
    manual = [name for name in labels if name.lower() in MANUAL_FOLDERS]
    masks = [name for name in labels if name.lower() in MASK_FOLDERS]
    if len(images) == len(manual) == len(masks) == 1 and len(labels) == 2:
        return Patterns(
            (images[0],), manual[0], masks=masks[0],
            layout=f"{masks[0]} taken for the field of view",
        )  # fmt: skip
    if not images and not labels:
        for look in (_a_folder_a_case, _beside_each_other):
            found = look(root)
            if found is not None:
                return found
    raise SourceError(
        f"{root} holds the image folders {images or 'none'} and the label folders "
        f"{labels or 'none'}; expected one of each (such as images and labels). Name them with "
        "--images and --labels, the field of view with --masks, several annotators with --raters."
    )


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without hidden files."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def escape(name: str) -> str:
    """A file name as a pattern that matches only itself."""
    return "".join(f"[{ch}]" if ch in "*?[" else ch for ch in name)


def _image_names(folder: Path) -> list[str]:
    return [path.name for path in entries(folder) if is_image_file(path) and path.is_file()]


def _several_or_one(root: Path, patterns: Patterns) -> Patterns:
    """Several numbered masks of one image are one annotation: ``a_mask.png``, ``a_mask_1.png``."""
    stems = {stem_of(name) for name in _image_names(root / patterns.images[0])}
    labels = [stem_of(name) for name in _image_names(root / patterns.labels)]
    partners = [split_suffix(label)[0] for label in labels if label not in stems]
    if any(count > 1 and partner in stems for partner, count in Counter(partners).items()):
        return replace(patterns, label_files="union", layout="numbered masks")
    return patterns


def _beside_each_other(root: Path) -> Patterns | None:
    """Label maps beside their images, in one folder or in folders that all look alike."""
    folders = [path for path in entries(root) if path.is_dir()]
    if _image_names(root) or not folders:
        return _in_one_folder(root)
    found = {_in_one_folder(folder) for folder in folders[:LOOKED_AT]}
    inner = next(iter(found))
    if len(found) != 1 or inner is None:
        return None
    images = tuple(f"*/{pattern}" for pattern in inner.images)
    return replace(inner, images=images, labels=f"*/{inner.labels}")


def _in_one_folder(root: Path) -> Patterns | None:
    """Label maps told from their images by a suffix; or ``.npz`` files with both."""
    names = _image_names(root)
    endings = {stem_of(name): f"*{ending_of(name)}" for name in names}
    files_of: dict[str, set[str]] = {}
    for name in names:
        files_of.setdefault(stem_of(name), set()).add(f"*{ending_of(name)}")
    labels: dict[tuple[str, str], bool] = {}
    images: set[str] = set()
    for name in names:
        partner, suffix, number = split_suffix(stem_of(name))
        if suffix and partner in endings:
            kind = suffix, ending_of(name) or ""
            labels[kind] = labels.get(kind, False) or bool(number)
            images.add(endings[partner])
        elif ending_of(name) == SEGMENTATION_ENDING and len(files_of[stem_of(name)]) == 2:
            labels["", SEGMENTATION_ENDING] = False
            images |= files_of[stem_of(name)] - {f"*{SEGMENTATION_ENDING}"}
    if len(labels) == 1:
        ((suffix, ending), numbered) = next(iter(labels.items()))
        return Patterns(
            tuple(images) if len(images) == 1 else ("*",),
            f"*{suffix}{'*' if numbered else ''}{ending}",
            label_files="union" if numbered else "one",
            layout="numbered masks beside their images" if numbered else "",
        )
    archives = [name for name in names if name.lower().endswith(".npz")]
    if labels or not archives:
        return None
    try:
        keys = npz_keys(root / archives[0])
    except CaseError:
        return None
    image_key, label_key = find_key(keys, IMAGE_KEYS), find_key(keys, LABEL_KEYS)
    if image_key is None or label_key is None or image_key == label_key:
        return None
    return Patterns(("*.npz",), "*.npz", same_file=True)


def _a_folder_a_case(root: Path) -> Patterns | None:
    """Layouts that keep a folder for each case."""
    folders = [path for path in entries(root) if path.is_dir()][:LOOKED_AT]
    looks = (_brats, _totalsegmentator, _images_and_masks, _acdc, _mrbrains13)
    found = {p for look in looks for folder in folders if (p := look(folder)) is not None}
    return next(iter(found)) if len(found) == 1 else None


def _brats(folder: Path) -> Patterns | None:
    """``ID/ID_flair.nii.gz`` …, ``ID/ID_seg.nii.gz``; ``ID/ID-t1c.nii.gz`` since 2023."""
    names = _image_names(folder)
    for dash in "_-":
        ending = next((ending_of(n) for n in names if stem_of(n) == f"{folder.name}{dash}seg"), "")
        found = [c for c in BRATS_CHANNELS if f"{folder.name}{dash}{c}{ending}" in names]
        if ending and found:
            images = tuple(f"*/*{dash}{channel}{ending}" for channel in found)
            return Patterns(images, f"*/*{dash}seg{ending}", layout="BraTS")
    return None


def _totalsegmentator(folder: Path) -> Patterns | None:
    """``ID/ct.nii.gz`` (or ``mri.nii.gz``) and ``ID/segmentations/ORGAN.nii.gz``."""
    if not (folder / "segmentations").is_dir():
        return None
    for scan in ("ct", "mri"):
        if (folder / f"{scan}.nii.gz").is_file():
            return Patterns(
                (f"*/{scan}.nii.gz",), "*/segmentations/*.nii.gz", label_files="class",
                layout="TotalSegmentator",
            )  # fmt: skip
    return None


def _images_and_masks(folder: Path) -> Patterns | None:
    """``ID/images/ID.png`` and ``ID/masks/….png``, a mask an instance (DSB 2018)."""
    if not ((folder / "images").is_dir() and (folder / "masks").is_dir()):
        return None
    if len(_image_names(folder / "images")) != 1:
        return None
    return Patterns(("*/images/*",), "*/masks/*", label_files="union", layout="DSB 2018")


def _acdc(folder: Path) -> Patterns | None:
    """``patient001/patient001_frame01.nii.gz`` and ``…_frame01_gt.nii.gz``."""
    names = _image_names(folder)
    for name in names:
        stem, ending = stem_of(name), ending_of(name)
        if stem.endswith("_gt") and "frame" in stem and f"{stem[:-3]}{ending}" in names:
            return Patterns(
                (f"*/*_frame[0-9][0-9]{ending}",), f"*/*_frame[0-9][0-9]_gt{ending}",
                layout="ACDC",
            )  # fmt: skip
    return None


def _mrbrains13(folder: Path) -> Patterns | None:
    """``1/T1.nii``, ``1/T1_IR.nii``, ``1/T2_FLAIR.nii``, ``1/LabelsForTesting.nii``."""
    names = _image_names(folder)
    label = next((n for n in names if stem_of(n) == "LabelsForTesting"), None)
    channels = [n for n in names if stem_of(n) in ("T1", "T1_IR", "T2_FLAIR")]
    if label is None or not channels:
        return None
    return Patterns(tuple(f"*/{n}" for n in channels), f"*/{label}", layout="MRBrainS13")
