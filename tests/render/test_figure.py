import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch
from scipy.stats import entropy
from skimage.color import deltaE_ciede2000, rgb2lab

from softlabel.render import Axis, Picture, Section, class_colour, draw, entropy_bits
from softlabel.render.layout import MAX_LEGEND_CLASSES, MAX_STRETCH_RATIO
from softlabel.render.palette import soft_scale


def section(shape=(12, 16), **changes):
    """A square of class 1 whose upper edge is soft."""
    labels = np.zeros(shape, int)
    labels[4:10, 5:12] = 1
    soft = labels.astype(np.float32)
    soft[3:5, 5:12] = [[0.25], [0.5]]
    arrays = {
        "image": np.arange(labels.size).reshape(shape).astype(np.float32),
        "labels": labels,
        "soft": soft,
        "band": (soft > 0) & (soft < 1),
        "superpixels": np.arange(labels.size).reshape(shape) // 32,
    }
    return Section(**arrays | changes)


def picture(*sections, **changes):
    given_ = {
        "title": "Case a",
        "lines": ("first line", "second line"),
        "sections": sections or (section(),),
        "rows": Axis("axis 0"),
        "columns": Axis("axis 1"),
        "class_names": ("ground", "lesion", "absent"),
        "class_index": 1,
    }
    return Picture(**given_ | changes)


def colour_at(figure, ax, row, column):
    """RGB of the figure at the centre of a pixel of the image."""
    figure.canvas.draw()
    rendered = np.asarray(figure.canvas.buffer_rgba())
    x, y = ax.transData.transform((column, row))
    return rendered[len(rendered) - 1 - int(y), int(x), :3] / 255


def texts(figure):
    figure.canvas.draw()
    axes = [t for ax in figure.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts)]
    left = [ax._left_title for ax in figure.axes]
    legends = [t for legend in figure.legends for t in legend.get_texts()]
    return [t.get_text() for t in (*figure.texts, *axes, *left, *legends) if t.get_text()]


def lines_of(ax):
    return [c for c in ax.collections if isinstance(c, LineCollection)]


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(0, 1)
    )
)
def test_entropy_is_that_of_the_shares(soft):
    soft[:, 0] = 0  # an ignored pixel
    soft[soft < 1e-6] = 0
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(entropy(soft, base=2, axis=0))
    np.testing.assert_allclose(entropy_bits(soft), expected, atol=1e-6)


def test_colours_of_classes_differ():
    colours = [class_colour(k) for k in range(61)]
    assert len(set(colours)) == 61
    assert all(0 <= c <= 1 for colour in colours for c in colour)


# Machado, Oliveira & Fernandes (2009), severity 1, for linear RGB
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]  # fmt: skip
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881]]  # fmt: skip


