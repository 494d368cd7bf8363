"""Superpixels of one case, as its settings ask for them.

Knows the settings and cases; how superpixels are made is known by :mod:`softlabel.superpixels`.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import numpy as np

from softlabel.device import TORCH_CPU, DeviceUnusable
from softlabel.generation.device_server import DeviceProcess
from softlabel.generation.preset import resolved
from softlabel.generation.settings import Settings
from softlabel.superpixels import by_slice, grid, scale_channels, slic
from softlabel.types import Array, Case, required_slice_axis

BLOCK = 1 << 20
"""Pixels that are renumbered at a time."""


def make_superpixels(
    case: Case,
    settings: Settings,
    given: Array | None = None,
    device: DeviceProcess | None = None,
) -> tuple[Array, int]:
    """Superpixels of a case (int32, −1 outside the mask), and how many were asked for.

    Parameters
    ----------
    case : Case
    settings : Settings
        With a preset, what it becomes for the shape of the case.
    given : ndarray of int, shape (*spatial), optional
        For ``settings.superpixels == "file"``, of which none are asked for.
    device : DeviceProcess, optional
        Where SLIC runs with ``settings.slic_code == "device"``.

    Raises
    ------
    ValueError
        When the given superpixels have another shape, or nothing tells the axis across slices.
    """
    settings = resolved(settings, case.shape)
    if settings.superpixels == "file":
        return _renumbered(_checked(given, case.shape), case.mask), 0
    spacing = case.spacing_mm or (1.0,) * len(case.shape)
    spacing = tuple(s / min(spacing) for s in spacing)
    axis = None
    if settings.slic_dims == "slice":
        axis = slice_axis_of(case, settings)
    pieces = 1 if axis is None else case.shape[axis]
    asked = settings.n_segments
    if settings.superpixel_size is not None:
        asked = max(1, round(int(np.prod(case.shape)) / pieces / settings.superpixel_size))
    make = partial(_of_grid, asked) if settings.superpixels == "grid" else partial(
        _of_slic, settings, asked, device
    )  # fmt: skip
    image = case.image
    if settings.superpixels == "slic":
        image = scale_channels(image, case.mask, settings.channel_percentiles)
    mask = case.mask if settings.mask_mode == "slic" else None
    if axis is None:
        ids = make(image, spacing, mask)
    else:
        ids = by_slice(make, image, spacing, axis, mask)
    return _renumbered(ids, case.mask), asked * pieces


def slice_axis_of(case: Case, settings: Settings) -> int | None:
    """Axis across the slices of a volume, where settings ask for it; None for an image.

    Raises
    ------
    ValueError
        When nothing tells it, or the case has no such axis.
    """
    if len(case.shape) == 3 or settings.slice_axis is not None:
        axis = required_slice_axis(case.slice_axis, settings.slice_axis, len(case.shape))
        return axis if len(case.shape) == 3 else None
    return None


def _checked(given: Array | None, shape: tuple[int, ...]) -> Array:
    found = None if given is None else given.shape
    if given is None or found != shape:
        raise ValueError(
            f"the superpixels of the file have shape {found}, the image has {shape}; give "
            "superpixels of the same grid."
        )
    return given


def _of_grid(asked: int, image: Array, spacing: tuple[float, ...], mask: Array | None) -> Array:
    return grid(image.shape[1:], asked, spacing)


def _of_slic(
    settings: Settings,
    asked: int,
    device: DeviceProcess | None,
    image: Array,
    spacing: tuple[float, ...],
    mask: Array | None,
) -> Array:
    arguments = (image, asked, settings.compactness, settings.sigma)
    options: dict[str, Any] = {
        "spacing": spacing, "channel_axis": 0, "max_num_iter": settings.max_num_iter
    }  # fmt: skip
    if settings.slic_code == "cpu":
        return slic(*arguments, **options, mask=mask)
    if device is not None:
        with contextlib.suppress(DeviceUnusable):
            return device.slic(*arguments, **options)
    return slic(*arguments, **options, device=TORCH_CPU)  # the same labels as on any device


def _renumbered(ids: Array, mask: Array | None) -> Array:
    """Ids 0..M−1 in their old order, −1 outside the mask."""
    if mask is not None:
        ids = np.where(mask, ids, -1)
    if int(ids.min()) < -1:
        ids = np.maximum(ids, -1)
    highest = int(ids.max())
    if highest > 4 * ids.size:  # ids of a file may be anything
        values, position = np.unique(ids, return_inverse=True)
        return (position.reshape(ids.shape) - (values[0] < 0)).astype(np.int32)
    # by blocks, since indexing widens to 64 bits
    flat = ids.reshape(-1)
    blocks = [slice(start, start + BLOCK) for start in range(0, flat.size, BLOCK)]
    present = np.zeros(highest + 2, np.bool_)
    for block in blocks:
        present[flat[block] + 1] = True
    number = np.concatenate([[-1], np.cumsum(present[1:]) - 1]).astype(np.int32)
    renumbered = np.empty(flat.size, np.int32)
    for block in blocks:
        renumbered[block] = number[flat[block] + 1]
    return renumbered.reshape(ids.shape)
