"""What a picture shows, as data: arrays of sections, and the words around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from softlabel.types import Array


@dataclass(frozen=True)
class Axis:
    """How one axis of a section is drawn.

    Attributes
    ----------
    name : str
    start : int
        Pixel of the image that the section begins with.
    step : int
        Pixels of the image for one of the section (large images are thinned).
    spacing : float
        Distance of the image's pixels, in the same unit along both axes.
    length_mm : float or None
        Extent of the section.
    descending : bool
        The last index comes first: at the top, or on the left.
    ends : (str, str) or None
        Anatomical letters at the top (or left) and at the bottom (or right).
    """

    name: str
    start: int = 0
    step: int = 1
    spacing: float = 1.0
    length_mm: float | None = None
    descending: bool = False
    ends: tuple[str, str] | None = None


@dataclass(frozen=True, eq=False)
class Section:
    """The arrays of one row of panels, all of one shape (rows, columns).

    Attributes
    ----------
    image : ndarray
        Intensities, or (rows, columns, 3) of red, green and blue in 0..255.
    labels : ndarray of int
        Indices into the classes, −1 where nothing was annotated.
    soft : ndarray of float
        The soft label of the chosen class, or the entropy in bits.
    band : ndarray of bool
        True where a value is neither 0 nor 1.
    superpixels : ndarray of int, or None
        Negative where there is none.
    mask : ndarray of bool, or None
        True where the image means something.
    truth : ndarray of int, or None
        As ``labels``.
    name : str
        Which section of a volume.
    """

    image: Array
    labels: Array
    soft: Array
    band: Array
    superpixels: Array | None = None
    mask: Array | None = None
    truth: Array | None = None
    name: str = ""

    def map_arrays(self, change: Callable[[Array], Array]) -> Section:
        """The same section with every array changed alike."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays = {n: v for n, v in values.items() if isinstance(v, np.ndarray)}
        changed: dict[str, Any] = {n: change(array) for n, array in arrays.items()}
        return replace(self, **changed)


@dataclass(frozen=True)
class Picture:
    """All that a figure shows.

    Attributes
    ----------
    title : str
        The case's id.
    lines : tuple of str
        What is said below the title: group, settings.
    sections : tuple of Section
    rows, columns : Axis
    class_names : tuple of str
    class_index : int or None
        The class whose soft label is shown; None for the entropy.
    channel : str
        What the image panel shows.
    window : (float, float) or None
        Intensities shown as black and white; None is what most of the image has.
    """

    title: str
    lines: tuple[str, ...]
    sections: tuple[Section, ...]
    rows: Axis
    columns: Axis
    class_names: tuple[str, ...]
    class_index: int | None = None
    channel: str = "image"
    window: tuple[float, float] | None = None


def transposed(array: Array) -> Array:
    """Rows and columns exchanged; the colours of an image stay last."""
    return array.swapaxes(0, 1)
