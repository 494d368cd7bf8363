"""The grid that all maps of a case share, and how to change them together.

Voxel indices become millimetres by an affine, which may be oblique: steps move and scale it within
its own axes, so that the orientation stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from softlabel.preprocess.step import Kind
from softlabel.types import Array, Case


def check_case(case: Case) -> None:
    """Check that an image is finite and that every map of the case lies on its grid.

    Raises
    ------
    ValueError
        Naming the map that does not, or the channel that has values which are no numbers.
    """
    maps = {"label map": case.labels, "mask": case.mask, "true label map": case.truth}
    maps |= {f"label map {name!r}": values for name, values in case.label_maps.items()}
    maps |= {"soft map": case.soft}
    for name, values in maps.items():
        spatial = None if values is None else values.shape[values.ndim - len(case.shape) :]
        if spatial is not None and spatial != case.shape:
            raise ValueError(
                f"the {name} has the shape {spatial} and the image {case.shape}; both must lie on "
                f"one grid. Resample the {name} to the image first."
            )
    check_finite(case.image, case.channels)


def check_finite(image: Array, channels: Sequence[str] = ()) -> None:
    """Check that all intensities of an image (C, *spatial) are finite.

    Raises
    ------
    ValueError
        Naming the first channel where they are not.
    """
    for number, channel in enumerate(image):
        if bad := channel.size - int(np.count_nonzero(np.isfinite(channel))):
            raise ValueError(
                f"channel {channel_name(channels, number)} has {bad:,} voxels that are NaN or "
                "infinite; expected finite intensities. Correct the image."
            )


def channel_name(channels: Sequence[str], number: int) -> str:
    """Number of a channel, and its name where it has one.

    Examples
    --------
    >>> channel_name(("FLAIR", "T1"), 1), channel_name((), 1)
    ('1 (T1)', '1')
    """
    return f"{number} ({channels[number]})" if number < len(channels) else str(number)


def moved_affine(
    affine: Array | None, start: Sequence[float], scale: Sequence[float]
) -> Array | None:
    """Affine of a grid whose first voxel is centred at ``start`` and whose voxels are scaled.

    Parameters
    ----------
    affine : ndarray, shape (4, 4), or None
    start : sequence of float
        Centre of the new first voxel, in old voxels, along each spatial axis.
    scale : sequence of float
        Size of a new voxel in old ones.

    Examples
    --------
    >>> moved_affine(np.diag([1.0, 1, 3, 1]), (10, 0, -0.25), (1, 1, 0.5))[:3]
    array([[ 1.  ,  0.  ,  0.  , 10.  ],
           [ 0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.  ,  0.  ,  1.5 , -0.75]])
    """
    if affine is None:
        return None
    # column by column, since a matrix product may round otherwise on another processor
    moved = np.array(affine, dtype=np.float64)
    for axis, (first, size) in enumerate(zip(start, scale, strict=True)):
        moved[:3, 3] += first * moved[:3, axis]
        moved[:3, axis] *= size
    return moved


def change_maps(case: Case, change: Callable[[Array, Kind], Array]) -> Case:
    """Change the image and every map of a case by a function of (array, kind)."""
    return replace(
        case,
        image=change(case.image, "image"),
        labels=change(case.labels, "labels"),
        mask=None if case.mask is None else change(case.mask, "labels"),
        truth=None if case.truth is None else change(case.truth, "labels"),
        label_maps={name: change(values, "labels") for name, values in case.label_maps.items()},
        soft=None if case.soft is None else change(case.soft, "soft"),
    )


def background_label(case: Case) -> int:
    """Label value of the first class; 0 while the classes are not known."""
    return case.classes.values[0] if case.classes is not None else 0


def labelled(case: Case) -> Array:
    """Where any rater drew something: neither the first class nor the ignored value."""
    drawn = case.labels != background_label(case)
    if case.ignore is not None:
        drawn &= case.labels != case.ignore
    return np.asarray(drawn.any(axis=case.rater_axis) if case.rater_axis is not None else drawn)
