"""A case that lies in image files of its own: channels, label maps, perhaps a mask and the truth.

The formats that keep one file a channel (or a volume) differ in names and folders only; what they
list is read here. ``CaseRef.key`` holds ``images`` (paths relative to the data set, one or more),
one of

* ``label``: path of the label map,
* ``label_files``: pairs ``[path, value]`` of masks that are joined into one label map,
* ``raters``: names and paths of several annotators' label maps, with ``rater_arrays`` also the
  arrays of these names in one ``.npz`` file,

and possibly

* ``mask``: path of a mask of the region to look at,
* ``truth``: path of the true label map,
* ``label_maps``: names and paths of further label maps, such as other graders',
* ``merge``: pairs ``[value, becomes]`` of label values that are one class,
* ``spacing_json``: path of a JSON file with ``{"spacing": […]}`` for formats that store none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.mapping import LabelMapping
from softlabel.readers.geometry import (
    check_same_grid,
    check_same_shape,
    labels_on_grid,
    require_same_shape,
)
from softlabel.readers.imagefiles import read_label_map, read_pixels, stated_shape
from softlabel.readers.labelfacts import label_facts
from softlabel.readers.labels import check_values, distinct_values
from softlabel.readers.listing import parse_spacing
from softlabel.readers.look import LabelLook
from softlabel.readers.pixels import Pixels, require_finite
from softlabel.readers.safety import load_json
from softlabel.readers.segments import on_reference_grid
from softlabel.readers.soft import (
    lacks_background,
    most_probable,
    read_probabilities,
    soft_labels,
)
from softlabel.types import Array, Case, CaseRef, Dataset, Note, coarsest_axis, unnamed_channels


def read_case(dataset: Dataset, ref: CaseRef, opened: object = None) -> Case:
    """Read a case, and check that its files belong together.

    Raises
    ------
    CaseError
        When a file cannot be read, the files differ in shape or grid, or a value is not allowed.
    """
    if _grids(dataset) != "resample":
        _require_same_shapes(dataset, ref)
    annotation = _read_annotation(dataset, ref)
    image, first, notes = _read_channels(dataset, ref, annotation.first)
    annotation = annotation.on_grid_of(first, _grids(dataset))
    further = {
        name: _read_further(dataset, ref, relative, first)
        for name, relative in ref.key.get("label_maps", {}).items()
    }
    truth = _read_further(dataset, ref, ref.key["truth"], first) if "truth" in ref.key else None
    labels = annotation.first
    spacing_mm = _spacing(dataset, ref, first.pixels, labels.pixels)
    return Case(
        id=ref.id,
        image=image,
        labels=annotation.values,
        classes=dataset.classes,
        ignore=dataset.ignore,
        rater_axis=0 if annotation.raters else None,
        raters=annotation.raters,
        mask=_read_mask(dataset, ref, first),
        spacing_mm=spacing_mm,
        affine=_affine(dataset, first.pixels),
        group=ref.group,
        source=ref.source,
        channels=_channel_names(dataset, ref, len(image)),
        truth=truth,
        label_maps=further,
        slice_axis=_slice_axis(first.pixels, labels.pixels, spacing_mm),
        notes=tuple(dict.fromkeys((*notes, *annotation.notes))),
        soft=annotation.soft,
    )


def read_labels(dataset: Dataset, ref: CaseRef, opened: object = None) -> Array:
    """Read only the label map of a case; of several annotators (R, *spatial).

    Raises
    ------
    CaseError
        As :func:`read_case`, for the label map.
    """
    return _read_annotation(dataset, ref).values


def look(dataset: Dataset, ref: CaseRef, opened: object = None) -> LabelLook:
    """Look at the annotation of a case, for the check of the data set.

    Raises
    ------
    CaseError
        As :func:`read_labels`.
    """
    annotation = _read_annotation(dataset, ref)
    pixels = annotation.first.pixels
    facts = label_facts(pixels.values)
    palette: tuple[tuple[int, int, int], ...] = ()
    if pixels.palette is not None and facts.values[-1] < len(pixels.palette):
        rows = pixels.palette[list(facts.values)].tolist()
        palette = tuple((r, g, b) for r, g, b in rows)
    return LabelLook(
        facts,
        palette,
        dict(pixels.names or {}),
        pixels.spacing_mm or parse_spacing(dataset.options.get("spacing_mm")),
        _looks_one_hot(pixels),
        pixels.axes_known,
        annotation.other_values,
        annotation.notes,
    )


MOST_ONE_HOT = 64
"""A first or last axis that is longer counts pixels, not classes."""


def _looks_one_hot(pixels: Pixels) -> bool:
    """Whether each pixel is marked in exactly one place of the first or the last axis."""
    values = pixels.values
    top = values.max()
    if values.ndim < 3 or top <= 0 or np.any((values != 0) & (values != top)):
        return False
    return any(
        2 <= values.shape[axis] <= MOST_ONE_HOT and (np.count_nonzero(values, axis=axis) == 1).all()
        for axis in (0, -1)
    )


@dataclass(frozen=True, eq=False)
class Located:
    """Pixels, and the file that they came from."""

    pixels: Pixels
    path: Path


@dataclass(frozen=True, eq=False)
class Annotation:
    """The label maps of a case: one, or one for each rater; or soft labels (K, *spatial)."""

    maps: tuple[Located, ...]
    raters: tuple[str, ...] = ()
    soft: Array | None = None

    @property
    def first(self) -> Located:
        """The first map, whose shape all have."""
        return self.maps[0]

    @property
    def values(self) -> Array:
        """Label values, (*spatial) or with raters (R, *spatial)."""
        if not self.raters:
            return self.first.pixels.values
        return np.stack([located.pixels.values for located in self.maps])

    @property
    def other_values(self) -> tuple[int, ...]:
        """Label values that only raters after the first one have given."""
        found = {v for located in self.maps[1:] for v in distinct_values(located.pixels.values)}
        return tuple(sorted(found.difference(distinct_values(self.first.pixels.values))))

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the user should know of the files."""
        return tuple(note for located in self.maps for note in located.pixels.notes)

    def on_grid_of(self, image: Located, grids: str) -> Annotation:
        """The maps on the grid of the image (see :func:`on_same_grid`)."""
        return replace(self, maps=tuple(on_same_grid(image, m, grids) for m in self.maps))


