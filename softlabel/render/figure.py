"""A picture becomes a figure: panels, axes, colour bars, title and legends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softlabel.render.layout import LINE, TITLE_LINE, Layout, Rect, arrange, short
from softlabel.render.palette import soft_scale
from softlabel.render.panels import draw_image, draw_labels, draw_soft
from softlabel.render.picture import Axis, Picture, Section
from softlabel.types import Array


def draw(picture: Picture) -> Figure:
    """Draw a picture.

    Parameters
    ----------
    picture : Picture

    Returns
    -------
    matplotlib.figure.Figure
        On an Agg canvas, sized in inches for its content.
    """
    layout = arrange(picture)
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    FigureCanvasAgg(figure)
    window = picture.window or intensity_window(picture.sections)
    for number, section in enumerate(picture.sections):
        axes = [figure.add_axes(layout.fraction(rect)) for rect in layout.panels[3 * number :][:3]]
        draw_image(axes[0], section, picture, window)
        draw_labels(axes[1], section, picture, window)
        draw_soft(axes[2], section, picture, window)
        for place, ax in enumerate(axes):
            _finish_axes(ax, section, picture, layout, number, place)
    _colour_bars(figure, picture, layout, window)
    _write_title(figure, picture, layout)
    _write_legends(figure, picture, layout)
    return figure


def intensity_window(sections: Sequence[Section]) -> tuple[float, float]:
    """Intensities shown as black and white: the 0.5th and 99.5th percentile inside the mask.

    Of an image in colours all that 8 bits hold.
    """
    if sections[0].image.ndim == 3:
        return 0.0, 255.0
    inside = [s.image if s.mask is None or not s.mask.any() else s.image[s.mask] for s in sections]
    return percentile_window(np.concatenate([np.ravel(v) for v in inside]))


def percentile_window(values: Array) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile, or what is around them where they are equal.

    Examples
    --------
    >>> percentile_window(np.arange(1001)), percentile_window(np.array([7, 7]))
    ((5.0, 995.0), (6.5, 7.5))
    """
    values = values.astype(np.float64).clip(-1e300, 1e300)  # differences stay finite
    low, high = np.percentile(values, [0.5, 99.5])
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        half = max(0.5, 1e-6 * abs(low))
        low, high = low - half, high + half
    return float(low), float(high)


def _finish_axes(
    ax: Axes, section: Section, picture: Picture, layout: Layout, number: int, place: int
) -> None:
    """Ticks, axis labels and the heading of a panel."""
    stacked = layout.upright_bars
    last = number == len(picture.sections) - 1
    ax.tick_params(labelsize=7, length=2.5, pad=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    ax.tick_params(labelbottom=stacked or last, labelleft=stacked or place == 0)
    if place == 2 if stacked else last:
        ax.set_xlabel(_axis_text(picture.columns, 1.0), fontsize=7.5, labelpad=2)
    if stacked or place == 0:
        name = f"{section.name}\n" if section.name else ""
        ax.set_ylabel(name + _axis_text(picture.rows, layout.stretch), fontsize=7.5, labelpad=3)
    if stacked or number == 0:
        text = ax.set_title(_headings(picture)[place], fontsize=9.5, loc="left", pad=4)
        text.set_parse_math(False)


def _headings(picture: Picture) -> tuple[str, str, str]:
    has_superpixels = picture.sections[0].superpixels is not None
    third = "entropy over the classes"
    if picture.class_index is not None:
        third = f"soft label: {short(picture.class_names[picture.class_index], 22)}"
        if not any((s.soft > 0).any() for s in picture.sections):
            third += " (absent)"
    return (
        short(picture.channel, 30),
        "superpixels and labels" if has_superpixels else "labels",
        third,
    )


def _axis_text(axis: Axis, stretch: float) -> str:
    text = f"{axis.name} (pixels)"
    if axis.length_mm is not None:
        text += f", {axis.length_mm:.3g} mm"
    if abs(stretch - 1) > 0.02:
        text += f"\nstretched ×{stretch:.1f}" if stretch > 1 else f"\ncompressed ×{stretch:.2f}"
    if axis.step > 1:
        text += f", 1 in {axis.step} drawn"
    return text


def _colour_bars(
    figure: Figure, picture: Picture, layout: Layout, window: tuple[float, float]
) -> None:
    """Bars of the soft labels and of the intensities, which an image in colours has none of."""
    colours, top = soft_scale(picture.class_index is not None, len(picture.class_names))
    above = any((s.soft > top + 1e-6).any() for s in picture.sections)
    bars: list[tuple[Rect, Colormap, tuple[float, float], str, str]] = [
        (layout.bars[0], colormaps["gray"], window, "intensity", "neither"),
        (
            layout.bars[1],
            colours,
            (0.0, top),
            "entropy (bits)" if picture.class_index is None else "soft label q",
            "max" if above else "neither",
        ),
    ]
    in_colours = picture.sections[0].image.ndim == 3
    for rect, cmap, limits, label, extend in bars[1:] if in_colours else bars:
        mappable = ScalarMappable(Normalize(*limits), cmap)
        bar = figure.colorbar(
            mappable,
            cax=figure.add_axes(layout.fraction(rect)),
            orientation="vertical" if layout.upright_bars else "horizontal",
            extend=extend,
            ticks=MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]),
        )
        bar.ax.tick_params(labelsize=7, length=2.5, pad=2)
        bar.set_label(label, fontsize=7.5, labelpad=2)
        bar.outline.set_linewidth(0.5)  # type: ignore[operator]


def _write_title(figure: Figure, picture: Picture, layout: Layout) -> None:
    y = layout.height - 0.2
    for line in layout.title_lines:
        figure.text(
            0.3 / layout.width, y / layout.height, line, fontsize=12.5, fontweight="bold", va="top",
            parse_math=False,
        )  # fmt: skip
        y -= TITLE_LINE
    for line in layout.lines:
        figure.text(
            0.3 / layout.width, y / layout.height, line, fontsize=8.5, color="#404040", va="top",
            parse_math=False,
        )  # fmt: skip
        y -= LINE


def _write_legends(figure: Figure, picture: Picture, layout: Layout) -> None:
    y = layout.legends_top
    for entries, columns in (
        (layout.legend.key, layout.legend.key_columns),
        (layout.legend.classes, layout.legend.class_columns),
    ):
        if not entries:
            continue
        legend = figure.legend(
            [handle for handle, _ in entries],
            # a label that begins with "_" would be left out: the texts are set below
            [f"{number}" for number in range(len(entries))],
            loc="upper left",
            bbox_to_anchor=(0.3 / layout.width, y / layout.height),
            ncols=columns,
            fontsize=8,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            labelspacing=0.35,
            handlelength=1.6,
            columnspacing=1.4,
        )
        for text, (_, name) in zip(legend.get_texts(), entries, strict=True):
            text.set_text(name)
            text.set_parse_math(False)
        y -= LINE * -(-len(entries) // columns) + 0.1
