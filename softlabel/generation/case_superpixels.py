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
from softlabel.generation.settings import Settings
from softlabel.superpixels import by_slice, grid, scale_channels, slic
from softlabel.types import Array, Case, coarsest_axis


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
    given : ndarray of int, shape (*spatial), optional
        For ``settings.superpixels == "file"``, of which none are asked for.
    device : DeviceProcess, optional
        Where SLIC runs with ``settings.slic_code == "device"``.

    Raises
    ------
    ValueError
        When the given superpixels have another shape, or the case has no such slice axis.
    """
    if settings.superpixels == "file":
        return _renumbered(_checked(given, case.shape), case.mask), 0
    spacing = case.spacing_mm or (1.0,) * len(case.shape)
    spacing = tuple(s / min(spacing) for s in spacing)
    axis = coarsest_axis(spacing) if settings.slice_axis is None else settings.slice_axis
    if not 0 <= axis < len(case.shape):
        raise ValueError(f"slice_axis must lie in 0..{len(case.shape) - 1}; got {axis}.")
    per_slice = settings.slic_dims == "slice" and len(case.shape) == 3
    pieces = case.shape[axis] if per_slice else 1
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
    if per_slice:
        ids = by_slice(make, image, spacing, axis, mask)
    else:
        ids = make(image, spacing, mask)
    return _renumbered(ids, case.mask), asked * pieces


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
    ids = np.maximum(ids if mask is None else np.where(mask, ids, -1), -1)
    highest = int(ids.max())
    if highest > 4 * ids.size:  # ids of a file may be anything
        values, position = np.unique(ids, return_inverse=True)
        return (position.reshape(ids.shape) - (values[0] < 0)).astype(np.int32)
    present = np.zeros(highest + 2, np.bool_)
    present[ids + 1] = True
    number = np.cumsum(present[1:], dtype=np.int32) - 1
    return np.concatenate([[-1], number]).astype(np.int32)[ids + 1]
