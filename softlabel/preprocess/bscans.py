"""B-scans of a case: which axis is which, how large a pixel is, and each B-scan as (rows, columns).

Steps for OCT look at one B-scan at a time, also in a volume: the eye moves between B-scans.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from softlabel.errors import plural
from softlabel.preprocess.background import fill_background
from softlabel.preprocess.retina import Retina, find_retina
from softlabel.types import Array, Case, Note

ASSUMED_SPACING_UM = (3.87, 11.33)
"""Axial and lateral distance of pixels where a case states none: those of the Spectralis scans of
Duke OCT-DME."""

MAX_AXIAL_MM = 0.1
"""Pixels of OCT lie a few µm apart along the A-scans; those of MRI and CT hundreds."""


class SpacingUm(NamedTuple):
    """Distance of neighbouring pixels within a B-scan."""

    axial: float
    lateral: float
    assumed: bool


@dataclass(frozen=True)
class Axes:
    """Spatial axes of a case of OCT.

    Attributes
    ----------
    rows : int
        Along the A-scans, from the vitreous to the choroid.
    columns : int
        Across the A-scans of a B-scan.
    bscans : int or None
        Across the B-scans of a volume.
    """

    rows: int
    columns: int
    bscans: int | None

    @property
    def order(self) -> tuple[int, ...]:
        """The axes of the case in the order (B-scans, rows, columns)."""
        within = (self.rows, self.columns)
        return within if self.bscans is None else (self.bscans, *within)

    def stack(self, array: Array) -> Array:
        """A view of a spatial array as (B-scans, rows, columns); one B-scan for an image."""
        ordered = array.transpose(self.order)
        return ordered[None] if self.bscans is None else ordered

    def unstack(self, stack: Array) -> Array:
        """What :meth:`stack` made, on the axes of the case again."""
        ordered = stack[0] if self.bscans is None else stack
        return np.ascontiguousarray(ordered.transpose(np.argsort(self.order)))

    def each(self, change: Callable[..., Array], *arrays: Array) -> Array:
        """Change each B-scan of spatial arrays by a function of (rows, columns) arrays."""
        stacks = [self.stack(array) for array in arrays]
        return self.unstack(np.stack([change(*parts) for parts in zip(*stacks, strict=True)]))


def axes_of(case: Case, axial_axis: int = 0) -> Axes:
    """Which axis of a case is which.

    Raises
    ------
    ValueError
        When the case is neither an image nor a volume, its pixels lie too far apart for OCT, or its
        axis across the slices is said to be that of the A-scans.
    """
    ndim = len(case.shape)
    if ndim not in (2, 3):
        raise ValueError(
            f"the image has {ndim} spatial axes; OCT has 2 (rows, columns) or 3 (and B-scans). "
            "Check how the file is read."
        )
    if not 0 <= axial_axis < ndim:
        raise ValueError(
            f"axial_axis is {axial_axis}, the image has the axes 0..{ndim - 1}; give the axis "
            "along the A-scans."
        )
    if case.spacing_mm is not None and case.spacing_mm[axial_axis] > MAX_AXIAL_MM:
        raise ValueError(
            f"the pixels lie {case.spacing_mm[axial_axis]:g} mm apart along the A-scans (axis "
            f"{axial_axis}), in OCT at most {MAX_AXIAL_MM:g} mm: this step is for OCT only. Leave "
            "it out, or give the right spacing."
        )
    others = [axis for axis in range(ndim) if axis != axial_axis]
    if ndim == 2:
        return Axes(axial_axis, others[0], None)
    if case.slice_axis == axial_axis:
        raise ValueError(
            f"axis {axial_axis} is across the slices of this volume of shape {case.shape}, and "
            "cannot be along the A-scans as well; give the axis along the A-scans as axial_axis."
        )
    bscans = case.slice_axis
    if bscans is None:
        spacing = case.spacing_mm or (1.0,) * ndim
        bscans = max(others, key=lambda axis: (spacing[axis], axis))
    return Axes(axial_axis, next(axis for axis in others if axis != bscans), bscans)


def spacing_um(case: Case, axes: Axes) -> SpacingUm:
    """How far pixels of a B-scan lie apart: :data:`ASSUMED_SPACING_UM` where the case is silent."""
    if case.spacing_mm is None:
        return SpacingUm(*ASSUMED_SPACING_UM, assumed=True)
    return SpacingUm(
        1000 * case.spacing_mm[axes.rows], 1000 * case.spacing_mm[axes.columns], assumed=False
    )


def with_notes(case: Case, spacing: SpacingUm, touches_border: int) -> Case:
    """The case with notes where its spacing was assumed or its retina leaves the frame."""
    notes = []
    if spacing.assumed:
        axial, lateral = ASSUMED_SPACING_UM
        notes.append(
            Note(
                "assumed-spacing",
                f"{case.source or case.id} states no spacing of pixels; preprocessing took it as "
                f"{axial} × {lateral} µm (axial × lateral). Give the spacing if it is another.",
            )
        )
    if touches_border:
        notes.append(
            Note(
                "retina-at-border",
                f"The retina of {case.name} reaches the border of the frame in "
                f"{plural(touches_border, 'A-scan')}; its borders are less certain there.",
            )
        )
    known = {note.code for note in case.notes}
    added = tuple(note for note in notes if note.code not in known)
    return replace(case, notes=(*case.notes, *added)) if added else case


def grey_channel(case: Case) -> Array:
    """The one channel of a case.

    Raises
    ------
    ValueError
        When there are several, as in a screenshot in colours.
    """
    if len(case.image) != 1:
        what = " (RGB, as a screenshot has it)" if len(case.image) in (3, 4) else ""
        raise ValueError(
            f"the image has {len(case.image)} channels{what}; the retina is found in one channel "
            "of grey levels. Give the exported B-scan, or convert it to grey."
        )
    return np.asarray(case.image[0])


def fill_bscans(image: Array, missing: Array, axes: Axes) -> Array:
    """Fill missing pixels of every channel, each B-scan from its own background.

    Parameters
    ----------
    image : ndarray, shape (C, *spatial)
    missing : ndarray of bool, shape (*spatial)
    axes : Axes
    """
    if not missing.any():
        return image
    return np.stack([axes.each(fill_background, channel, missing) for channel in image])


@dataclass(frozen=True, eq=False)
class Borders:
    """Borders of the retina in all B-scans of a case.

    Attributes
    ----------
    ilm, membrane : ndarray of float64, shape (B-scans, columns)
    agreement : float
        The lowest of the B-scans.
    touches_border : int
        A-scans whose retina reaches the border of the frame.
    """

    ilm: Array
    membrane: Array
    agreement: float
    touches_border: int


def retina_of_bscans(image: Array, spacing: SpacingUm, mask: Array | None, axes: Axes) -> Borders:
    """Find the retina in each B-scan of a spatial image; names the B-scan that shows none.

    Raises
    ------
    ValueError
        As :func:`softlabel.preprocess.retina.find_retina` does.
    """
    stack = axes.stack(image)
    masks = [None] * len(stack) if mask is None else axes.stack(mask)
    found: list[Retina] = []
    for b, (bscan, known) in enumerate(zip(stack, masks, strict=True)):
        try:
            found.append(find_retina(bscan, (spacing.axial, spacing.lateral), known))
        except ValueError as error:
            if len(stack) == 1:
                raise
            raise ValueError(f"B-scan {b} (from 0): {error}") from error
    return Borders(
        np.stack([retina.ilm for retina in found]),
        np.stack([retina.membrane for retina in found]),
        min(retina.agreement for retina in found),
        sum(retina.touches_border for retina in found),
    )
