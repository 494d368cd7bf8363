"""Thumbnails of a cached case that fit into its share of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from softlabel.cache import Cache, CachedCase
from softlabel.errors import CaseError, SoftlabelError
from softlabel.render.figure import intensity_window
from softlabel.render.layout import MAX_STRETCH_RATIO
from softlabel.render.panels import grey
from softlabel.render.picture import Section, transposed
from softlabel.render.sections import (
    Plane,
    View,
    axis_across,
    read_section,
    read_soft,
    slice_numbers,
)
from softlabel.reports.layers import (
    PictureLayers,
    image_layer,
    label_layer,
    soft_layer,
    superpixel_layer,
)
from softlabel.types import Array

LABELS, SUPERPIXELS, ENTROPY = "labels", "superpixels", "entropy"
"""Layers that every case may have; those of classes are named :func:`class_layer`."""

CLASS_LAYER = "class-"

Cut = int | None
"""The number of a slice; None in an image."""

Size = tuple[int, int]
"""Rows and columns of a picture."""


@dataclass(frozen=True)
class Rung:
    """How much of a case is shown: pixels along the longer edge, slices, and maps of classes."""

    edge: int
    slices: int
    class_maps: int


LADDER = (
    Rung(512, 8, 8),
    Rung(384, 5, 6),
    Rung(288, 5, 4),
    Rung(224, 3, 3),
    Rung(160, 3, 2),
    Rung(112, 1, 1),
    Rung(64, 1, 0),
)
"""From the most that is shown to the least; a case takes the first that fits into its share."""

LEAST_CHARACTERS_A_PIXEL = 0.05
"""A picture with its layers takes more; rungs that cannot fit are not tried."""

SHRINKING = 0.8
"""Of the area, for a picture that shrinks faster than it: a fifth is more than was ever seen."""


@dataclass(frozen=True)
class CasePictures:
    """What a page shows of a case.

    Attributes
    ----------
    pictures : tuple of PictureLayers
        One for each slice.
    ends : ((str, str) or None, (str, str) or None)
        Anatomical letters at the top and bottom, and on the left and right.
    size : (int, int)
        Rows and columns of the pictures.
    slices : int
        Slices that the volume has; 0 of an image.
    compressed : float
        How many times the true ratio of the edges the shown one is.
    """

    pictures: tuple[PictureLayers, ...]
    ends: tuple[tuple[str, str] | None, tuple[str, str] | None]
    size: tuple[int, int]
    slices: int
    compressed: float

    @property
    def characters(self) -> int:
        """Room that they take in a page."""
        return sum(picture.characters for picture in self.pictures)

    def as_json(self) -> dict[str, Any]:
        """For the script of the page."""
        return {
            "pictures": [picture.as_json() for picture in self.pictures],
            "ends": self.ends,
            "size": self.size,
            "slices": self.slices,
            "compressed": round(self.compressed, 2),
        }


def class_layer(index: int) -> str:
    """Name of the layer of a class."""
    return f"{CLASS_LAYER}{index}"


def draw_thumbnails(
    cache: Cache, softest: Mapping[str, Sequence[int]], characters: int
) -> Iterator[tuple[str, CasePictures | str]]:
    """Draw the thumbnails of some cases.

    Parameters
    ----------
    cache : Cache
    softest : mapping of str to sequence of int
        Case id to its classes, of which the first ones are shown.
    characters : int
        Room for each case.

    Yields
    ------
    (str, CasePictures or str)
        Id, and its pictures or why there are none.
    """
    for case_id, classes in softest.items():
        try:
            yield case_id, case_thumbnails(cache, case_id, classes, characters)
        except SoftlabelError as error:
            yield case_id, str(error)


def case_thumbnails(
    cache: Cache, case_id: str, classes: Sequence[int], characters: int
) -> CasePictures:
    """The thumbnails of a case, as large as its room allows.

    Raises
    ------
    CaseError
        When it has neither 2 nor 3 spatial axes, or not even the smallest fit.
    CacheError
        When its file is damaged.
    """
    case = require_drawable(cache[case_id])

    def draw(rung: Rung) -> CasePictures:
        def overlays(section: Section, cut: Cut, plane: Plane, size: Size) -> dict[str, str]:
            layers = _overlays(section, size, len(cache.classes))
            for k in classes[: rung.class_maps]:
                soft = read_soft(case, View(class_index=k), plane, cut)
                values, band = (turned(array, plane) for array in soft)
                layers[class_layer(k)] = soft_layer(
                    values, band, size, of_one_class=True, classes=len(cache.classes)
                )
            return layers

        return pictures_on(
            cache, case, rung,
            lambda across: slice_numbers(cache, case, across, View(slices=rung.slices)), overlays,
        )  # fmt: skip

    return largest(case_id, characters, draw)


def require_drawable(case: CachedCase) -> CachedCase:
    """A case of an image or a volume.

    Raises
    ------
    CaseError
        When it has another number of axes.
    """
    if len(case.shape) not in (2, 3):
        raise CaseError(
            f"The case {case.id!r} has {len(case.shape)} spatial axes; pictures are made of images "
            "with 2 or 3."
        )
    return case


def largest(case_id: str, characters: int, draw: Callable[[Rung], CasePictures]) -> CasePictures:
    """The largest pictures of a case that fit into its room.

    Raises
    ------
    CaseError
        When not even the smallest do.
    """
    drawn = None
    for rung in LADDER:
        if rung.edge**2 * LEAST_CHARACTERS_A_PIXEL / MAX_STRETCH_RATIO > characters:
            continue
        if drawn is not None and least_characters(drawn, rung) > characters:
            continue
        drawn = draw(rung)
        if drawn.characters <= characters:
            return drawn
    raise CaseError(f"The pictures of {case_id!r} do not fit into this page.")


def least_characters(drawn: CasePictures, rung: Rung) -> float:
    """What the pictures of a case take at least on a lower rung than that they were drawn on.

    Files of smaller pictures do not shrink faster than their areas.
    """
    shrunk = min(1.0, rung.edge / max(drawn.size)) ** 2
    kept = min(1.0, rung.slices / len(drawn.pictures))
    maps = [class_layer_names(picture)[rung.class_maps :] for picture in drawn.pictures]
    left_out = sum(
        len(picture.overlays[name])
        for picture, names in zip(drawn.pictures, maps, strict=True)
        for name in names
    )
    return SHRINKING * shrunk * kept * (drawn.characters - left_out)


def class_layer_names(picture: PictureLayers) -> list[str]:
    """Names of the layers of classes, the softest first."""
    return [name for name in picture.overlays if name.startswith(CLASS_LAYER)]


def pictures_on(
    cache: Cache,
    case: CachedCase,
    rung: Rung,
    slices_across: Callable[[int], Sequence[Cut]],
    overlays: Callable[[Section, Cut, Plane, Size], dict[str, str]],
) -> CasePictures:
    """The pictures of a case on a rung, with layers that a function draws.

    Parameters
    ----------
    cache : Cache
    case : CachedCase
    rung : Rung
    slices_across : callable (axis) -> sequence of int
        Which slices of a volume are shown, across an axis.
    overlays : callable (section, slice, plane, size) -> {name: layer}
        Of a section as it is drawn; the slice is None in an image.
    """
    view = View()
    across = axis_across(case, view)
    plane = Plane.of(case, across)
    cuts = [None] if across is None else slices_across(across)
    raw = [read_section(cache, case, view, plane, cut) for cut in cuts]
    sections = [upright(section, plane) for section in raw]
    window = intensity_window(sections)
    size, compressed = thumbnail_size(
        sections[0].labels.shape, plane.rows.spacing, plane.columns.spacing, rung.edge
    )
    pictures = tuple(
        PictureLayers(
            section.name,
            image_layer(grey(section.image, window), size),
            overlays(section, cut, plane, size),
        )
        for section, cut in zip(sections, cuts, strict=True)
    )
    slices = 0 if across is None else case.shape[across]
    return CasePictures(pictures, (plane.rows.ends, plane.columns.ends), size, slices, compressed)


def _overlays(section: Section, size: Size, classes: int) -> dict[str, str]:
    overlays = {LABELS: label_layer(section.labels, size)}
    if section.superpixels is not None:
        overlays[SUPERPIXELS] = superpixel_layer(section.superpixels, section.band, size)
    overlays[ENTROPY] = soft_layer(
        section.soft, section.band, size, of_one_class=False, classes=classes
    )
    return overlays


def thumbnail_size(
    shape: tuple[int, ...], row_spacing: float, column_spacing: float, edge: int
) -> tuple[tuple[int, int], float]:
    """Rows and columns of a thumbnail, and how many times too long its rows are to its columns.

    Long sections are compressed, as in other pictures, and nothing is enlarged but what one axis
    needs to have its true length.

    Examples
    --------
    >>> thumbnail_size((100, 200), 1.0, 1.0, 50)
    ((25, 50), 1.0)
    >>> thumbnail_size((100, 1000), 1.0, 1.0, 500)
    ((200, 500), 4.0)
    """
    true_ratio = shape[0] * row_spacing / (shape[1] * column_spacing)
    ratio = float(np.clip(true_ratio, 1 / MAX_STRETCH_RATIO, MAX_STRETCH_RATIO))
    longest = min(edge, max(shape))
    rows, columns = (longest, longest / ratio) if ratio > 1 else (longest * ratio, longest)
    return (max(1, round(rows)), max(1, round(columns))), ratio / true_ratio


def upright(section: Section, plane: Plane) -> Section:
    """A section as it is drawn."""
    return section.map_arrays(lambda array: turned(array, plane))


def turned(array: Array, plane: Plane) -> Array:
    """An array as it is drawn: :class:`Plane` says which axis goes down, and from which end."""
    if plane.transposed:
        array = transposed(array)
    return array[:: -1 if plane.rows.descending else 1, :: -1 if plane.columns.descending else 1]
