"""What is drawn in the three panels of a section."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch

from softlabel.render import draw
from softlabel.render.palette import soft_scale

from .factories import colour_at, lines_of, picture, section, texts


def test_only_the_band_is_in_colour():
    colours, _ = soft_scale(True, 3)
    figure = draw(picture())
    soft = figure.axes[2]
    for row, value in ((3, 0.25), (4, 0.5)):
        np.testing.assert_allclose(colour_at(figure, soft, row, 8), colours(value)[:3], atol=0.01)
    inside, outside = colour_at(figure, soft, 7, 8), colour_at(figure, soft, 1, 2)
    assert np.ptp(inside) == np.ptp(outside) == 0  # grey
    assert inside[0] > 0.75 > 0.6 > outside[0]


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
