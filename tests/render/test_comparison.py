"""What a picture of a comparison shows, and that it can be drawn."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest

from softlabel.comparison import compare_case
from softlabel.errors import UsageError
from softlabel.generation import Settings
from softlabel.render.comparison import comparison_picture
from softlabel.render.comparison_figure import draw_comparison
from softlabel.render.sections import View
from softlabel.types import Case, ClassTable

SETTINGS = {m: Settings(method=m) for m in ("hard", "gaussian")}


def halves(**changes):
    """Class 1 on the right from column 30 on; in truth from column 33 on."""
    labels = np.zeros((48, 60), np.uint8)
    labels[:, 30:] = 1
    truth = np.roll(labels, 3, axis=1)
    truth[:, :3] = 0
    image = np.arange(60.0)[None, None].repeat(48, axis=1)
    table = ClassTable.from_mapping({0: "left", 1: "right"})
    return Case("halves", image, labels, table, truth=truth, **changes)


@pytest.fixture
def found():
    case = halves()
    return compare_case(case, SETTINGS, truth=case.truth, truth_name="truth")


def test_the_profile_holds_the_values_along_the_line(found):
    picture = comparison_picture(found, View())
    profile = picture.profile
    row = slice(profile.line.start, profile.line.stop)
    assert (profile.line.axis, profile.line.crossing) == (1, 29)
    assert profile.places.tolist() == [c - 29.5 for c in range(row.start, row.stop)]
    for method in picture.methods:
        dense = found.maps[method.name].dense()[1]
        np.testing.assert_array_equal(method.on_line, dense[profile.line.place, row])
    np.testing.assert_array_equal(profile.intensity, np.arange(row.start, row.stop))
    np.testing.assert_array_equal(profile.inside, np.arange(row.start, row.stop) >= 30)
    assert profile.truth_places == (3.0,)
    assert profile.description == "pixels from the boundary of the label map, to the right"


def test_the_window_lies_around_the_line_and_in_the_frame(found):
    picture = comparison_picture(found, View(), frame_px=20)
    window = picture.window
    assert window.sections[0].labels.shape == (20, 20)
    assert window.columns.start == 19 and 0 <= window.rows.start <= 28
    line = picture.profile.line
    assert (line.start, line.stop) == (19, 39)
    rows, columns = (slice(a.start, a.start + 20) for a in (window.rows, window.columns))
    dense = found.maps["gaussian"].dense()[1][rows, columns]
    np.testing.assert_array_equal(picture.methods[1].values, dense)
    assert comparison_picture(found, View()).window.sections[0].labels.shape == (32, 32)


def test_words_name_the_case_the_class_and_the_scores(found):
    picture = comparison_picture(found, View())
    assert picture.title == "Case halves: right"
    assert "against truth, at most 8 pixels" in picture.legend
    assert picture.methods[0].note == f"0 % softened, Brier {found.scores['hard'].near_brier:.3f}"
    without = comparison_picture(compare_case(halves(), SETTINGS), View(class_index=0))
    assert without.title == "Case halves: left"
    assert "Brier" not in without.legend + without.methods[0].note


def test_a_volume_lies_as_its_affine_says():
    """Rows of the drawn section run along the second axis of the file, from its end."""
    case = halves()
    labels = np.stack([np.zeros_like(case.labels), case.labels, case.labels * 0], axis=2)
    labels[10, 10, 2] = 1
    volume = replace(
        case, labels=labels, image=labels[None] * 1.0, truth=None, spacing_mm=(1.0, 1.0, 4.0),
        affine=np.diag([1.0, 1.0, 4.0, 1.0]),
    )  # fmt: skip
    found = compare_case(volume, SETTINGS)
    picture = comparison_picture(found, View())
    assert picture.title == "Case halves: right, slice 1 of axis 2"
    assert picture.whole.sections[0].labels.shape == (60, 48)
    line = picture.profile.line
    assert line.axis == 0 and picture.profile.description.endswith(
        "of 1 mm from the boundary of the label map, upwards"
    )
    expected = found.maps["gaussian"].dense()[1, line.place, line.start : line.stop, 1]
    np.testing.assert_array_equal(picture.methods[1].on_line, expected)
    chosen = comparison_picture(found, View(slice=2))
    assert chosen.title.endswith("slice 2 of axis 2")


def photo(**changes):
    """``halves`` in red and blue, in 8 bits."""
    case = halves(**changes)
    red = (case.image * 4).astype(np.uint8)
    return replace(case, image=np.concatenate([red, np.zeros_like(red), 255 - red]))


@pytest.mark.parametrize("names", [(), ("channel 0", "channel 1", "channel 2"), ("R", "G", "B")])
def test_a_photo_is_shown_in_its_colours(names):
    case = photo(channels=names)
    picture = comparison_picture(compare_case(case, SETTINGS), View())
    colours = np.moveaxis(case.image, 0, -1)
    np.testing.assert_array_equal(picture.whole.sections[0].image, colours)
    assert picture.whole.channel == "image"
    line = picture.profile.line
    np.testing.assert_array_equal(
        picture.profile.intensity, colours[line.place, line.start : line.stop]
    )
    figure = draw_comparison(picture)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), colours / 255)
    assert len(figure.axes[-1].lines) == 3 + 1  # red, green, blue, and where the boundary is


def test_one_channel_of_a_photo_is_grey():
    picture = comparison_picture(compare_case(photo(), SETTINGS), View(channel=2))
    np.testing.assert_array_equal(picture.whole.sections[0].image, photo().image[2])


def test_channels_and_slices_that_are_not_there_are_refused(found):
    with pytest.raises(UsageError, match="no channel 2; it has 1 channel"):
        comparison_picture(found, View(channel=2))
    with pytest.raises(UsageError, match="has no slices"):
        comparison_picture(found, View(slice=2))


def test_curves_and_panels_are_drawn_for_every_method(found):
    figure = draw_comparison(comparison_picture(found, View()))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:4] == ["image", "framed part", "hard", "gaussian"]
    [upper] = [ax for ax in figure.axes if ax.get_ylabel() == "soft label q" and ax.lines]
    drawn = [line.get_ydata() for line in upper.lines[:2]]
    np.testing.assert_array_equal(drawn, [m.on_line for m in
                                          comparison_picture(found, View()).methods])  # fmt: skip
    names = [text.get_text() for text in upper.get_legend().get_texts()]
    assert names == ["label map", "hard", "gaussian", "boundary: truth"]


def test_texts_do_not_lie_on_each_other():
    case = factories.full_case()
    many = {f"method {n}": Settings(method="gaussian", method_options={"blur": 1 + n / 4})
            for n in range(6)}  # fmt: skip
    found = compare_case(case, many, truth=case.truth, truth_name="truth")
    figure = draw_comparison(comparison_picture(found, View()))
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes]
    legend = next(ax.get_legend() for ax in figure.axes if ax.get_legend())
    for n, ax in enumerate(figure.axes[:8]):  # panels
        for m in range(n + 1, len(figure.axes)):
            if figure.axes[m] not in legend.axes.figure.axes[9:]:
                assert not boxes[n].overlaps(boxes[m]), (ax.get_title(loc="left"), m)
    whole = figure.bbox
    for box in [*boxes, legend.get_window_extent(renderer)]:
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1


def test_a_section_without_the_class_is_drawn_without_a_profile():
    case = halves()
    case = replace(case, labels=np.zeros_like(case.labels), truth=None)
    picture = comparison_picture(compare_case(case, SETTINGS), View(class_index=1))
    assert picture.profile is None
    assert len(draw_comparison(picture).axes) == 5
