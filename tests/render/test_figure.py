"""A picture becomes a figure: titles, scales, axes, ticks and words."""

import subprocess
import sys

import numpy as np
import pytest

from softlabel.render import Axis, Section, draw
from softlabel.render.palette import soft_scale

from .factories import colour_at, picture, section, texts


def test_panels_are_image_labels_and_soft_label():
    figure = draw(picture())
    image, labels, soft, *bars = figure.axes
    assert len(bars) == 2
    assert [ax.get_title(loc="left") for ax in (image, labels, soft)] == [
        "image",
        "superpixels and labels",
        "soft label: lesion",
    ]
    assert image.images[0].get_array().shape == (12, 16, 3)


def test_colours_have_no_bar_of_intensities():
    colours = np.zeros((12, 16, 3), np.uint8)
    for image, labels in ((colours, ["soft label q"]), (colours[..., 0], ["intensity"])):
        *_, bar = draw(picture(section(image=image))).axes[:4]
        assert [bar.get_xlabel() or bar.get_ylabel()] == labels


def test_entropy_has_a_scale_of_its_own():
    bits = np.where(section().band, np.float32(1.5), np.float32(0))
    colours, top = soft_scale(False, 3)
    assert top == pytest.approx(np.log2(3))
    figure = draw(picture(section(soft=bits), class_index=None))
    seen = colour_at(figure, figure.axes[2], 4, 8)
    np.testing.assert_allclose(seen, colours(1.5 / top)[:3], atol=0.01)
    assert "entropy over the classes" in texts(figure)
    assert [soft_scale(False, n)[1] for n in (1, 2, 10, 46)] == [1, 1, 2, 3]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("across", [False, True])
def test_descending_axes_begin_with_their_last_pixel(down, across):
    rows = Axis("axis 0", descending=down, ends=("S", "I"))
    columns = Axis("axis 1", descending=across, ends=("R", "L"))
    figure = draw(picture(rows=rows, columns=columns))
    ax = figure.axes[0]
    top = ax.transData.transform((0, 11))[1] > ax.transData.transform((0, 0))[1]
    left = ax.transData.transform((15, 0))[0] < ax.transData.transform((0, 0))[0]
    assert (top, left) == (down, across)
    assert colour_at(figure, ax, 11, 15)[0] > 0.95  # the brightest pixel, wherever it is drawn
    assert [t.get_text() for t in ax.texts] == ["S", "I", "R", "L"]


def test_ticks_are_pixels_of_the_image():
    figure = draw(picture(rows=Axis("axis 0", start=100, step=3)))
    assert figure.axes[0].get_ylim() == (99.5 + 12 * 3, 99.5)
    assert any("1 in 3 drawn" in text for text in texts(figure))


def test_the_intensities_of_masked_areas_do_not_set_the_window():
    image, mask = section().image.copy(), np.ones((12, 16), bool)
    image[0], mask[0] = 1e6, False
    figure = draw(picture(section(image=image, mask=mask)))
    assert figure.axes[3].get_xlim()[1] < 200


def test_names_are_taken_as_they_are():
    names = ("_hidden", r"$\frac$", "x" * 70)
    labels = np.arange(12 * 16).reshape(12, 16) % 3
    figure = draw(
        picture(section(labels=labels), class_names=names, title="Case $x^{2$", channel="_$")
    )
    shown = texts(figure)
    assert {"_hidden", r"$\frac$", "x" * 29 + "…", "Case $x^{2$", "_$"} <= set(shown)


def test_an_absent_class_is_said_to_be_absent():
    nothing = np.zeros((12, 16), np.float32)
    empty = section(soft=nothing, band=nothing > 0)
    assert "soft label: absent (absent)" in texts(draw(picture(empty, class_index=2)))


@pytest.mark.parametrize("value", [0.0, 7.0, -1e300, 1e20])
def test_one_pixel_is_a_picture(value):
    one = np.full((1, 1), value)
    zero = np.zeros((1, 1), int)
    only = Section(one, zero, zero.astype(np.float32), zero > 0, zero, zero == 0, zero)
    figure = draw(picture(only, class_index=None))
    figure.canvas.draw()
    assert figure.axes[0].get_xticks().tolist() in ([0.0], [-1.0, 0.0, 1.0])


def test_nothing_annotated_is_a_picture():
    unknown = section(labels=np.full((12, 16), -1))
    assert "not annotated" in texts(draw(picture(unknown)))


def test_no_global_state_of_matplotlib_is_touched():
    code = (
        "import sys, numpy as np, matplotlib\n"
        "before = dict(dict.items(matplotlib.rcParams))\n"
        "from softlabel.render import *\n"
        "z = np.zeros((3, 3), int)\n"
        "draw(Picture('t', (), (Section(z, z, z, z > 0),), Axis('a'), Axis('b'), ('g',)))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'h5py' not in sys.modules and 'click' not in sys.modules\n"
        "assert dict(dict.items(matplotlib.rcParams)) == before\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
