"""Superpixels and soft maps of one case."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from softlabel.cache import (
    CaseResult,
    Header,
    InputFile,
    Statistics,
)
from softlabel.device import TORCH_CPU, DeviceUnusable
from softlabel.errors import CaseError
from softlabel.generation.device_server import DeviceProcess
from softlabel.generation.settings import Settings
from softlabel.interrupt import SafePoint, no_safe_point
from softlabel.softening import METHODS, Backend, soften_with
from softlabel.softening.raters import majority
from softlabel.softmaps.class_index import class_index_map
from softlabel.softmaps.maps import SoftMaps
from softlabel.superpixels.front import by_slice, grid, scale_channels, slic
from softlabel.types import Array, Case, coarsest_axis


def compute(
    case: Case,
    header: Header,
    settings: Settings,
    inputs: tuple[InputFile, ...] = (),
    superpixels: Array | None = None,
    device: DeviceProcess | None = None,
    safe_point: SafePoint = no_safe_point,
) -> CaseResult:
    """Superpixels and soft maps of one case.

    Parameters
    ----------
    case : Case
    header : Header
        Its class table and ignored value hold for the whole cache.
    settings : Settings
    inputs : tuple of InputFile
        Recorded in the part.
    superpixels : ndarray of int, shape (*spatial), optional
        For ``settings.superpixels == "file"``.
    device : DeviceProcess, optional
        Where it is softened; what it cannot do is done here, on the CPU, and noted in the result.
    safe_point : callable
        Called between the steps; what it raises passes through.

    Raises
    ------
    CaseError
        When this case cannot be computed with these settings.
    """
    try:
        return _compute(case, header, settings, inputs, superpixels, device, safe_point)
    except ValueError as error:
        raise CaseError(f"{case.id} ({case.source}): {error}") from error


def _compute(
    case: Case,
    header: Header,
    settings: Settings,
    inputs: tuple[InputFile, ...],
    superpixels: Array | None,
    device: DeviceProcess | None,
    safe_point: SafePoint,
) -> CaseResult:
    _check_channels(case, header)
    method = METHODS[settings.method]
    asked = 0
    ids = None
    if method.needs_superpixels:
        ids, asked = make_superpixels(case, settings, superpixels, device)
    safe_point()
    soft, note = soften_case(case, ids, header, settings, device)
    safe_point()
    labels, label_maps = case.labels, dict(case.label_maps)
    if case.rater_axis is not None:
        names = case.raters or tuple(f"rater{r + 1}" for r in range(len(case.labels)))
        label_maps |= dict(zip(names, case.labels, strict=True))
        labels = _majority_labels(case.labels, header)
    statistics = measure(case, soft, labels, ids, asked, header)
    return CaseResult(case, labels, ids, soft, label_maps, statistics, inputs, note)


def soften_case(
    case: Case,
    ids: Array | None,
    header: Header,
    settings: Settings,
    device: DeviceProcess | None,
) -> tuple[SoftMaps, str]:
    """Soft maps of a case, and why its device did not make them."""
    options = dict(settings.method_options)
    if (
        METHODS[settings.method].needs_superpixels
        and options.get("in_plane")
        and settings.slice_axis is not None
    ):
        options["slice_axis"] = settings.slice_axis

    def soften_by(backend: Backend | None) -> SoftMaps:
        return soften_with(
            backend,
            case.labels,
            ids,
            method=settings.method,
            classes=header.classes,
            spacing=_distance_spacing(case, settings),
            boundary=settings.boundary,
            scale=settings.scale,
            normalize=settings.normalize,
            ignore=header.ignore,
            rater_axis=case.rater_axis,
            **options,
        )

    if device is None:
        return soften_by(None), ""
    try:
        return soften_by(device.soften), ""
    except DeviceUnusable as error:
        return soften_by(None), str(error)


def make_superpixels(
    case: Case,
    settings: Settings,
    given: Array | None = None,
    device: DeviceProcess | None = None,
) -> tuple[Array, int]:
    """Superpixels of a case (int32, −1 outside the mask), and how many were asked for."""
    shape = case.shape
    spacing = case.spacing_mm or (1.0,) * len(shape)
    spacing = tuple(s / min(spacing) for s in spacing)
    per_slice = settings.slic_dims == "slice" and len(shape) == 3
    axis = coarsest_axis(spacing) if settings.slice_axis is None else settings.slice_axis
    if not 0 <= axis < len(shape):
        raise ValueError(f"slice_axis must lie in 0..{len(shape) - 1}; got {axis}.")
    pieces = shape[axis] if per_slice else 1
    asked = settings.n_segments
    if settings.superpixel_size is not None:
        asked = max(1, round(int(np.prod(shape)) / pieces / settings.superpixel_size))
    in_slic = case.mask if settings.mask_mode == "slic" else None

    def make(image: Array, steps: tuple[float, ...]) -> Array:
        if settings.superpixels == "grid":
            return grid(image.shape[1:], asked, steps)
        options: dict[str, Any] = {
            "spacing": steps,
            "channel_axis": 0,
            "max_num_iter": settings.max_num_iter,
        }
        strength = (asked, settings.compactness, settings.sigma)
        if settings.slic_code == "device":
            return _slic_by_device(device, image, *strength, **options)
        if in_slic is None:
            return slic(image, *strength, **options)
        return slic(image[:-1], *strength, mask=image[-1] > 0, **options)

    if settings.superpixels == "file":
        if given is None or given.shape != shape:
            raise ValueError(
                f"the superpixels of the file have shape {None if given is None else given.shape}"
                f", the image has {shape}; give superpixels of the same grid."
            )
        ids, asked, pieces = given, 0, 1
    else:
        image = scale_channels(case.image, case.mask, settings.channel_percentiles)
        if in_slic is not None:  # travels as a last channel, so that slices cut it alike
            image = np.concatenate([image, in_slic[None].astype(np.float32)])
        ids = by_slice(make, image, spacing, axis) if per_slice else make(image, spacing)
    return _renumbered(ids, case.mask), asked * pieces


def _slic_by_device(
    device: DeviceProcess | None, image: Array, *strength: Any, **options: Any
) -> Array:
    """Superpixels by the tensor code: on the device, or on torch's CPU device with equal labels."""
    if device is not None:
        with contextlib.suppress(DeviceUnusable):
            return device.slic(image, *strength, **options)
    return slic(image, *strength, **options, device=TORCH_CPU)


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


