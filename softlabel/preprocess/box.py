"""Cropping to the box of the mask, or of what is not 0: a slice of every array, and back.

Nothing is interpolated: what was kept comes back bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.grid import (
    background_label,
    change_maps,
    check_case,
    labelled,
    moved_affine,
)
from softlabel.preprocess.record import Record
from softlabel.preprocess.step import Kind
from softlabel.types import Array, Case, Note

CUT_LABELS = ("background", "ignore")


@dataclass(frozen=True)
class BoxOptions:
    """Options of the step.

    Attributes
    ----------
    margin_voxels : int
        Voxels to keep beyond the box on each side where the image has them.
    cut_labels : {"background", "ignore"}
        What labels and soft maps are, on the way back, where the image was cut away: the first
        class, or the ignored value (soft values 0). Images are 0 there.
    """

    margin_voxels: int = field(
        default=0, metadata={"help": "Voxels to keep around the box of the mask."}
    )
    cut_labels: str = field(
        default="background",
        metadata={
            "help": "Labels of what was cut away, in restored predictions.",
            "choices": CUT_LABELS,
        },
    )

    def __post_init__(self) -> None:
        make_plain(self)
        if not 0 <= self.margin_voxels <= 2**16:
            raise ValueError(f"margin_voxels must be 0 to 65,536; got {self.margin_voxels}.")
        if self.cut_labels not in CUT_LABELS:
            raise ValueError(
                f"cut_labels must be one of {', '.join(CUT_LABELS)}; got {self.cut_labels!r}."
            )


def box_of(mask: Array, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box that holds a mask, and a margin where the array has it.

    Raises
    ------
    ValueError
        When the mask is empty.

    Examples
    --------
    >>> mask = np.zeros((9, 4), bool); mask[3:5, 1] = True
    >>> box_of(mask), box_of(mask, 2)
    ((slice(3, 5, None), slice(1, 2, None)), (slice(1, 7, None), slice(0, 4, None)))
    """
    if not mask.any():
        raise ValueError("the mask is empty, so there is no box to crop to; check the mask.")
    box = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        first, last = int(inside[0]) - margin, int(inside[-1]) + margin
        box.append(slice(max(first, 0), min(last + 1, size)))
    return tuple(box)


def apply_box(case: Case, options: BoxOptions) -> tuple[Case, Record]:
    """Crop a case to the box of its mask, or of what is not 0 in some channel where it has none.

    Parameters
    ----------
    case : Case
    options : BoxOptions

    Returns
    -------
    Case, Record

    Raises
    ------
    ValueError
        When there is nothing to crop to, or a label for what is cut away does not exist.
    """
    check_case(case)
    if options.cut_labels == "ignore" and case.ignore is None:
        raise ValueError(
            "cut_labels is ignore, and the data set has no ignored value; take background."
        )
    if case.mask is None and not case.image.any():
        raise ValueError("every voxel of the image is 0, so there is no box; check the image.")
    region = case.mask if case.mask is not None else (case.image != 0).any(axis=0)
    box = box_of(region, options.margin_voxels)
    start = [side.start for side in box]
    cropped = change_maps(case, lambda array, kind: np.ascontiguousarray(_inside(array, box)))
    affine = moved_affine(case.affine, start, (1.0,) * len(box))
    drawn = labelled(case)
    cut = int(np.count_nonzero(drawn)) - int(np.count_nonzero(drawn[box]))
    record = Record(
        "box",
        case.shape,
        cropped.shape,
        {
            "start": start,
            "of": "mask" if case.mask is not None else "image",
            "margin_voxels": options.margin_voxels,
            "cut_labels": options.cut_labels,
            "cut_label": (
                background_label(case) if options.cut_labels == "background" else case.ignore
            ),
            "labelled_voxels_cut": cut,
        },
    )
    return replace(cropped, affine=affine, notes=(*case.notes, *_note(case, cut))), record


def _note(case: Case, cut: int) -> list[Note]:
    known = {note.code for note in case.notes}
    if not cut or "labels-outside-mask" in known:
        return []
    text = f"{cut:,} labelled voxels of {case.name} lie outside of the box that was kept."
    return [Note("labels-outside-box", f"{text} Check the mask, or give a margin.")]


def restore_box(record: Record, array: Array, kind: Kind) -> Array:
    """Put a box back to where it was, and around it what :class:`BoxOptions` says."""
    leading = array.shape[: array.ndim - len(record.shape_before)]
    restored = np.zeros((*leading, *record.shape_before), array.dtype)
    if kind == "labels":
        restored[...] = record.settings["cut_label"]
    elif kind == "soft" and record.settings["cut_labels"] == "background":
        restored[0] = 1
    starts = record.settings["start"]
    box = tuple(slice(s, s + n) for s, n in zip(starts, record.shape_after, strict=True))
    _inside(restored, box)[...] = array
    return restored


def _inside(array: Array, box: tuple[slice, ...]) -> Array:
    """A view of a box of the last axes."""
    index: tuple[Any, ...] = (..., *box)
    return np.asarray(array[index])
