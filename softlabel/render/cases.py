"""Pictures of cached cases: from a cache to PNG files.

Only what a picture shows is read: of a volume its slices, of the soft maps one class if one was
asked for. Large images are thinned while they are read.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from softlabel import parallel
from softlabel.cache import Cache, CachedCase
from softlabel.errors import CaseError, SoftlabelError, UsageError
from softlabel.files.atomic import publish
from softlabel.files.names import safe_stem
from softlabel.generation.settings import recorded_settings
from softlabel.render.figure import draw
from softlabel.render.outlines import boundaries
from softlabel.render.picture import Axis, Picture, transposed
from softlabel.render.sections import (
    Plane,
    View,
    axis_across,
    read_section,
    shows_colours,
    slice_numbers,
)
from softlabel.render.steps import draw_steps, shows_steps, steps_path, steps_picture
from softlabel.softening.conversion import EQ1
from softlabel.types import Array, ClassTable

ZOOM_MARGIN = 6
"""Pixels around what is zoomed in on, and a twelfth of its extent."""


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
    colours = shows_colours(case, view, cache.channels)
    channel = "image" if colours else _channel_name(cache, case, view.channel or 0)
    axis = axis_across(case, view)
    plane = Plane.of(case, axis)
    cuts = [None] if axis is None else slice_numbers(cache, case, axis, view)
    sections = []
    for cut in cuts:
        section = read_section(cache, case, view, plane, cut)
        sections.append(section.map_arrays(transposed) if plane.transposed else section)
    picture = Picture(
        f"Case {case_id}",
        _describe(cache, case),
        tuple(sections),
        plane.rows,
        plane.columns,
        cache.classes.names,
        view.class_index,
        channel,
        view.window,
    )
    return _zoomed(picture) if view.zoom else picture


def write_picture(picture: Picture, path: Path, dpi: int = 150) -> None:
    """Draw a picture into a PNG file that is complete or absent, with the same bytes every time.

    Raises
    ------
    UsageError
        When the file cannot be written.
    """
    write_figure(lambda: draw(picture), path, dpi)


def write_figure(drawn: Callable[[], Figure], path: Path, dpi: int) -> None:
    """Write a figure as :func:`write_picture` does.

    Raises
    ------
    UsageError
        When the file cannot be written.
    """
    data = io.BytesIO()
    with warnings.catch_warnings():
        # ids in scripts that the font lacks show as boxes; the file is named for the id anyway
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        drawn().savefig(data, format="png", dpi=dpi, metadata={"Software": None})
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
    """Draw cases into files, and those that were preprocessed as they were before and after it.

    Parameters
    ----------
    cache : Cache
    files : mapping of str to Path
        Case id to PNG file; beside it that of the steps (:func:`softlabel.render.steps.steps_path`)
        of a case that has its image before them.
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
        if shows_steps(cache[case_id]):
            picture = steps_picture(cache, case_id, view)
            write_figure(lambda: draw_steps(picture), steps_path(path), dpi)
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
    if view.window is not None:
        parts.append("window-{:g}-{:g}".format(*view.window))
    if view.zoom:
        parts.append("zoom")
    return folder / f"{'+'.join(parts)}.png"  # "+" is in no name


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
        rows=part_of_axis(picture.rows, cuts[0]),
        columns=part_of_axis(picture.columns, cuts[1]),
    )


def _around(wanted: Array) -> slice:
    """From the first to the last wanted place, and a margin."""
    places = np.flatnonzero(wanted)
    margin = ZOOM_MARGIN + int(places[-1] - places[0]) // 12
    return slice(max(0, int(places[0]) - margin), min(len(wanted), int(places[-1]) + 1 + margin))


def part_of_axis(axis: Axis, cut: slice) -> Axis:
    """How a part of a section is drawn along an axis."""
    length = (cut.stop - cut.start) * axis.step * axis.spacing
    return replace(
        axis,
        start=axis.start + cut.start * axis.step,
        length_mm=None if axis.length_mm is None else length,
    )


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
    settings = recorded_settings(cache.header.settings)
    settings |= dict(case.superpixel_settings)
    return " · ".join(facts), " · ".join(_settings_words(settings, case))


def _settings_words(settings: dict[str, Any], case: CachedCase) -> list[str]:
    """Settings that matter for the soft labels of a case; those without a say are not recorded."""
    words = [f"method {settings['method']}"]
    unit = settings.get("distance_unit")
    if "boundary" in settings:
        words.append(f"boundary {settings['boundary']}")
    if "scale" in settings:
        default = min(case.spacing_mm) if unit == "mm" and case.spacing_mm else 1
        scale = settings["scale"]
        words.append(f"scale {default if scale is None else scale:.4g} {unit}")
    elif unit is not None:
        words.append(f"distances in {unit}")
    for name, value in sorted(settings["method_options"].items()):
        if value not in (None, False, 0, EQ1):  # what is usual goes without saying
            words.append(name.replace("_", "-") + ("" if value is True else f" {value}"))
    words.append(f"normalize {settings['normalize']}")
    kind = settings.get("superpixels")
    if kind is not None:
        words.append({"slic": "SLIC", "grid": "regular grid"}.get(kind, f"superpixels from {kind}"))
    if "preset" in settings:
        words.append(f"preset {settings['preset']}")
    if case.superpixel_settings:
        words.append(f"size {settings['superpixel_size']:g}")
    if "compactness" in settings:
        words.append(f"compactness {settings['compactness']:g}, sigma {settings['sigma']:g}")
    if len(case.shape) == 3 and "slic_dims" in settings:
        words.append(f"superpixels per {settings['slic_dims']}")
    return words
