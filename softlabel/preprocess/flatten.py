"""Flattening: every A-scan is moved along itself so that Bruch's membrane becomes a straight line.

By whole pixels, the default, nothing is interpolated and the way back is exact. The frame grows by
as many rows as the membrane covers, so that nothing is lost; what is new in it is masked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.bscans import (
    Axes,
    axes_of,
    grey_channel,
    retina_of_bscans,
    spacing_um,
    with_notes,
)
from softlabel.preprocess.record import Record
from softlabel.preprocess.step import Kind
from softlabel.preprocess.window import RowWindow, take_rows, window_case
from softlabel.types import Array, Case


@dataclass(frozen=True)
class FlattenOptions:
    """Options of the step.

    Attributes
    ----------
    subpixel : bool
        Move A-scans by fractions of a pixel: images and soft maps are interpolated linearly, labels
        are taken from the nearest pixel, and the way back is exact within half a pixel.
    axial_axis : int
        Spatial axis along the A-scans.
    """

    subpixel: bool = field(
        default=False,
        metadata={"help": "Move A-scans by fractions of a pixel, which interpolates the image."},
    )
    axial_axis: int = field(default=0, metadata={"help": "Spatial axis along the A-scans."})

    def __post_init__(self) -> None:
        make_plain(self)


def flat_window(membrane: Array, rows: int, subpixel: bool = False, axis: int = 0) -> RowWindow:
    """Window of every A-scan that brings the membrane to one row, with no row of it left out.

    Parameters
    ----------
    membrane : ndarray of float, shape (spatial axes without that of the rows)
        Row of Bruch's membrane in each A-scan.
    rows : int
        Rows of the image.
    subpixel : bool
    axis : int
        Spatial axis of the rows.

    Examples
    --------
    >>> window = flat_window(np.array([7.4, 5.0, 6.0]), 10)
    >>> window.start.tolist(), window.height
    ([0, -2, -1], 12)
    """
    place = membrane if subpixel else np.rint(membrane).astype(np.int64)
    start = place - place.max()
    return RowWindow(start, rows + int(np.ceil(-start.min())), rows, axis)


def apply_flatten(case: Case, options: FlattenOptions) -> tuple[Case, Record]:
    """Flatten a case to Bruch's membrane; each B-scan of a volume is searched for itself.

    Parameters
    ----------
    case : Case
        Of one channel.
    options : FlattenOptions

    Returns
    -------
    Case, Record
        The case has no affine any more: A-scans are moved one by one. The record has the membrane
        (rows before the step) and the first row of every A-scan.

    Raises
    ------
    ValueError
        When the case is no B-scan of one channel, or shows no retina
        (:func:`softlabel.preprocess.retina.find_retina`).
    """
    axes = axes_of(case, options.axial_axis)
    image = grey_channel(case)
    spacing = spacing_um(case, axes)
    found = retina_of_bscans(image, spacing, case.mask, axes)
    membrane = across(found.membrane, axes)
    window = flat_window(membrane, case.shape[axes.rows], options.subpixel, axes.rows)
    flat = replace(window_case(case, window, axes), affine=None)
    flat = with_notes(flat, spacing, found.touches_border)
    record = Record(
        "flatten",
        case.shape,
        flat.shape,
        {
            "subpixel": options.subpixel,
            "axial_axis": axes.rows,
            "spacing_um": [spacing.axial, spacing.lateral],
            "spacing_assumed": spacing.assumed,
            "agreement": found.agreement,
            "touches_border": found.touches_border,
        },
        {"start": window.start, "membrane": membrane},
    )
    return flat, record


def restore_flatten(record: Record, array: Array, kind: Kind) -> Array:
    """Move every A-scan back to where it was; nothing had been cut away."""
    axis = record.settings["axial_axis"]
    window = RowWindow(
        record.arrays["start"], record.shape_after[axis], record.shape_before[axis], axis
    )
    return take_rows(array, window.inverse, kind)


def across(rows: Array, axes: Axes) -> Array:
    """Rows (B-scans, columns) on the axes of the case that are not that of the rows."""
    if axes.bscans is None:
        return rows[0]
    return np.ascontiguousarray(rows if axes.bscans < axes.columns else rows.T)
