"""A case that is one image and regions outlined in it: what COCO and LabelMe share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import read_pixels
from softlabel.readers.look import LabelLook, look_at
from softlabel.readers.outlines import paint
from softlabel.readers.pixels import require_finite
from softlabel.readers.registry import Reader
from softlabel.readers.safety import MAX_DEFLATE_RATIO, check_promise
from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset, Note, unnamed_channels

BACKGROUND = 0
MAX_SIDE = 2**16
"""Rows or columns of an image in which somebody drew outlines."""

_NO_NUMBER = 1e30  # JSON writes NaN, infinity and integers of a thousand digits as well


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
        channels=unnamed_channels(len(image)),
        notes=(*pixels.notes, *notes),
    )


def outlined_reader(
    labels_of: Callable[[Dataset, CaseRef], tuple[Array, tuple[Note, ...]]], **record: Any
) -> Reader:
    """A reader of images whose ``key["image"]`` names the file, with labels that are drawn.

    Parameters
    ----------
    labels_of : callable
        Draws the label map of a case; with notes on what it met. Raises CaseError.
    **record
        The other fields of the reader.
    """

    def read_case(dataset: Dataset, ref: CaseRef, opened: object = None) -> Case:
        labels, notes = labels_of(dataset, ref)
        return read_annotated(dataset, ref, dataset.root / ref.key["image"], labels, notes)

    def read_labels(dataset: Dataset, ref: CaseRef, opened: object = None) -> Array:
        return labels_of(dataset, ref)[0]

    def look(dataset: Dataset, ref: CaseRef, opened: object = None) -> LabelLook:
        labels, notes = labels_of(dataset, ref)
        return look_at(labels, notes=notes)

    return Reader(read_case=read_case, read_labels=read_labels, look=look, **record)


def painted(
    shape: tuple[int, int],
    regions: Iterable[tuple[int, Array]],
    path: Path,
    case: str,
    below: Iterable[tuple[int, Array]] = (),
) -> tuple[Array, tuple[Note, ...]]:
    """The label map of regions, and a note where later ones cover earlier ones.

    Parameters
    ----------
    shape : (int, int)
    regions, below : iterable of (int, ndarray of int64)
        As in :func:`softlabel.readers.outlines.paint`.
    path : Path
        File of the annotation.
    case : str
    """
    labels, n_covered = paint(shape, regions, below)
    if not n_covered:
        return labels, ()
    return labels, (
        Note(
            "overlap",
            f"{path} has regions of different classes for {case!r} that share {n_covered} pixels; "
            "the later region was taken.",
        ),
    )


def image_shape(
    entry: Mapping[str, Any], height: str, width: str, where: str, image: Path
) -> tuple[int, int]:
    """Rows and columns that an annotation file states.

    Parameters
    ----------
    entry : mapping
    height, width : str
        Keys of both.
    where : str
        The entry, for messages.
    image : Path
        The image file, which must be large enough for as many pixels.

    Raises
    ------
    CaseError
        When they are no whole numbers from 1 to :data:`MAX_SIDE`, or more than the file can hold.
    """
    rows, columns = entry.get(height), entry.get(width)
    for side in (rows, columns):
        if not isinstance(side, int) or isinstance(side, bool) or not 0 < side <= MAX_SIDE:
            raise CaseError(
                f"{where} states the {height} {rows!r:.40} and {width} {columns!r:.40}; "
                f"expected whole numbers from 1 to {MAX_SIDE}. Correct the entry."
            )
    shape = int(rows or 0), int(columns or 0)
    one_bit = 1 / 8
    check_promise(
        image, shape, 1, image.stat().st_size, max_ratio=MAX_DEFLATE_RATIO / one_bit, what=where
    )
    return shape


def numbered_points(entry: Any, where: str) -> Array:
    """Vertices ``[[x, y], …]`` or ``[x, y, x, y, …]`` as an array of shape (N, 2).

    Raises
    ------
    CaseError
        When they are no numbers in pairs.
    """
    flat: list[Any] = entry if isinstance(entry, list) else [None]
    if flat and all(isinstance(point, list) and len(point) == 2 for point in flat):
        flat = [number for point in flat for number in point]
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in flat)
    if not flat or len(flat) % 2 or not plain or not all(abs(n) < _NO_NUMBER for n in flat):
        raise CaseError(
            f"{where} has the outline {entry!r:.80}; expected pairs of numbers x, y. "
            "Correct the entry."
        )
    points: Array = np.array(flat, dtype=np.float64).reshape(-1, 2)
    return points


def free_value(classes: ClassTable) -> int:
    """A value for pixels that were not annotated: 255, or above all classes."""
    return 255 if classes.values[-1] < 255 else classes.values[-1] + 1
