"""A case before and after the steps of preprocessing, with the membrane that flattening found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from softlabel.cache import Cache, CachedCase, StoredArray
from softlabel.preprocess import Record
from softlabel.render.layout import MAX_STRETCH_RATIO
from softlabel.render.sections import MAX_EDGE, View, axis_across, slice_numbers
from softlabel.types import Array

WIDTH, HEIGHT = 8.6, 4.5
"""Most of the image before, in inches."""

MARGIN, HEAD, GAP = 0.75, 1.0, 0.55
"""Around the panels, in inches."""

MEMBRANE_COLOUR = "#ffd400"


@dataclass(frozen=True, eq=False)
class StepsPicture:
    """What the picture shows.

    Attributes
    ----------
    title, line : str
    before, after : ndarray, shape (rows, columns)
        A B-scan or slice of the image; ``after`` on the grid after the steps.
    membrane_before, membrane_after : ndarray of float, shape (columns,), or None
        Its row in each column; None where no step looked for it.
    size_before, size_after : (float, float)
        Height and width in millimetres, in pixels where no spacing is known.
    step_before, step_after : int
        Pixels for one that is drawn.
    """

    title: str
    line: str
    before: Array
    after: Array
    membrane_before: Array | None
    membrane_after: Array | None
    size_before: tuple[float, float]
    size_after: tuple[float, float]
    step_before: int = 1
    step_after: int = 1


def shows_steps(case: CachedCase) -> bool:
    """Whether a case went through steps and has its image before them."""
    return bool(case.preprocessing) and case.original_image is not None


def steps_path(path: Path) -> Path:
    """File of this picture beside the one of a case."""
    return path.with_name(f"{path.stem}+steps.png")


def steps_picture(cache: Cache, case_id: str, view: View) -> StepsPicture:
    """Read one slice of a case before and after the steps.

    Raises
    ------
    UsageError
        When the case has no such axis or slice.
    CacheError
        When its file is damaged.
    """
    case = cache[case_id]
    records, original = case.preprocessing, case.original_image
    assert original is not None, "see shows_steps"
    axial = next((r.settings.get("axial_axis", 0) for r in records if r.step == "flatten"), 0)
    across = axis_across(case, view)
    cut = None
    if across is not None:
        cuts = slice_numbers(cache, case, across, view)
        cut = cuts[len(cuts) // 2]
    before = _section(original, view.channel or 0, axial, across, _same_place(cut, case, across))
    after = _section(case.image, view.channel or 0, axial, across, cut)
    steps = [-(-max(image.shape) // MAX_EDGE) for image in (before, after)]
    membranes = _membranes(records, case, across, cut)
    where = "" if cut is None else f", slice {cut} along axis {across}"
    return StepsPicture(
        f"Case {case_id}{where}",
        ", ".join(_words(record) for record in records),
        before[:: steps[0], :: steps[0]],
        after[:: steps[1], :: steps[1]],
        *membranes,
        _size(before, case.original_spacing_mm, axial, across),
        _size(after, case.spacing_mm, axial, across),
        *steps,
    )


def _same_place(cut: int | None, case: CachedCase, across: int | None) -> int | None:
    """The slice of the original that lies where a slice after the steps lies."""
    if cut is None or across is None:
        return None
    before, after = case.original_shape[across], case.shape[across]
    return min(int((cut + 0.5) * before / after), before - 1)


def _section(
    image: StoredArray, channel: int, axial: int, across: int | None, cut: int | None
) -> Array:
    key: list[int | slice] = [slice(None)] * (image.ndim - 1)
    if across is not None and cut is not None:
        key[across] = cut
    section = image[(channel, *key)]
    rows_first = across is None or axial < across
    return section if (axial if rows_first else axial - 1) == 0 else section.T


def _membranes(
    records: Sequence[Record], case: CachedCase, across: int | None, cut: int | None
) -> tuple[Array | None, Array | None]:
    """Row of Bruch's membrane in each column, before and after the steps."""
    place = next((i for i, r in enumerate(records) if r.step == "flatten"), None)
    if place is None or records[place].shape_before != case.original_shape:
        return None, None
    flatten = records[place]
    axial = flatten.settings["axial_axis"]
    membrane = flatten.arrays["membrane"].astype(np.float64)
    after = membrane - flatten.arrays["start"]
    for record in records[place + 1 :]:
        if record.shape_after != record.shape_before and record.step != "crop":
            return None, None
        after = after - record.settings.get("start", 0)
    if across is not None and cut is not None:
        axis = across if across < axial else across - 1
        membrane, after = (np.take(line, cut, axis) for line in (membrane, after))
    return membrane, after


