"""Label maps that are probabilities already: one map a class, read as soft labels.

A file holds one map, or several along an axis of classes; :func:`read_probabilities` divides what
is stored by the value that means 1. :func:`soft_labels` checks the maps of a case and completes
them by the background, :func:`most_probable` gives its hard labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError, UsageError
from softlabel.readers.imagefiles import read_pixels
from softlabel.readers.pixels import Pixels
from softlabel.types import Array, ClassTable

TOLERANCE = 1e-3
"""By how much a probability may lie outside of 0 to 1, and a sum over the classes above 1."""

EQUAL = 1e-6
"""Probabilities that differ by no more are equal: 1 − Σ is not exact in float32."""


@dataclass(frozen=True, eq=False)
class Probabilities:
    """The probabilities that one file holds.

    Attributes
    ----------
    maps : ndarray of float32, shape (M, *spatial)
    rounding : float
        Half the distance of values that the file can store; 0 for floating-point numbers.
    pixels : Pixels
        What else the file says, with the place of its voxels; its values are the first map.
    """

    maps: Array
    rounding: float
    pixels: Pixels


def read_probabilities(
    path: Path, key: str | None = None, full: int = 1, class_axis: int | None = None
) -> Probabilities:
    """Read the probabilities in a file.

    Parameters
    ----------
    path : Path
    key : str or None
        Name of the array in a ``.npz`` file.
    full : int
        Stored value that means 1.
    class_axis : int or None
        Axis that counts the classes, negative from the end; None takes what the file says.

    Raises
    ------
    CaseError
        When the file cannot be read, has a palette, or has not two or three spatial axes.
    UsageError
        When there is no such axis.
    """
    pixels = read_pixels(path, as_labels=True, key=key)
    values = pixels.values
    if pixels.palette is not None:
        raise CaseError(
            f"{path} has a palette, whose numbers are no probabilities; expected grey levels. "
            "Save it without a palette."
        )
    axis = pixels.channel_axis if class_axis is None else class_axis
    if axis is not None and not -values.ndim <= axis < values.ndim:
        raise UsageError(
            f"The option label_channel_axis is {axis}, but {path} has the {values.ndim} axes "
            f"{values.shape}; expected a number from 0 to {values.ndim - 1}, or negative from the "
            "end."
        )
    maps = values[np.newaxis] if axis is None else np.moveaxis(values, axis, 0)
    if maps.ndim not in (3, 4):
        raise CaseError(
            f"{path} has the shape {values.shape}; expected two or three spatial axes and at most "
            "one of classes. Say which counts the classes with --label-channel-axis."
        )
    stored_integers = values.dtype.kind in "iu"
    maps = maps.astype(np.float32) / np.float32(full)
    first = Pixels(
        maps[0], spacing_mm=pixels.spacing_mm, affine=pixels.affine, slice_axis=pixels.slice_axis,
        axes_known=pixels.axes_known, notes=pixels.notes,
    )  # fmt: skip
    return Probabilities(maps, 0.5 / full if stored_integers and full > 1 else 0.0, first)


def soft_labels(
    maps: Sequence[Array] | Array, path: Path, *, rounding: float = 0.0, background: bool
) -> Array:
    """Soft labels of a case, checked.

    Parameters
    ----------
    maps : sequence of ndarray of float32, shape (*spatial)
        One for each class.
    path : Path
        The file, for messages.
    rounding : float
        How far each value may lie from what it was before it was stored.
    background : bool
        The background, 1 − Σ of the maps, comes before them.

    Returns
    -------
    ndarray of float32, shape (K, *spatial)
        Values 0 to 1.

    Raises
    ------
    CaseError
        For values that are not finite or not in 0 to 1, and for sums above 1.

    Examples
    --------
    >>> soft_labels([np.float32([[0, 0.25, 1]])], Path("lesion.npy"), background=True).tolist()
    [[[1.0, 0.75, 0.0]], [[0.0, 0.25, 1.0]]]
    """
    soft = np.asarray(maps, dtype=np.float32)
    finite = np.isfinite(soft)
    if not finite.all():
        raise CaseError(
            f"{path} has {soft.size - np.count_nonzero(finite)} probabilities that are NaN or "
            "infinite; expected numbers from 0 to 1. Replace them."
        )
    low, high = float(soft.min()), float(soft.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise CaseError(
            f"{path} has probabilities from {low:.4g} to {high:.4g}; expected 0 to 1. Give the "
            "stored value that means 1 with --soft-range (255 for 8 bits), or convert scores to "
            "probabilities first."
        )
    total = soft.sum(axis=0, dtype=np.float64)
    above = int(np.count_nonzero(total > 1 + TOLERANCE + len(soft) * rounding))
    if above:
        raise CaseError(
            f"{path} has probabilities whose sum over the classes is above 1 in {above} pixels (up "
            f"to {total.max():.4g}); expected at most 1, since a pixel belongs to one class. "
            "Divide them by their sum, or give classes that overlap as data sets of their own."
        )
    soft = soft.clip(0, 1)
    if not background:
        return soft
    rest = (1 - soft.sum(axis=0, dtype=np.float64)).clip(0, 1).astype(np.float32)
    return np.concatenate([rest[np.newaxis], soft])


def most_probable(soft: Array, classes: ClassTable | None) -> Array:
    """Label value of the most probable class of each pixel, the lowest of equals.

    Parameters
    ----------
    soft : ndarray, shape (K, *spatial)
    classes : ClassTable or None
        None numbers the classes from 0.

    Examples
    --------
    >>> soft = np.float32([[0.5, 0.2], [0.5, 0.8]])
    >>> most_probable(soft, ClassTable.from_values([0, 128])).tolist()
    [0, 128]
    """
    index = (soft >= soft.max(axis=0) - EQUAL).argmax(axis=0)
    values = np.arange(len(soft)) if classes is None else np.array(classes.values)
    return values.astype(np.min_scalar_type(int(values.max())))[index]


def lacks_background(n_maps: int, classes: ClassTable | None, path: Path) -> bool:
    """Whether maps are those of all classes but the background.

    Without a class table, a single map is that of the foreground.

    Raises
    ------
    CaseError
        When their number does not fit the class table.
    """
    if classes is None:
        return n_maps == 1
    if n_maps == len(classes):
        return False
    if n_maps == len(classes) - 1 and classes.values[0] == 0:
        return True
    raise CaseError(
        f"{path} has probabilities of {n_maps} classes and the class table {len(classes)} "
        f"({', '.join(classes.names[:20])}); expected as many, or one less without a background "
        "(0). Correct the table, or say which axis counts the classes with --label-channel-axis."
    )
