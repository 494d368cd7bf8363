"""COCO: one JSON file with images, categories, and outlines or run lengths of their regions.

A pixel belongs to an outline when its centre lies in it (:mod:`softlabel.readers.outlines`); the
outlines of one annotation are joined. Later annotations lie over earlier ones, and a note counts
the pixels that they share. Values of the label maps are the ids of the categories, one higher where
a category that is used has the id 0, which is the background.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, SourceError
from softlabel.readers.annotated import (
    BACKGROUND,
    free_value,
    image_shape,
    numbered_points,
    outlined_reader,
    painted,
)
from softlabel.readers.classfile import class_table
from softlabel.readers.imagefiles import stem_of
from softlabel.readers.listing import GROUP_OPTION, Listing, count, require_folder
from softlabel.readers.outlines import outline_pixels, run_length_pixels
from softlabel.readers.registry import ReaderOption
from softlabel.readers.safety import load_json, path_inside, reading, relative_name
from softlabel.types import Array, CaseRef, ClassTable, Dataset, Note

_ENTRIES = ("images", "annotations", "categories")

MAX_FILES = 20
"""JSON files in a folder that are looked into; more are one file an image, which COCO is not."""

OPTIONS = (
    ReaderOption(
        "annotations",
        None,
        "JSON file with the annotations, relative to SOURCE; found when there is only one.",
    ),
    ReaderOption(
        "image_folder",
        None,
        "Folder of the images, relative to SOURCE; looked for beside the annotations, in SOURCE, "
        "in images, and in the folder of the file's name when not given.",
    ),
    ReaderOption(
        "crowds",
        "ignore",
        "Regions marked iscrowd: pixels that were not annotated (ignore), of their class (draw), "
        "or left out (skip).",
        choices=("ignore", "draw", "skip"),
    ),
    GROUP_OPTION,
)


def detect(root: Path) -> str | None:
    """Recognise a JSON file with images, annotations and categories, here or in annotations."""
    files = _annotation_files(root)
    return f"COCO: {', '.join(relative_name(path, root) for path in files)}" if files else None


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the images of a COCO file; reads that file."""
    require_folder(root, "a COCO data set")
    path = _annotation_file(root, options["annotations"])
    content = load_json(path)
    images, annotations, categories = (_entries(content, name, path) for name in _ENTRIES)
    used = {a.get("category_id") for a in annotations if isinstance(a.get("category_id"), int)}
    value_of, classes = _classes(categories, used, path)
    crowds = options["crowds"] == "ignore" and any(a.get("iscrowd") for a in annotations)
    ignore = free_value(classes) if crowds else None
    listing = Listing(options["group"])
    of_image = defaultdict[Any, list[Mapping[str, Any]]](list)
    for annotation in annotations:
        if isinstance(image_id := annotation.get("image_id"), int | str):
            of_image[image_id].append(annotation)
    for number, entry in enumerate(images):
        _list_image(listing, root, path, number, entry, of_image, value_of, options)
    if not listing.refs and not listing.problems:
        raise SourceError(f"{path} lists no image; expected at least one. Check the file.")
    description = (
        f"COCO, {path.name}: {count(len(listing.refs), 'image')}, "
        f"{count(len(classes), 'class', 'classes')} with background"
        + (", ids of categories raised by 1" if value_of.get(0) == 1 else "")
    )
    return listing.dataset(
        "coco",
        root,
        description,
        options={**options, "annotations": relative_name(path, root)},
        classes=classes,
        ignore=ignore,
    )


def _labels_and_notes(dataset: Dataset, ref: CaseRef) -> tuple[Array, tuple[Note, ...]]:
    path = dataset.root / ref.key["annotations"]
    height, width = ref.key["shape"]
    shape = int(height), int(width)
    regions, crowds = [], []
    for region in ref.key["regions"]:
        if not region["iscrowd"] or dataset.options["crowds"] == "draw":
            regions.append((region["value"], region))
        elif dataset.options["crowds"] == "ignore" and dataset.ignore is not None:
            crowds.append((dataset.ignore, region))
    labels, notes = painted(
        shape, _drawn(regions, shape, path), path, ref.id, below=_drawn(crowds, shape, path)
    )
    if not ref.key["regions"]:
        text = f"{path} has no region for {ref.id!r}; all of its pixels are background."
        notes = (*notes, Note("no-annotation", text))
    return labels, notes


def _drawn(
    regions: list[tuple[int, Mapping[str, Any]]], shape: tuple[int, int], path: Path
) -> Iterator[tuple[int, Array]]:
    """Value and pixels of each region, one at a time."""
    for value, region in regions:
        where = f"{path}, annotation {region['id']!r:.40}"
        try:
            yield value, _pixels(region["segmentation"], shape, where)
        except ValueError as error:
            raise CaseError(f"{where} has {error}. Correct the entry.") from error


def _pixels(segmentation: Any, shape: tuple[int, int], where: str) -> Array:
    """Pixels of one annotation: outlines that are joined, or run lengths."""
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != list(shape) or not isinstance(counts, str | list):
            raise CaseError(
                f"{where} has run lengths of the size {size!r:.40}; expected the size "
                f"{list(shape)} of its image and counts. Correct the entry."
            )
        return run_length_pixels(counts, shape)
    if not isinstance(segmentation, list) or not segmentation:
        raise CaseError(
            f"{where} has no outline (segmentation {segmentation!r:.40}), perhaps only a box; "
            "expected outlines or run lengths. Remove the annotation, or add its outline."
        )
    rings = [numbered_points(outline, where) for outline in segmentation]
    return np.concatenate([outline_pixels([ring], shape) for ring in rings])