def _require_same_shapes(dataset: Dataset, ref: CaseRef) -> None:
    """Compare the shapes that headers state, before voxels are unpacked in vain."""
    files = [*ref.key["images"], *ref.key.get("raters", {}).values()]
    files += [path for path, _ in ref.key.get("label_files") or ()]
    files += [ref.key["label"]] if "label" in ref.key else []
    paths = [dataset.root / relative for relative in files]
    known = [(shape, path) for path in paths if (shape := stated_shape(path)) is not None]
    for shape, path in known[1:]:
        require_same_shape(*known[0], shape, path)


def _grids(dataset: Dataset) -> str:
    return str(dataset.options.get("grids") or "refuse")


def on_same_grid(image: Located, labels: Located, grids: str) -> Located:
    """A label map on the grid of an image: checked, resampled, or taken on trust.

    Raises
    ------
    CaseError
        When shapes differ, or with ``refuse`` when the headers place them elsewhere.
    """
    if grids == "resample":
        return replace(labels, pixels=labels_on_grid(image.pixels, labels.pixels, labels.path))
    check_same_shape(image.pixels, image.path, labels.pixels, labels.path)
    if grids == "refuse":
        check_same_grid(image.pixels, image.path, labels.pixels, labels.path)
    return labels


def _read_annotation(dataset: Dataset, ref: CaseRef) -> Annotation:
    if dataset.soft:
        return _read_soft(dataset, ref)
    if "label_files" in ref.key:
        return Annotation((_joined(dataset, ref),))
    raters = ref.key.get("raters", {})
    paths = list(raters.values()) or [ref.key["label"]]
    arrays = ref.key.get("rater_arrays") or [dataset.options.get("label_key")] * len(paths)
    maps = tuple(_read_map(dataset, ref, p, key) for p, key in zip(paths, arrays, strict=True))
    for other in maps[1:]:
        check_same_shape(maps[0].pixels, maps[0].path, other.pixels, other.path)
    return Annotation(maps, tuple(raters))


def _read_map(dataset: Dataset, ref: CaseRef, relative: str, array: str | None) -> Located:
    """A label map; ``array`` is its name in a ``.npz`` file."""
    path = dataset.root / relative
    pixels = read_label_map(path, array, dataset.mapping)
    if pixels.reference_offset is not None:
        # Only the image tells how large the grid is that it was cropped from.
        image_path = dataset.root / ref.key["images"][0]
        pixels = on_reference_grid(pixels, path, read_pixels(image_path), image_path)
    values = _merged(pixels.values, ref.key)
    check_values(values, dataset.classes, dataset.ignore, path)
    return Located(replace(pixels, values=values), path)


def _read_soft(dataset: Dataset, ref: CaseRef) -> Annotation:
    """Soft labels of a case: files of the classes, or one file."""
    files = ref.key.get("label_files") or [[ref.key["label"], None]]
    options = dataset.options
    full = options.get("soft_range") or 1
    found = [
        read_probabilities(
            dataset.root / relative, options.get("label_key"), full,
            options.get("label_channel_axis"),
        )
        for relative, _ in files
    ]  # fmt: skip
    first = Located(found[0].pixels, dataset.root / files[0][0])
    for (relative, _), other in zip(files[1:], found[1:], strict=True):
        check_same_shape(first.pixels, first.path, other.pixels, dataset.root / relative)
        check_same_grid(first.pixels, first.path, other.pixels, dataset.root / relative)
    maps, classes = found[0].maps, dataset.classes
    if classes is not None and "label_files" in ref.key:
        of_class = {value: p.maps for (_, value), p in zip(files, found, strict=True)}
        background = classes.values[0] == 0 and 0 not in of_class
        values = [value for value in classes.values if value or not background]
        maps = np.concatenate([of_class.get(v, np.zeros_like(found[0].maps)) for v in values])
    else:
        background = lacks_background(len(maps), classes, first.path)
    soft = soft_labels(maps, first.path, rounding=found[0].rounding, background=background)
    labels = replace(first.pixels, values=most_probable(soft, classes))
    return Annotation((replace(first, pixels=labels),), soft=soft)


