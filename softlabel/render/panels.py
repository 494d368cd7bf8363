"""The three panels of a section."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke

from softlabel.colours import class_colour
from softlabel.render.outlines import boundaries, chain, rectangles
from softlabel.render.palette import (
    HATCH_COLOUR,
    MASK_COLOUR,
    TRUTH_COLOUR,
    soft_scale,
)
from softlabel.render.picture import Picture, Section
from softlabel.types import Array

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in how bright a colour looks (ITU-R BT.601)."""

BRIGHT = 0.5
"""Mean of red, green and blue from which on a thin line is drawn black instead of white."""


def draw_image(ax: Axes, section: Section, picture: Picture, window: tuple[float, float]) -> None:
    """The image, and how the patient lies in it."""
    show(ax, grey(section.image, window), picture)
    style: dict[str, Any] = {
        "transform": ax.transAxes,
        "color": "white",
        "fontsize": 9,
        "ha": "center",
        "va": "center",
        "path_effects": [withStroke(linewidth=2, foreground="black")],
    }
    if picture.rows.ends:
        ax.text(0.5, 0.96, picture.rows.ends[0], **style)
        ax.text(0.5, 0.04, picture.rows.ends[1], **style)
    if picture.columns.ends:
        ax.text(0.03, 0.5, picture.columns.ends[0], **style)
        ax.text(0.97, 0.5, picture.columns.ends[1], **style)


def draw_labels(ax: Axes, section: Section, picture: Picture, window: tuple[float, float]) -> None:
    """The image tinted by class, with superpixels (softened ones brighter) and label contours."""
    colours = np.array([class_colour(k) for k in range(len(picture.class_names))])
    known = section.labels >= 0
    tinted = grey(section.image, window)
    tint = colours[np.maximum(section.labels, 0)]
    tinted = np.where(known[..., None], 0.78 * tinted + 0.22 * tint, tinted)
    show(ax, tinted, picture)
    if section.superpixels is not None:
        soft_ids = np.unique(section.superpixels[section.band])
        softened = np.isin(section.superpixels, soft_ids[soft_ids >= 0])
        for where, alpha, width in ((None, 0.3, 0.35), (softened, 0.75, 0.5)):
            ends = boundaries(section.superpixels, where).ends
            add_lines(ax, ends, picture, colors=_against(tinted, ends, alpha), linewidths=width)
    _draw_contours(ax, section, picture, width=1.1 if len(picture.sections) == 1 else 0.8)
    _draw_truth(ax, section, picture)
    _mark_unknown(ax, section, picture)


def draw_soft(ax: Axes, section: Section, picture: Picture, window: tuple[float, float]) -> None:
    """The band in colour on the grey image; pixels that are hard 1 in the class nearly white."""
    background = grey(section.image, window)
    if section.image.ndim == 3:  # colours of the image would pass for values
        background = np.repeat((background @ LUMINANCE)[..., None], 3, axis=-1)
    if picture.class_index is None:
        shown = 0.14 + 0.5 * background
    else:
        inside = (section.soft >= 1)[..., None]
        shown = np.where(inside, 0.8 + 0.2 * background, 0.14 + 0.4 * background)
    colours, top = soft_scale(picture.class_index is not None, len(picture.class_names))
    values = colours(np.clip(section.soft / top, 0, 1))[..., :3]
    show(ax, np.where(section.band[..., None], values, shown), picture)
    if len(picture.sections) == 1 or picture.class_index is not None:  # else the dashes hide it
        _draw_truth(ax, section, picture, picture.class_index)
    _mark_unknown(ax, section, picture)


def _against(rgb: Array, ends: Array, alpha: float) -> Array:
    """A colour for each segment that is seen on what lies below it: white, or black on bright."""
    middle = ends.mean(axis=1).astype(np.intp)
    row, column = (np.minimum(middle[:, axis], rgb.shape[axis] - 1) for axis in (0, 1))
    bright = rgb[row, column].mean(axis=-1) > BRIGHT
    return np.where(bright[:, None], (0, 0, 0, alpha), (1, 1, 1, alpha))


