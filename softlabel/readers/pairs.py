"""Image / label pairs: two folders, two patterns, or ``.npz`` files that hold both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers.arrays import IMAGE_KEYS, LABEL_KEYS, find_key, npz_keys
from softlabel.readers.classfile import load_class_table
from softlabel.readers.filecase import open_source, read_case, read_labels
from softlabel.readers.imagefiles import (
    ENDINGS,
    SEGMENTATION_ENDING,
    ending_of,
    input_files,
    is_image_file,
    stem_of,
)
from softlabel.readers.listing import GROUP_OPTION, Listing, count, parse_spacing
from softlabel.readers.matching import Matches, NamePattern, label_suffix, match_names
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import relative_name
from softlabel.types import ClassTable, Dataset

IMAGE_FOLDERS = (
    "image", "images", "img", "imgs", "imagestr", "scan", "scans", "volume", "volumes",
)  # fmt: skip
LABEL_FOLDERS = (
    "label", "labels", "labelstr", "mask", "masks", "seg", "segs", "segmentation",
    "segmentations", "annotation", "annotations", "gt", "groundtruth", "ground_truth",
)  # fmt: skip

OPTIONS = (
    ReaderOption(
        "images",
        None,
        "Folder or glob pattern of the images, relative to SOURCE; several channels separated by "
        "commas. Found by the usual folder names when not given.",
    ),
    ReaderOption("labels", None, "Folder or glob pattern of the label maps, relative to SOURCE."),
    ReaderOption(
        "classes",
        None,
        "JSON or YAML file with the class table, {value: name}; without it the values are "
        "collected from all label maps.",
        kind="path",
    ),
    ReaderOption("ignore", None, "Label value of pixels that were not annotated.", kind="int"),
    ReaderOption("image_key", None, "Name of the image in .npz files."),
    ReaderOption("label_key", None, "Name of the label map in .npz files."),
    ReaderOption(
        "channel_axis",
        None,
        "Axis that holds the channels of .npy and .npz images; found by the shape of the label "
        "map when not given.",
        kind="int",
    ),
    ReaderOption(
        "spacing_mm",
        None,
        "Distance of pixels in mm along each axis, separated by commas, for files that state none.",
    ),
    GROUP_OPTION,
)


@dataclass(frozen=True)
class Patterns:
    """Where images and label maps lie: patterns relative to the data set.

    ``same_file`` says that each ``.npz`` file holds both.
    """

    images: tuple[str, ...]
    labels: str
    same_file: bool = False


def detect(root: Path) -> str | None:
    """Recognise folders with usual names, label maps told by a suffix, or ``.npz`` with both."""
    try:
        patterns = find_patterns(root)
    except SourceError:
        return None
    if patterns.same_file:
        return f"image/label pairs: .npz files with image and label map ({patterns.images[0]})"
    return f"image/label pairs: images {patterns.images[0]}, label maps {patterns.labels}"


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the pairs; reads file names, and the table of contents of one ``.npz`` file."""
    if not root.exists():
        raise SourceError(f"{root} does not exist; expected a folder or a .npz file.")
    patterns = _patterns(root, options)
    folder = root.parent if root.is_file() else root
    classes, ignore = _classes(options)
    parse_spacing(options["spacing_mm"])
    listing = Listing(options["group"])
    rule = _list_pairs(listing, folder, patterns)
    used = {
        **options,
        "images": ",".join(patterns.images),
        "labels": patterns.labels,
        # The name only: where the file lies is no setting, and what it says is recorded itself.
        "classes": Path(options["classes"]).name if options["classes"] else None,
        "ignore": ignore,
    }
    where = f"images {' + '.join(patterns.images)}, label maps {patterns.labels}"
    description = (
        f"image/label pairs: {count(len(listing.refs), 'case')}, "
        f"{patterns.labels if patterns.same_file else where}, {rule}"
    )
    return listing.dataset(
        "pairs", folder, description, options=used, classes=classes, ignore=ignore
    )


