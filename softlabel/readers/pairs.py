"""Images and label maps in files of their own: folders, patterns, or ``.npz`` files with both."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from softlabel.errors import SourceError, UsageError
from softlabel.raters import rater_names
from softlabel.readers.classfile import load_class_table
from softlabel.readers.filecase import look, read_case, read_labels
from softlabel.readers.imagefiles import ENDINGS, input_files, is_image_file, stem_of
from softlabel.readers.layouts import Patterns, escape, find_patterns
from softlabel.readers.listing import CLASSES_OPTION, GROUP_OPTION, Listing, count, parse_spacing
from softlabel.readers.matching import Match, Matches, NamePattern, Roles, match_names
from softlabel.readers.raters import raters_option, split_places
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import relative_name
from softlabel.readers.vendors import scan_sentence
from softlabel.types import ClassTable, Dataset

OPTIONS = (
    ReaderOption(
        "images",
        None,
        "Folder or glob pattern of the images, in SOURCE or absolute; several channels separated "
        "by commas. Found by the usual folder names when not given.",
    ),
    ReaderOption("labels", None, "Folder or glob pattern of the label maps."),
    raters_option(
        "Folders or patterns of several annotators' label maps, or names of arrays in .npz files"
    ),
    ReaderOption(
        "masks",
        None,
        "Folder or pattern of masks of the region to look at (field of view, brain, tissue): "
        "superpixels leave the rest out.",
    ),
    ReaderOption(
        "label_files",
        None,
        "Label files of a case: one; class: one for each class, named by its file; union: several "
        "masks of one class (lesions, instances).",
        choices=("one", "class", "union"),
    ),
    ReaderOption(
        "overlaps",
        "later",
        "Where label files of a case overlap: the later file counts, or the case is refused.",
        choices=("later", "refuse"),
    ),
    ReaderOption(
        "grids",
        "refuse",
        "Label maps on another grid than their image: refuse, resample onto the image's grid, or "
        "trust equal shapes and ignore the headers.",
        choices=("refuse", "resample", "trust"),
    ),
    ReaderOption(
        "soft_range",
        None,
        "Label maps hold probabilities, stored as 0 to this number (1, or 255 for 8 bits): one map "
        "of the foreground, one file a class, or an axis of classes; for --method given.",
        kind="int",
    ),
    ReaderOption(
        "label_channel_axis",
        None,
        "Axis of label files that counts the classes of probabilities, from the end when negative. "
        "Default: what the file says, such as the fourth of NIfTI.",
        kind="int",
    ),
    CLASSES_OPTION,
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
        "Distance of pixels in mm along each axis, separated by commas; wins over what files say.",
    ),
    GROUP_OPTION,
)


def detect(root: Path) -> str | None:
    """Recognise usual folder names, public layouts, and ``.npz`` files with both."""
    try:
        patterns = find_patterns(root)
    except SourceError:
        return None
    if patterns.same_file:
        return f"image/label pairs: .npz files with image and label map ({patterns.images[0]})"
    layout = f" ({patterns.layout})" if patterns.layout else ""
    return (
        f"image/label pairs: images {' + '.join(patterns.images)}, label maps "
        f"{patterns.labels}{layout}"
    )


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the pairs; reads file names, and the table of contents of one ``.npz`` file."""
    if not root.exists():
        raise SourceError(f"{root} does not exist; expected a folder or a .npz file.")
    patterns = _patterns(root, options)
    folder, patterns = _below_one_folder(root.parent if root.is_file() else root, patterns)
    classes, ignore = _classes(options)
    soft = _is_soft(options, patterns, ignore)
    parse_spacing(options["spacing_mm"])
    found = _found(folder, patterns)
    listing = Listing(options["group"])
    names = _class_names(found.matches, soft) if patterns.label_files == "class" else {}
    for case, match in found.matches.pairs.items():
        group = found.group_of(match) if options["group"] is None else None
        _add(listing, folder, case, match, patterns, names, group)
    for case, sentence in found.matches.problems.items():
        listing.problem(case, sentence)
    if names and classes is None:
        classes = ClassTable.from_mapping({0: "background"} | {v: n for n, v in names.items() if v})
    return listing.dataset(
        "pairs", folder, _description(listing, patterns, found, soft),
        options=_used(options, patterns, ignore), classes=classes, ignore=ignore,
        unlabelled=found.matches.unlabelled, soft=soft,
    )  # fmt: skip


