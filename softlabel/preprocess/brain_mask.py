"""Where the brain is: a mask that is given, or made from labels or from intensities.

A mask from intensities is a threshold with tidy borders and no skull-stripping tool: on images
whose skull is gone it is the brain, on FLAIR with a skull nearly so, on other sequences the head. A
mask from labels exists only where labels do; its record says so, and whatever has no labels must
refuse it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.box import box_of
from softlabel.preprocess.grid import check_case, labelled
from softlabel.preprocess.record import Record
from softlabel.types import Array, Case, Note, spacing_in_order

SOURCES = ("given", "labels", "intensity")

DARK = 0.1
"""Share of the way from the lowest intensity to the 99th percentile of the masked ones: air and its
noise lie below it, tissue above."""

STRIPPED = 0.3
"""An image whose lowest value alone fills this share of it was stripped of its skull before: noise
around a head has many values."""

COVERED = 0.25
"""A mask reaches a side of the volume when it covers this share of it. The outermost slice through
a brain in the tightest box covers less, also with thick slices."""


@dataclass(frozen=True)
class BrainMaskOptions:
    """Options of the step.

    Attributes
    ----------
    source : {"given", "labels", "intensity"}
        The case's own mask; whatever any rater labelled; or :func:`intensity_mask`. The last two
        stay within the case's own mask where it has one.
    strip : bool
        Set intensities outside of the mask to 0, or to the lowest one where that is below 0 (CT).
    mask_channel : int
        Channel that ``intensity`` looks at; best a FLAIR.
    opening_mm, closing_mm : float
        What ``intensity`` cuts off and closes: bridges to the scalp, and sulci. ``labels`` are
        closed as well. Defaults are for voxels of about 1 mm in the plane.
    grow_mm : float
        How far the mask grows at last. Fluid around the brain is dark on FLAIR, where most of it
        lies outside of a mask from intensities.
    """

    source: str = field(
        default="given",
        metadata={
            "help": "Where the brain mask comes from: the mask that is given, the labels "
            "(not where there are none), or a threshold of intensities.",
            "choices": SOURCES,
        },
    )
    strip: bool = field(
        default=True, metadata={"help": "Set intensities outside of the brain mask to 0."}
    )
    mask_channel: int = field(
        default=0, metadata={"help": "Channel that a mask from intensities is made of."}
    )
    opening_mm: float = field(
        default=3.0, metadata={"help": "Bridges to the scalp up to twice as wide are cut."}
    )
    closing_mm: float = field(
        default=8.0, metadata={"help": "Gaps in the mask up to twice as wide are closed."}
    )
    grow_mm: float = field(
        default=0.0, metadata={"help": "How far the brain mask grows beyond its border at last."}
    )

    def __post_init__(self) -> None:
        make_plain(self)
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}; got {self.source!r}.")
        if self.mask_channel < 0:
            raise ValueError(f"mask_channel must be 0 or more; got {self.mask_channel}.")
        for name in ("opening_mm", "closing_mm", "grow_mm"):
            if not 0 <= getattr(self, name) <= 50:
                raise ValueError(f"{name} must lie in 0 to 50 mm; got {getattr(self, name)}.")


def intensity_mask(
    image: Array,
    spacing_mm: tuple[float, ...] | None = None,
    opening_mm: float = 3.0,
    closing_mm: float = 8.0,
) -> Array:
    """The bright part that lies deepest in an image, without thin bridges and without holes.

    Voxels above Otsu's threshold (1979) are eroded by ``opening_mm``. Of the components of the rest
    the one with the largest sum of squared depths below the surface of the head grows back within
    the threshold, is closed by ``closing_mm``, and its holes are filled. Where 30 % of the image
    or more has its lowest value, the skull is gone already: the largest component of all other
    voxels is taken, closed and filled.

    Parameters
    ----------
    image : ndarray, shape (*spatial)
        One channel.
    spacing_mm : tuple of float, optional
        1 mm where it is not given.
    opening_mm, closing_mm : float
        Radii of the opening and the closing.

    Returns
    -------
    ndarray of bool, shape (*spatial)

    Raises
    ------
    ValueError
        When the image is uniform, or nothing is left of it.

    Examples
    --------
    >>> image = np.zeros((40, 40)); image[10:30, 10:30] = 9; image[18:21, 18:21] = 0
    >>> int(intensity_mask(image).sum())
    400
    """
    from skimage.filters import threshold_otsu

    if image.min() == image.max():
        raise ValueError(
            f"every voxel of the image is {image.min():g}; a brain mask from intensities needs a "
            "brain. Check the image."
        )
    spacing = spacing_in_order(spacing_mm, image.ndim)
    low = image.min()
    if np.count_nonzero(image == low) >= STRIPPED * image.size:
        return fill_mask(_largest(image > low), spacing, closing_mm)
    bright = image > threshold_otsu(image)
    core = _eroded(bright, opening_mm, spacing)
    if not core.any():
        raise ValueError(
            f"no part of the image above Otsu's threshold is wider than {2 * opening_mm:g} mm; "
            "give a smaller opening_mm, another mask_channel, or a mask."
        )
    deepest = _deepest(core, fill_mask(bright, spacing, closing_mm), spacing)
    grown = _grown(deepest, opening_mm, spacing) & bright
    return fill_mask(grown, spacing, closing_mm)


def fill_mask(mask: Array, spacing_mm: tuple[float, ...], closing_mm: float) -> Array:
    """A mask closed by a ball of a radius in mm, then without holes."""
    from scipy import ndimage

    reach = [int(np.ceil(closing_mm / s)) + 1 for s in spacing_mm]
    padded = np.pad(mask, [(n, n) for n in reach])
    closed = _eroded(_grown(padded, closing_mm, spacing_mm), closing_mm, spacing_mm)
    inside = closed[tuple(slice(n, -n) for n in reach)] | mask
    thick = inside.squeeze()  # a single slice has holes in its plane only
    return np.asarray(ndimage.binary_fill_holes(thick)).reshape(mask.shape)


def _eroded(mask: Array, radius_mm: float, spacing_mm: tuple[float, ...]) -> Array:
    from scipy import ndimage

    if radius_mm == 0 or mask.all():
        return mask
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_mm) > radius_mm)


def _grown(mask: Array, radius_mm: float, spacing_mm: tuple[float, ...]) -> Array:
    from scipy import ndimage

    if radius_mm == 0 or not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= radius_mm)


def _largest(mask: Array) -> Array:
    """The largest component over faces; the first of equals."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    size = np.bincount(parts.ravel())
    size[0] = 0
    return np.asarray(parts == size.argmax())