def find_patterns(root: Path) -> Patterns:
    """Find images and label maps in a folder by how people usually name them.

    Raises
    ------
    SourceError
        When nothing is found, or more than one possibility.
    """
    if root.is_file():
        if root.suffix.lower() == ".npz":
            return Patterns((_escape(root.name),), _escape(root.name), same_file=True)
        raise SourceError(
            f"{root} is a file; expected a folder, or a .npz file that holds image and label map."
        )
    folders = [p.name for p in _entries(root) if p.is_dir()]
    images = [name for name in folders if name.lower() in IMAGE_FOLDERS]
    labels = [name for name in folders if name.lower() in LABEL_FOLDERS]
    if len(images) == 1 and len(labels) == 1:
        return Patterns((images[0],), labels[0])
    if not images and not labels:
        in_one_folder = _patterns_in_one_folder(root)
        if in_one_folder is not None:
            return in_one_folder
    raise SourceError(
        f"{root} holds the image folders {images or 'none'} and the label folders "
        f"{labels or 'none'}; expected one of each (such as images and labels). Name them with the "
        "options images and labels."
    )


def _patterns_in_one_folder(root: Path) -> Patterns | None:
    """Label maps beside their images, told by a suffix; or ``.npz`` files with both."""
    files = [path.name for path in _entries(root) if is_image_file(path) and path.is_file()]
    endings = defaultdict[str, set[str]](set)
    for name in files:
        endings[stem_of(name)].add(f"*{ending_of(name)}")
    by_suffix: dict[str, set[str]] = defaultdict(set)
    for name in files:
        stem = stem_of(name)
        suffix = stem[-len(label_suffix(stem) or "") :]
        if label_suffix(stem) and (partners := endings.get(stem.removesuffix(suffix))):
            by_suffix[f"*{suffix}{ending_of(name)}"] |= partners
        if ending_of(name) == SEGMENTATION_ENDING:
            by_suffix[f"*{SEGMENTATION_ENDING}"] |= endings[stem] - {f"*{SEGMENTATION_ENDING}"}
    by_suffix = {label: partners for label, partners in by_suffix.items() if partners}
    if len(by_suffix) == 1:
        label_pattern, image_patterns = next(iter(by_suffix.items()))
        return Patterns(
            tuple(image_patterns) if len(image_patterns) == 1 else ("*",), label_pattern
        )
    archives = [name for name in files if name.lower().endswith(".npz")]
    if by_suffix or not archives:
        return None
    try:
        keys = npz_keys(root / archives[0])
    except CaseError:
        return None
    image_key, label_key = find_key(keys, IMAGE_KEYS), find_key(keys, LABEL_KEYS)
    if image_key is None or label_key is None or image_key == label_key:
        return None
    return Patterns(("*.npz",), "*.npz", same_file=True)


def _patterns(root: Path, options: Mapping[str, Any]) -> Patterns:
    """The patterns that the user gave, or the usual ones."""
    images, labels = options["images"], options["labels"]
    if root.is_file() and not images and not labels:
        return find_patterns(root)
    if not images and not labels:
        if options["image_key"] and options["label_key"]:
            return Patterns(("*.npz",), "*.npz", same_file=True)
        return find_patterns(root)
    if not images or not labels:
        raise UsageError(
            f"The option {'labels' if images else 'images'} is missing beside "
            f"{'images' if images else 'labels'}; expected both or neither."
        )
    given = tuple(part.strip() for part in images.split(","))
    for pattern in (*given, labels):
        parts = PurePosixPath(pattern).parts
        if not parts or ".." in parts or PurePosixPath(pattern).is_absolute():
            raise UsageError(
                f"The pattern {pattern!r} does not stay inside {root}; expected a folder or a "
                "pattern relative to it, such as 'labels' or '*/label.nii.gz'. "
                "Give the folder above both as SOURCE."
            )
    return Patterns(given, labels, same_file=given == (labels,))


