"""The grid that all maps of a case share, and how to change them together.

Voxel indices become millimetres by an affine, which may be oblique: steps move and scale it within
its own axes, so that the orientation stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from softlabel.preprocess.step import Kind
from softlabel.types import Array, Case

SAME_PLACE = 0.05
"""Grids are the same when no corner lies further apart than this share of the finest voxel."""


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


def stack_sequences(
    sequences: Mapping[str, Array], affines: Mapping[str, Array] | None = None
) -> Array:
    """Sequences of one patient as the channels of one image.

    Parameters
    ----------
    sequences : mapping of name to ndarray, shape (*spatial)
    affines : mapping of name to ndarray, shape (4, 4), optional
        Voxel indices to millimetres.

    Returns
    -------
    ndarray, shape (C, *spatial)

    Raises
    ------
    ValueError
        Naming the first sequence that lies on another grid than the first one.

    Examples
    --------
    >>> stack_sequences({"T1": np.zeros((4, 4, 2)), "FLAIR": np.ones((4, 4, 2))}).shape
    (2, 4, 4, 2)
    """
    if not sequences:
        raise ValueError("no sequence was given; give at least one.")
    first, *others = sequences
    shape = sequences[first].shape
    for name in others:
        if sequences[name].shape != shape:
            raise ValueError(
                f"the sequence {name} has the shape {sequences[name].shape} and {first} {shape}; "
                f"both must lie on one grid. Register {name} to {first} first."
            )
        if affines is None:
            continue
        apart = grid_distance(affines[first], affines[name], shape)
        finest = float(voxel_mm(affines[first])[: len(shape)].min())
        if apart > SAME_PLACE * finest:
            raise ValueError(
                f"the sequence {name} lies up to {apart:.2f} mm from {first}, though both have the "
                f"shape {shape}; both must lie on one grid. Register {name} to {first} first."
            )
    return np.stack([sequences[name] for name in sequences])


def grid_distance(one: Array, other: Array, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the same corners of two grids of one shape."""
    ends = [(0, n - 1) for n in shape] + [(0,)] * (3 - len(shape))
    corners = np.array([(*c, 1) for c in np.stack(np.meshgrid(*ends), -1).reshape(-1, 3)]).T
    return float(np.linalg.norm(((one - other) @ corners)[:3], axis=0).max())


def voxel_mm(affine: Array) -> Array:
    """Size of a voxel along each of its axes, (3,), of an oblique affine as well."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


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
    step = np.eye(4)
    for axis, (first, size) in enumerate(zip(start, scale, strict=True)):
        step[axis, axis], step[axis, 3] = size, first
    return np.asarray(affine, dtype=np.float64) @ step


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


def labelled(case: Case) -> Array:
    """Where any rater drew something: neither the first class nor the ignored value."""
    background = case.classes.values[0] if case.classes is not None else 0
    drawn = case.labels != background
    if case.ignore is not None:
        drawn &= case.labels != case.ignore
    return np.asarray(drawn.any(axis=case.rater_axis) if case.rater_axis is not None else drawn)
