"""Where panels and legends are, and what a legend leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from softlabel.render import Axis, Section, draw
from softlabel.render.layout import MAX_LEGEND_CLASSES, MAX_STRETCH_RATIO

from .factories import picture, section, texts


def test_the_legend_names_the_classes_that_are_present():
    labels = np.zeros((12, 16), int)
    figure = draw(picture(section(labels=labels)))
    assert "ground" in texts(figure)
    assert "lesion" not in texts(figure)


def test_a_legend_of_many_classes_keeps_the_large_ones():
    count = MAX_LEGEND_CLASSES + 4
    labels = np.arange(count).repeat(np.where(np.arange(count) < 4, 1, 3)).reshape(1, -1)
    flat = np.zeros(labels.shape)
    figure = draw(
        picture(
            Section(flat, labels, flat, flat > 0),
            class_names=tuple(f"structure {k}" for k in range(count)),
            class_index=None,
        )
    )
    shown = texts(figure)
    assert "and 4 smaller ones" in shown
    assert "structure 3" not in shown
    assert f"structure {count - 1}" in shown


def test_legends_stay_inside_the_figure_and_off_the_panels():
    count = 46
    labels = np.arange(60 * 46).reshape(60, 46) % count
    flat = np.zeros(labels.shape)
    figure = draw(
        picture(
            Section(flat, labels, flat, flat > 0),
            class_names=tuple(f"a long name of a structure {k}" for k in range(count)),
            class_index=None,
        )
    )
    figure.canvas.draw()
    boxes = [legend.get_window_extent() for legend in figure.legends]
    bars = [ax.get_tightbbox() for ax in figure.axes]
    assert min(box.y0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    assert max(box.y1 for box in boxes) <= min(bar.y0 for bar in bars)
    assert boxes[0].y0 >= boxes[1].y1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 1.0), (0.75, 1.0)])
def test_the_aspect_is_that_of_the_pixels(spacing):
    rows = Axis("axis 0", spacing=spacing[0], length_mm=12 * spacing[0])
    columns = Axis("axis 1", spacing=spacing[1], length_mm=16 * spacing[1])
    figure = draw(picture(rows=rows, columns=columns))
    box = figure.axes[0].get_window_extent()
    assert box.height / box.width == pytest.approx(12 * spacing[0] / (16 * spacing[1]), rel=0.01)
    assert not any("×" in text for text in texts(figure))


@pytest.mark.parametrize(
    ("spacing", "words"), [((0.1, 1.0), "stretched ×5.3"), ((10, 1), "compressed ×0.33")]
)
def test_the_aspect_is_bounded_and_the_axis_says_so(spacing, words):
    rows = Axis("axis 0", spacing=spacing[0], length_mm=12 * spacing[0])
    columns = Axis("axis 1", spacing=spacing[1], length_mm=16 * spacing[1])
    figure = draw(picture(rows=rows, columns=columns))
    box = figure.axes[0].get_window_extent()
    longer = max(box.height / box.width, box.width / box.height)
    assert longer == pytest.approx(MAX_STRETCH_RATIO, rel=0.01)
    assert any(words in text for text in texts(figure))


def test_a_wide_image_has_its_panels_below_each_other():
    wide = section(shape=(12, 40))
    boxes = [ax.get_window_extent() for ax in draw(picture(wide)).axes[:3]]
    assert boxes[0].y0 > boxes[1].y1 > boxes[1].y0 > boxes[2].y1
    assert boxes[0].x0 == boxes[1].x0 == boxes[2].x0


def test_each_section_is_a_row():
    figure = draw(picture(*(replace(section(), name=f"slice {n} of axis 2") for n in (3, 7, 9))))
    panels = [ax.get_window_extent() for ax in figure.axes[:9]]
    assert panels[0].y0 == panels[1].y0 > panels[3].y1
    assert panels[0].x0 == panels[3].x0 < panels[1].x0
    labels = [ax.get_ylabel() for ax in figure.axes[:9:3]]
    assert [label.splitlines()[0] for label in labels] == [
        "slice 3 of axis 2",
        "slice 7 of axis 2",
        "slice 9 of axis 2",
    ]
