"""Which slices are shown, how they lie, and that no more is read than is shown."""

import re
from dataclasses import replace

import factories
import numpy as np
import pytest

from softlabel.cache import StoredArray, open_cache
from softlabel.errors import UsageError
from softlabel.render import sections
from softlabel.render.cases import case_picture
from softlabel.render.sections import View
from softlabel.softmaps import entropy_bits

from .factories import VOLUME, indices, long_volume


def with_affine(folder, affine, **changes):
    case = replace(factories.full_case(), affine=affine, **changes)
    return open_cache(factories.full_cache(folder, [case]))


def test_a_class_is_read_alone(images, monkeypatch):
    expected = images["a"].soft[1]
    keys = recorded(monkeypatch)
    picture = case_picture(images, "a", View(class_index=1))
    np.testing.assert_array_equal(picture.sections[0].soft, expected)
    assert [key[0] for name, key in keys if name == "soft"] == [1]


def test_a_slice_stands_upright_when_the_affine_says_how_the_patient_lies(volume):
    case = volume[VOLUME]
    picture = case_picture(volume, VOLUME, View(slice=3, class_index=2, channel=1))
    (section,) = picture.sections
    assert section.name == "slice 3 of axis 2"
    np.testing.assert_array_equal(section.image, case.image[1, :, :, 3].T)
    labels = indices(case.labels[:, :, 3], volume.classes).T
    np.testing.assert_array_equal(section.labels, labels)
    assert (labels == -1).any()
    np.testing.assert_array_equal(section.soft, case.soft[2, :, :, 3].T)
    np.testing.assert_array_equal(section.mask, case.mask[:, :, 3].T > 0)
    np.testing.assert_array_equal(section.truth, indices(case.truth[:, :, 3], volume.classes).T)
    assert picture.channel == "T2"
    # axis 1 points to anterior, axis 0 to the right: A at the top, R on the left
    assert (picture.rows.name, picture.rows.ends, picture.rows.descending) == (
        "axis 1",
        ("A", "P"),
        True,
    )
    assert (picture.columns.name, picture.columns.ends, picture.columns.descending) == (
        "axis 0",
        ("R", "L"),
        True,
    )
    assert picture.rows.length_mm == 20 * 0.5


@pytest.mark.parametrize(
    ("axis", "rows", "columns"),
    [(0, ("axis 2", "S"), ("axis 1", "A")), (1, ("axis 2", "S"), ("axis 0", "R"))],
)
def test_superior_is_up(volume, axis, rows, columns):
    picture = case_picture(volume, VOLUME, View(axis=axis, slice=9))
    assert (picture.rows.name, picture.rows.ends[0]) == rows
    assert (picture.columns.name, picture.columns.ends[0]) == columns
    assert (picture.rows.spacing, picture.columns.spacing) == (2.0, 0.5)


def test_axes_that_run_the_other_way_begin_with_their_first_pixel(tmp_path):
    cache = with_affine(tmp_path, np.diag([-0.5, -0.5, 2.0, 1.0]))
    picture = case_picture(cache, VOLUME, View(slice=2))
    assert (picture.rows.ends, picture.rows.descending) == (("A", "P"), False)
    assert (picture.columns.ends, picture.columns.descending) == (("R", "L"), False)


def test_axes_in_another_order_are_not_turned(tmp_path):
    affine = np.zeros((4, 4))
    affine[[2, 0, 1, 3], [0, 1, 2, 3]] = [-0.5, 0.5, 2.0, 1.0]  # axes S, R, A: slices are coronal
    cache = with_affine(tmp_path, affine)
    picture = case_picture(cache, VOLUME, View(slice=2))
    assert (picture.rows.name, picture.rows.ends, picture.rows.descending) == (
        "axis 0",
        ("S", "I"),
        False,
    )
    assert picture.columns.ends == ("R", "L")
    np.testing.assert_array_equal(picture.sections[0].image, cache[VOLUME].image[0, :, :, 2])


@pytest.mark.parametrize("affine", [None, np.diag([0.5, 0.5, 0, 1]), np.ones((4, 4))])
def test_without_a_usable_affine_axes_stay_as_in_the_file(tmp_path, affine):
    cache = with_affine(tmp_path, affine)
    picture = case_picture(cache, VOLUME, View(slice=2))
    assert (picture.rows.name, picture.columns.name) == ("axis 0", "axis 1")
    assert picture.rows.ends is None
    np.testing.assert_array_equal(picture.sections[0].image, cache[VOLUME].image[0, :, :, 2])


def recorded(monkeypatch):
    """Every access to a stored array from now on: (name, key)."""
    keys = []
    original = StoredArray.__getitem__

    def getitem(self, key):
        keys.append((self.name, key))
        return original(self, key)

    monkeypatch.setattr(StoredArray, "__getitem__", getitem)
    return keys


