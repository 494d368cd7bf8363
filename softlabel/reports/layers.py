"""The layers of a thumbnail: an image as JPEG, and what lies over it as PNG with few colours.

Layers hold only what they add, all else is transparent: a band takes a few hundred bytes. So
they can be switched in any combination, and the image is stored once.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from softlabel.render import class_colour
from softlabel.render.palette import MASK_COLOUR, soft_scale
from softlabel.types import Array

JPEG_QUALITY = 72

COMPRESS_LEVEL = 6
"""Of PNG: 9 takes five times as long for files 2 to 5 % smaller."""

LEVELS = 48
"""Steps of the colours of soft labels; an eye that compares two places tells about as many."""

CLASS_COLOURS = 126
"""Classes beyond take the colours of the first ones again: a palette has 256 entries, a tint and a
contour for each class."""

TINT, FAINT, STRONG = 90, 80, 200
"""Opacity, of 255: of the tint of a class, of superpixels, and of those that were softened."""


@dataclass(frozen=True)
class PictureLayers:
    """One picture of a page.

    Attributes
    ----------
    name : str
        Which slice of a volume; empty of an image.
    image : str
        Data URI.
    overlays : mapping of str to str
        Name of a layer to its data URI.
    """

    name: str
    image: str
    overlays: Mapping[str, str] = field(default_factory=dict)

    @property
    def characters(self) -> int:
        """Room that it takes in a page."""
        return len(self.image) + sum(map(len, self.overlays.values()))

    def as_json(self) -> dict[str, Any]:
        """For the script of the page."""
        return {"name": self.name, "image": self.image, "overlays": dict(self.overlays)}


def image_layer(shown: Array, size: tuple[int, int]) -> str:
    """A JPEG of an image.

    Parameters
    ----------
    shown : ndarray of float, shape (rows, columns, 3)
        Red, green and blue in 0..1.
    size : (int, int)
        Rows and columns of the thumbnail; pixels are averaged.

    Returns
    -------
    str
        Data URI.
    """
    values = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(values)
    if np.ptp(values, axis=-1).max(initial=0) == 0:
        picture = picture.convert("L")
    box = Image.Resampling.BOX if picture.height >= size[0] else Image.Resampling.NEAREST
    buffer = io.BytesIO()
    picture.resize(size[::-1], box).save(buffer, "jpeg", quality=JPEG_QUALITY, optimize=True)
    return _uri("jpeg", buffer.getvalue())


def label_layer(labels: Array, size: tuple[int, int]) -> str:
    """Classes as tints of their colours, with contours; what was not annotated is transparent.

    Parameters
    ----------
    labels : ndarray of int, shape (rows, columns)
        Indices of classes, −1 where there is none.
    size : (int, int)

    Returns
    -------
    str
        Data URI.
    """
    thin = resampled(labels, size)
    entries = np.where(thin < 0, 0, 1 + thin % CLASS_COLOURS)
    entries[_edges(thin) & (thin >= 0)] += CLASS_COLOURS
    used = min(CLASS_COLOURS, int(thin.max(initial=0)) + 1)
    colours = np.zeros((1 + 2 * CLASS_COLOURS, 4), np.uint8)
    for k in range(used):
        colour = [round(255 * c) for c in class_colour(k)]
        colours[1 + k] = (*colour, TINT)
        colours[1 + k + CLASS_COLOURS] = (*colour, 255)
    return _png(entries, colours)


def superpixel_layer(ids: Array, band: Array, size: tuple[int, int]) -> str:
    """Borders of superpixels in white, those of softened ones stronger.

    Parameters
    ----------
    ids : ndarray of int, shape (rows, columns)
        Negative where there is none.
    band : ndarray of bool, shape (rows, columns)
        True where a value is not hard.
    size : (int, int)

    Returns
    -------
    str
        Data URI.
    """
    softened_ids = np.unique(ids[band])
    thin = resampled(ids, size)
    softened = np.isin(thin, softened_ids[softened_ids >= 0])
    borders = _edges(thin)
    entries = np.where(borders, np.where(softened, 2, 1), 0)
    return _png(entries, np.array([(0, 0, 0, 0), (255, 255, 255, FAINT), (255, 255, 255, STRONG)]))


def soft_layer(
    values: Array, band: Array, size: tuple[int, int], *, of_one_class: bool, classes: int
) -> str:
    """Soft labels of a class, or the entropy, in colour where a value is not hard.

    Pixels that are hard 1 in the class are whitened; all others are transparent.
    """
    colours, top = soft_scale(of_one_class, classes)
    thin, soft = resampled(values, size), resampled(band, size)
    steps = np.rint(np.clip(thin / top, 0, 1) * (LEVELS - 1)).astype(np.int64)
    entries = np.where(soft, 1 + steps, 0)
    if of_one_class:
        entries[~soft & (thin >= 1)] = 1 + LEVELS
    table = np.rint(255 * colours(np.linspace(0, 1, LEVELS)))
    return _png(entries, np.vstack([(0, 0, 0, 0), table, (255, 255, 255, STRONG // 2)]))


def mask_layer(where: Array, size: tuple[int, int], colour: str = MASK_COLOUR) -> str:
    """A set of pixels in one colour.

    Parameters
    ----------
    where : ndarray of bool, shape (rows, columns)
    size : (int, int)
    colour : str

    Returns
    -------
    str
        Data URI.
    """
    rgb = [round(255 * c) for c in to_rgb(colour)]
    return _png(resampled(where, size).astype(np.uint8), np.array([(0, 0, 0, 0), (*rgb, STRONG)]))


def resampled(array: Array, size: tuple[int, int]) -> Array:
    """The nearest pixels of an array on a grid of another size: no value that was not there."""
    rows, columns = (
        ((np.arange(n) + 0.5) * length / n).astype(np.intp)
        for n, length in zip(size, array.shape[:2], strict=True)
    )
    return array[rows[:, None], columns]


def _edges(regions: Array) -> Array:
    """Pixels whose right or lower neighbour is of another region."""
    edges = np.zeros(regions.shape, bool)
    edges[:-1] |= regions[:-1] != regions[1:]
    edges[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    return edges


def _png(entries: Array, colours: Array) -> str:
    """A PNG of places in a table of colours (N, 4) with opacity."""
    table = np.asarray(colours, np.uint8)
    picture = Image.fromarray(entries.astype(np.uint8))
    picture.putpalette(table[:, :3].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "png", compress_level=COMPRESS_LEVEL, transparency=table[:, 3].tobytes())
    return _uri("png", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
