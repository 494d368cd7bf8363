"""A case before and after the steps: what is read, where the membrane lies, and the file."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest
from PIL import Image

from softlabel.cache import open_cache
from softlabel.generation.settings import Settings
from softlabel.phantom import make_oct_subject
from softlabel.render.cases import draw_cases
from softlabel.render.sections import View
from softlabel.render.steps import draw_steps, shows_steps, steps_path, steps_picture

CASE = factories.oct_case()
UNCHANGED = {"wedges": "fill", "flatten": "pixel", "crop": "retina"}
"""Steps that leave the intensities of tissue as they are."""


def settings(**steps):
    return Settings(n_segments=60, preprocess_options=steps)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    with open_cache(factories.oct_cache(folder, settings=settings(**UNCHANGED))) as opened:
        yield opened


def test_the_membrane_lies_on_the_same_pixels_before_and_after(cache):
    picture = steps_picture(cache, CASE.id, View())
    np.testing.assert_array_equal(picture.before, CASE.image[0])
    np.testing.assert_array_equal(picture.after, cache[CASE.id].image[0])
    columns = np.arange(CASE.shape[1])
    rows = [np.rint(m).astype(int) for m in (picture.membrane_before, picture.membrane_after)]
    np.testing.assert_array_equal(picture.before[rows[0], columns], picture.after[rows[1], columns])
    assert np.ptp(picture.membrane_after) <= 1 < np.ptp(picture.membrane_before)
    assert picture.line == "wedges (fill), flatten, crop"


def test_the_membrane_is_that_of_the_phantom(cache):
    """Class 8 begins below it; the goal of the step is a mean error of a pixel."""
    found = steps_picture(cache, CASE.id, View()).membrane_before
    true = (np.asarray(CASE.truth) == 8).argmax(axis=0)
    assert np.abs(found - true).mean() < 2


@pytest.mark.parametrize(("axial_axis", "across"), [(0, 2), (0, 1), (1, 2), (2, 0)])
def test_volumes_of_any_order(tmp_path, axial_axis, across):
    images = make_oct_subject(1, 1, (256, 128, 3)).images
    (lateral,) = {0, 1, 2} - {axial_axis, across}
    volume = np.ascontiguousarray(np.moveaxis(images, (0, 1, 2), (axial_axis, lateral, across)))
    spacing = [0.0, 0.0, 0.0]
    spacing[axial_axis], spacing[lateral], spacing[across] = 0.00387, 0.01133, 0.12
    case = replace(
        CASE, image=volume[None], labels=np.zeros(volume.shape, np.uint8), truth=None,
        label_maps={}, slice_axis=across, spacing_mm=tuple(spacing),
    )  # fmt: skip
    steps = settings(**UNCHANGED, axial_axis=axial_axis)
    with open_cache(factories.oct_cache(tmp_path, [case], steps)) as opened:
        picture = steps_picture(opened, case.id, View(slice=1))
    np.testing.assert_array_equal(picture.before, images[..., 1])
    columns = np.arange(images.shape[1])
    rows = [np.rint(m).astype(int) for m in (picture.membrane_before, picture.membrane_after)]
    np.testing.assert_array_equal(picture.before[rows[0], columns], picture.after[rows[1], columns])
    assert picture.size_before == pytest.approx((256 * 0.00387, 128 * 0.01133))
    assert picture.title == f"Case scan, slice 1 along axis {across}"


def test_no_membrane_where_nothing_looked_for_it(tmp_path):
    path = factories.oct_cache(tmp_path, settings=settings(denoise="tv"))
    with open_cache(path) as opened:
        picture = steps_picture(opened, CASE.id, View())
    assert picture.membrane_before is picture.membrane_after is None
    axes = draw_steps(picture).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "before: 256 × 128 pixels", "after: 256 × 128 pixels",
    ]  # fmt: skip
    assert not any(ax.lines for ax in axes)


def test_both_images_are_drawn_at_one_scale_with_the_membrane(cache):
    picture = steps_picture(cache, CASE.id, View())
    figure = draw_steps(picture)
    places = [ax.get_position() for ax in figure.axes]
    assert places[1].height / places[0].height == pytest.approx(picture.after.shape[0] / 256)
    assert places[1].width == places[0].width
    for ax, membrane in zip(
        figure.axes, (picture.membrane_before, picture.membrane_after), strict=True
    ):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), membrane)


def test_a_narrower_image_after_the_steps_is_drawn_narrower(cache):
    picture = replace(steps_picture(cache, CASE.id, View()), size_before=(4, 6), size_after=(2, 3))
    before, after = (ax.get_position() for ax in draw_steps(picture).axes)
    assert (after.width / before.width, after.height / before.height) == pytest.approx((0.5, 0.5))


def test_the_file_lies_beside_that_of_the_case(cache, tmp_path):
    path = tmp_path / "scan.png"
    assert list(draw_cases(cache, {CASE.id: path}, View(), dpi=60)) == [(CASE.id, "")]
    first = steps_path(path).read_bytes()
    assert Image.open(steps_path(path)).size[0] > 300
    list(draw_cases(cache, {CASE.id: path}, View(), dpi=60))
    assert steps_path(path).read_bytes() == first


def test_cases_without_steps_or_without_their_image_have_none(tmp_path):
    without = replace(factories.OCT, keep_original=False)
    for path in (
        factories.oct_cache(tmp_path / "a", settings=without), factories.full_cache(tmp_path / "b"),
    ):  # fmt: skip
        with open_cache(path) as opened:
            assert not any(shows_steps(case) for case in opened.values())
