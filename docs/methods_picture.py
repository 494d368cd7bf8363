"""Draw docs/methods.jpg, every method on a B-scan and a brain: ``python docs/methods_picture.py``.

The scans are phantoms, so that the true boundary is known; the label maps are those of a grader.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from softlabel.comparison import compare_case
from softlabel.comparison.cases import cases_of
from softlabel.generation import Settings
from softlabel.phantom import write_mri_dataset, write_oct_dataset
from softlabel.readers import list_dataset
from softlabel.render.comparison import ComparisonPicture, comparison_picture
from softlabel.render.comparison_figure import draw_framed_part, draw_method
from softlabel.render.figure import intensity_window
from softlabel.render.palette import soft_scale
from softlabel.render.sections import View
from softlabel.softening import METHODS
from softlabel.types import Case

TARGET = Path(__file__).with_name("methods.jpg")

NOT_DRAWN = ("hard", "given")
"""The outline is the hard label; soft labels that are given are what they are."""

OF_LAYERS = ("surface-cdf",)
"""Methods for the layers of the B-scan only."""

OPTIONS: dict[str, dict[str, Any]] = {"surface-cdf": {"over": 9}}
"""What a method needs to know of the B-scan: fluid lies over the layers."""

COLUMNS, PANEL, GAP_X, GAP_Y, HEAD = 5, 1.75, 0.12, 0.3, 0.45
"""Panels of a row, and inches."""


def main() -> None:
    """Draw both scans."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = {
            "A B-scan of a retina: soft labels of the ONL-ISM": picture_of(bscan(Path(folder)), 64),
            "A slice of a brain: soft labels of the white matter": picture_of(
                brain_slice(Path(folder)), 48
            ),
        }
    draw(pictures).savefig(
        TARGET, dpi=110, pil_kwargs={"quality": 70, "optimize": True, "progressive": True}
    )


def bscan(folder: Path) -> Case:
    """A B-scan with fluid, and the labels of a grader."""
    write_oct_dataset(folder / "oct", n_subjects=1, seed=1, shape=(496, 512, 4), n_annotated=2)
    return first_case(folder / "oct")


def brain_slice(folder: Path) -> Case:
    """The middle slice of a brain, turned upright, and the labels of a grader."""
    write_mri_dataset(folder / "mri", n_subjects=1, seed=1, shape=(240, 240, 16))
    volume = first_case(folder / "mri")
    assert volume.truth is not None and volume.spacing_mm is not None
    image, labels, truth = (
        np.swapaxes(a[..., a.shape[-1] // 2], -2, -1)[..., ::-1, :]
        for a in (volume.image, volume.labels, volume.truth)
    )
    return replace(
        volume, image=image, labels=labels, truth=truth, spacing_mm=volume.spacing_mm[1::-1],
        affine=None, mask=None, slice_axis=None, label_maps={},
    )  # fmt: skip


def first_case(folder: Path) -> Case:
    """The first case of a data set."""
    dataset = list_dataset(folder)
    case = next(cases_of(dataset, dataset.refs))
    if isinstance(case, Exception):
        raise case
    return case


def picture_of(case: Case, window_px: int) -> ComparisonPicture:
    """All methods that the case has a meaning for, on its busiest part."""
    assert case.classes is not None
    layers = "ONL-ISM" in case.classes.names
    drawn = [m for m in METHODS if m not in NOT_DRAWN and (layers or m not in OF_LAYERS)]
    settings = {
        m: Settings(method=m, method_options=OPTIONS.get(m, {}), superpixel_size=190) for m in drawn
    }
    found = compare_case(case, settings, truth=case.truth, truth_name="truth")
    k = found.classes.index_of("ONL-ISM" if layers else "white matter")
    return replace(comparison_picture(found, View(class_index=k), window_px), profile=None)


def draw(pictures: dict[str, ComparisonPicture]) -> Figure:
    """Draw the pictures below each other, by their titles, and what the colours mean."""
    rows = {title: -(-(1 + len(p.methods)) // COLUMNS) for title, p in pictures.items()}
    width = 0.2 + COLUMNS * PANEL + (COLUMNS - 1) * GAP_X
    height = 0.15 + sum(HEAD + n * (PANEL + GAP_Y) for n in rows.values())
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    top = height - 0.1

    def axes(number: int, panel_width: float = PANEL) -> Axes:
        row, column = divmod(number, COLUMNS)
        left = 0.1 + column * (PANEL + GAP_X)
        bottom = top - HEAD - row * (PANEL + GAP_Y) - PANEL
        return figure.add_axes((left / width, bottom / height, panel_width / width, PANEL / height))

    for title, picture in pictures.items():
        figure.text(0.1 / width, top / height, title, fontsize=11, weight="bold", va="top")
        draw_framed_part(axes(0), picture, intensity_window(picture.whole.sections))
        figure.axes[-1].set_title("image", fontsize=9.5, loc="left", pad=4)
        for number, method in enumerate(picture.methods, start=1):
            draw_method(axes(number), picture, replace(method, note=""))
        last = len(picture.methods) + 1
        top -= HEAD + rows[title] * (PANEL + GAP_Y)
    top += HEAD + rows[title] * (PANEL + GAP_Y)
    _explain(axes(last, 0.14))
    return figure


def _explain(ax: Axes) -> None:
    """The scale of the colours, and what the lines are."""
    colours, end = soft_scale(True, 2)
    ax.figure.colorbar(ScalarMappable(Normalize(0, end), colours), cax=ax, ticks=[0, 0.5, 1])
    ax.tick_params(labelsize=8)
    text = "soft label q\n\nline: label map\nof a grader\n\ndashed: truth"
    ax.text(4.0, 0.5, text, transform=ax.transAxes, fontsize=9, va="center")


if __name__ == "__main__":
    main()
