"""Cropping to the retina: the rows from the ILM to Bruch's membrane, with a margin.

All A-scans of a case keep the same rows. How many depends on this case alone, or is given, so that
a case comes out the same whatever the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.bscans import (
    axes_of,
    grey_channel,
    retina_of_bscans,
    spacing_um,
    with_notes,
)
from softlabel.preprocess.grid import background_label, moved_affine
from softlabel.preprocess.record import Record
from softlabel.preprocess.step import Kind
from softlabel.preprocess.window import RowWindow, take_rows, window_case
from softlabel.types import Array, Case

OUTSIDE = ("nearest", "background", "ignore")


@dataclass(frozen=True)
class CropOptions:
    """Options of the step.

    Attributes
    ----------
    margin_um : float
        Rows to keep above the ILM and below Bruch's membrane.
    height : int or None
        Rows to keep; None takes as few as are a multiple of ``multiple``.
    multiple : int
        What networks that halve the image several times need; 1 for no padding.
    outside : {"nearest", "background", "ignore"}
        What labels and soft maps are, on the way back, where the image was cut away. ``nearest``
        continues the outermost row of each A-scan: vitreous above, choroid below. ``background`` is
        the first class, ``ignore`` the ignored value (soft values 0). Images are 0 there.
    axial_axis : int
        Spatial axis along the A-scans.
    """

    margin_um: float = field(
        default=80.0, metadata={"help": "Margin above and below the retina, in µm."}
    )
    height: int | None = field(
        default=None, metadata={"help": "Rows to keep. Default: a multiple of 32 that fits."}
    )
    multiple: int = field(
        default=32,
        metadata={
            "help": "Round the rows up to a multiple of it.",
            "idle": lambda options: "" if options.height is None else "height",
        },
    )
    outside: str = field(
        default="nearest",
        metadata={
            "help": "Labels of what was cut away, in restored predictions.",
            "choices": OUTSIDE,
        },
    )
    axial_axis: int = field(default=0, metadata={"help": "Spatial axis along the A-scans."})

    def __post_init__(self) -> None:
        make_plain(self)
        if not 0 <= self.margin_um < np.inf:
            raise ValueError(f"margin_um must be 0 or more; got {self.margin_um}.")
        for name in ("height", "multiple"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 2**16:
                raise ValueError(f"{name} must be 1 to 65,536 rows; got {value}.")
        if self.outside not in OUTSIDE:
            raise ValueError(f"outside must be one of {', '.join(OUTSIDE)}; got {self.outside!r}.")


def crop_rows(
    top: float,
    bottom: float,
    rows: int,
    margin: float = 0.0,
    height: int | None = None,
    multiple: int = 32,
) -> tuple[int, int]:
    """First row and number of rows that hold everything from ``top`` to ``bottom``.

    Rows beyond those that are needed are shared between both ends, and taken from within the image
    while it has them.

    Parameters
    ----------
    top, bottom : float
        Outermost rows of the retina.
    rows : int
        Rows of the image.
    margin : float
        Rows to keep beyond ``top`` and ``bottom`` where the image has them.
    height : int, optional
        Rows to keep.
    multiple : int
        Without a height: what the number of rows is a multiple of.

    Raises
    ------
    ValueError
        When the height does not hold what is needed.

    Examples
    --------
    >>> crop_rows(100, 220, 496, margin=10)
    (81, 160)
    >>> crop_rows(5, 480, 496, margin=20)
    (-8, 512)
    """
    first = max(0, int(np.floor(top - margin)))
    last = min(rows - 1, int(np.ceil(bottom + margin)))
    needed = last - first + 1
    if height is None:
        height = -(-needed // multiple) * multiple
    if height < needed:
        raise ValueError(
            f"the retina and its margin need {needed} rows, more than the height of {height}; give "
            "a larger height or a smaller margin, or flatten first."
        )
    start = first - (height - needed) // 2
    if height > rows:
        return -((height - rows) // 2), height
    return min(max(start, 0), rows - height), height


def apply_crop(case: Case, options: CropOptions) -> tuple[Case, Record]:
    """Crop a case to the retina.

    Parameters
    ----------
    case : Case
        Of one channel.
    options : CropOptions

    Returns
    -------
    Case, Record

    Raises
    ------
    ValueError
        When the case is no B-scan of one channel, shows no retina, the height does not hold it, or
        labels are to be ignored outside and no value says so.
    """
    if options.outside == "ignore" and case.ignore is None:
        raise ValueError(
            "outside is 'ignore', but the data set has no ignored value; take 'nearest' or "
            "'background', or give the data set one."
        )
    axes = axes_of(case, options.axial_axis)
    image = grey_channel(case)
    spacing = spacing_um(case, axes)
    found = retina_of_bscans(image, spacing, case.mask, axes)
    rows = case.shape[axes.rows]
    start, height = crop_rows(
        float(found.ilm.min()),
        float(found.membrane.max()),
        rows,
        options.margin_um / spacing.axial,
        options.height,
        options.multiple,
    )
    others = tuple(n for axis, n in enumerate(case.shape) if axis != axes.rows)
    window = RowWindow(np.full(others, start, np.int64), height, rows, axes.rows)
    cropped = window_case(case, window, axes)
    first = [start if axis == axes.rows else 0 for axis in range(len(case.shape))]
    cropped = replace(cropped, affine=moved_affine(case.affine, first, (1.0,) * len(first)))
    cropped = with_notes(cropped, spacing, found.touches_border)
    record = Record(
        "crop",
        case.shape,
        cropped.shape,
        {
            "start": start,
            "axial_axis": axes.rows,
            "margin_um": options.margin_um,
            "outside": options.outside,
            "outside_label": _outside_label(case, options.outside),
            "spacing_um": [spacing.axial, spacing.lateral],
            "spacing_assumed": spacing.assumed,
            "touches_border": found.touches_border,
        },
    )
    return cropped, record


def _outside_label(case: Case, outside: str) -> int | None:
    if outside == "background":
        return background_label(case)
    return case.ignore if outside == "ignore" else None


def restore_crop(record: Record, array: Array, kind: Kind) -> Array:
    """Put rows back where they were, and beside them what :class:`CropOptions` says."""
    axis = record.settings["axial_axis"]
    others = tuple(n for a, n in enumerate(record.shape_before) if a != axis)
    start = np.full(others, record.settings["start"], np.int64)
    window = RowWindow(start, record.shape_after[axis], record.shape_before[axis], axis)
    return take_rows(array, window.inverse, kind, _outside(record, array, kind))


def _outside(record: Record, array: Array, kind: Kind) -> float | Array | None:
    outside = record.settings["outside"]
    if kind == "image":
        return 0
    if outside == "nearest":
        return None
    if kind == "labels":
        return int(record.settings["outside_label"])
    values = np.zeros((len(array),) + (1,) * len(record.shape_before))
    values[0] = outside == "background"
    return values
