"""LabelMe: a JSON file beside each image, with the outlines of its regions by name.

A pixel belongs to a shape when its centre lies in it (:mod:`softlabel.readers.outlines`); later
shapes lie over earlier ones, and a note counts the pixels that they share. Polygons, rectangles and
circles are drawn; points and lines have no area. Names become the values 1, 2 … in natural order,
the same in all files; ``_background_`` is 0 and ``__ignore__`` marks pixels that were not
annotated, as in LabelMe's own export.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, SourceError
from softlabel.ids import natural_key
from softlabel.readers.annotated import (
    BACKGROUND,
    free_value,
    image_shape,
    numbered_points,
    outlined_reader,
    painted,
)
from softlabel.readers.classfile import class_table, load_class_table
from softlabel.readers.imagefiles import ENDINGS
from softlabel.readers.listing import CLASSES_OPTION, GROUP_OPTION, Listing, count, require_folder
from softlabel.readers.outlines import outline_pixels
from softlabel.readers.safety import load_json, path_inside, relative_name
from softlabel.types import Array, CaseRef, ClassTable, Dataset, Note

_BACKGROUND_NAMES = ("background", "_background_")
_IGNORE_NAME = "__ignore__"
_NO_AREA = ("point", "points", "line", "linestrip")
_POLYGONS = ("polygon", "rectangle", "rotation")
_CIRCLE_VERTICES = 128

DETECTED_FILES = 20
"""JSON files that are looked into before the format is not recognised."""

OPTIONS = (
    CLASSES_OPTION,
    GROUP_OPTION,
)


def detect(root: Path) -> str | None:
    """Recognise JSON files with shapes, in the folder or one level deeper."""
    for path in _json_files(root)[:DETECTED_FILES]:
        with suppress(SourceError):
            if _is_labelme(load_json(path)):
                return f"LabelMe: {relative_name(path, root)}"
    return None


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the annotated images; reads all JSON files, whose names make the class table."""
    require_folder(root, "a LabelMe data set")
    listing = Listing(options["group"])
    names: set[str] = set()
    for path in _json_files(root):
        try:
            content = load_json(path)
            if _is_labelme(content):
                names |= _list_file(listing, root, path, content)
        except (CaseError, SourceError) as error:
            listing.problem(_case_of(path, root), str(error))
    if not listing.refs and not listing.problems:
        raise SourceError(
            f"{root} holds no JSON file of LabelMe; expected one beside each image. Check the path."
        )
    classes, ignore = _classes(names, options["classes"], root)
    description = (
        f"LabelMe: {count(len(listing.refs), 'image')}, "
        f"{count(len(classes), 'class', 'classes')} with background"
    )
    used = {**options, "classes": Path(options["classes"]).name if options["classes"] else None}
    return listing.dataset(
        "labelme", root, description, options=used, classes=classes, ignore=ignore
    )


def _labels_and_notes(dataset: Dataset, ref: CaseRef) -> tuple[Array, tuple[Note, ...]]:
    path = dataset.root / ref.key["annotation"]
    try:
        content = load_json(path)
    except SourceError as error:
        raise CaseError(str(error)) from error
    shape = image_shape(
        content, "imageHeight", "imageWidth", str(path), dataset.root / ref.key["image"]
    )
    shapes = list(enumerate(content.get("shapes") or ()))
    without_area = [n for n, entry in shapes if entry.get("shape_type") in _NO_AREA]
    regions = (
        (_value(entry, dataset, f"{path}, shape {n}"), _pixels(entry, shape, f"{path}, shape {n}"))
        for n, entry in shapes
        if n not in without_area
    )
    labels, notes = painted(shape, regions, path, ref.id)
    if without_area:
        found = count(len(without_area), "point or line", "points or lines")
        text = f"{path} has {found} without an area; they were left out."
        notes = (*notes, Note("no-area", text))
    if not shapes:
        text = f"{path} has no shape; all pixels of {ref.id!r} are background."
        notes = (*notes, Note("no-annotation", text))
    return labels, notes