def _joined(dataset: Dataset, ref: CaseRef) -> Located:
    """One label map of several masks: where they overlap, the later file counts."""
    first: Located | None = None
    joined: Array | None = None
    threshold = LabelMapping(threshold=dataset.mapping.threshold) if dataset.mapping else None
    for relative, value in ref.key["label_files"]:
        path = dataset.root / relative
        located = Located(read_label_map(path, mapping=threshold), path)
        mask = located.pixels.values != 0
        if first is None or joined is None:
            first, joined = located, np.zeros(mask.shape, np.min_scalar_type(_largest(ref)))
        check_same_shape(first.pixels, first.path, located.pixels, located.path)
        check_same_grid(first.pixels, first.path, located.pixels, located.path)
        overlap = int(np.count_nonzero(joined[mask])) if value else 0
        if overlap and dataset.options.get("overlaps") == "refuse":
            raise CaseError(
                f"{located.path} overlaps an earlier label file of the case {ref.id!r} in "
                f"{overlap} pixels; expected masks that do not overlap. Correct them, or let the "
                "later file count with --overlaps later."
            )
        joined[mask] = value
    assert first is not None and joined is not None, "a reader lists at least one label file"
    check_values(joined, dataset.classes, dataset.ignore, first.path.parent)
    return replace(first, pixels=replace(first.pixels, values=joined))


def _largest(ref: CaseRef) -> int:
    return max(value for _, value in ref.key["label_files"])


def _read_mask(dataset: Dataset, ref: CaseRef, image: Located) -> Array | None:
    """The region to look at: what is not 0 in a mask file."""
    if "mask" not in ref.key:
        return None
    path = dataset.root / ref.key["mask"]
    mask = on_same_grid(image, Located(read_label_map(path), path), _grids(dataset))
    return np.asarray(mask.pixels.values != 0)


def _read_further(dataset: Dataset, ref: CaseRef, relative: str, image: Located) -> Array:
    """The truth or another label map, which must lie where the image lies."""
    path = dataset.root / relative
    located = on_same_grid(image, Located(read_label_map(path), path), "refuse")
    check_values(located.pixels.values, dataset.classes, dataset.ignore, path)
    return located.pixels.values


def _merged(labels: Array, key: Mapping[str, Any]) -> Array:
    merged = labels
    for value, becomes in key.get("merge", ()):
        if value > np.iinfo(labels.dtype).max:
            continue  # no pixel has it; what it becomes, the smaller of both, may not fit either
        merged = np.where(labels == value, labels.dtype.type(becomes), merged)
    return merged


def _read_channels(
    dataset: Dataset, ref: CaseRef, labels: Located
) -> tuple[Array, Located, list[Note]]:
    """All channels as (C, *spatial), the first file, whose grid the case takes, and all notes."""
    first: Located | None = None
    channels = []
    notes: list[Note] = []
    for relative in ref.key["images"]:
        path = dataset.root / relative
        pixels = read_pixels(path, key=dataset.options.get("image_key"))
        pixels = _with_channel_axis(
            pixels, path, labels.pixels, labels.path, dataset.options.get("channel_axis")
        )
        if first is None:
            first = Located(pixels, path)
        else:
            check_same_shape(first.pixels, first.path, pixels, path)
            check_same_grid(first.pixels, first.path, pixels, path)
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
    """The spacing that was given, else that of the image file, the label file, or a JSON beside.

    What is given wins over a header that states none or an identity, and over any other: it was
    given for a reason.
    """
    spacing = parse_spacing(dataset.options.get("spacing_mm"))
    spacing = spacing or image.spacing_mm or labels.spacing_mm
    if spacing is None and "spacing_json" in ref.key:
        spacing = _spacing_from_json(dataset.root / ref.key["spacing_json"])
    if spacing is not None and len(spacing) != labels.values.ndim:
        raise CaseError(
            f"{dataset.root / ref.key['images'][0]} has {labels.values.ndim} spatial axes, but its "
            f"spacing in mm is {spacing}; expected one number an axis. Correct the spacing."
        )
    return spacing


def _affine(dataset: Dataset, image: Pixels) -> Array | None:
    """The affine of the image, its axes as long as the spacing that was given says."""
    given = parse_spacing(dataset.options.get("spacing_mm"))
    if image.affine is None or given is None or image.spacing_mm is None:
        return image.affine
    factors = np.ones(4)
    factors[: len(given)] = np.divide(given, image.spacing_mm)
    return np.asarray(image.affine * factors)


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
    return unnamed_channels(n_channels)
