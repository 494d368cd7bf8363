"""What superpixel settings do to a data set, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from softlabel.colours import class_colour
from softlabel.tuning.advice import MOST_SOFTENED, Advice
from softlabel.tuning.rows import Row
from softlabel.tuning.sweep import Tuning

STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
"""Of the sigmas, the smallest first."""

COLOURS = (5, 2, 3, 6, 7, 9)
"""Of the compactnesses, the smallest first: classes of the palette that differ well."""

MOST_CLASSES = 40
"""Classes with bars of their own; of more only the lowest."""

ROOM_FOR_NAMES = 130
"""Letters that have room side by side below the bars."""

RECOMMENDED, BY_DEFAULT, OF_GRID = "#d55e00", "#777777", "#c8c8c8"


def tuning_figure(tuning: Tuning, advice: Advice, title: str) -> Figure:
    """Draw it.

    Returns
    -------
    matplotlib.figure.Figure
        On an Agg canvas.
    """
    figure = Figure(figsize=(13, 8.2), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    top, bottom = halves
    figure.suptitle(title, fontsize=11, x=0.01, ha="left").set_parse_math(False)
    panels = top.subplots(1, 3)
    _draw_lines(panels[0], tuning, advice, lambda row: row.over_chance,
                "boundary recall over chance")  # fmt: skip
    panels[0].axhline(0, color="black", linewidth=0.8)
    _draw_lines(panels[1], tuning, advice, lambda row: row.mean_dice,
                "achievable Dice, mean over the classes")  # fmt: skip
    _draw_grid_dice(panels[1], tuning)
    _draw_lines(panels[2], tuning, advice, lambda row: row.softened_of_classes,
                "share softened, without the largest class")  # fmt: skip
    panels[2].axhline(MOST_SOFTENED, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
    panels[2].set_ylim(0, 1)
    top.legend(handles=_legend(tuning, advice), loc="outside right upper", fontsize=8,
               frameon=False)  # fmt: skip
    _draw_classes(bottom.subplots(), tuning, advice)
    return figure


def _draw_lines(
    ax: Axes, tuning: Tuning, advice: Advice, value: Callable[[Row], float], heading: str
) -> None:
    """A line for each compactness and sigma over the pixels a superpixel that were returned."""
    for colour, compactness in zip(COLOURS * 9, _compactnesses(tuning), strict=False):
        for style, sigma in zip(STYLES * 9, _sigmas(tuning), strict=False):
            rows = sorted(
                (r for r in tuning.rows if r.trial.size is not None
                 and (r.trial.compactness, r.trial.sigma) == (compactness, sigma)),
                key=lambda r: r.made_size,
            )  # fmt: skip
            ax.plot(
                [r.made_size for r in rows], [value(r) for r in rows], linestyle=style,
                marker=".", markersize=3, linewidth=1.2, color=class_colour(colour),
            )  # fmt: skip
    for row, marker, face, size in _marked(advice):
        ax.plot(
            row.made_size, value(row), marker=marker, markersize=size, color=face,
            markeredgecolor="black", markeredgewidth=0.7, linestyle="none", zorder=5,
        )  # fmt: skip
    ax.set_xscale("log")
    sizes = sorted({r.trial.size for r in tuning.rows if r.trial.size is not None})
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("pixels a superpixel, returned", fontsize=8.5)
    ax.set_title(heading, fontsize=9.5, loc="left")
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25, which="both", linewidth=0.5)


def _draw_grid_dice(ax: Axes, tuning: Tuning) -> None:
    rows = sorted(tuning.rows, key=lambda row: row.made_size)
    ax.plot([r.made_size for r in rows], [r.mean_grid_dice for r in rows], ".", markersize=3,
            color="#a0a0a0", zorder=0)  # fmt: skip


def _draw_classes(ax: Axes, tuning: Tuning, advice: Advice) -> None:
    """Bars of the achievable Dice of each class, the lowest first."""
    row = advice.row or advice.default
    if row is None:
        return
    values = sorted(row.dice, key=lambda v: row.dice[v])[:MOST_CLASSES]
    groups = [("a grid of as many", OF_GRID, row.grid_dice)]
    if advice.default is not None:
        groups.append(("default", BY_DEFAULT, advice.default.dice))
    if advice.row is not None:
        groups.append(("recommended", RECOMMENDED, row.dice))
    width = 0.8 / len(groups)
    for number, (name, colour, dice) in enumerate(groups):
        places = np.arange(len(values)) + (number - (len(groups) - 1) / 2) * width
        ax.bar(places, [dice.get(v, np.nan) for v in values], width, color=colour, label=name)
    ax.set_xticks(range(len(values)))
    names = [tuning.classes[v] for v in values]
    slanted = max(map(len, names)) * len(names) > ROOM_FOR_NAMES
    labels = ax.set_xticklabels(
        names, rotation=35 if slanted else 0,
        ha="right" if slanted else "center", fontsize=7 if slanted else 8,
    )  # fmt: skip
    for label in labels:
        label.set_parse_math(False)
    ax.set_xlim(-0.6, len(values) - 0.4)
    ax.set_ylim(0, 1)
    ax.tick_params(axis="y", labelsize=8)
    ax.grid(axis="y", alpha=0.25, linewidth=0.5)
    ax.set_axisbelow(True)
    more = len(row.dice) - len(values)
    ax.set_title(
        "achievable Dice of each class" + (f", the {len(values)} lowest" if more else ""),
        fontsize=9.5, loc="left",
    )  # fmt: skip
    ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _legend(tuning: Tuning, advice: Advice) -> list[Line2D]:
    colours = [
        Line2D([], [], color=class_colour(colour), label=f"compactness {compactness:g}")
        for colour, compactness in zip(COLOURS * 9, _compactnesses(tuning), strict=False)
    ]
    styles = [
        Line2D([], [], color="black", linestyle=style, label=f"sigma {sigma:g}")
        for style, sigma in zip(STYLES * 9, _sigmas(tuning), strict=False)
    ]
    marks = [
        Line2D([], [], marker=marker, markersize=size, color=colour, markeredgecolor="black",
               linestyle="none", label="recommended" if row is advice.row else "default")
        for row, marker, colour, size in _marked(advice)
    ]  # fmt: skip
    grid = Line2D([], [], marker=".", color="#a0a0a0", linestyle="none", label="a grid (Dice)")
    return [*marks, *colours, *styles, grid]


def _marked(advice: Advice) -> list[tuple[Row, str, str, float]]:
    """Rows with a mark of their own."""
    marked = []
    if advice.row is not None:
        marked.append((advice.row, "*", RECOMMENDED, 15.0))
    if advice.default is not None:
        marked.append((advice.default, "D", BY_DEFAULT, 7.0))
    return marked


def _compactnesses(tuning: Tuning) -> list[float]:
    return sorted({r.trial.compactness for r in tuning.rows if r.trial.size is not None})


def _sigmas(tuning: Tuning) -> list[float]:
    return sorted({r.trial.sigma for r in tuning.rows if r.trial.size is not None})