def _deepest(mask: Array, head: Array, spacing_mm: tuple[float, ...]) -> Array:
    """The component with the largest sum of squared depths: no shell, as the scalp is."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    depth = ndimage.distance_transform_edt(head, sampling=spacing_mm)
    weight = np.bincount(parts.ravel(), weights=depth.ravel() ** 2)
    weight[0] = -1
    return np.asarray(parts == weight.argmax())


def why_no_brain(image: Array, mask: Array) -> str | None:
    """Why a mask looks like one of the face or of all that is left without it, and not of a brain.

    One of these is enough:

    * It covers a quarter or more of most of the volume's sides (four of six, three of four in an
      image). A brain in the tightest box barely touches them; what a defacing tool keeps does.
    * More than half of it is nearly uniform and dark, as air is: below a tenth of the way from the
      lowest intensity to the mask's 99th percentile, in every channel.
    * Its bounding box leaves out the centre of what is bright, as that of a face does.

    Parameters
    ----------
    image : ndarray, shape (C, *spatial)
    mask : ndarray of bool, shape (*spatial)
        Not empty.

    Returns
    -------
    str or None
        The end of a sentence that begins with "the mask"; None for what may be a brain.
    """
    wide = [axis for axis, n in enumerate(mask.shape) if n > 1]
    sides = [mask.take(end, axis).mean() >= COVERED for axis in wide for end in (0, -1)]
    if sum(sides) > len(sides) / 2:
        return f"covers a quarter or more of {sum(sides)} of the volume's {len(sides)} sides"
    dark, bright = _dark_and_bright(image, mask)
    if (share := dark[mask].mean()) > 0.5:
        return f"holds air in {share:.0%} of its voxels"
    if bright.any():
        for axis, (head, side) in enumerate(zip(box_of(bright), box_of(mask), strict=True)):
            middle = (head.start + head.stop - 1) / 2
            if not side.start <= middle <= side.stop - 1:
                return f"leaves out the middle of the head along axis {axis}"
    return None


def _dark_and_bright(image: Array, mask: Array) -> tuple[Array, Array]:
    """Voxels that are dark in every channel, and those of the largest part that are not."""
    dark = np.ones(mask.shape, np.bool_)
    for channel in image:
        low = float(channel.min())
        dark &= channel <= low + DARK * (float(np.percentile(channel[mask], 99)) - low)
    return dark, _largest(~dark) if not dark.all() else ~dark


def apply_brain_mask(case: Case, options: BrainMaskOptions) -> tuple[Case, Record]:
    """Give a case its brain mask, and strip the image of what lies outside.

    The way back leaves arrays as they are: what was stripped stays 0.

    Parameters
    ----------
    case : Case
    options : BrainMaskOptions

    Returns
    -------
    Case, Record
        The record has the ``source``: a mask of ``labels`` cannot be made for a case without.

    Raises
    ------
    ValueError
        When the mask is empty, absent, or lies on another grid.
    """
    check_case(case)
    mask = _mask_of(case, options)
    if not mask.any():
        what = {"given": "mask of the case", "labels": "mask from labels"}
        raise ValueError(
            f"the {what.get(options.source, 'mask from intensities')} is empty; expected a brain. "
            "Give another mask, or another source of it."
        )
    notes = _notes(case, mask, options)
    outside = [min(0, channel.min()) for channel in case.image]
    image = case.image
    if options.strip:
        fill = np.array(outside, case.image.dtype).reshape((-1,) + (1,) * mask.ndim)
        image = np.where(mask, case.image, fill)
    settings = {
        "source": options.source,
        "strip": options.strip,
        "outside": [float(value) for value in outside],
        "voxels": int(np.count_nonzero(mask)),
    }
    if options.source != "given":
        settings |= {"closing_mm": options.closing_mm}
    if options.source == "intensity":
        settings |= {"opening_mm": options.opening_mm, "mask_channel": options.mask_channel}
    if options.grow_mm:
        settings |= {"grow_mm": options.grow_mm}
    record = Record("brain_mask", case.shape, case.shape, settings)
    return replace(case, image=image, mask=mask, notes=(*case.notes, *notes)), record


def _mask_of(case: Case, options: BrainMaskOptions) -> Array:
    spacing = spacing_in_order(case.spacing_mm, len(case.shape))
    if options.source == "given":
        if case.mask is None:
            raise ValueError(
                "the case has no mask; give one that a skull-stripping tool made, or make one from "
                "intensities or from labels."
            )
        return _grown(case.mask.astype(np.bool_), options.grow_mm, spacing)
    if options.source == "labels":
        mask = fill_mask(labelled(case), spacing, options.closing_mm)
    else:
        if options.mask_channel >= len(case.image):
            raise ValueError(
                f"mask_channel is {options.mask_channel}, the image has the channels "
                f"0..{len(case.image) - 1}; give one of them."
            )
        channel = case.image[options.mask_channel]
        mask = intensity_mask(channel, spacing, options.opening_mm, options.closing_mm)
    mask = _grown(mask, options.grow_mm, spacing)
    return mask if case.mask is None else mask & case.mask


def _notes(case: Case, mask: Array, options: BrainMaskOptions) -> list[Note]:
    where = case.name
    notes = []
    given = case.mask.astype(np.bool_) if case.mask is not None else mask
    if options.source == "given" and (reason := why_no_brain(case.image, given)):
        notes.append(
            Note(
                "no-brain-mask",
                f"The mask of {where} {reason}, so it seems to be one of the face or of the whole "
                "head; it was taken as the brain mask. Give a mask of the brain.",
            )
        )
    if lost := int(np.count_nonzero(labelled(case) & ~mask)):
        notes.append(
            Note(
                "labels-outside-mask",
                f"{lost:,} labelled voxels of {where} lie outside of the brain mask, where the "
                "image means nothing. Check the mask.",
            )
        )
    return notes
