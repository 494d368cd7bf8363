"""Small charts as data: places in pixels, which a template draws as SVG.

The texts go through the template, which escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from softlabel.colours import class_hex

WIDTH, HEIGHT, MARGIN = 300.0, 120.0, 8.0
"""Of the area that is drawn in, in pixels of the page."""

BINS = 20

MOST_POINTS = 400
"""Of a curve: more would not be seen."""


@dataclass(frozen=True)
class Histogram:
    """How many values lie where.

    Attributes
    ----------
    title, low, high : str
        What it is of, and the ends of its axis.
    median : str
    bars : tuple of (float, float, float, float, str)
        Left, top, width, height, and what a bar tells.
    """

    title: str
    low: str
    high: str
    median: str
    bars: tuple[tuple[float, float, float, float, str], ...]


@dataclass(frozen=True)
class Strip:
    """The values of one class, a mark for each case, on an axis from 0 to 1.

    Attributes
    ----------
    name, colour : str
    marks : tuple of float
        Places of the values, in pixels.
    median : float
        Place of the median.
    """

    name: str
    colour: str
    marks: tuple[float, ...]
    median: float


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes
    ----------
    name : str
    x, y : sequence of float
        Points without a finite ``y`` are left out.
    colour : str
        As SVG has it. Default: by its place among the curves.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = ""


@dataclass(frozen=True)
class Lines:
    """Several curves on common axes.

    Attributes
    ----------
    title, left, right, bottom, top : str
        What it is of, and the ends of the axes.
    lines : tuple of (str, str, str)
        Name, colour, and points as SVG has them.
    """

    title: str
    left: str
    right: str
    bottom: str
    top: str
    lines: tuple[tuple[str, str, str], ...]


def histogram(title: str, values: Sequence[float], *, percent: bool = False) -> Histogram | None:
    """A histogram of the finite values; None without any.

    Examples
    --------
    >>> chart = histogram("softened", [0.1, 0.1, 0.3], percent=True)
    >>> chart.low, chart.median, chart.high, len(chart.bars)
    ('10.0 %', '10.0 %', '30.0 %', 2)
    """
    finite = np.asarray([v for v in values if np.isfinite(v)], np.float64)
    if not len(finite):
        return None
    counts, edges = np.histogram(finite, bins=BINS)

    def told(value: float) -> str:
        return f"{100 * value:.1f} %" if percent else f"{value:.4g}"

    width = (WIDTH - 2 * MARGIN) / BINS
    bars = []
    for place, count in enumerate(counts.tolist()):
        if count:
            height = (HEIGHT - MARGIN) * count / counts.max()
            says = f"{count} from {told(edges[place])} to {told(edges[place + 1])}"
            bars.append((round(MARGIN + place * width, 1), round(HEIGHT - height, 1),
                         round(width - 1, 1), round(height, 1), says))  # fmt: skip
    low, high = finite.min(), finite.max()
    return Histogram(title, told(low), told(high), told(float(np.median(finite))), tuple(bars))


def strips(values: Mapping[int, Sequence[float]], names: Sequence[str]) -> tuple[Strip, ...]:
    """Shares by class: a strip for each class that has a finite one.

    Parameters
    ----------
    values : mapping of int to sequence of float
        Index of a class to its shares, within 0..1.
    names : sequence of str
        Of all classes.
    """
    found = []
    for k, of_class in values.items():
        finite = np.asarray([v for v in of_class if np.isfinite(v)], np.float64)
        if len(finite):
            places = MARGIN + np.clip(finite, 0, 1) * (WIDTH - 2 * MARGIN)
            marks = tuple(sorted({round(float(place)) for place in places}))
            found.append(Strip(names[k], class_hex(k), marks, round(float(np.median(places)), 1)))
    return tuple(found)


def curves(title: str, lines: Sequence[Curve]) -> Lines | None:
    """Curves on common axes; None where no point is finite."""
    known = []
    for place, line in enumerate(lines):
        x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
        finite = np.isfinite(x) & np.isfinite(y)
        if finite.any():
            known.append((line.name, line.colour or class_hex(place + 1), x[finite], y[finite]))
    if not known:
        return None
    left, right = _range([x for _, _, x, _ in known])
    bottom, top = _range([y for *_, y in known])
    drawn = []
    for name, colour, x, y in known:
        step = -(-len(x) // MOST_POINTS)
        across = MARGIN + (x[::step] - left) / ((right - left) or 1) * (WIDTH - 2 * MARGIN)
        down = (
            HEIGHT - MARGIN - (y[::step] - bottom) / ((top - bottom) or 1) * (HEIGHT - 2 * MARGIN)
        )
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
        drawn.append((name, colour, points))
    return Lines(
        title, f"{left:.4g}", f"{right:.4g}", f"{bottom:.4g}", f"{top:.4g}", tuple(drawn)
    )  # fmt: skip


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    together = np.concatenate(values)
    return float(together.min()), float(together.max())
