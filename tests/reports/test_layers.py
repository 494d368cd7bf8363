"""Layers of thumbnails, decoded again."""

import numpy as np
import pytest
from matplotlib import colormaps
from pages import decoded

from softlabel.render import class_colour
from softlabel.render.palette import soft_scale
from softlabel.reports.layers import (
    CLASS_COLOURS,
    image_layer,
    label_layer,
    mask_layer,
    resampled,
    soft_layer,
    superpixel_layer,
)

LABELS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [-1, -1, 1, 1]])


def test_an_image_is_averaged():
    image = np.zeros((64, 64, 3))
    image[:32, ::2] = 1.0
    found = decoded(image_layer(image, (32, 32)))
    assert found.shape == (32, 32, 4)
    assert abs(found[4:12, 4:28, 0].astype(int) - 128).max() < 6
    assert found[20:, :, 0].max() < 6


def test_colours_of_an_image_stay():
    image = np.zeros((32, 32, 3))
    image[..., 0] = 1.0
    red, green, blue, _ = decoded(image_layer(image, (32, 32)))[16, 16].tolist()
    assert red > 240 and green < 15 and blue < 15


def test_small_images_are_not_blurred():
    image = np.zeros((4, 4, 3))
    image[:, 2:] = 1.0
    found = decoded(image_layer(image, (32, 32)))[..., 0].astype(int)
    assert found[:, :14].max() < 30 and found[:, 18:].min() > 225


def test_labels_are_tints_with_contours_and_unknown_pixels_are_transparent():
    found = decoded(label_layer(LABELS, LABELS.shape))
    assert found[2, :2, 3].tolist() == [0, 0]
    np.testing.assert_allclose(found[0, 0, :3] / 255, class_colour(0), atol=0.003)
    np.testing.assert_allclose(found[0, 3, :3] / 255, class_colour(1), atol=0.003)
    assert 0 < found[0, 0, 3] < 255, "inside the image shines through"
    assert found[0, 1, 3] == found[1, 0, 3] == 255, "right and lower neighbours differ there"
    assert found[2, 3, 3] < 255


def test_more_classes_than_colours_repeat_them():
    many = np.full((4, 4), 3 * CLASS_COLOURS + 1)
    one = np.full((4, 4), 1)
    np.testing.assert_array_equal(
        decoded(label_layer(many, (4, 4)))[..., 3], decoded(label_layer(one, (4, 4)))[..., 3]
    )


def test_superpixels_that_were_softened_stand_out():
    ids = np.repeat([[0, 0, 1, 1, -1, -1]], 4, axis=0)
    band = np.zeros(ids.shape, bool)
    band[0, 2] = True
    alpha = decoded(superpixel_layer(ids, band, ids.shape))[0, :, 3]
    assert alpha[0] == alpha[2] == alpha[4] == 0
    assert 0 < alpha[1] < alpha[3]


@pytest.mark.parametrize(("of_one_class", "name"), [(True, "viridis"), (False, "plasma")])
def test_soft_values_have_the_colours_of_other_pictures(of_one_class, name):
    values = np.linspace(0.05, 0.95, 40).reshape(4, 10)
    band = np.ones(values.shape, bool)
    band[0, 0] = False
    layer = soft_layer(values, band, values.shape, of_one_class=of_one_class, classes=2)
    found = decoded(layer)
    assert found[0, 0, 3] == 0 and (found[..., 3].ravel()[1:] == 255).all()
    _, top = soft_scale(of_one_class, 2)
    expected = colormaps[name](0.08 + 0.92 * values / top)[..., :3]
    assert abs(found[..., :3] / 255 - expected)[band].max() < 0.04


def test_hard_pixels_of_a_class_are_whitened():
    values = np.array([[0.0, 0.5, 1.0]])
    found = decoded(soft_layer(values, values == 0.5, (1, 3), of_one_class=True, classes=2))
    assert found[0, :, 3].tolist()[:2] == [0, 255]
    assert found[0, 2, :3].tolist() == [255, 255, 255] and 0 < found[0, 2, 3] < 255


def test_a_mask_has_one_colour():
    found = decoded(mask_layer(np.array([[True, False]]), (1, 2), "#ff0000"))
    assert found[0, 0, :3].tolist() == [255, 0, 0]
    assert found[0, 0, 3] > 0 and found[0, 1, 3] == 0


def test_resampling_takes_the_pixel_below_the_centre():
    values = np.arange(6)[None]
    assert resampled(values, (1, 3)).tolist() == [[1, 3, 5]]
    assert resampled(values, (1, 6)).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert resampled(values[:, :2], (2, 4)).tolist() == [[0, 0, 1, 1]] * 2