# --- which patterns -------------------------------------------------------------------------------


def _patterns(root: Path, options: Mapping[str, Any]) -> Patterns:
    """The patterns that the user gave, or those of the layout."""
    given = {name: options[name] for name in ("images", "labels", "raters", "masks")}
    if root.is_file() and not any(given.values()):
        return find_patterns(root)
    labelled = given["labels"] or given["raters"]
    if not given["images"] and not labelled:
        if options["image_key"] and options["label_key"]:
            return Patterns(("*.npz",), "*.npz", same_file=True)
        found = find_patterns(root)
        return replace(
            found, masks=given["masks"] or found.masks,
            label_files=options["label_files"] or found.label_files,
        )  # fmt: skip
    if given["raters"] and not (given["images"] or given["labels"]) and _has_archives(root):
        names = escape(root.name) if root.is_file() else "*.npz"
        return Patterns((names,), names, same_file=True, raters=split_places(given["raters"]))
    if not given["images"] or not labelled:
        raise UsageError(
            f"The option {'labels' if given['images'] else 'images'} is missing beside "
            f"{'images' if given['images'] else 'labels'}; expected both or neither."
        )
    if given["labels"] and given["raters"]:
        raise UsageError(
            "The options labels and raters are given together; expected one of them. With several "
            "annotators give all of their folders as raters."
        )
    images = _split(given["images"])
    return Patterns(
        images, given["labels"] or "", same_file=images == (given["labels"],),
        raters=_split(given["raters"] or ""), masks=given["masks"] or "",
        label_files=options["label_files"] or "one",
    )  # fmt: skip


def _has_archives(root: Path) -> bool:
    """Whether it is an ``.npz`` file, or a folder with such files."""
    return root.suffix.lower() == ".npz" if root.is_file() else any(root.glob("*.npz"))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _below_one_folder(root: Path, patterns: Patterns) -> tuple[Path, Patterns]:
    """The folder that all patterns lie below, and the patterns relative to it.

    Absolute patterns, and those that lead out of the data set, move the folder up.
    """
    given = (*patterns.images, patterns.labels, *patterns.raters, patterns.masks)
    if not any(_leads_out(pattern) for pattern in given):
        return root, patterns
    full = {p: os.path.normpath(root.absolute() / p) for p in given if p}
    fixed = [_fixed_part(path) for path in full.values()]
    try:
        folder = Path(os.path.commonpath([root.absolute(), *fixed]))
    except ValueError:  # two drives of Windows
        raise UsageError(
            f"The patterns {', '.join(full)} and {root} lie on different drives; expected them on "
            "one. Copy one of them, or give a SOURCE on the same drive."
        ) from None
    below = {p: PurePosixPath(os.path.relpath(path, folder)).as_posix() for p, path in full.items()}
    below[""] = ""
    return folder, replace(
        patterns,
        images=tuple(below[p] for p in patterns.images),
        labels=below[patterns.labels],
        raters=tuple(below[p] for p in patterns.raters),
        masks=below[patterns.masks],
    )


def _leads_out(pattern: str) -> bool:
    return PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts


def _fixed_part(path: str) -> str:
    """The folders of a pattern before its first wildcard."""
    parts = Path(path).parts
    fixed = next((i for i, part in enumerate(parts) if re.search(r"[*?[]", part)), len(parts))
    whole = Path(*parts[:fixed])
    return str(whole if fixed < len(parts) or whole.is_dir() else whole.parent)


# --- which files ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """The files of a data set, matched."""

    matches: Matches
    by_folder: bool

    def group_of(self, match: Match) -> str | None:
        """The folder of a case in a data set of folders: a patient, as a rule."""
        parts = PurePosixPath(match.images[0]).parts
        return parts[-2] if self.by_folder and len(parts) > 1 else None


