"""Where things are in a figure, in inches, and what its legends say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from softlabel.colours import class_colour
from softlabel.render.palette import HATCH_COLOUR, MASK_COLOUR, TRUTH_COLOUR
from softlabel.render.picture import Picture

MAX_STRETCH_RATIO = 2.5
"""A panel is at most so many times as long as wide; longer sections are shown compressed."""

MAX_LEGEND_CLASSES = 48
"""The largest ones; more are counted in a last entry."""

LINE, TITLE_LINE = 0.2, 0.26
"""Height of a line of small text and of the title, in inches."""

Rect = tuple[float, float, float, float]
"""Left, bottom, width, height in inches."""


@dataclass(frozen=True)
class Layout:
    """Where things are, in inches from the lower left corner."""

    width: float
    height: float
    panels: tuple[Rect, ...]
    bars: tuple[Rect, Rect]
    upright_bars: bool
    stretch: float
    title_lines: tuple[str, ...]
    lines: tuple[str, ...]
    legends_top: float
    legend: Legend

    def fraction(self, rect: Rect) -> Rect:
        """A rectangle in fractions of the figure."""
        left, bottom, width, height = rect
        return left / self.width, bottom / self.height, width / self.width, height / self.height


@dataclass(frozen=True)
class Legend:
    """What the legends say and how many columns they have."""

    key: tuple[tuple[Any, str], ...]
    key_columns: int
    classes: tuple[tuple[Any, str], ...]
    class_columns: int

    @property
    def rows(self) -> int:
        """Rows of text in both."""
        return -(-len(self.key) // self.key_columns) + -(-len(self.classes) // self.class_columns)


def arrange(picture: Picture) -> Layout:
    """Panels side by side, a row for each section; those of one wide section below each other."""
    rows, columns = picture.sections[0].labels.shape
    true_ratio = (rows * picture.rows.step * picture.rows.spacing) / (
        columns * picture.columns.step * picture.columns.spacing
    )
    ratio = float(np.clip(true_ratio, 1 / MAX_STRETCH_RATIO, MAX_STRETCH_RATIO))
    single = len(picture.sections) == 1
    stacked = single and ratio < 0.65
    left, right, below = 0.95, (1.0 if stacked else 0.35), (0.5 if stacked else 1.15)
    if stacked:
        grid = _Grid(1, 3, 8.6, 8.6 * ratio, 0.0, 0.5)
    else:
        width = max(1.9, min(3.9, (6.4 if single else 3.5) / ratio))
        grid = _Grid(3, len(picture.sections), width, width * ratio, 0.3, 0.14)
    total_width = left + grid.total_width + right
    titles = textwrap.wrap(picture.title, max(20, int(total_width * 8.5)), break_on_hyphens=False)
    characters = int((total_width - 0.6) * 14)
    lines = [part for line in picture.lines for part in textwrap.wrap(line, characters)]
    legend = _legend(picture, total_width)
    legends_top = 0.37 + LINE * legend.rows
    bottom = legends_top + below
    top = bottom + grid.total_height
    panels = grid.rects(left, top)
    return Layout(
        width=total_width,
        height=top + 0.6 + TITLE_LINE * len(titles) + LINE * len(lines),
        panels=panels,
        bars=(_bar(panels[-3], stacked), _bar(panels[-1], stacked)),
        upright_bars=stacked,
        stretch=ratio / true_ratio,
        title_lines=tuple(titles),
        lines=tuple(lines),
        legends_top=legends_top,
        legend=legend,
    )


@dataclass(frozen=True)
class _Grid:
    """Panels of one size, in inches."""

    across: int
    down: int
    width: float
    height: float
    gap_x: float
    gap_y: float

    @property
    def total_width(self) -> float:
        return self.across * self.width + (self.across - 1) * self.gap_x

    @property
    def total_height(self) -> float:
        return self.down * self.height + (self.down - 1) * self.gap_y

    def rects(self, left: float, top: float) -> tuple[Rect, ...]:
        """Panels row by row, from the upper left corner."""
        return tuple(
            (
                left + column * (self.width + self.gap_x),
                top - (row + 1) * self.height - row * self.gap_y,
                self.width,
                self.height,
            )
            for row in range(self.down)
            for column in range(self.across)
        )


def _bar(panel: Rect, upright: bool) -> Rect:
    """The colour bar right of a panel, or below it."""
    left, bottom, width, height = panel
    if upright:
        return left + width + 0.15, bottom, 0.14, height
    return left, bottom - 0.72, width, 0.12


def _legend(picture: Picture, width: float) -> Legend:
    """Only classes that are present, the largest ones when there are too many."""
    counts = np.zeros(len(picture.class_names), np.int64)
    for section in picture.sections:
        known = section.labels[section.labels >= 0]
        counts += np.bincount(known, minlength=len(counts))
    present = np.flatnonzero(counts)
    shown = present
    if len(present) > MAX_LEGEND_CLASSES:
        shown = np.sort(present[np.argsort(-counts[present], kind="stable")][:MAX_LEGEND_CLASSES])
    classes = [
        (Patch(facecolor=class_colour(k), edgecolor="#404040", linewidth=0.4),
         short(picture.class_names[k], 30))
        for k in shown.tolist()
    ]  # fmt: skip
    if len(shown) < len(present):
        blank = Patch(facecolor="none", edgecolor="none")
        classes.append((blank, f"and {len(present) - len(shown)} smaller ones"))
    key = _key(picture)
    return Legend(
        tuple(key), _columns([name for _, name in key], width),
        tuple(classes), _columns([name for _, name in classes], width),
    )  # fmt: skip


def _columns(names: Sequence[str], width: float) -> int:
    """How many columns of a legend fit into a width."""
    widest = max((len(name) for name in names), default=1) * 0.082 + 0.55
    return max(1, min(len(names), int((width - 0.4) / widest)))


def _key(picture: Picture) -> list[tuple[Any, str]]:
    """Lines and areas that the panels of this picture show."""
    sections = picture.sections
    key: list[tuple[Any, str]] = []
    if any(s.superpixels is not None for s in sections):
        key.append((Line2D([], [], color="black", linewidth=0.6), "superpixels (bold: soft)"))
    if any(s.truth is not None for s in sections):
        key.append((_dashed(), "true boundary"))
    if any((s.labels < 0).any() for s in sections):
        key.append((Patch(facecolor="#8a8a8a", edgecolor="white", hatch="/////"), "not annotated"))
    if any(s.mask is not None and not s.mask.all() for s in sections):
        key.append((Patch(facecolor=MASK_COLOUR, edgecolor=HATCH_COLOUR, hatch="..."), "masked"))
    if picture.class_index is None:
        key.append((Patch(facecolor="#606060"), "hard"))
    else:
        key.append((Patch(facecolor="#484848"), "hard 0"))
        key.append((Patch(facecolor="#e4e4e4", edgecolor="#808080", linewidth=0.4), "hard 1"))
    return key


def _dashed() -> Line2D:
    return Line2D(
        [],
        [],
        color=TRUTH_COLOUR,
        linewidth=1.2,
        linestyle=(0, (2.5, 2)),
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def short(text: str, most: int) -> str:
    """A text cut to so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
