"""A volume's thickness map with the ETDRS grid, and a B-scan of it with its surfaces."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from softlabel.colours import class_colour
from softlabel.measurements import Layers, ScanSurfaces, Volume
from softlabel.measurements.scans import WHOLE
from softlabel.surfaces.etdrs import DIAMETERS_MM
from softlabel.types import Array

WIDTH, MARGIN, HEAD, FOOT, GAP = 8.6, 0.75, 0.75, 0.55, 0.95
"""Of the panels and around them, in inches."""

MOST_HEIGHT, LEAST_HEIGHT = 5.5, 1.2
"""Of a panel, in inches."""

UNKNOWN_COLOUR = "#d8d8d8"


def draw_volume(volume: Volume, layers: Layers, dpi: int = 150) -> bytes:
    """A picture of a volume, as PNG.

    The map has a B-scan fill half of the way to its neighbours; the B-scan is the middle one of
    those that are known, over its image where there is one.
    """
    buffer = io.BytesIO()
    figure = volume_figure(volume, layers)
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def volume_figure(volume: Volume, layers: Layers) -> Figure:
    """Draw the map above the B-scan; of a B-scan alone only that.

    Returns
    -------
    matplotlib.figure.Figure
        On an Agg canvas.
    """
    n_rows, n_columns = volume.scans[0].fluid.shape[:2]
    heights = [_panel_height(n_rows * volume.axial_um, n_columns * volume.lateral_um, most=2.5)]
    several = len(volume.places) > 1
    if several:
        across = (volume.places[-1] - volume.places[0] + 1) * (volume.between_um or np.nan)
        heights.insert(0, _panel_height(across, n_columns * volume.lateral_um))
    height = HEAD + sum(heights) + GAP * (len(heights) - 1) + FOOT
    width = MARGIN + WIDTH + 1.7
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(
        MARGIN / width, 1 - 0.15 / height, volume.name, fontsize=12.5, fontweight="bold", va="top",
        parse_math=False,
    )  # fmt: skip
    top = height - HEAD
    panels = []
    for own in heights:
        place = (MARGIN / width, (top - own) / height, WIDTH / width, own / height)
        panels.append(figure.add_axes(place))
        top -= own + GAP
    if several:
        mesh = _draw_map(panels[0], volume, layers)
        bar = ((MARGIN + WIDTH + 0.15) / width, (height - HEAD - heights[0]) / height)
        rect = (*bar, 0.14 / width, heights[0] / height)
        colours = figure.colorbar(mesh, cax=figure.add_axes(rect), extend="max")
        colours.set_label(f"thickness of the {WHOLE} (µm)", fontsize=7.5)
        colours.ax.tick_params(labelsize=7, length=2.5, pad=2)
    _draw_bscan(panels[-1], volume, layers)
    return figure


def _panel_height(rows: float, columns: float, most: float = 1.0) -> float:
    """Height in inches of a panel at the scale of its width, stretched at most so many times."""
    true = WIDTH * rows / columns
    if not np.isfinite(true):
        return WIDTH / 3
    return float(np.clip(true * (most if true < MOST_HEIGHT / 2 else 1), LEAST_HEIGHT, MOST_HEIGHT))


def _draw_map(ax: Axes, volume: Volume, layers: Layers) -> QuadMesh:
    """The thickness between the first and the last boundary; columns run to the right."""
    known = volume.thickness(layers)[WHOLE][:, list(volume.places)]
    places = np.array(volume.places, float)
    edges = _edges(places)
    columns = np.arange(len(known) + 1) - 0.5
    top = float(np.nanpercentile(known, 99)) if np.isfinite(known).any() else 1.0
    cmap = colormaps["viridis"].with_extremes(bad=UNKNOWN_COLOUR)
    mesh = ax.pcolormesh(
        columns, edges, np.ma.masked_invalid(known.T), cmap=cmap, vmin=0, vmax=top,
        rasterized=True,
    )  # fmt: skip
    ax.set_facecolor(UNKNOWN_COLOUR)
    if volume.between_um is not None:
        _draw_grid(ax, volume, volume.between_um)
    ax.set_xlim(columns[0], columns[-1])
    ax.set_ylim(edges[0], edges[-1])
    _finish(
        ax,
        "A-scan",
        "B-scan",
        f"{len(places)} B-scans, each up to half way to the next; grey: unknown",
    )
    return mesh


def _edges(places: Array) -> Array:
    """Borders half way between B-scans."""
    between = (places[1:] + places[:-1]) / 2
    first, last = 2 * places[0] - between[0], 2 * places[-1] - between[-1]
    return np.concatenate([[first], between, [last]])


def _draw_grid(ax: Axes, volume: Volume, between_um: float) -> None:
    """Circles and diagonals of the ETDRS grid, in millimetres around the middle."""
    column, bscan = volume.centre
    scale = (1000 / volume.lateral_um, 1000 / between_um)
    place = Affine2D().scale(*scale).translate(column, bscan) + ax.transData
    style = {"transform": place, "edgecolor": "white", "linewidth": 1.0}
    for diameter in DIAMETERS_MM:
        circle = Circle((0, 0), diameter / 2, fill=False, **style)  # type: ignore[arg-type]
        ax.add_patch(circle).set_clip_on(True)
    inner, outer = (DIAMETERS_MM[n] / 2 / np.sqrt(2) for n in (0, 2))
    for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        ax.plot([x * inner, x * outer], [y * inner, y * outer], color="white", linewidth=1.0,
                transform=place)  # fmt: skip


def _draw_bscan(ax: Axes, volume: Volume, layers: Layers) -> None:
    """The middle B-scan with its surfaces."""
    middle = len(volume.places) // 2
    scan, b = _scan_at(volume, middle)
    n_rows, n_columns = scan.fluid.shape[:2]
    if scan.image is not None:
        image = scan.image[..., b].astype(np.float64)
        low, high = np.percentile(image, [0.5, 99.5])
        ax.imshow(image, cmap="gray", vmin=low, vmax=high if high > low else low + 1,
                  aspect="auto", interpolation="antialiased")  # fmt: skip
    ax.contourf(scan.fluid[..., b], levels=[0.5, 1.5], colors=["#ff60a0"], alpha=0.35)
    outline = [withStroke(linewidth=1.8, foreground=(0, 0, 0, 0.5))]
    for k, name in enumerate(layers.surfaces):
        ax.plot(np.arange(n_columns), scan.found.rows[k, :, b], color=class_colour(k + 1),
                linewidth=0.9, label=name, path_effects=outline)  # fmt: skip
    ax.set_xlim(-0.5, n_columns - 0.5)
    ax.set_ylim(n_rows - 0.5, -0.5)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize=7.5, frameon=False)
    fluid = "; pink: fluid" if scan.fluid[..., b].any() else ""
    where = scan.id if len(volume.places) < 2 else f"B-scan {volume.places[middle]}"
    _finish(ax, "A-scan", "row (pixels)", f"{where}{fluid}")


def _scan_at(volume: Volume, number: int) -> tuple[ScanSurfaces, int]:
    """The case that the known B-scan of this number lies in, and its place there."""
    for scan in volume.scans:
        depth = scan.fluid.shape[2]
        if number < depth:
            return scan, number
        number -= depth
    raise AssertionError("a volume has as many places as B-scans")


def _finish(ax: Axes, across: str, down: str, heading: str) -> None:
    ax.tick_params(labelsize=7, length=2.5, pad=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.set_xlabel(across, fontsize=7.5, labelpad=2)
    ax.set_ylabel(down, fontsize=7.5, labelpad=3)
    ax.set_title(heading, fontsize=9.5, loc="left", pad=4).set_parse_math(False)