@pytest.mark.parametrize("matrix", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_colours_of_the_first_classes_differ_for_colour_blind_people_too(matrix):
    colours = np.array([class_colour(k) for k in range(16)])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(matrix), 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    for a in range(16):
        for b in range(a):
            assert deltaE_ciede2000(lab[a], lab[b]) > 9, (a, b)


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


def test_only_the_band_is_in_colour():
    colours, _ = soft_scale(True, 3)
    figure = draw(picture())
    soft = figure.axes[2]
    for row, value in ((3, 0.25), (4, 0.5)):
        np.testing.assert_allclose(colour_at(figure, soft, row, 8), colours(value)[:3], atol=0.01)
    inside, outside = colour_at(figure, soft, 7, 8), colour_at(figure, soft, 1, 2)
    assert np.ptp(inside) == np.ptp(outside) == 0  # grey
    assert inside[0] > 0.75 > 0.6 > outside[0]


def test_entropy_has_a_scale_of_its_own():
    bits = np.where(section().band, np.float32(1.5), np.float32(0))
    colours, top = soft_scale(False, 3)
    assert top == pytest.approx(np.log2(3))
    figure = draw(picture(section(soft=bits), class_index=None))
    seen = colour_at(figure, figure.axes[2], 4, 8)
    np.testing.assert_allclose(seen, colours(1.5 / top)[:3], atol=0.01)
    assert "entropy over the classes" in texts(figure)
    assert [soft_scale(False, n)[1] for n in (1, 2, 10, 46)] == [1, 1, 2, 3]


def test_contours_have_the_colour_of_the_smaller_class():
    figure = draw(picture())
    contours = lines_of(figure.axes[1])[-1]
    np.testing.assert_allclose(contours.get_colors()[0][:3], to_rgb("#e69f00"))
    (path,) = contours.get_paths()
    box = path.get_extents()  # exactly around pixels 4..9 × 5..11, whose centres are whole numbers
    assert (box.y0, box.y1, box.x0, box.x1) == (3.5, 9.5, 4.5, 11.5)


def test_the_image_is_bright_where_it_is_bright():
    bright = np.zeros((12, 16))
    bright[0, 15] = bright[1, 15] = 9
    figure = draw(picture(section(image=bright)))
    assert colour_at(figure, figure.axes[0], 0, 15)[0] == 1
    assert colour_at(figure, figure.axes[0], 11, 0)[0] == 0


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


def test_what_was_not_annotated_is_hatched():
    labels = section().labels.copy()
    labels[:, :3] = -1
    figure = draw(picture(section(labels=labels)))
    for ax in figure.axes[1:3]:
        (patch,) = [p for p in ax.patches if isinstance(p, PathPatch)]
        assert patch.get_hatch() == "////"
        box = patch.get_path().get_extents()
        assert (box.x0, box.x1, box.y0, box.y1) == (-0.5, 2.5, -0.5, 11.5)
    assert not figure.axes[0].patches
    assert "not annotated" in texts(figure)
    assert "not annotated" not in texts(draw(picture()))


def test_masked_areas_are_marked():
    mask = np.ones((12, 16), bool)
    mask[:2] = False
    figure = draw(picture(section(mask=mask)))
    (patch,) = [p for p in figure.axes[1].patches if isinstance(p, PathPatch)]
    assert patch.get_hatch() == ".."
    box = patch.get_path().get_extents()
    assert (box.x0, box.x1, box.y0, box.y1) == (-0.5, 15.5, -0.5, 1.5)
    assert "masked" in texts(figure)
    assert "masked" not in texts(draw(picture(section(mask=np.ones((12, 16), bool)))))


def test_the_intensities_of_masked_areas_do_not_set_the_window():
    image, mask = section().image.copy(), np.ones((12, 16), bool)
    image[0], mask[0] = 1e6, False
    figure = draw(picture(section(image=image, mask=mask)))
    assert figure.axes[3].get_xlim()[1] < 200


def test_truth_is_dashed():
    truth = np.zeros((12, 16), int)
    truth[6:8, 6:8] = 1
    truth[10:, 14:] = 2
    figure = draw(picture(section(truth=truth)))
    labels, soft = (lines_of(ax)[-1] for ax in figure.axes[1:3])
    for lines in (labels, soft):
        assert lines.get_linestyle()[0][1] is not None  # a pattern of dashes
    assert len(labels.get_paths()) == 2
    assert len(soft.get_paths()) == 1  # only the class that is shown
    assert "true boundary" in texts(figure)
    assert not lines_of(draw(picture()).axes[2])


def test_the_legend_names_the_classes_that_are_present():
    labels = np.zeros((12, 16), int)
    figure = draw(picture(section(labels=labels)))
    assert "ground" in texts(figure)
    assert "lesion" not in texts(figure)


def test_names_are_taken_as_they_are():
    names = ("_hidden", r"$\frac$", "x" * 70)
    labels = np.arange(12 * 16).reshape(12, 16) % 3
    figure = draw(
        picture(section(labels=labels), class_names=names, title="Case $x^{2$", channel="_$")
    )
    shown = texts(figure)
    assert {"_hidden", r"$\frac$", "x" * 29 + "…", "Case $x^{2$", "_$"} <= set(shown)


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


def test_an_absent_class_is_said_to_be_absent():
    nothing = np.zeros((12, 16), np.float32)
    empty = section(soft=nothing, band=nothing > 0)
    assert "soft label: absent (absent)" in texts(draw(picture(empty, class_index=2)))


def test_without_superpixels_there_are_none():
    figure = draw(picture(section(superpixels=None)))
    assert "labels" in texts(figure)
    assert len(lines_of(figure.axes[1])) == 1
    assert not any("superpixels" in text for text in texts(figure))


def test_superpixels_are_white_on_dark_and_black_on_bright():
    image = np.zeros((12, 16))
    image[:, 8:] = 1
    ids = np.arange(16).repeat(12).reshape(16, 12).T // 4
    figure = draw(picture(section(image=image, labels=np.zeros((12, 16), int), superpixels=ids)))
    lines = lines_of(figure.axes[1])[0]
    colours = {
        line.vertices[0, 0]: colour[0]
        for line, colour in zip(lines.get_paths(), lines.get_colors(), strict=True)
    }
    assert colours[3.5] == 1 and colours[11.5] == 0
    assert "superpixels (bold: soft)" in texts(figure)


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


def test_map_arrays_changes_all_of_them():
    turned = section(mask=np.ones((12, 16), bool)).map_arrays(np.transpose)
    assert turned.labels.shape == turned.soft.shape == turned.mask.shape == (16, 12)
    assert turned.truth is None


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