def _value(entry: Any, dataset: Dataset, where: str) -> int:
    name = _name(entry, where)
    if name == _IGNORE_NAME and dataset.ignore is not None:
        return dataset.ignore
    if name in _BACKGROUND_NAMES:
        return BACKGROUND
    classes = dataset.classes
    if classes is None or name not in classes.names:
        raise CaseError(
            f"{where} is named {name!r:.60}, which the class table lacks; expected one of its "
            "names. Add it to the table, or rename the shape."
        )
    return classes.values[classes.names.index(name)]


def _name(entry: Any, where: str) -> str:
    name = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise CaseError(f"{where} has the label {name!r:.60}; expected a name. Correct the entry.")
    return name.strip()


def _pixels(entry: Mapping[str, Any], shape: tuple[int, int], where: str) -> Array:
    points = numbered_points(entry.get("points"), where)
    kind = entry.get("shape_type") or "polygon"
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle" and len(points) == 2:
        angles = np.linspace(0, 2 * np.pi, _CIRCLE_VERTICES, endpoint=False)
        radius = np.hypot(*(points[1] - points[0]))
        points = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif kind not in _POLYGONS:
        raise CaseError(
            f"{where} is a shape of the type {kind!r:.40}; expected polygon, rectangle or circle. "
            "Convert it to a polygon."
        )
    try:
        return outline_pixels([points], shape)
    except ValueError as error:
        raise CaseError(f"{where} has {error}. Correct the entry.") from error


def _list_file(listing: Listing, root: Path, path: Path, content: Mapping[str, Any]) -> set[str]:
    image = _find_image(root, path, content["imagePath"])
    shapes = enumerate(content["shapes"])
    names = {_name(entry, f"{path}, shape {number}") for number, entry in shapes}
    key = {"image": relative_name(image, root), "annotation": relative_name(path, root)}
    listing.add(_case_of(path, root), key.values(), source=key["image"], key=key)
    return names


def _case_of(path: Path, root: Path) -> str:
    return relative_name(path.with_suffix(""), root).replace("/", "_")


def _find_image(root: Path, path: Path, named: Any) -> Path:
    """The image that a file names, relative to itself, or the one beside it with its stem."""
    tried = []
    if isinstance(named, str) and named.strip():
        folder = relative_name(path.parent, root)
        inside = posixpath.normpath(posixpath.join(folder, named.replace("\\", "/")))
        tried.append(path_inside(root, inside, str(path)))
    tried += [path.with_suffix(ending) for ending in ENDINGS]
    for candidate in tried:
        if candidate.is_file():
            return candidate
    raise CaseError(
        f"{path} names the image {named!r:.120}, which is not there; expected it, or an image with "
        f"the stem {path.stem!r} beside the file. Put it there."
    )


def _json_files(root: Path) -> list[Path]:
    files = [*root.glob("*.json"), *root.glob("*/*.json")] if root.is_dir() else []
    return sorted(path for path in files if path.is_file() and not path.name.startswith("."))


def _is_labelme(content: Mapping[str, Any]) -> bool:
    return isinstance(content.get("shapes"), list) and "imagePath" in content


def _classes(names: set[str], given: str | None, root: Path) -> tuple[ClassTable, int | None]:
    if given:
        classes, ignore = load_class_table(Path(given))
        if BACKGROUND not in classes.values:
            classes = ClassTable.from_mapping({**dict(classes), BACKGROUND: "background"})
    else:
        drawn = sorted(names - {*_BACKGROUND_NAMES, _IGNORE_NAME}, key=natural_key)
        classes = class_table({BACKGROUND: "background", **dict(enumerate(drawn, 1))}, root)
        ignore = None
    if ignore is None and _IGNORE_NAME in names:
        ignore = free_value(classes)
    return classes, ignore


READER = outlined_reader(
    _labels_and_notes,
    name="labelme",
    title="LabelMe (a JSON file with shapes beside each image)",
    detect=detect,
    list_cases=list_cases,
    options=OPTIONS,
)