def _size(
    section: Array, spacing: tuple[float, ...] | None, axial: int, across: int | None
) -> tuple[float, float]:
    rows, columns = section.shape
    if spacing is None:
        return float(rows), float(columns)
    (lateral,) = (a for a in range(len(spacing)) if a not in (axial, across))
    return rows * spacing[axial], columns * spacing[lateral]


def _words(record: Record) -> str:
    names = ("method", "wedges")
    word = next((str(record.settings[n]) for n in names if n in record.settings), "")
    return f"{record.step} ({word})" if word else record.step


def draw_steps(picture: StepsPicture) -> Figure:
    """Draw the case before the steps, and below it after them, at one scale.

    Returns
    -------
    matplotlib.figure.Figure
        On an Agg canvas.
    """
    sizes = _sizes(picture)
    width = max(WIDTH, *(columns for _, columns in sizes)) + 2 * MARGIN
    height = HEAD + sum(rows for rows, _ in sizes) + 2 * GAP
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    style: dict[str, Any] = {"va": "top", "parse_math": False}
    left = MARGIN / width
    figure.text(left, 1 - 0.15 / height, picture.title, fontsize=12.5, fontweight="bold", **style)
    figure.text(left, 1 - 0.42 / height, picture.line, fontsize=8.5, color="#404040", **style)
    top = height - HEAD
    panels = (
        ("before", picture.before, picture.membrane_before, picture.step_before),
        ("after", picture.after, picture.membrane_after, picture.step_after),
    )
    for (name, image, membrane, step), (rows, columns) in zip(panels, sizes, strict=True):
        place = (left, (top - rows) / height, columns / width, rows / height)
        _draw_panel(figure.add_axes(place), name, image, membrane, step)
        top -= rows + GAP
    return figure


def _sizes(picture: StepsPicture) -> list[tuple[float, float]]:
    """Height and width of both panels in inches, at one scale; wide images are stretched alike."""
    rows, columns = picture.size_before
    stretch = max(1.0, columns / (MAX_STRETCH_RATIO * rows))
    inches = min(WIDTH / columns, HEIGHT / (stretch * rows))
    return [
        (max(0.4, inches * stretch * r), max(0.4, inches * c))
        for r, c in (picture.size_before, picture.size_after)
    ]


def _draw_panel(ax: Axes, name: str, image: Array, membrane: Array | None, step: int) -> None:
    rows, columns = (n * step for n in image.shape)
    low, high = np.percentile(image.astype(np.float64), [0.5, 99.5])
    ax.imshow(
        image, cmap="gray", vmin=low, vmax=high if high > low else low + 1, aspect="auto",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), interpolation="antialiased",
    )  # fmt: skip
    if membrane is not None:
        ax.plot(
            np.arange(len(membrane)), membrane, color=MEMBRANE_COLOUR, linewidth=0.9,
            path_effects=[withStroke(linewidth=1.8, foreground=(0, 0, 0, 0.5))],
        )  # fmt: skip
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.tick_params(labelsize=7, length=2.5, pad=2)
    line = "" if membrane is None else "; yellow: Bruch's membrane as it was found"
    ax.set_title(f"{name}: {rows} × {columns} pixels{line}", fontsize=9.5, loc="left", pad=4)
