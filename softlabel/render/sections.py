"""Which slices of a cached case a picture shows, how they lie, and what is read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softlabel.cache import Cache, CachedCase, StoredArray
from softlabel.errors import UsageError
from softlabel.render.picture import Axis, Section
from softlabel.softmaps.class_index import translate_labels
from softlabel.softmaps.entropy import entropy_bits
from softlabel.types import Array, Case, ClassTable, coarsest_axis, unnamed_channels

MAX_EDGE = 2000
"""Pixels of a section along its longer axis; larger images are thinned."""

BLOCK_BYTES = 64 << 20
"""Soft labels that are read at once."""

RGB = ("red", "green", "blue")
COLOUR_NAMES = ((), unnamed_channels(len(RGB)), RGB, ("r", "g", "b"))
"""Names of the channels of an image in colours, which most files leave out."""

SLAB = 32
"""Slices of a label map that are read at once to see where its boundaries are."""


@dataclass(frozen=True)
class View:
    """What to show of a case.

    Attributes
    ----------
    class_index : int or None
        Class whose soft label is shown; None for the entropy over the classes.
    channel : int or None
        Channel of the image; None is an image in red, green and blue as it is, else the first.
    axis : int or None
        Axis across the slices of a volume; None is the one that the cache tells, else that of the
        coarsest spacing, the last of equals.
    slice : int or None
        The one slice to show; None for several.
    slices : int
        How many slices of a volume.
    zoom : bool
        Show only the part around the class boundaries and the band.
    window : (float, float) or None
        Intensities shown as black and white; None is the 0.5th and 99.5th percentile.
    """

    class_index: int | None = None
    channel: int | None = None
    axis: int | None = None
    slice: int | None = None
    slices: int = 4
    zoom: bool = False
    window: tuple[float, float] | None = None


# --- which slices ---------------------------------------------------------------------------------


def axis_across(case: CachedCase | Case, view: View) -> int | None:
    """Axis across the slices; None of a plain image."""
    ndim = len(case.shape)
    if ndim == 2:
        if view.axis is not None or view.slice is not None:
            raise UsageError(
                f"The case {case.id!r} is an image of {case.shape[0]} × {case.shape[1]} pixels and "
                "has no slices; leave slice and axis out."
            )
        return None
    axis = view.axis
    if axis is None:
        axis = case.slice_axis
    if axis is None:
        axis = coarsest_axis(case.spacing_mm or (1.0,) * ndim)
    if not 0 <= axis < ndim:
        raise UsageError(
            f"The case {case.id!r} has no axis {axis}; its axes are 0 to {ndim - 1} with "
            f"{', '.join(map(str, case.shape))} slices."
        )
    if view.slice is not None and not 0 <= view.slice < case.shape[axis]:
        raise UsageError(
            f"The case {case.id!r} has no slice {view.slice} along axis {axis}; it has the slices "
            f"0 to {case.shape[axis] - 1}."
        )
    return axis


def slice_numbers(cache: Cache, case: CachedCase, axis: int, view: View) -> list[int | None]:
    """The slices to show: evenly over those that a class boundary crosses."""
    if view.slice is not None:
        return [view.slice]
    length = case.shape[axis]
    value = None if view.class_index is None else cache.classes.values[view.class_index]
    crossed, has_class = _boundary_slices(case.labels, axis, cache.ignore, value)
    candidates = np.flatnonzero(crossed & has_class)
    if not len(candidates):
        candidates = np.flatnonzero(crossed)
    first, last = (candidates[0], candidates[-1]) if len(candidates) else (0, length - 1)
    count = min(view.slices, last - first + 1)
    # the middles of equal shares: the outermost slices show next to nothing
    return [int(first + (2 * i + 1) * (last - first + 1) // (2 * count)) for i in range(count)]


def _boundary_slices(
    labels: StoredArray, axis: int, ignore: int | None, value: int | None
) -> tuple[Array, Array]:
    """For each slice, whether it has more than one class, and whether it has ``value``."""
    crossed, has_class = [], []
    for start in range(0, labels.shape[axis], SLAB):
        key = [slice(None)] * 3
        key[axis] = slice(start, start + SLAB)
        slab = np.moveaxis(labels[tuple(key)], axis, 0)
        flat = slab.reshape(len(slab), -1)
        known = np.ones(flat.shape, bool) if ignore is None else flat != ignore
        limits = np.iinfo(flat.dtype)
        lowest = np.where(known, flat, limits.max).min(axis=1)
        highest = np.where(known, flat, limits.min).max(axis=1)
        crossed.append(lowest < highest)
        has_class.append(np.ones(len(slab), bool) if value is None else (flat == value).any(axis=1))
    return np.concatenate(crossed), np.concatenate(has_class)


# --- how a section lies ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Plane:
    """The two axes of a section in the order of the file, and how they are drawn."""

    axes: tuple[int, int]
    across: int | None
    transposed: bool
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, case: CachedCase | Case, across: int | None) -> Plane:
        """Upright when the affine says how the patient lies, else as in the file."""
        first, second = (axis for axis in range(len(case.shape)) if axis != across)
        step = -(-max(case.shape[first], case.shape[second]) // MAX_EDGE)
        drawn = [_axis(case, axis, step) for axis in (first, second)]
        directions = None if across is None else _directions(case.affine)
        transposed = False
        if directions is not None:
            drawn = [
                replace(a, **_facing(*directions[n]))
                for n, a in zip((first, second), drawn, strict=True)
            ]
            # superior goes up, and anterior in axial slices
            transposed = directions[second][0] > directions[first][0]
        if transposed:
            drawn.reverse()
        return cls((first, second), across, transposed, *drawn)


def _axis(case: CachedCase | Case, axis: int, step: int) -> Axis:
    spacing = case.spacing_mm
    if spacing is None:
        return Axis(f"axis {axis}", step=step)
    length_mm = case.shape[axis] * spacing[axis]
    return Axis(f"axis {axis}", step=step, spacing=spacing[axis], length_mm=length_mm)


def _directions(affine: Array | None) -> list[tuple[int, bool]] | None:
    """For each voxel axis the nearest world axis (0 R, 1 A, 2 S) and whether it runs along it."""
    if affine is None:
        return None
    columns = np.asarray(affine)[:3, :3]
    nearest = np.abs(columns).argmax(axis=0).tolist()
    if sorted(nearest) != [0, 1, 2]:  # too oblique to name
        return None
    return [(world, bool(columns[world, n] > 0)) for n, world in enumerate(nearest)]


def _facing(world: int, positive: bool) -> dict[str, Any]:
    """Radiological convention: R on the left, A at the top or on the left, S at the top."""
    return {"descending": positive, "ends": (("R", "L"), ("A", "P"), ("S", "I"))[world]}


# --- reading --------------------------------------------------------------------------------------


def read_section(
    cache: Cache, case: CachedCase, view: View, plane: Plane, cut: int | None
) -> Section:
    """Read one section of a case, thinned; ``cut`` is the slice of a volume."""

    def read(array: StoredArray, leading: Any = ()) -> Array:
        return np.concatenate(list(_blocks(array, leading, plane, cut)), axis=-2)

    def optional(array: StoredArray | None) -> Array | None:
        return None if array is None else read(array)

    soft, band = read_soft(case, view, plane, cut)
    mask = optional(case.mask)
    truth = optional(case.truth)
    return Section(
        image=_read_image(case, view, shows_colours(case, view, cache.channels), read),
        labels=_class_indices(read(case.labels), cache.classes),
        soft=soft,
        band=band,
        superpixels=optional(case.superpixels),
        mask=None if mask is None else mask > 0,
        truth=None if truth is None else _class_indices(truth, cache.classes),
        name="" if cut is None else f"slice {cut} of axis {plane.across}",
    )


def shows_colours(case: CachedCase | Case, view: View, channels: tuple[str, ...]) -> bool:
    """Whether the image is shown in its own colours: three channels of 8 bits without names."""
    stored = case.image
    return (
        view.channel is None
        and view.window is None
        and stored.dtype == np.uint8
        and len(stored) == len(RGB)
        and tuple(name.lower() for name in channels) in COLOUR_NAMES
    )


def _read_image(
    case: CachedCase, view: View, colours: bool, read: Callable[[StoredArray, Any], Array]
) -> Array:
    if colours:
        return np.stack([read(case.image, (channel,)) for channel in range(len(RGB))], axis=-1)
    return read(case.image, (view.channel or 0,))


def read_soft(case: CachedCase, view: View, plane: Plane, cut: int | None) -> tuple[Array, Array]:
    """Read the soft label of a class, or the entropy, and where a value is not hard."""
    values, band = [], []
    leading = (slice(None) if view.class_index is None else view.class_index,)
    for block in _blocks(case.soft, leading, plane, cut):
        soft = (block > 0) & (block < 1)
        values.append(entropy_bits(block) if view.class_index is None else block)
        band.append(soft.any(axis=0) if view.class_index is None else soft)
    return np.concatenate(values), np.concatenate(band)


def _blocks(
    array: StoredArray, leading: tuple[Any, ...], plane: Plane, cut: int | None
) -> Iterator[Array]:
    """An array's section, thinned, a block of rows at a time."""
    first, second = plane.axes
    shape = array.shape[-2:] if cut is None else array.shape[-3:]
    step = plane.rows.step
    row_bytes = array.dtype.itemsize * shape[second]
    if leading == (slice(None),):
        row_bytes *= len(array)
    # whole chunks of at most 128 rows, and a multiple of the step
    block = max(1, BLOCK_BYTES // row_bytes // (128 * step)) * 128 * step
    for start in range(0, shape[first], block):
        key: list[Any] = [slice(None)] * len(shape)
        key[first] = slice(start, start + block)
        if cut is not None and plane.across is not None:
            key[plane.across] = cut
        yield array[(*leading, *key)][..., ::step, ::step]


def _class_indices(labels: Array, table: ClassTable) -> Array:
    """Places of label values in the class table, −1 of what is not in it (ignored pixels)."""
    return translate_labels(labels, {v: k for k, v in enumerate(table.values)}, -1, np.int64)
