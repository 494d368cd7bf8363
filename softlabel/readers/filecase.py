"""A case that lies in image files of its own: channels, a label map, perhaps the truth.

The formats that keep one file a channel (or a volume) differ in names and folders only; what they
list is read here. ``CaseRef.key`` holds ``images`` (paths relative to the data set, one or more),
``label``, and possibly

* ``truth``: path of the true label map,
* ``label_maps``: names and paths of further label maps, such as other graders',
* ``merge``: pairs ``[value, becomes]`` of label values that are one class,
* ``spacing_json``: path of a JSON file with ``{"spacing": […]}`` for formats that store none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers.geometry import check_same_grid, check_same_shape
from softlabel.readers.imagefiles import read_label_map, read_pixels
from softlabel.readers.labels import check_values
from softlabel.readers.listing import parse_spacing
from softlabel.readers.pixels import Pixels, require_finite
from softlabel.readers.safety import load_json
from softlabel.readers.segments import on_reference_grid
from softlabel.types import Array, Case, CaseRef, Dataset, Note, coarsest_axis


def open_source(dataset: Dataset, source: str) -> None:
    """Nothing: cases in files of their own share nothing."""
    return None


def read_case(dataset: Dataset, ref: CaseRef, opened: object = None) -> Case:
    """Read a case, and check that its files belong together.

    Raises
    ------
    CaseError
        When a file cannot be read, the files differ in shape or grid, or a value is not allowed.
    """
    label_path = dataset.root / ref.key["label"]
    labels = _read_labels(dataset, ref)
    image, first, notes = _read_channels(dataset, ref, labels, label_path)
    further = {
        name: _read_further(dataset, ref, relative, first)
        for name, relative in ref.key.get("label_maps", {}).items()
    }
    truth = _read_further(dataset, ref, ref.key["truth"], first) if "truth" in ref.key else None
    spacing_mm = _spacing(dataset, ref, first, labels)
    return Case(
        id=ref.id,
        image=image,
        labels=labels.values,
        classes=dataset.classes,
        ignore=dataset.ignore,
        spacing_mm=spacing_mm,
        affine=first.affine,
        group=ref.group,
        source=ref.source,
        channels=_channel_names(dataset, ref, len(image)),
        truth=truth,
        label_maps=further,
        slice_axis=_slice_axis(first, labels, spacing_mm),
        notes=tuple(dict.fromkeys((*notes, *labels.notes))),
    )


def read_labels(dataset: Dataset, ref: CaseRef, opened: object = None) -> Array:
    """Read only the label map of a case.

    Raises
    ------
    CaseError
        As :func:`read_case`, for the label map.
    """
    return _read_labels(dataset, ref).values


def _read_labels(dataset: Dataset, ref: CaseRef) -> Pixels:
    path = dataset.root / ref.key["label"]
    pixels = read_label_map(path, dataset.options.get("label_key"))
    if pixels.reference_offset is not None:
        # Only the image tells how large the grid is that it was cropped from.
        image_path = dataset.root / ref.key["images"][0]
        pixels = on_reference_grid(pixels, path, read_pixels(image_path), image_path)
    values = _merged(pixels.values, ref.key)
    check_values(values, dataset.classes, dataset.ignore, path)
    return replace(pixels, values=values, channel_axis=None)


def _read_further(dataset: Dataset, ref: CaseRef, relative: str, image: Pixels) -> Array:
    """The truth or another label map, which must lie where the image lies."""
    path, image_path = dataset.root / relative, dataset.root / ref.key["images"][0]
    pixels = read_label_map(path)
    check_same_shape(image, image_path, pixels, path)
    check_same_grid(image, image_path, pixels, path)
    check_values(pixels.values, dataset.classes, dataset.ignore, path)
    return pixels.values


def _merged(labels: Array, key: Mapping[str, Any]) -> Array:
    merged = labels
    for value, becomes in key.get("merge", ()):
        if value > np.iinfo(labels.dtype).max:
            continue  # no pixel has it; what it becomes, the smaller of both, may not fit either
        merged = np.where(labels == value, labels.dtype.type(becomes), merged)
    return merged


def _read_channels(
    dataset: Dataset, ref: CaseRef, labels: Pixels, label_path: Path
) -> tuple[Array, Pixels, list[Note]]:
    """All channels as (C, *spatial), the first file, whose grid the case takes, and all notes."""
    paths = [dataset.root / relative for relative in ref.key["images"]]
    first: Pixels | None = None
    channels = []
    notes: list[Note] = []
    for path in paths:
        pixels = read_pixels(path, key=dataset.options.get("image_key"))
        pixels = _with_channel_axis(
            pixels, path, labels, label_path, dataset.options.get("channel_axis")
        )
        if first is None:
            first = pixels
            check_same_shape(pixels, path, labels, label_path)
            check_same_grid(pixels, path, labels, label_path)
        else:
            check_same_shape(first, paths[0], pixels, path)
            check_same_grid(first, paths[0], pixels, path)
        require_finite(pixels.values, path)
        channels.append(pixels.channels_first())
        notes += pixels.notes
    assert first is not None, "a reader lists at least one image file a case"
    image = channels[0] if len(channels) == 1 else np.concatenate(channels)
    return image, first, notes


def _with_channel_axis(
    pixels: Pixels, path: Path, labels: Pixels, label_path: Path, channel_axis: int | None
) -> Pixels:
    """Find the channel axis of an array by the shape of the label map, or take the one given."""
    if pixels.axes_known:
        return pixels
    values, wanted = pixels.values, labels.values.shape
    if channel_axis is not None and values.ndim == len(wanted) + 1:
        if not -values.ndim <= channel_axis < values.ndim:
            raise UsageError(
                f"The option channel_axis is {channel_axis}, but {path} has the {values.ndim} axes "
                f"{values.shape}; expected a number from 0 to {values.ndim - 1}."
            )
        return replace(pixels, channel_axis=channel_axis % values.ndim)
    if values.ndim == len(wanted):
        return pixels
    fitting = [
        a for a in range(values.ndim) if (*values.shape[:a], *values.shape[a + 1 :]) == wanted
    ]
    if len(fitting) == 1:
        return replace(pixels, channel_axis=fitting[0])
    if fitting:
        raise CaseError(
            f"{path} has the shape {values.shape} and its label map {label_path} {wanted}, so that "
            f"any of the axes {fitting} may hold the channels. Say which with the option "
            "channel_axis."
        )
    raise CaseError(
        f"{path} has the shape {values.shape} and its label map {label_path} {wanted}; expected "
        "the same shape, or one more axis for channels. Check that they belong together."
    )


def _spacing(
    dataset: Dataset, ref: CaseRef, image: Pixels, labels: Pixels
) -> tuple[float, ...] | None:
    """Spacing of the image file, else of the label file, else a neighbouring JSON, else given."""
    spacing = image.spacing_mm or labels.spacing_mm
    if spacing is None and "spacing_json" in ref.key:
        spacing = _spacing_from_json(dataset.root / ref.key["spacing_json"])
    if spacing is None:
        spacing = parse_spacing(dataset.options.get("spacing_mm"))
    if spacing is not None and len(spacing) != labels.values.ndim:
        raise CaseError(
            f"{dataset.root / ref.key['images'][0]} has {labels.values.ndim} spatial axes, but its "
            f"spacing in mm is {spacing}; expected one number an axis. Correct the spacing."
        )
    return spacing


def _slice_axis(image: Pixels, labels: Pixels, spacing_mm: tuple[float, ...] | None) -> int | None:
    """Axis across the slices of a volume, where anything tells it.

    The file's own word comes first, then the one axis that is coarser than all others. Volumes of
    formats with a frame of reference (NIfTI, NRRD, MetaImage) count their slices last; arrays
    without names of their axes may count them anywhere.
    """
    if labels.values.ndim != 3:
        return None
    for pixels in (image, labels):
        if pixels.slice_axis is not None:
            return pixels.slice_axis
    if spacing_mm is not None:
        axis = coarsest_axis(spacing_mm)
        if spacing_mm.count(spacing_mm[axis]) == 1:
            return axis
    return 2 if image.axes_known or labels.axes_known else None


def _spacing_from_json(path: Path) -> tuple[float, ...]:
    try:
        values = load_json(path).get("spacing")
    except SourceError as error:
        raise CaseError(str(error)) from error
    if (
        not isinstance(values, list)
        or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        or not all(0 < v < float("inf") for v in values)
    ):
        raise CaseError(
            f'{path} has the spacing {values!r:.80}; expected {{"spacing": [positive numbers, one '
            "for each axis]}. Correct it."
        )
    return tuple(float(v) for v in values)


def _channel_names(dataset: Dataset, ref: CaseRef, n_channels: int) -> tuple[str, ...]:
    if dataset.channels and len(dataset.channels) != n_channels:
        files = ", ".join(ref.key["images"])
        raise CaseError(
            f"The image of case {ref.id!r} ({files}) has {n_channels} channels, but the data set "
            f"names {len(dataset.channels)} ({', '.join(dataset.channels)}); expected as many. "
            "Correct the list of channels or the image."
        )
    if dataset.channels:
        return dataset.channels
    if n_channels == 1:
        return ("intensity",)
    return tuple(f"channel {i}" for i in range(n_channels))