def _found(root: Path, patterns: Patterns) -> _Found:
    """Match the files that the patterns name.

    Raises
    ------
    SourceError
        When a pattern matches no file, or nothing matches.
    """
    if patterns.same_file:
        names = _files(root, patterns.labels).names
        return _Found(_same_file(names), by_folder=False)
    labels = _files(root, patterns.labels) if patterns.labels else None
    raters = tuple(_files(root, pattern) for pattern in patterns.raters)
    masks = _files(root, patterns.masks) if patterns.masks else None
    others = [p for p in (labels, *raters, masks) if p is not None]
    taken = {name for pattern in others for name in pattern.names}
    images = tuple(_without(_files(root, pattern), taken) for pattern in patterns.images)
    for pattern in (*images, *others):
        if not pattern.names:
            if (sentence := scan_sentence(sorted(root.glob(pattern.glob)))) is not None:
                raise SourceError(sentence)
            raise SourceError(
                f"{root} holds no image file that matches {pattern.glob!r}; expected files ending "
                f"in {', '.join(ENDINGS)}. Check the path and the options images and labels."
            )
    if labels is not None and masks is not None:
        labels = _without(labels, set(masks.names))
    roles = Roles(images, labels, raters, masks, several=patterns.label_files != "one")
    matches = match_names(roles)
    _require_some(matches, root, roles)
    return _Found(matches, by_folder=images[0].glob.endswith("**/*"))


def _same_file(names: Sequence[str]) -> Matches:
    pairs: dict[str, Match] = {}
    problems: dict[str, str] = {}
    for name in names:
        case = stem_of(PurePosixPath(name).name)
        if case in pairs:
            problems[case] = (
                f"The id {case!r} would name two cases ({pairs[case].labels[0]} and {name}); "
                "expected ids that differ. Rename the files of one."
            )
        pairs[case] = Match((name,), (name,))
    return Matches("each file holding both", {c: m for c, m in pairs.items() if c not in problems},
                   problems)  # fmt: skip


def _require_some(matches: Matches, root: Path, roles: Roles) -> None:
    if matches.pairs:
        return
    for case in matches.ambiguous[:1]:
        raise SourceError(f"{root}: no case can be read. {matches.problems[case]}")
    example = f"{roles.images[0].names[0]} and {roles.annotations[0].names[0]}"
    raise SourceError(
        f"{root}: no image and label map have matching names (found, for example, {example}); "
        "expected the same stem, the same but for a suffix such as _seg or _mask, or patterns "
        "whose wildcards stand for the same text. Give patterns with the options images and "
        "labels."
    )


def _files(root: Path, pattern: str) -> NamePattern:
    """Image files of a folder or pattern, in the order of their names.

    Of a folder that holds folders only, the files in those.
    """
    pattern = pattern.removeprefix("./")
    globs = [pattern]
    if (root / pattern).is_dir():
        folder = "" if pattern in (".", "") else f"{pattern.rstrip('/')}/"
        globs = [f"{folder}*", f"{folder}**/*"]
    for glob in globs:
        try:
            found = sorted(p for p in root.glob(glob) if is_image_file(p) and p.is_file())
        except ValueError as error:
            raise UsageError(
                f"The pattern {pattern!r} cannot be used ({error}); expected a folder or a pattern "
                "such as '*/label.nii.gz'."
            ) from error
        if found:
            break
    return NamePattern(glob, tuple(relative_name(path, root) for path in found))


def _without(pattern: NamePattern, taken: set[str]) -> NamePattern:
    """Images in the folder of the label maps: what is a label map is not an image."""
    return NamePattern(pattern.glob, tuple(n for n in pattern.names if n not in taken))


# --- what is listed -------------------------------------------------------------------------------


