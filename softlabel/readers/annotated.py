"""A case that is one image and regions outlined in it: what COCO and LabelMe share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import read_pixels
from softlabel.readers.outlines import paint
from softlabel.readers.pixels import require_finite
from softlabel.types import Array, Case, CaseRef, Dataset, Note

BACKGROUND = 0
MAX_SIDE = 2**16
"""Rows or columns of an image in which somebody drew outlines."""


def read_annotated(
    dataset: Dataset, ref: CaseRef, image_path: Path, labels: Array, notes: Sequence[Note]
) -> Case:
    """Read the image of a case, and check that it has the shape of its label map.

    Raises
    ------
    CaseError
        When the image cannot be read or has another shape.
    """
    pixels = read_pixels(image_path)
    if pixels.spatial_shape != labels.shape:
        raise CaseError(
            f"{image_path} has the shape {pixels.spatial_shape}, but it was annotated as "
            f"{labels.shape} (rows, columns); expected the same. Use the image that was annotated."
        )
    require_finite(pixels.values, image_path)
    image = pixels.channels_first()
    names = tuple(f"channel {i}" for i in range(len(image)))
    return Case(
        id=ref.id,
        image=image,
        labels=labels,
        classes=dataset.classes,
        ignore=dataset.ignore,
        spacing_mm=pixels.spacing_mm,
        affine=pixels.affine,
        group=ref.group,
        source=ref.source,
        channels=names if len(image) > 1 else ("intensity",),
        notes=(*pixels.notes, *notes),
    )


def painted(
    shape: tuple[int, int], regions: Sequence[tuple[int, Array]], path: Path, case: str
) -> tuple[Array, tuple[Note, ...]]:
    """The label map of regions, and a note where later ones cover earlier ones."""
    labels, n_covered = paint(shape, regions)
    if not regions:
        text = f"{path} has no region for {case!r}; all of its pixels are background."
        return labels, (Note("no-annotation", text),)
    if not n_covered:
        return labels, ()
    return labels, (
        Note(
            "overlap",
            f"{path} has regions of different classes for {case!r} that share {n_covered} pixels; "
            "the later region was taken.",
        ),
    )


def image_shape(entry: Mapping[str, Any], height: str, width: str, where: str) -> tuple[int, int]:
    """Rows and columns that an annotation file states.

    Raises
    ------
    CaseError
        When they are no whole numbers from 1 to :data:`MAX_SIDE`.
    """
    sides = (entry.get(height), entry.get(width))
    for side in sides:
        if not isinstance(side, int) or isinstance(side, bool) or not 0 < side <= MAX_SIDE:
            raise CaseError(
                f"{where} states the {height} {sides[0]!r:.40} and {width} {sides[1]!r:.40}; "
                f"expected whole numbers from 1 to {MAX_SIDE}. Correct the entry."
            )
    return int(sides[0] or 0), int(sides[1] or 0)


def numbered_points(entry: Any, where: str) -> Array:
    """Vertices ``[[x, y], …]`` or ``[x, y, x, y, …]`` as an array of shape (N, 2).

    Raises
    ------
    CaseError
        When they are no finite numbers in pairs.
    """
    flat: list[Any] = entry if isinstance(entry, list) else [None]
    if flat and all(isinstance(point, list) and len(point) == 2 for point in flat):
        flat = [number for point in flat for number in point]
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in flat)
    if not flat or len(flat) % 2 or not plain or not np.isfinite(np.array(flat, dtype=float)).all():
        raise CaseError(
            f"{where} has the outline {entry!r:.80}; expected pairs of numbers x, y. "
            "Correct the entry."
        )
    points: Array = np.array(flat, dtype=np.float64).reshape(-1, 2)
    return points
