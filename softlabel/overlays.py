"""Pictures of cached cases: from a cache to PNG files.

Only what a picture shows is read: of a volume its slices, of the soft maps one class if one was
asked for. Large images are thinned while they are read.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softlabel import parallel
from softlabel.cache import Cache, CachedCase, StoredArray
from softlabel.errors import CaseError, SoftlabelError, UsageError
from softlabel.filenames import safe_stem
from softlabel.publish import publish
from softlabel.render import Axis, Picture, Section, draw, entropy_bits
from softlabel.render.outlines import boundaries
from softlabel.softening.superpixel import coarsest_axis
from softlabel.softmaps import class_positions
from softlabel.types import Array, ClassTable

MAX_EDGE = 2000
"""Pixels of a section along its longer axis; larger images are thinned."""

BLOCK_BYTES = 64 << 20
"""Soft labels that are read at once."""

ZOOM_MARGIN = 6
"""Pixels around what is zoomed in on, and a twelfth of its extent."""

SLAB = 32
"""Slices of a label map that are read at once to see where its boundaries are."""


@dataclass(frozen=True)
class View:
    """What to show of a case.

    Attributes
    ----------
    class_index : int or None
        Class whose soft label is shown; None for the entropy over the classes.
    channel : int
        Channel of the image.
    axis : int or None
        Axis across the slices of a volume; None is that of the coarsest spacing, the last of
        equals.
    slice : int or None
        The one slice to show; None for several.
    slices : int
        How many slices of a volume.
    zoom : bool
        Show only the part around the class boundaries and the band.
    """

    class_index: int | None = None
    channel: int = 0
    axis: int | None = None
    slice: int | None = None
    slices: int = 4
    zoom: bool = False


def case_picture(cache: Cache, case_id: str, view: View) -> Picture:
    """Read what a picture of a case shows.

    Raises
    ------
    UsageError
        When the case has no such channel, axis or slice.
    CacheError
        When its file is damaged.
    """
    case = cache[case_id]
    shape = case.shape
    if len(shape) not in (2, 3):
        raise CaseError(
            f"The case {case_id!r} has {len(shape)} spatial axes; pictures are made of images "
            "with 2 or 3, so look at it in Python: softlabel.open_cache."
        )
    channel = _channel_name(cache, case, view.channel)
    across = _across(case, view)
    plane = _Plane.of(case, across)
    cuts = [None] if across is None else _slice_numbers(cache, case, across, view)
    sections = []
    for cut in cuts:
        section = _read_section(cache, case, view, plane, cut)
        sections.append(section.map_arrays(np.transpose) if plane.transposed else section)
    picture = Picture(
        f"Case {case_id}",
        _describe(cache, case),
        tuple(sections),
        plane.rows,
        plane.columns,
        cache.classes.names,
        view.class_index,
        channel,
    )
    return _zoomed(picture) if view.zoom else picture


def write_picture(picture: Picture, path: Path, dpi: int = 150) -> None:
    """Draw a picture into a PNG file that is complete or absent, with the same bytes every time.

    Raises
    ------
    UsageError
        When the file cannot be written.
    """
    data = io.BytesIO()
    with warnings.catch_warnings():
        # ids in scripts that the font lacks show as boxes; the file is named for the id anyway
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        draw(picture).savefig(data, format="png", dpi=dpi, metadata={"Software": None})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, data.getvalue())
    except OSError as error:
        raise UsageError(
            f"The picture {path} cannot be written ({error.strerror or error}); give a folder that "
            "is writable and has space."
        ) from error


def draw_cases(
    cache: Cache, files: Mapping[str, Path], view: View, *, dpi: int = 150, jobs: int = 1
) -> Iterator[tuple[str, str]]:
    """Draw cases into files.

    Parameters
    ----------
    cache : Cache
    files : mapping of str to Path
        Case id to PNG file.
    view : View
    dpi : int
        Dots per inch; a picture is about 10 inches wide.
    jobs : int
        Worker processes.

    Yields
    ------
    (str, str)
        Id of a case that is done, and why it failed ("" when it did not), in any order.

    Raises
    ------
    UsageError
        When a case has no such channel, axis or slice, or a file cannot be written.
    CaseError
        When a worker process was killed from outside.
    """
    tasks = [(cache, case_id, path, view, dpi) for case_id, path in files.items()]
    try:
        yield from parallel.run(_draw_case, tasks, jobs)
    except parallel.WorkerDied as error:
        raise CaseError(f"{error} Use fewer --jobs.") from error


def _draw_case(
    cache: Cache, case_id: str, path: Path, view: View, dpi: int
) -> Iterator[tuple[str, str]]:
    try:
        write_picture(case_picture(cache, case_id, view), path, dpi)
    except UsageError:
        raise
    except SoftlabelError as error:
        yield case_id, str(error)
    else:
        yield case_id, ""


def picture_path(folder: Path, name: str, classes: ClassTable, view: View) -> Path:
    """Path of a picture: other views of a case do not overwrite its default one."""
    parts = [name]
    if view.class_index is not None:
        k = view.class_index
        parts.append(f"class-{classes.values[k]}-{safe_stem(classes.names[k])}".rstrip("-"))
    if view.channel:
        parts.append(f"channel-{view.channel}")
    if view.axis is not None:
        parts.append(f"axis-{view.axis}")
    if view.slice is not None:
        parts.append(f"slice-{view.slice}")
    if view.zoom:
        parts.append("zoom")
    return folder / f"{'+'.join(parts)}.png"  # "+" is in no name


# --- which slices ---------------------------------------------------------------------------------


def _across(case: CachedCase, view: View) -> int | None:
    """Axis across the slices; None of a plain image."""
    ndim = len(case.shape)
    if ndim == 2:
        if view.axis is not None or view.slice is not None:
            raise UsageError(
                f"The case {case.id!r} is an image of {case.shape[0]} × {case.shape[1]} pixels and "
                "has no slices; leave slice and axis out."
            )
        return None
    axis = coarsest_axis(case.spacing_mm or (1.0,) * ndim) if view.axis is None else view.axis
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


def _slice_numbers(cache: Cache, case: CachedCase, axis: int, view: View) -> list[int | None]:
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
class _Plane:
    """The two axes of a section in the order of the file, and how they are drawn."""

    axes: tuple[int, int]
    across: int | None
    transposed: bool
    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, case: CachedCase, across: int | None) -> _Plane:
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


def _axis(case: CachedCase, axis: int, step: int) -> Axis:
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


def _zoomed(picture: Picture) -> Picture:
    """The part of a picture around what is soft, and around the label boundaries or the class."""
    k = picture.class_index
    interesting = np.zeros(picture.sections[0].labels.shape, bool)
    for section in picture.sections:
        interesting |= section.band
        if k is None:
            for (top, left), (bottom, right) in boundaries(section.labels).ends.tolist():
                interesting[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = True
        else:
            interesting |= section.labels == k
    if not interesting.any():
        return picture
    cuts = tuple(_around(np.asarray(interesting.any(axis=axis))) for axis in (1, 0))
    return replace(
        picture,
        sections=tuple(section.map_arrays(lambda a: a[cuts]) for section in picture.sections),
        rows=_part(picture.rows, cuts[0]),
        columns=_part(picture.columns, cuts[1]),
    )


def _around(wanted: Array) -> slice:
    """From the first to the last wanted place, and a margin."""
    places = np.flatnonzero(wanted)
    margin = ZOOM_MARGIN + int(places[-1] - places[0]) // 12
    return slice(max(0, int(places[0]) - margin), min(len(wanted), int(places[-1]) + 1 + margin))


def _part(axis: Axis, cut: slice) -> Axis:
    length = (cut.stop - cut.start) * axis.step * axis.spacing
    return replace(
        axis,
        start=axis.start + cut.start * axis.step,
        length_mm=None if axis.length_mm is None else length,
    )


# --- reading --------------------------------------------------------------------------------------


def _read_section(
    cache: Cache, case: CachedCase, view: View, plane: _Plane, cut: int | None
) -> Section:
    def read(array: StoredArray, leading: Any = ()) -> Array:
        return np.concatenate(list(_blocks(array, leading, plane, cut)), axis=-2)

    def optional(array: StoredArray | None) -> Array | None:
        return None if array is None else read(array)

    soft, band = _read_soft(case, view, plane, cut)
    mask = optional(case.mask)
    truth = optional(case.truth)
    return Section(
        image=read(case.image, (view.channel,)),
        labels=_class_indices(read(case.labels), cache.classes),
        soft=soft,
        band=band,
        superpixels=optional(case.superpixels),
        mask=None if mask is None else mask > 0,
        truth=None if truth is None else _class_indices(truth, cache.classes),
        name="" if cut is None else f"slice {cut} of axis {plane.across}",
    )


def _read_soft(case: CachedCase, view: View, plane: _Plane, cut: int | None) -> tuple[Array, Array]:
    """The soft label of a class, or the entropy; and where a value is not hard."""
    values, band = [], []
    leading = (slice(None) if view.class_index is None else view.class_index,)
    for block in _blocks(case.soft, leading, plane, cut):
        soft = (block > 0) & (block < 1)
        values.append(entropy_bits(block) if view.class_index is None else block)
        band.append(soft.any(axis=0) if view.class_index is None else soft)
    return np.concatenate(values), np.concatenate(band)


def _blocks(
    array: StoredArray, leading: tuple[Any, ...], plane: _Plane, cut: int | None
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
    position, known = class_positions(labels, table)
    return np.where(known, position, -1)


# --- what the picture says ------------------------------------------------------------------------


def _channel_name(cache: Cache, case: CachedCase, channel: int) -> str:
    count = len(case.image)
    if not 0 <= channel < count:
        raise UsageError(
            f"The case {case.id!r} has no channel {channel}; it has "
            + ("channel 0 only." if count == 1 else f"the channels 0 to {count - 1}.")
        )
    if len(cache.channels) == count:
        return cache.channels[channel]
    return "image" if count == 1 else f"channel {channel} of {count}"


def _describe(cache: Cache, case: CachedCase) -> tuple[str, str]:
    """Numbers of the case, and the settings that made it."""
    numbers = case.statistics
    facts = [f"group {case.group}"] if case.group not in ("", case.id) else []
    facts.append(" × ".join(map(str, case.shape)) + " pixels")
    if case.spacing_mm is not None:
        facts.append(" × ".join(f"{s:.4g}" for s in case.spacing_mm) + " mm")
    count, asked = int(numbers["n_superpixels"]), int(numbers["n_superpixels_asked"])
    if count:
        facts.append(f"superpixels: {count:,}" + (f" of {asked:,} asked" if asked else ""))
    known = int(numbers["class_pixels"].sum())
    if known:
        share = int(numbers["softened_pixels"]) / known
        facts.append(f"{100 * share:.1f} % of the known pixels softened")
    else:
        facts.append("nothing annotated")
    settings = json.loads(cache.header.settings)
    return " · ".join(facts), " · ".join(_settings_words(settings, case))


def _settings_words(settings: dict[str, Any], case: CachedCase) -> list[str]:
    """Settings that matter for the soft labels of a case; those without a say are not recorded."""
    words = [f"method {settings['method']}"]
    unit = settings["distance_unit"]
    if "boundary" in settings:
        words.append(f"boundary {settings['boundary']}")
    if "scale" in settings:
        default = min(case.spacing_mm) if unit == "mm" and case.spacing_mm else 1
        scale = settings["scale"]
        words.append(f"scale {default if scale is None else scale:.4g} {unit}")
    else:
        words.append(f"distances in {unit}")
    for name, value in sorted(settings["method_options"].items()):
        if value not in (None, False, 0):
            words.append(name.replace("_", "-") + ("" if value is True else f" {value}"))
    words.append(f"normalize {settings['normalize']}")
    kind = settings.get("superpixels")
    if kind is not None:
        words.append({"slic": "SLIC", "grid": "regular grid"}.get(kind, f"superpixels from {kind}"))
    if "compactness" in settings:
        words.append(f"compactness {settings['compactness']:g}, sigma {settings['sigma']:g}")
    if len(case.shape) == 3 and "slic_dims" in settings:
        words.append(f"superpixels per {settings['slic_dims']}")
    return words
