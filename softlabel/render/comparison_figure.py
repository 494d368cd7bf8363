"""A comparison becomes a figure: the image, a map for each method, and a profile below them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from softlabel.colours import PALETTE
from softlabel.render.comparison import ComparisonPicture, MethodPanel, Profile
from softlabel.render.figure import intensity_window
from softlabel.render.layout import short
from softlabel.render.outlines import boundaries, chain
from softlabel.render.palette import soft_scale
from softlabel.render.panels import add_lines, grey, show
from softlabel.render.picture import Axis, Picture
from softlabel.types import Array

WIDTH, LEFT, RIGHT, HEAD, FOOT = 11.0, 0.75, 0.8, 0.95, 0.55
"""Of the figure and around the panels, in inches."""

GAP_X, GAP_Y = 0.22, 0.62
PROFILE_HEIGHT, INTENSITY_HEIGHT, PROFILE_GAP, LEGEND_WIDTH = 2.3, 0.75, 0.7, 1.9

RATIO_RANGE = (0.55, 1.45)
"""Height over width of a panel: longer sections are shown compressed, so that a row fits."""

LABEL_COLOUR, LINE_COLOUR, FRAME_COLOUR = "#e69f00", "#d55e00", "#56b4e9"
METHOD_COLOURS = tuple(PALETTE[n] for n in (5, 6, 3, 7, 2, 1, 8, 15, 11, 12, 9, 13, 14))
"""Those that are seen on white: no yellow, no light grey."""

RGB_COLOURS = ("#c1272d", "#1e8449", "#2458b3")
"""Of the curves of red, green and blue; dark enough for white."""

MARKERS = "os^DvPX*<>dhp"
STYLES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1.2)))
"""Dashes leave a curve below in sight."""


@dataclass(frozen=True)
class _Frame:
    """Where the panels lie, in inches from the lower left corner."""

    columns: int
    rows: int
    panel_width: float
    panel_height: float
    has_profile: bool

    @property
    def height(self) -> float:
        panels = self.rows * self.panel_height + (self.rows - 1) * GAP_Y
        below = PROFILE_GAP + PROFILE_HEIGHT + INTENSITY_HEIGHT if self.has_profile else 0.4
        return HEAD + panels + below + FOOT

    def panel(self, number: int) -> tuple[float, float, float, float]:
        row, column = divmod(number, self.columns)
        left = LEFT + column * (self.panel_width + GAP_X)
        bottom = self.height - HEAD - (row + 1) * self.panel_height - row * GAP_Y
        return self.fraction(left, bottom, self.panel_width, self.panel_height)

    def fraction(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        return left / WIDTH, bottom / self.height, width / WIDTH, height / self.height


def draw_comparison(picture: ComparisonPicture) -> Figure:
    """Draw a comparison.

    Returns
    -------
    matplotlib.figure.Figure
        On an Agg canvas.
    """
    frame = _frame(picture)
    figure = Figure(figsize=(WIDTH, frame.height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(
        LEFT / WIDTH, 1 - 0.16 / frame.height, short(picture.title, 100), fontsize=12.5,
        fontweight="bold", va="top", parse_math=False,
    )  # fmt: skip
    figure.text(
        LEFT / WIDTH, 1 - 0.43 / frame.height, picture.legend, fontsize=8.5, color="#404040",
        va="top", parse_math=False,
    )  # fmt: skip
    window = intensity_window(picture.whole.sections)
    _draw_whole(figure.add_axes(frame.panel(0)), picture, window)
    draw_framed_part(figure.add_axes(frame.panel(1)), picture, window)
    for number, method in enumerate(picture.methods):
        draw_method(figure.add_axes(frame.panel(number + 2)), picture, method)
    _draw_scale(figure, frame, len(picture.methods) + 2)
    if picture.profile is not None:
        _draw_profile(figure, frame, picture, picture.profile)
    return figure


def _frame(picture: ComparisonPicture) -> _Frame:
    panels = len(picture.methods) + 2
    columns = panels if panels <= 4 else -(-panels // -(-panels // 4))
    width = (WIDTH - LEFT - RIGHT - (columns - 1) * GAP_X) / columns
    height = width * float(np.clip(_true_ratio(picture.window), *RATIO_RANGE))
    return _Frame(columns, -(-panels // columns), width, height, picture.profile is not None)


def _true_ratio(picture: Picture) -> float:
    rows, columns = picture.sections[0].labels.shape
    return (rows * picture.rows.spacing) / (columns * picture.columns.spacing)


# --- panels ---------------------------------------------------------------------------------------


def _draw_whole(ax: Axes, picture: ComparisonPicture, window: tuple[float, float]) -> None:
    """The whole section, with the outline of the class and a frame around the window."""
    _keep_ratio(ax, _true_ratio(picture.whole))
    show(ax, grey(picture.whole.sections[0].image, window), picture.whole)
    labels_only = replace(picture.whole.sections[0], truth=None)
    _outline(ax, replace(picture.whole, sections=(labels_only,)), 0.7)
    rows, columns = picture.window.rows, picture.window.columns
    shape = picture.window.sections[0].labels.shape
    ax.add_patch(
        Rectangle(
            (columns.start - 0.5, rows.start - 0.5), shape[1], shape[0], fill=False,
            edgecolor=FRAME_COLOUR, linewidth=1.6,
            path_effects=[withStroke(linewidth=2.6, foreground="black")],
        )
    )  # fmt: skip
    _head(ax, picture.whole.channel)
    _ticks(ax, picture.whole)


def _keep_ratio(ax: Axes, true_ratio: float) -> None:
    """Shrink a panel, around its middle, to the shape of what it shows, within bounds."""
    box = ax.get_position()
    width_in, height_in = (box.width * WIDTH, box.height * ax.figure.get_figheight())  # type: ignore[union-attr]
    ratio = float(np.clip(true_ratio, 0.4, 2.5))
    wanted = (height_in / ratio, height_in) if ratio > height_in / width_in else (
        width_in, width_in * ratio
    )  # fmt: skip
    scale_x, scale_y = wanted[0] / width_in, wanted[1] / height_in
    ax.set_position(
        (
            box.x0 + box.width * (1 - scale_x) / 2, box.y0 + box.height * (1 - scale_y),
            box.width * scale_x, box.height * scale_y,
        )
    )  # fmt: skip


def draw_framed_part(ax: Axes, picture: ComparisonPicture, window: tuple[float, float]) -> None:
    """Draw the image in the window, with the outline of the class and the line."""
    show(ax, grey(picture.window.sections[0].image, window), picture.window, "nearest")
    _outline(ax, picture.window, 1.4)
    _draw_line(ax, picture)
    _head(ax, "framed part")
    _ticks(ax, picture.window, labels=False)


def draw_method(ax: Axes, picture: ComparisonPicture, method: MethodPanel) -> None:
    """Draw the soft label of one method in the window."""
    colours, top = soft_scale(True, 2)
    rgb = colours(np.clip(method.values / top, 0, 1))[..., :3]
    show(ax, rgb, picture.window, "nearest")
    _outline(ax, picture.window, 0.7, "white")
    _draw_line(ax, picture)
    _head(ax, method.name)
    _ticks(ax, picture.window, labels=False)
    ax.set_xlabel(method.note, fontsize=8, labelpad=3)


def _outline(ax: Axes, picture: Picture, width: float, colour: str = LABEL_COLOUR) -> None:
    """The boundary of the class in the label map, and dashed that in the truth."""
    section = picture.sections[0]
    for labels, style in ((section.labels, "-"), (section.truth, (0, (2.5, 2)))):
        if labels is None:
            continue
        shown = colour if style == "-" else "white"
        lines = [line for found in chain(boundaries(labels)).values() for line in found]
        add_lines(
            ax, lines, picture, colors=[shown], linewidths=width, linestyles=[style],
            path_effects=[withStroke(linewidth=width + 0.7, foreground=(0, 0, 0, 0.6))],
        )  # fmt: skip


def _draw_line(ax: Axes, picture: ComparisonPicture) -> None:
    """Where the profile runs, with a dot at its start."""
    if picture.profile is None:
        return
    line = picture.profile.line
    along = np.array([line.start - 0.5, line.stop - 0.5])
    across = np.full(2, float(line.place))
    x, y = (across, along) if line.axis == 0 else (along, across)
    style: dict[str, Any] = {
        "color": LINE_COLOUR, "path_effects": [withStroke(linewidth=2.2, foreground="white")],
    }  # fmt: skip
    ax.plot(x, y, linewidth=1.2, solid_capstyle="butt", scalex=False, scaley=False, **style)
    ax.plot(x[:1], y[:1], "o", markersize=3.2, scalex=False, scaley=False, **style)


def _head(ax: Axes, text: str) -> None:
    ax.set_title(short(text, 34), fontsize=9.5, loc="left", pad=4).set_parse_math(False)


def _ticks(ax: Axes, picture: Picture, labels: bool = True) -> None:
    ax.tick_params(
        labelsize=7, length=2.5 if labels else 0, pad=2, labelbottom=labels, labelleft=labels
    )
    width_in = ax.get_position().width * WIDTH
    for axis, bins in ((ax.xaxis, 4 if width_in > 1.4 else 2), (ax.yaxis, 4)):
        axis.set_major_locator(MaxNLocator(nbins=bins, integer=True, min_n_ticks=1))
    if labels:
        ax.set_xlabel(_axis_text(picture.columns), fontsize=7.5, labelpad=2)
        ax.set_ylabel(_axis_text(picture.rows), fontsize=7.5, labelpad=3)


def _axis_text(axis: Axis) -> str:
    length = "" if axis.length_mm is None else f", {axis.length_mm:.3g} mm"
    return f"{axis.name} (pixels){length}"


def _draw_scale(figure: Figure, frame: _Frame, panels: int) -> None:
    """The colour scale, right of the last panel of the first row."""
    left = LEFT + frame.columns * (frame.panel_width + GAP_X) - GAP_X + 0.12
    bottom = frame.height - HEAD - frame.panel_height
    colours, top = soft_scale(True, 2)
    place = figure.add_axes(frame.fraction(left, bottom, 0.13, frame.panel_height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, top), colours), cax=place, ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=7, length=2.5, pad=2)
    bar.set_label("soft label q", fontsize=7.5, labelpad=1)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]


# --- the profile ----------------------------------------------------------------------------------


def _draw_profile(
    figure: Figure, frame: _Frame, picture: ComparisonPicture, profile: Profile
) -> None:
    """Soft labels of all methods on the line, and the intensities below them."""
    width = WIDTH - LEFT - LEGEND_WIDTH - 0.25
    upper = figure.add_axes(
        frame.fraction(LEFT, FOOT + INTENSITY_HEIGHT + 0.08, width, PROFILE_HEIGHT - 0.08)
    )
    lower = figure.add_axes(frame.fraction(LEFT, FOOT, width, INTENSITY_HEIGHT), sharex=upper)
    _draw_soft_labels(upper, picture, profile)
    for values, colour in _curves(profile.intensity):
        lower.step(profile.places, values, where="mid", color=colour, linewidth=1.0)
    for ax in (upper, lower):
        ax.axvline(0, color="#404040", linewidth=0.8)
        for place in profile.truth_places:
            ax.axvline(place, color="#404040", linewidth=1.2, linestyle=(0, (3, 2)))
        ax.tick_params(labelsize=7.5, length=2.5, pad=2)
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(x=0)
    upper.tick_params(labelbottom=False)
    lower.xaxis.set_major_locator(MaxNLocator(nbins=11, integer=True))
    lower.yaxis.set_major_locator(MaxNLocator(nbins=2))
    lower.set_ylabel("intensity", fontsize=8)
    lower.set_xlabel(profile.description, fontsize=8)


def _curves(intensity: Array) -> list[tuple[Array, str]]:
    """The intensities on the line and the colour of their curve; three of an image in colours."""
    if intensity.ndim == 1:
        return [(intensity, "#404040")]
    return list(zip(intensity.T, RGB_COLOURS, strict=True))


def _draw_soft_labels(ax: Axes, picture: ComparisonPicture, profile: Profile) -> None:
    hard = profile.inside.astype(float)
    ax.fill_between(profile.places, hard, step="mid", color="#e4e4e4", linewidth=0)
    handles: list[Any] = [Rectangle((0, 0), 1, 1, color="#e4e4e4")]
    names = ["label map"]
    for number, method in enumerate(picture.methods):
        style: dict[str, Any] = {
            "color": METHOD_COLOURS[number % len(METHOD_COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": STYLES[number % len(STYLES)],
        }
        below = (len(picture.methods) - 1 - number) / 5  # the first are the lowest, and widest
        ax.plot(
            profile.places, method.on_line, markersize=3.4 + 1.4 * below,
            linewidth=1.3 + 1.4 * below, **style,
        )  # fmt: skip
        handles.append(Line2D([], [], markersize=4, linewidth=1.3, **style))
        names.append(short(method.name, 24))
    if profile.truth_places:
        handles.append(Line2D([], [], color="#404040", linewidth=1.2, linestyle=(0, (3, 2))))
        names.append(f"boundary: {short(picture.truth_name, 16)}")
    legend = ax.legend(
        handles, [str(n) for n in range(len(names))], loc="upper left",
        bbox_to_anchor=(1.015, 1.03), fontsize=8, frameon=False, borderaxespad=0,
    )  # fmt: skip
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
        text.set_parse_math(False)
    ax.set_ylim(-0.03, max(1.03, *(float(m.on_line.max(initial=0)) for m in picture.methods)))
    ax.set_ylabel("soft label q", fontsize=8)
    ax.grid(axis="y", color="#e8e8e8", linewidth=0.6)
    ax.set_axisbelow(True)