def _add(
    listing: Listing,
    root: Path,
    case: str,
    match: Match,
    patterns: Patterns,
    names: Mapping[str, int],
    group: str | None,
) -> None:
    key: dict[str, Any] = {"images": list(match.images)}
    if patterns.label_files != "one":
        values = [names.get(part, 1) for part in match.parts]
        key["label_files"] = [list(pair) for pair in zip(match.labels, values, strict=True)]
    elif patterns.same_file and patterns.raters:
        key["raters"] = dict.fromkeys(rater_names(patterns.raters), match.labels[0])
        key["rater_arrays"] = list(patterns.raters)
    elif match.labels:
        key["label"] = match.labels[0]
    if match.raters:
        key["raters"] = dict(zip(rater_names(patterns.raters), match.raters, strict=True))
    if match.mask is not None:
        key["mask"] = match.mask
    files = [*match.images, *match.labels, *match.raters, *([match.mask] if match.mask else [])]
    listing.add(case, input_files(root, files), source=match.images[0], group=group, key=key)


def _class_names(matches: Matches, soft: bool) -> dict[str, int]:
    """Label values of the classes that are files of their own: 1, 2 … by name.

    Probabilities of the background are a file as well, where there are any.
    """
    names = sorted({part for match in matches.pairs.values() for part in match.parts})
    backgrounds = {name: 0 for name in names if soft and name.casefold() == "background"}
    return backgrounds | {
        name: value for value, name in enumerate((n for n in names if n not in backgrounds), 1)
    }


def _is_soft(options: Mapping[str, Any], patterns: Patterns, ignore: int | None) -> bool:
    """Whether label maps are probabilities.

    Raises
    ------
    UsageError
        When another option does not go with them.
    """
    full, axis = options["soft_range"], options["label_channel_axis"]
    if full is None and axis is None:
        return False
    if full is not None and full < 1:
        raise UsageError(
            f"The option soft_range is {full}; expected the stored value that means 1, such as 1 "
            "or 255."
        )
    given = {
        "raters": bool(patterns.raters),
        "label_files union": patterns.label_files == "union",
        "grids resample": options["grids"] == "resample",
        "ignore": ignore is not None,
        "label_channel_axis": axis is not None and patterns.label_files == "class",
    }
    for name, is_given in given.items():
        if is_given:
            raise UsageError(
                f"The option {name} does not go with probabilities (soft_range, "
                "label_channel_axis); expected one file a case, or one a class, on the grid of "
                "the image. Leave it out."
            )
    return True


def _description(listing: Listing, patterns: Patterns, found: _Found, soft: bool) -> str:
    if patterns.same_file:
        where = patterns.labels
        where += f", raters {' and '.join(patterns.raters)}" if patterns.raters else ""
    else:
        annotations = (
            f"{'probabilities' if soft else 'label maps'} {patterns.labels}"
            if patterns.labels
            else f"{count(len(patterns.raters), 'rater')} {' and '.join(patterns.raters)}"
        )
        masks = f", masks {patterns.masks}" if patterns.masks else ""
        where = f"images {' + '.join(patterns.images)}, {annotations}{masks}"
    layout = f" ({patterns.layout})" if patterns.layout else ""
    left_out = len(found.matches.unlabelled)
    return (
        f"image/label pairs{layout}: {count(len(listing.refs), 'case')}, {where}, "
        + ("" if patterns.same_file else "matched ")
        + found.matches.rule
        + (f"; {count(left_out, 'image')} without a label map left out" if left_out else "")
    )


def _used(options: Mapping[str, Any], patterns: Patterns, ignore: int | None) -> dict[str, Any]:
    """The options as they were used, for the record of the cache."""
    return {
        **options,
        "images": ",".join(patterns.images),
        "labels": patterns.labels or None,
        "raters": ",".join(patterns.raters) or None,
        "masks": patterns.masks or None,
        "label_files": None if patterns.label_files == "one" else patterns.label_files,
        # The name only: where the file lies is no setting, and what it says is recorded itself.
        "classes": Path(options["classes"]).name if options["classes"] else None,
        "ignore": ignore,
    }


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


READER = Reader(
    name="pairs",
    title="images and label maps in files of their own (folders or patterns)",
    detect=detect,
    list_cases=list_cases,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=OPTIONS,
    decided_by=("raters",),  # arrays of .npz files, by their names
)
