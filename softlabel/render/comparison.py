"""What a picture of a comparison shows: a section, a window of it, and a line across a boundary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softlabel.comparison import Comparison, Scores
from softlabel.comparison.places import Line, busiest_class, busiest_slice, line_across
from softlabel.errors import CaseError, UsageError, plural
from softlabel.render.cases import part_of_axis
from softlabel.render.picture import Picture, Section
from softlabel.render.sections import Plane, View, axis_across, shows_colours
from softlabel.softmaps.class_index import ignored_index
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array

FRAME_PX = (32, 64)
"""Least and most rows and columns of the window around the line: a quarter of the shorter side."""


@dataclass(frozen=True, eq=False)
class MethodPanel:
    """The soft label of one class by one method.

    Attributes
    ----------
    name : str
    note : str
        What is said below: its scores.
    values : ndarray of float32, shape (rows, columns)
        In the window.
    on_line : ndarray of float32, shape (n,)
    """

    name: str
    note: str
    values: Array
    on_line: Array


@dataclass(frozen=True, eq=False)
class Profile:
    """What lies on a line across the boundary.

    Attributes
    ----------
    line : Line
        In pixels of the section.
    places : ndarray of float, shape (n,)
        Distance of the pixels from the boundary, in pixels along the line.
    inside : ndarray of bool, shape (n,)
        Whether the pixels have the class.
    intensity : ndarray, shape (n,) or (n, 3)
        The latter of an image in colours.
    truth_places : tuple of float
        Where the boundary of the class lies in the truth.
    description : str
        Which way the line runs.
    """

    line: Line
    places: Array
    inside: Array
    intensity: Array
    truth_places: tuple[float, ...]
    description: str


@dataclass(frozen=True, eq=False)
class ComparisonPicture:
    """All that a figure of a comparison shows.

    Attributes
    ----------
    title : str
    legend : str
        What lines and numbers are.
    whole, window : Picture
        Of one section each; their labels and truth are 1 in the class, 0 elsewhere, −1 where they
        are not known.
    class_index : int
    methods : tuple of MethodPanel
    truth_name : str
    profile : Profile or None
        None where the class has no boundary in the section.
    """

    title: str
    legend: str
    whole: Picture
    window: Picture
    class_index: int
    methods: tuple[MethodPanel, ...]
    truth_name: str
    profile: Profile | None


def comparison_picture(
    found: Comparison, view: View, frame_px: int | None = None
) -> ComparisonPicture:
    """Choose what to show of a comparison.

    Without a class in the view it is the one with the most boundary, without a slice the one with
    the most boundary (:mod:`softlabel.comparison.places`).

    Parameters
    ----------
    found : Comparison
    view : View
        Its class, channel, axis and slice.
    frame_px : int, optional
        Rows and columns of the window that the maps show; default a quarter of the shorter side,
        within :data:`FRAME_PX`.

    Raises
    ------
    UsageError
        When the case has no such channel, axis or slice.
    CaseError
        When it is neither an image nor a volume.
    """
    case = found.case
    if len(case.shape) not in (2, 3):
        raise CaseError(
            f"{case.name} has {plural(len(case.shape), 'spatial axis')}; pictures are made of "
            "images with 2 or 3."
        )
    channel = view.channel or 0
    if channel >= len(case.image):
        raise UsageError(
            f"{case.name} has no channel {channel}; it has "
            f"{plural(len(case.image), 'channel')}, from 0."
        )
    axis = axis_across(case, view)
    k, cut = _class_and_slice(found, view, axis)
    plane = Plane.of(case, axis)
    cutter = _Cutter(axis, cut, plane.transposed)
    colours = shows_colours(case, view, case.channels)
    section = _section(found, cutter.of_image(case.image, None if colours else channel), k, cutter)
    rows, columns = (replace(a, step=1) for a in (plane.rows, plane.columns))
    name = found.classes.names[k]
    where = "" if cut is None else f", slice {cut} of axis {axis}"
    whole = Picture(
        f"Case {case.id}", (), (section,), rows, columns, found.classes.names, k,
        case.channels[channel] if case.channels and not colours else "image",
    )  # fmt: skip
    size = frame_px or int(np.clip(min(section.labels.shape) // 4, *FRAME_PX))
    line = line_across(
        section.labels == 1, section.labels >= 0, (rows.spacing, columns.spacing), (size, size)
    )
    middle = tuple(n // 2 for n in section.labels.shape) if line is None else line.middle
    cuts = tuple(_around(m, n, size) for m, n in zip(middle, section.labels.shape, strict=True))
    line = None if line is None else _within(line, cuts)
    panels = [
        _panel(method, found.scores[method], cutter.of_maps(maps, k), cuts, line)
        for method, maps in found.maps.items()
    ]
    return ComparisonPicture(
        f"Case {case.id}: {name}{where}", _legend(found), whole, _windowed(whole, cuts), k,
        tuple(panels), found.truth_name, None if line is None else _profile(line, section, whole),
    )  # fmt: skip


def _legend(found: Comparison) -> str:
    text = "Outlined: the class in the label map"
    if found.truth is not None:
        text += (
            f"; dashed: in {found.truth_name}. Brier score against {found.truth_name}, at most "
            f"{found.band_px:g} pixels from a boundary; lower is better"
        )
    return f"{text}."


def _class_and_slice(found: Comparison, view: View, axis: int | None) -> tuple[int, int | None]:
    ignored = ignored_index(found.hard.dtype)
    cut, k = view.slice, view.class_index
    if axis is not None and cut is None:
        cut = busiest_slice(found.hard, axis, ignored, k)
    if k is None:
        shown = found.hard if axis is None else np.take(found.hard, cut or 0, axis=axis)
        k = busiest_class(shown, ignored, len(found.classes))
    return k, cut


@dataclass(frozen=True)
class _Cutter:
    """Takes one section, as it is drawn, out of an image or a volume."""

    axis: int | None
    cut: int | None
    transposed: bool

    def of(self, array: Array) -> Array:
        if self.axis is not None:
            array = np.take(array, self.cut or 0, axis=self.axis)
        return array.T if self.transposed else array

    def of_image(self, image: Array, channel: int | None) -> Array:
        """A channel of an image (C, *spatial); without one all of them, along the last axis."""
        if channel is not None:
            return self.of(image[channel])
        return np.stack([self.of(one) for one in image], axis=-1)

    def of_maps(self, maps: SoftMaps, k: int) -> Array:
        if self.axis is None:
            return self.of(maps.class_map(k))
        key = [slice(None)] * 3
        key[self.axis] = slice(self.cut or 0, (self.cut or 0) + 1)
        section = maps.patch(tuple(key))[k].squeeze(axis=self.axis)
        return section.T if self.transposed else section


def _section(found: Comparison, image: Array, k: int, cutter: _Cutter) -> Section:
    labels = cutter.of(_of_class(found.hard, k))
    mask = found.case.mask
    return Section(
        image=image,
        labels=labels,
        soft=labels,
        band=np.zeros(labels.shape, np.bool_),
        mask=None if mask is None else cutter.of(mask),
        truth=None if found.truth is None else cutter.of(_of_class(found.truth, k)),
    )


def _of_class(index: Array, k: int) -> Array:
    """1 in the class, 0 in others, −1 where nothing is known."""
    return np.where(index == ignored_index(index.dtype), -1, index == k).astype(np.int64)


def _around(middle: int, length: int, size: int) -> slice:
    """A window of a length around a place, inside of the frame."""
    start = min(max(0, middle - size // 2), max(0, length - size))
    return slice(start, min(length, start + size))


def _within(line: Line, cuts: tuple[slice, ...]) -> Line:
    cut = cuts[line.axis]
    return replace(line, start=max(line.start, cut.start), stop=min(line.stop, cut.stop))


def _windowed(whole: Picture, cuts: tuple[slice, ...]) -> Picture:
    (section,) = whole.sections
    return replace(
        whole,
        sections=(section.map_arrays(lambda a: a[cuts]),),
        rows=part_of_axis(whole.rows, cuts[0]),
        columns=part_of_axis(whole.columns, cuts[1]),
    )


def _panel(
    name: str, scores: Scores, values: Array, cuts: tuple[slice, ...], line: Line | None
) -> MethodPanel:
    note = f"{100 * scores.softened:.3g} % softened"
    if scores.near_brier == scores.near_brier:
        note += f", Brier {scores.near_brier:.3f}"
    on_line: Array = np.zeros(0, np.float32) if line is None else line.of(values)
    return MethodPanel(name, note, values[cuts], on_line)


def _profile(line: Line, section: Section, whole: Picture) -> Profile:
    places = np.arange(line.start, line.stop) - (line.crossing + 0.5)
    truth_places: tuple[float, ...] = ()
    if section.truth is not None:
        truth = line.of(section.truth)
        steps = (truth[1:] != truth[:-1]) & (truth[1:] >= 0) & (truth[:-1] >= 0)
        truth_places = tuple((places[:-1][steps] + 0.5).tolist())
    drawn: Any = (whole.rows, whole.columns)[line.axis]
    ways = ("upwards", "downwards") if line.axis == 0 else ("to the left", "to the right")
    way = ways[0] if drawn.descending else ways[1]
    unit = "" if drawn.length_mm is None else f" of {drawn.spacing:.3g} mm"
    return Profile(
        line, places, line.of(section.labels) == 1, line.of(section.image), truth_places,
        f"pixels{unit} from the boundary of the label map, {way}",
    )  # fmt: skip