def _annotation_files(root: Path) -> list[Path]:
    """Files with the entries of COCO, in the folder and in its folder annotations."""
    found: list[Path] = []
    for folder in (root, root / "annotations"):
        files = [p for p in sorted(folder.glob("*.json")) if p.is_file()] if folder.is_dir() else []
        if len(files) <= MAX_FILES:
            found += [path for path in files if _is_coco(path)]
    return found


def _is_coco(path: Path) -> bool:
    try:
        content = load_json(path)
    except SourceError:
        return False
    return all(isinstance(content.get(name), list) for name in _ENTRIES)


def _annotation_file(root: Path, given: str | None) -> Path:
    if given is not None:
        with reading(root / given, "a COCO file"):
            path = path_inside(root, given, "The option annotations")
        if not path.is_file():
            raise SourceError(f"{path} does not exist; expected a COCO file. Check the path.")
        return path
    files = _annotation_files(root)
    if len(files) == 1:
        return files[0]
    found = ", ".join(relative_name(path, root) for path in files[:8]) or "none"
    raise SourceError(
        f"{root} holds {count(len(files), 'COCO file')} ({found}); expected one. Name it with the "
        "option annotations."
    )


def _entries(content: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    entries = content.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(
            f"{path} has no usable entry {name!r}; expected a list of objects, as in COCO. "
            "Correct the file."
        )
    return entries


def _classes(
    categories: list[Mapping[str, Any]], used: set[Any], path: Path
) -> tuple[dict[int, int], ClassTable]:
    """Label value of every category id, and the class table with a background."""
    names: dict[int, str] = {}
    for entry in categories:
        number, name = entry.get("id"), entry.get("name")
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str):
            raise SourceError(
                f"{path} has the category {entry!r:.80}; expected an id that is a whole number and "
                "a name. Correct it."
            )
        if number < 0 or names.setdefault(number, name) != name:
            raise SourceError(
                f"{path} has the category {number} twice or below 0; expected ids that differ. "
                "Correct it."
            )
    raised = int(0 in used and names.get(0, "").casefold() != "background")
    value_of: dict[int, int] = {}
    table = {BACKGROUND: "background"}
    first: dict[str, int] = {"background": BACKGROUND}
    for number, name in sorted(names.items()):
        if number == 0 and not raised:
            continue  # not used, or the background itself
        key = "background" if name.casefold() == "background" else name
        value_of[number] = first.setdefault(key, number + raised)
        table.setdefault(value_of[number], name)
    if names.get(0, "").casefold() == "background":
        value_of[0] = BACKGROUND
    return value_of, class_table(table, path)


def _list_image(
    listing: Listing,
    root: Path,
    path: Path,
    number: int,
    entry: Mapping[str, Any],
    of_image: Mapping[Any, list[Mapping[str, Any]]],
    value_of: Mapping[int, int],
    options: Mapping[str, Any],
) -> None:
    where = f"{path}, image {entry.get('id', number)!r:.40}"
    name, image_id = entry.get("file_name"), entry.get("id")
    case = stem_of(name).strip("/").replace("/", "_") if isinstance(name, str) else ""
    case = case or f"image {number}"
    try:
        image = _find_image(root, path, name, options["image_folder"], where)
        annotations = of_image.get(image_id, []) if isinstance(image_id, int | str) else []
        key = {
            "image": relative_name(image, root),
            "annotations": relative_name(path, root),
            "shape": list(image_shape(entry, "height", "width", where, image)),
            "regions": [*_regions(annotations, value_of, path)],
        }
    except CaseError as error:
        listing.problem(case, str(error))
        return
    files = (key["image"], key["annotations"])
    listing.add(case, map(str, files), source=str(key["image"]), key=key)


def _regions(
    annotations: list[Mapping[str, Any]], value_of: Mapping[int, int], path: Path
) -> Iterator[dict[str, Any]]:
    for annotation in annotations:
        category = annotation.get("category_id")
        value = value_of.get(category) if isinstance(category, int) else None
        if value is None:
            raise CaseError(
                f"{path}, annotation {annotation.get('id')!r:.40} has the category "
                f"{category!r:.40}, which the categories do not name; expected one of them. "
                "Correct it."
            )
        yield {
            "id": annotation.get("id"),
            "value": value,
            "iscrowd": bool(annotation.get("iscrowd")),
            "segmentation": annotation.get("segmentation"),
        }


def _find_image(root: Path, path: Path, name: Any, folder: str | None, where: str) -> Path:
    """The image that an entry names: relative to the folder given, or where people keep them."""
    path_inside(root, name, where)
    beside = relative_name(path.parent, root)
    parts = [folder] if folder is not None else _usual_folders(path, beside)
    tried = [path_inside(root, f"{part}/{name}" if part != "." else name, where) for part in parts]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    raise CaseError(
        f"{where} names the file {name!r:.120}, which is not in "
        f"{', '.join(str(candidate.parent) for candidate in tried)}; expected it there. Name the "
        "folder of the images with the option image_folder."
    )


def _usual_folders(path: Path, beside: str) -> list[str]:
    split = path.stem.removeprefix("instances_")
    above = beside.rpartition("/")[0] or "."
    return list(dict.fromkeys([beside, ".", above, "images", split, f"images/{split}"]))


READER = outlined_reader(
    _labels_and_notes,
    name="coco",
    title="COCO (a JSON file with images, annotations and categories)",
    detect=detect,
    list_cases=list_cases,
    options=OPTIONS,
)
