"""Layers of a case, compared with what h5py reads, with pictures and the colours of classes."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest

pytest.importorskip("dask.array", reason="needs Dask: pip install '.[napari]'")

from softlabel.cache import StoredArray, open_cache
from softlabel.colours import class_colour
from softlabel.generation.settings import Settings
from softlabel.render.cases import case_picture
from softlabel.render.figure import intensity_window
from softlabel.render.sections import View
from softlabel.viewers.layers import MOST_SOFT_LAYERS, case_layers

VOLUME = factories.full_case().id


def by_role(cache, case_id, **options):
    return {layer.role: layer for layer in case_layers(cache, case_id, **options)}


def test_a_case_with_everything_has_all_layers_in_their_order(volume):
    found = by_role(volume, VOLUME)
    assert list(found) == [
        "image T1", "image T2", "labels", "labels of other grader", "true labels", "superpixels",
        "soft label of background", "soft label of shell", "soft label of größter Kern", "entropy",
    ]  # fmt: skip
    visible = [role for role, layer in found.items() if layer.options.get("visible", True)]
    assert visible == ["image T1", "labels"]  # its superpixels are four pixels wide
    assert {layer.kind for role, layer in found.items() if "labels" in role} == {"labels"}


def test_layers_hold_what_is_in_the_file(volume, stored):
    """Slices are along axis 2; axis 1 points to anterior and goes down, axis 0 to the right."""
    found = by_role(volume, VOLUME)
    for role, name, k in (
        ("image T1", "image", 0), ("image T2", "image", 1), ("labels", "labels", None),
        ("labels of other grader", "label_maps/other grader", None),
        ("true labels", "truth", None), ("superpixels", "superpixels", None),
        ("soft label of background", "soft", 0), ("soft label of größter Kern", "soft", 2),
    ):  # fmt: skip
        array = stored(volume, VOLUME, name)
        expected = (array if k is None else array[k]).transpose(2, 1, 0)
        np.testing.assert_array_equal(np.asarray(found[role].data), expected, err_msg=role)
    assert (np.asarray(found["superpixels"].data) == -1).any()  # outside of the mask


def world(layer, *index):
    options = layer.options
    return np.array(options["translate"]) + np.array(index) * np.array(options["scale"])


def test_pixels_lie_as_in_the_pictures_of_the_case(volume):
    """Radiological convention: R on the left, A at the top; and the slices ascend."""
    for layer in case_layers(volume, VOLUME):
        assert layer.options["axis_labels"] == ("axis 2", "axis 1", "axis 0")
        assert layer.options["units"] == ("mm",) * 3
        np.testing.assert_allclose(world(layer, 0, 19, 17), (0, 0, 0))
        np.testing.assert_allclose(world(layer, 4, 0, 0), (8, 9.5, 8.5))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, -1)])
def test_a_slice_is_drawn_as_by_inspect(tmp_path, axis, flip):
    affine = np.diag([*(0.5 * f for f in flip), 1.0]).astype(float)
    case = replace(factories.full_case(), affine=affine, slice_axis=axis)
    with open_cache(factories.full_cache(tmp_path, [case])) as cache:
        layer = by_role(cache, VOLUME)["image T1"]
        picture = case_picture(cache, VOLUME, View(slice=3, axis=axis))
        section = picture.sections[0].image
        drawn = np.asarray(layer.data)[3]
        np.testing.assert_array_equal(drawn, section)
        down, right = (step > 0 for step in layer.options["scale"][1:])
        assert (down, right) == (not picture.rows.descending, not picture.columns.descending)
        assert layer.options["scale"][0] > 0


def test_pixels_without_a_spacing_are_pixels(images):
    for layer in case_layers(images, "b"):
        assert (layer.options["units"], layer.options["scale"]) == (("pixel",) * 2, [1.0, 1.0])


def test_fine_pixels_are_measured_in_micrometres(tmp_path):
    case = replace(factories.oct_case(), spacing_mm=(0.004, 0.012))
    with open_cache(factories.oct_cache(tmp_path, [case], Settings(n_segments=60))) as cache:
        options = by_role(cache, "scan")["labels"].options
    assert options["units"] == ("um", "um")
    np.testing.assert_allclose(options["scale"], (4, 12))


def test_the_window_is_that_of_the_pictures(volume, images):
    picture = case_picture(volume, VOLUME, View())
    limits = by_role(volume, VOLUME)["image T1"].options["contrast_limits"]
    assert limits == pytest.approx(intensity_window(picture.sections))
    found = by_role(images, "a")["image"].options["contrast_limits"]
    assert found == pytest.approx(np.percentile(images["a"].image[0], [0.5, 99.5]))
    told = by_role(volume, VOLUME, window=(1.0, 2.0))["image T2"].options["contrast_limits"]
    assert told == (1.0, 2.0)


def test_labels_have_the_colours_and_names_of_the_project(volume):
    options = by_role(volume, VOLUME)["labels"].options
    colours = options["colormap"]
    assert colours[7] == (*class_colour(1), 1.0) and colours[300] == (*class_colour(2), 1.0)
    assert colours[0][3] == 0 and colours[None][3] == 0  # background, and what is ignored
    assert options["features"] == {
        "index": [0, 7, 300, 999],
        "class": ["background", "shell", "größter Kern", "ignored"],
    }


def test_soft_labels_go_from_black_to_the_colour_of_their_class(volume):
    options = by_role(volume, VOLUME)["soft label of shell"].options
    assert (options["colormap"], options["contrast_limits"]) == ("#e69f00", (0.0, 1.0))
    assert options["blending"] == "additive"


def test_an_image_in_colours_is_one_layer(tmp_path):
    grey, _ = factories.scene()
    image = np.stack([grey, grey // 4, np.zeros_like(grey)])
    case = factories.small_case(image=image)
    path = factories.cache_of(tmp_path, [case], factories.QUICK, case.classes, None, ())
    with open_cache(path) as cache:
        layer = by_role(cache, "x")["image"]
        assert layer.options["rgb"] is True
        np.testing.assert_array_equal(np.asarray(layer.data), np.moveaxis(image, 0, -1))
        grey = by_role(cache, "x", window=(0.0, 9.0))  # a window belongs to one channel
        assert [role for role in grey if "image" in role] == ["image 0", "image 1", "image 2"]


def test_of_soft_labels_nothing_is_read_until_somebody_looks(volume, monkeypatch):
    read = []
    real = StoredArray.__getitem__
    monkeypatch.setattr(
        StoredArray, "__getitem__", lambda self, key: (read.append(self.name), real(self, key))[1]
    )
    found = by_role(volume, VOLUME)
    assert "soft" not in read and "superpixels" not in read
    np.asarray(found["entropy"].data[0])
    assert "soft" in read


def test_of_many_classes_the_softest_that_the_case_has_become_layers(many):
    case = many["stripes"]
    soft, labels = case.soft[...], case.labels[...]
    own_q = [soft[k][labels == k].mean() for k in range(19)]
    softest = sorted(np.argsort(own_q, kind="stable")[:MOST_SOFT_LAYERS])
    expected = [f"soft label of label {k}" for k in softest]
    found = [role for role in by_role(many, "stripes") if role.startswith("soft")]
    assert found == expected and len(found) == MOST_SOFT_LAYERS
    wanted = by_role(many, "stripes", classes=[19])
    assert "soft label of label 19" in wanted
    assert not np.asarray(wanted["soft label of label 19"].data).any()


@pytest.mark.parametrize(("n_segments", "shown"), [(4, True), (40, False)])
def test_superpixels_are_shown_where_their_outlines_leave_room(tmp_path, n_segments, shown):
    path = factories.make_cache(tmp_path, ["a"], Settings(n_segments=n_segments))
    with open_cache(path) as cache:
        assert by_role(cache, "a")["superpixels"].options["visible"] is shown


def test_without_superpixels_there_is_no_such_layer(tmp_path):
    path = factories.make_cache(tmp_path, ["a"], Settings(method="gaussian"))
    with open_cache(path) as cache:
        assert "superpixels" not in by_role(cache, "a")


def test_there_is_no_layer_of_a_case_that_is_not_there(images):
    with pytest.raises(KeyError, match="has no case 'z'"):
        case_layers(images, "z")