def test_of_a_volume_only_the_slices_that_are_shown_are_read(volume, monkeypatch):
    keys = recorded(monkeypatch)
    shown = len(case_picture(volume, VOLUME, View(slices=2)).sections)
    for name in ("image", "soft", "superpixels", "mask", "truth"):
        read = [key for array, key in keys if array == name]
        assert len(read) == shown == 2
        assert all(isinstance(key[-1], int) for key in read)


@pytest.mark.parametrize(("edge", "block"), [(10, 64 << 20), (15, 1), (7, 1), (10**6, 1)])
def test_large_images_are_thinned_and_read_in_blocks(tmp_path, monkeypatch, edge, block):
    source = factories.write_scenes(tmp_path / "data", ["a"], shape=(300, 44))
    factories.generate(source, tmp_path / "c.h5", factories.QUICK)
    cache = open_cache(tmp_path / "c.h5")
    monkeypatch.setattr(sections, "MAX_EDGE", edge)
    monkeypatch.setattr(sections, "BLOCK_BYTES", block)
    picture = case_picture(cache, "a", View())
    (section,) = picture.sections
    step = picture.rows.step
    assert picture.columns.step == step == -(-300 // edge)
    case = cache["a"]
    np.testing.assert_array_equal(section.image, case.image[0][::step, ::step])
    np.testing.assert_array_equal(section.superpixels, case.superpixels[...][::step, ::step])
    expected = entropy_bits(case.soft[...][:, ::step, ::step])
    np.testing.assert_array_equal(section.soft, expected)


def shown_slices(cache, **view):
    picture = case_picture(cache, VOLUME, View(**view))
    return [int(re.fullmatch(r"slice (\d+) of axis \d", s.name)[1]) for s in picture.sections]


def test_slices_are_chosen_evenly_where_there_are_boundaries(tmp_path):
    labels = np.zeros((6, 6, 80))
    labels[2:4, 2:4, 40:70] = 7
    labels[0, 0, 60:64] = 300
    labels[1, 1, :10] = 999  # ignored pixels make no boundary
    cache = long_volume(tmp_path, labels)
    assert shown_slices(cache) == [43, 51, 58, 66]
    assert shown_slices(cache, slices=1) == [55]
    assert shown_slices(cache, slices=2, class_index=2) == [61, 63]
    assert shown_slices(cache, slices=12, class_index=2) == [60, 61, 62, 63]
    assert shown_slices(cache, axis=0, slices=12) == [0, 1, 2, 3]
    assert shown_slices(cache, slice=79) == [79]


def test_without_boundaries_slices_are_chosen_from_all(tmp_path):
    labels = np.full((6, 6, 8), 7)
    labels[0] = 999
    assert shown_slices(long_volume(tmp_path, labels)) == [1, 3, 5, 7]


def test_an_absent_class_does_not_matter_for_the_slices(tmp_path):
    labels = np.zeros((6, 6, 8))
    labels[2, 2, 3:5] = 7
    assert shown_slices(long_volume(tmp_path, labels), class_index=2) == [3, 4]


def test_slices_go_across_the_coarsest_spacing(volume):
    assert case_picture(volume, VOLUME, View()).sections[0].name.endswith("axis 2")


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View(axis=3), "no axis 3; its axes are 0 to 2 with 18, 20, 5 slices"),
        (View(axis=-1), "no axis -1"),
        (View(slice=5), "no slice 5 along axis 2; it has the slices 0 to 4"),
        (View(slice=-1), "no slice -1"),
        (View(axis=0, slice=18), "no slice 18 along axis 0; it has the slices 0 to 17"),
        (View(channel=2), "no channel 2; it has the channels 0 to 1"),
    ],
)
def test_what_a_volume_does_not_have_is_named(volume, view, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        case_picture(volume, VOLUME, view)


@pytest.mark.parametrize("view", [View(axis=0), View(slice=0)])
def test_an_image_has_no_slices(images, view):
    with pytest.raises(UsageError, match="'a' is an image of 40 × 44 pixels and has no slices"):
        case_picture(images, "a", view)
    with pytest.raises(UsageError, match="no channel 1; it has channel 0 only"):
        case_picture(images, "a", View(channel=1))


@pytest.mark.parametrize(("known", "expected"), [(0, 0), (1, 1), (None, 2)])
def test_slices_are_those_across_the_axis_that_the_cache_names(tmp_path, known, expected):
    """Where it names none, across the coarsest spacing."""
    with with_affine(tmp_path, None, slice_axis=known) as cache:
        picture = case_picture(cache, factories.full_case().id, View(slice=1))
    assert picture.sections[0].name == f"slice 1 of axis {expected}"