def _draw_contours(ax: Axes, section: Section, picture: Picture, width: float) -> None:
    """Label contours, each in the colour of the smaller of its two classes."""
    sizes = np.bincount(section.labels[section.labels >= 0], minlength=len(picture.class_names))
    for (a, b), lines in chain(boundaries(section.labels)).items():
        colour = class_colour(min((a, b), key=lambda k: (sizes[k], -k)))
        add_lines(
            ax,
            lines,
            picture,
            colors=[colour],
            linewidths=width,
            path_effects=[withStroke(linewidth=width + 0.9, foreground=(0, 0, 0, 0.55))],
        )


def _draw_truth(
    ax: Axes, section: Section, picture: Picture, class_index: int | None = None
) -> None:
    """Dashed true contours, of all classes or of one."""
    if section.truth is None:
        return
    truth = section.truth
    if class_index is not None:
        truth = np.where(truth < 0, -1, truth == class_index)
    lines = [line for lines in chain(boundaries(truth)).values() for line in lines]
    width = 0.8 if len(picture.sections) == 1 else 0.6
    add_lines(
        ax,
        lines,
        picture,
        colors=[TRUTH_COLOUR],
        linewidths=width,
        linestyles=[(0, (3, 3))],
        path_effects=[withStroke(linewidth=width + 0.5, foreground=(0, 0, 0, 0.5))],
    )


def _mark_unknown(ax: Axes, section: Section, picture: Picture) -> None:
    """Hatch what was not annotated, and cover what the mask leaves out."""
    if section.mask is not None and not section.mask.all():
        _add_patch(ax, ~section.mask, picture, facecolor=(*to_rgb(MASK_COLOUR), 0.75), hatch="..")
    _add_patch(ax, section.labels < 0, picture, facecolor=(0.35, 0.35, 0.35, 0.45), hatch="////")


def show(ax: Axes, rgb: Array, picture: Picture, interpolation: str = "antialiased") -> None:
    """Draw a section in colours (rows, columns, 3), in pixels of the image."""
    (top, left), (bottom, right) = _pixels(np.array([(0, 0), rgb.shape[:2]]), picture).tolist()
    ax.imshow(
        np.clip(rgb, 0, 1),
        extent=(left, right, bottom, top),
        aspect="auto",
        interpolation=interpolation,
        interpolation_stage="rgba",
    )
    ax.set_xlim((right, left) if picture.columns.descending else (left, right))
    ax.set_ylim((top, bottom) if picture.rows.descending else (bottom, top))


def _pixels(corners: Array, picture: Picture) -> Array:
    """Corners (…, 2) of the section's pixels, in pixels of the image, whose centres are whole."""
    axes = (picture.rows, picture.columns)
    return np.array([a.start for a in axes]) - 0.5 + corners * np.array([a.step for a in axes])


def add_lines(ax: Axes, lines: Any, picture: Picture, **style: Any) -> None:
    """Draw polylines between corners of the section's pixels."""
    pieces = [_pixels(line, picture)[:, ::-1] for line in lines]
    ax.add_collection(LineCollection(pieces, capstyle="butt", **style), autolim=False)


def _add_patch(ax: Axes, mask: Array, picture: Picture, **style: Any) -> None:
    if not mask.any():
        return
    corners = []
    for top, left, bottom, right in rectangles(mask).tolist():
        corners += [(top, left), (top, right), (bottom, right), (bottom, left), (top, left)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(_pixels(np.array(corners), picture)[:, ::-1], codes * (len(corners) // 5))
    ax.add_patch(PathPatch(path, linewidth=0, edgecolor=HATCH_COLOUR, **style))


def grey(image: Array, window: tuple[float, float]) -> Array:
    """RGB of an image, (rows, columns, 3) in 0..1; one in colours keeps them."""
    low, high = window
    scaled = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    return scaled if image.ndim == 3 else np.repeat(scaled[..., None], 3, axis=-1)
