"""What a recipe needs to know of a data set, and the sizes that follow from it.

Nothing is computed from images: shapes, spacings and classes are those that the check of the data
set saw in its label maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softlabel.errors import UsageError
from softlabel.generation import Check
from softlabel_train.dynunet import LEAST_SIDE, network_shape

PATCH_VOXELS = 128**3
"""Voxels of a patch for 8 GB, in batches of two: what nnU-Net plans for a card of that size."""

PATCH_GB = 8.0

SAME_SPACING = 1.02
"""Spacings whose largest is at most this many times the smallest need no resampling."""


@dataclass(frozen=True)
class Fingerprint:
    """Facts of a data set.

    Attributes
    ----------
    cases, patients : int
    classes : tuple of (int, str)
        Label values and names.
    channels : tuple of str
        Names of the image channels; empty when the source does not say.
    shape : tuple of int
        Median over the cases, on voxels of ``spacing_mm`` where there is one.
    spacing_mm : tuple of float or None
        Median over the cases; None when any of them states none.
    spacings_differ : bool
        Whether images must be resampled to be alike.
    """

    cases: int
    patients: int
    classes: tuple[tuple[int, str], ...]
    channels: tuple[str, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    spacings_differ: bool

    @property
    def dims(self) -> int:
        """Number of spatial axes."""
        return len(self.shape)


def fingerprint(found: Check) -> Fingerprint:
    """Facts of a data set that was checked.

    Raises
    ------
    UsageError
        When no label map could be read, or they have unequal numbers of axes.
    """
    dataset, looks = found.dataset, found.looks
    if not looks:
        raise UsageError(f"No label map of {dataset.root} could be read; run softlabel check.")
    dims = {len(look.facts.shape) for look in looks.values()}
    if len(dims) > 1:
        raise UsageError(
            f"The label maps of {dataset.root} have {' and '.join(map(str, sorted(dims)))} spatial "
            "axes; give data sets of one kind."
        )
    shapes = np.array([look.facts.shape for look in looks.values()], np.float64)
    spacings = [look.spacing_mm for look in looks.values() if look.spacing_mm is not None]
    spacing, differ = None, False
    if len(spacings) == len(looks):
        each = np.array(spacings)
        differ = bool((each.max(0) > SAME_SPACING * each.min(0)).any())
        median = np.median(each, axis=0)
        spacing = tuple(float(f"{s:.4g}") for s in median)
        if differ:
            shapes = shapes * each / median
    rows = [row for row in found.classes() if row.name != "ignore"]
    return Fingerprint(
        len(looks),
        len({ref.group or ref.id for ref in dataset.refs if ref.id in looks}),
        tuple((row.value, row.name) for row in rows),
        tuple(dataset.channels),
        tuple(round(n) for n in np.median(shapes, axis=0)),
        spacing,
        differ,
    )


def patch_for(
    shape: Sequence[int], spacing_mm: Sequence[float] | None, memory_gb: float = PATCH_GB
) -> tuple[int, ...]:
    """Size of the patches of a DynUNet: as large as the memory allows, and as long in all axes.

    Parameters
    ----------
    shape : sequence of int
        Voxels of the median image.
    spacing_mm : sequence of float, optional
        Of its voxels; isotropic by default.
    memory_gb : float
        Of the device, for batches of two.

    Returns
    -------
    tuple of int
        Multiples of what the network's strides divide by; an axis may be a little longer than the
        image, which is then padded.

    Examples
    --------
    >>> patch_for((512, 512, 300), (0.8, 0.8, 1.0))
    (128, 128, 96)
    >>> patch_for((240, 240, 48), (0.96, 0.96, 3.0))
    (192, 192, 48)
    """
    spacing = spacing_mm or (1.0,) * len(shape)
    most = PATCH_VOXELS * memory_gb / PATCH_GB
    patch = [max(n, LEAST_SIDE) for n in shape]
    while math.prod(patch) > most:
        longest = max(range(len(patch)), key=lambda axis: patch[axis] * spacing[axis])
        patch[longest] -= 1
    return _rounded(patch, shape, spacing)


def _rounded(
    patch: Sequence[int], shape: Sequence[int], spacing: Sequence[float]
) -> tuple[int, ...]:
    """The patch in multiples of what its own network divides by.

    Rounding may move an axis over the length from which the network halves it once more, or once
    less; so the rounded patch is asked again, until both agree.
    """
    found, seen = tuple(patch), set()
    while found not in seen:
        seen.add(found)
        divisors = _divisors(found, spacing)
        found = tuple(
            _near(n, by, whole) for n, by, whole in zip(patch, divisors, shape, strict=True)
        )
    return found


def _divisors(patch: Sequence[int], spacing: Sequence[float]) -> list[int]:
    """What the network for a patch divides each axis by on the way down."""
    try:
        strides = network_shape(patch, spacing).strides
    except ValueError as error:
        raise UsageError(f"There is no DynUNet for these images: {error}.") from error
    return [math.prod(axis) for axis in zip(*strides, strict=True)]


def _near(n: int, by: int, whole: int) -> int:
    """A multiple of ``by``: around the whole image, or below a part of it."""
    return -(-n // by) * by if n >= whole else max(by, n // by * by)
