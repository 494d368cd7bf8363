"""Segmentations of 3D Slicer (``.seg.nrrd``): what the header says of segments, and their layers.

The header names every segment and gives it a value and a layer; a value means one segment in one
layer of one file only. Segments that overlap lie in different layers, which are the values of a
vector image. :func:`join_layers` makes one label map of layers that do not overlap, and loses no
segment where two layers use one value for different names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.labels import distinct_values
from softlabel.readers.pixels import Pixels
from softlabel.types import Array, Note

_NAME_KEY = re.compile(r"Segment(\d{1,6})_Name")
_OFFSET_KEY = "Segmentation_ReferenceImageExtentOffset"


def segment_names(
    fields: Mapping[str, str], n_layers: int, path: Path
) -> tuple[dict[int, str], ...] | None:
    """Names of the segments by their value, one mapping a layer; None if it is no segmentation.

    Files of Slicer before version 4.11 state neither values nor layers: there each segment is a
    layer of its own with the value 1.

    Parameters
    ----------
    fields : mapping of str to str
        Keys and values of the NRRD header.
    n_layers : int
        Values a voxel.
    path : Path

    Raises
    ------
    CaseError
        When a value or layer is no number, there is no such layer, or two segments share both.
    """
    numbers = sorted(int(m[1]) for key in fields if (m := _NAME_KEY.fullmatch(key)))
    if not numbers:
        return None
    layers: tuple[dict[int, str], ...] = tuple({} for _ in range(n_layers))
    for position, number in enumerate(numbers):
        name = fields[f"Segment{number}_Name"].strip() or f"segment {number}"
        value = _number(fields, f"Segment{number}_LabelValue", 1, path)
        default_layer = position if n_layers > 1 else 0
        layer = _number(fields, f"Segment{number}_Layer", default_layer, path)
        if layer >= n_layers:
            raise CaseError(
                f"{path} puts the segment {name!r} into layer {layer}, but has {n_layers}; "
                "expected one that exists. Save the segmentation again in Slicer."
            )
        if layers[layer].setdefault(value, name) != name:
            raise CaseError(
                f"{path} names the value {value} of layer {layer} twice ({layers[layer][value]!r} "
                f"and {name!r}); expected one name. Correct the Segment{number}_ fields."
            )
    return layers


def reference_offset(fields: Mapping[str, str], ndim: int, path: Path) -> tuple[int, ...] | None:
    """Where the first voxel lies in the image that was segmented; None if the file does not say.

    Raises
    ------
    CaseError
        When it is not one whole number an axis.
    """
    if _OFFSET_KEY not in fields:
        return None
    parts = fields[_OFFSET_KEY].split()[:ndim]
    if len(parts) != ndim or not all(re.fullmatch(r"[+-]?\d{1,9}", part) for part in parts):
        raise CaseError(
            f"{path} has the {_OFFSET_KEY} {fields[_OFFSET_KEY]!r:.60}; expected {ndim} whole "
            "numbers. Save the segmentation again in Slicer."
        )
    return tuple(int(part) for part in parts)


def join_layers(layers: Sequence[Array], names: Sequence[Mapping[int, str]], path: Path) -> Pixels:
    """One label map of layers that do not overlap, with the names of its values.

    Values stay as they are, unless another layer uses the same value for another segment: the
    later segment then gets the next free value, and a note says so.

    Parameters
    ----------
    layers : sequence of ndarray of an integer type, shape (*spatial)
        Not negative; 0 is no segment.
    names : sequence of mapping of int to str
        One for each layer.
    path : Path

    Returns
    -------
    Pixels
        ``values``, ``names`` and ``notes``.

    Raises
    ------
    CaseError
        When segments of two layers overlap, naming those that share the most voxels.
    """
    _require_apart(layers, names, path)
    present = [[v for v in distinct_values(layer) if v] for layer in layers]
    free = 1 + max((v for values in (*present, *map(list, names)) for v in values), default=0)
    joined = np.zeros(layers[0].shape, dtype=np.min_scalar_type(free + sum(map(len, present))))
    owners: dict[int, str | None] = {}
    notes = []
    for number, (layer, values) in enumerate(zip(layers, present, strict=True)):
        for value in dict.fromkeys((*values, *names[number])):
            name, becomes = names[number].get(value), value
            if value in owners and (name is None or owners[value] != name):
                becomes, free = free, free + 1
                notes.append(_renumbered(path, number, value, name, becomes, owners[value]))
            owners[becomes] = name
            joined[layer == value] = becomes
    named = {value: name for value, name in sorted(owners.items()) if name is not None}
    return Pixels(joined, names=named, notes=tuple(notes))


def on_reference_grid(labels: Pixels, path: Path, image: Pixels, image_path: Path) -> Pixels:
    """Put a label map that was cropped to its segments where it belongs in its image.

    Parameters
    ----------
    labels : Pixels
        With a ``reference_offset``.
    path : Path
    image : Pixels
    image_path : Path

    Returns
    -------
    Pixels
        Of the spatial shape of the image, 0 outside of the crop, or as it is where it has that
        shape already.

    Raises
    ------
    CaseError
        When a segment lies outside of the image.
    """
    offset, shape = labels.reference_offset, image.spatial_shape
    if offset is None or len(shape) != len(offset):
        return labels
    if labels.values.shape == shape and not any(offset):
        return labels
    target, source = [], []
    for start, size, whole in zip(offset, labels.values.shape, shape, strict=True):
        first, last = max(start, 0), max(min(start + size, whole), max(start, 0))
        target.append(slice(first, last))
        source.append(slice(first - start, last - start))
    placed = np.zeros(shape, dtype=labels.values.dtype)
    placed[tuple(target)] = inside = labels.values[tuple(source)]
    lost = np.count_nonzero(labels.values) - np.count_nonzero(inside)
    if lost:
        raise CaseError(
            f"{path} begins at voxel {offset} of its reference image and has the shape "
            f"{labels.values.shape}, so that {lost} segmented voxels lie outside of {image_path} "
            f"{shape}; expected all inside. Check that they belong together."
        )
    affine = labels.affine
    if affine is not None:
        shift = np.eye(4)
        shift[: len(offset), 3] = [-start for start in offset]
        affine = affine @ shift
    return replace(labels, values=placed, affine=affine, reference_offset=(0,) * len(offset))


def _require_apart(layers: Sequence[Array], names: Sequence[Mapping[int, str]], path: Path) -> None:
    covered = np.zeros(layers[0].shape, dtype=np.uint8)
    for layer in layers:
        covered += np.minimum(layer != 0, 255 - covered).astype(np.uint8)
    overlap = covered > 1
    if not overlap.any():
        return
    shared = np.stack([layer[overlap] for layer in layers], axis=1)
    rows, counts = np.unique(shared, axis=0, return_counts=True)
    most = rows[int(counts.argmax())]
    called = [
        repr(names[number].get(int(value), f"value {value}"))
        for number, value in enumerate(most)
        if value
    ]
    raise CaseError(
        f"{path} has segments that overlap in {np.count_nonzero(overlap)} voxels, most of all "
        f"{' and '.join(called)}; expected every voxel in at most one. Give the overlap to one of "
        "them in Slicer, or export each layer as a label map of its own."
    )


def _renumbered(
    path: Path, layer: int, value: int, name: str | None, becomes: int, other: str | None
) -> Note:
    return Note(
        "renumbered",
        f"{path} uses the value {value} for {other!r} and, in layer {layer}, for {name!r}; "
        f"the latter became {becomes}.",
    )


def _number(fields: Mapping[str, str], key: str, default: int, path: Path) -> int:
    text = fields.get(key, str(default)).strip()
    if not re.fullmatch(r"\d{1,9}", text):
        raise CaseError(
            f"{path} has the {key} {text!r:.40}; expected a whole number of at least 0. "
            "Save the segmentation again in Slicer."
        )
    return int(text)