def _list_pairs(listing: Listing, root: Path, patterns: Patterns) -> str:
    """Add the pairs, and return how their names matched."""
    labels = _files(root, patterns.labels)
    if patterns.same_file:
        for name in labels.names:
            _add(listing, root, stem_of(PurePosixPath(name).name), (name,), name)
        return "each file holding both"
    taken = set(labels.names)
    images = [_without(_files(root, pattern), taken) for pattern in patterns.images]
    for pattern in (*images, labels):
        if not pattern.names:
            raise SourceError(
                f"{root} holds no image file that matches {pattern.glob!r}; expected files ending "
                f"in {', '.join(ENDINGS)}. Check the path and the options images and labels."
            )
    matches = match_names(images, labels)
    _require_some(matches, root, images, labels)
    for case, (image_names, label_name) in matches.pairs.items():
        _add(listing, root, case, image_names, label_name)
    for case, sentence in matches.problems.items():
        listing.problem(case, sentence)
    return f"matched {matches.rule}"


def _require_some(
    matches: Matches, root: Path, images: Sequence[NamePattern], labels: NamePattern
) -> None:
    if not matches.pairs:
        for case in matches.ambiguous[:1]:
            raise SourceError(f"{root}: no case can be read. {matches.problems[case]}")
        example = f"{images[0].names[0]} and {labels.names[0]}"
        raise SourceError(
            f"{root}: no image and label map have matching names (found, for example, {example}); "
            "expected the same stem, the same but for a suffix such as _seg or _mask, or patterns "
            "whose wildcards stand for the same text. Give patterns with the options images and "
            "labels."
        )


def _add(listing: Listing, root: Path, case: str, images: Sequence[str], label: str) -> None:
    key = {"images": list(images), "label": label}
    listing.add(case, input_files(root, (*images, label)), source=images[0], key=key)


def _files(root: Path, pattern: str) -> NamePattern:
    """Image files of a folder or pattern, in the order of their names."""
    glob = f"{pattern.rstrip('/')}/*" if (root / pattern).is_dir() else pattern
    glob = glob.removeprefix("./")
    try:
        found = sorted(path for path in root.glob(glob) if is_image_file(path) and path.is_file())
    except ValueError as error:
        raise UsageError(
            f"The pattern {pattern!r} cannot be used ({error}); expected a folder or a pattern "
            "such as '*/label.nii.gz'."
        ) from error
    return NamePattern(glob, tuple(relative_name(path, root) for path in found))


def _without(pattern: NamePattern, taken: set[str]) -> NamePattern:
    """Images in the folder of the label maps: what is a label map is not an image."""
    return NamePattern(pattern.glob, tuple(n for n in pattern.names if n not in taken))


def _classes(options: Mapping[str, Any]) -> tuple[ClassTable | None, int | None]:
    classes, ignore = None, options["ignore"]
    if options["classes"]:
        path = Path(options["classes"])
        classes, named_ignore = load_class_table(path)
        if ignore is not None and named_ignore not in (None, ignore):
            raise UsageError(
                f"The option ignore is {ignore}, but {path} names {named_ignore} as the ignore "
                "label; expected the same. Leave the option out, or correct the file."
            )
        ignore = named_ignore if ignore is None else ignore
    if ignore is not None and ignore < 0:
        raise UsageError(f"The option ignore is {ignore}; expected a label value of at least 0.")
    if classes is not None and ignore in classes.values:
        rest = {value: name for value, name in classes if value != ignore}
        classes = ClassTable.from_mapping(rest)
    return classes, ignore


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _escape(name: str) -> str:
    """A file name as a pattern that matches only itself."""
    return "".join(f"[{ch}]" if ch in "*?[" else ch for ch in name)


READER = Reader(
    name="pairs",
    title="image / label pairs (folders or patterns)",
    detect=detect,
    list_cases=list_cases,
    open_source=open_source,
    read_case=read_case,
    read_labels=read_labels,
    options=OPTIONS,
)