def measure(
    case: Case, soft: SoftMaps, labels: Array, ids: Array | None, asked: int, header: Header
) -> Statistics:
    """Statistics of a computed case."""
    image = case.image.reshape(len(case.image), -1)
    inside = image if case.mask is None else image[:, case.mask.ravel()]
    if inside.shape[1] == 0:
        inside = image
    channels = [channel.astype(np.float64) for channel in inside]
    index = class_index_map(labels, header.classes, header.ignore)
    counts = np.bincount(index.ravel(), minlength=len(header.classes))
    return Statistics(
        class_pixels=counts[: len(header.classes)].astype(np.uint64),
        pixels=inside.shape[1],
        intensity_sum=np.array([c.sum() for c in channels]),
        intensity_sum_squares=np.array([np.dot(c, c) for c in channels]),
        intensity_min=np.array([c.min() for c in channels]),
        intensity_max=np.array([c.max() for c in channels]),
        softened_pixels=int(np.count_nonzero(soft.band)),
        soft_sum=soft.total(),
        n_superpixels=0 if ids is None else int(ids.max()) + 1,
        n_superpixels_asked=asked,
    )


def _distance_spacing(case: Case, settings: Settings) -> tuple[float, ...] | None:
    if settings.distance_unit == "pixel":
        return None
    if case.spacing_mm is None:
        raise ValueError(
            "the case has no pixel spacing, so distances cannot be in mm; use "
            "--distance-unit pixel, or say the spacing with --spacing-mm where the format takes it."
        )
    return case.spacing_mm


def _majority_labels(raters: Array, header: Header) -> Array:
    votes = majority([class_index_map(m, header.classes, header.ignore) for m in raters])
    lookup = np.full(int(np.iinfo(votes.dtype).max) + 1, header.ignore or 0, np.int64)
    lookup[: len(header.classes)] = header.classes.values
    return lookup[votes]


def _check_channels(case: Case, header: Header) -> None:
    if header.channels and len(case.image) != len(header.channels):
        raise ValueError(
            f"the image has {len(case.image)} channels, the data set {len(header.channels)} "
            f"({', '.join(header.channels)}); give all images the same channels."
        )
