"""GeoLS against its formula in dense lines, with SciPy's shortest paths."""

from __future__ import annotations

import numpy as np
import pytest
from distance.test_geodesic import shortest_paths
from skimage.morphology import skeletonize

import softlabel


def expected(labels, image, classes, alpha, ignore=None):
    known = labels != ignore
    near = []
    for value in classes:
        own = labels == value
        maps = []
        for channel in image if own.any() else ():
            thin = skeletonize(own)
            d = shortest_paths(channel, thin if thin.any() else own)
            g = np.exp(-d / d[known].mean())
            maps.append((g - g[known].min()) / (g[known].max() - g[known].min()))
        near.append(np.mean(maps, axis=0) if maps else np.zeros(labels.shape))
    there = [g for g, value in zip(near[1:], classes[1:], strict=True) if (labels == value).any()]
    near[0] = 1 - np.mean(there, axis=0)
    return np.array(
        [((1 - alpha) * (labels == v) + alpha * g) * known
         for v, g in zip(classes, near, strict=True)]
    )  # fmt: skip


def scene(shape=(14, 16), channels=1, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(2, n // 2) for n in shape)] = 3
    labels[tuple(slice(n // 2 + 1, n - 2) for n in shape)] = 7
    image = np.stack([10.0 * labels + rng.normal(0, 4, shape) for _ in range(channels)])
    return labels, image


@pytest.mark.parametrize("shape", [(14, 16), (8, 9, 7)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("alpha", [0.1, 0.6])
def test_equals_the_formula(shape, channels, alpha):
    labels, image = scene(shape, channels)
    classes = (0, 3, 5, 7)  # of which 5 is absent
    found = softlabel.soften(
        labels, image=image, method="geols", classes=classes, alpha=alpha
    ).dense()
    np.testing.assert_allclose(found, expected(labels, image, classes, alpha), atol=2e-6)
    assert found.min() >= 0 and found.max() <= 1


def test_ignored_pixels_are_zero_and_count_for_nothing_but_the_ways():
    labels, image = scene()
    labels[:, 5] = labels[0, 0] = 255
    image[:, 0, 0] = 1e5  # further away than all that counts
    found = softlabel.soften(
        labels, image=image[0], method="geols", classes=(0, 3, 7), ignore=255
    ).dense()
    np.testing.assert_allclose(
        found, expected(labels, image, (0, 3, 7), 0.1, ignore=255), atol=2e-6
    )
    assert not found[:, labels == 255].any()


def test_the_annotated_class_stays_on_top_and_sums_can_be_one():
    labels, image = scene(seed=3)
    maps = softlabel.soften(labels, image=image, method="geols", classes=(0, 3, 7))
    np.testing.assert_array_equal(maps.dense().argmax(axis=0), maps.index)
    divided = softlabel.soften(
        labels, image=image, method="geols", classes=(0, 3, 7), normalize="sum"
    )
    np.testing.assert_allclose(divided.dense().sum(axis=0), 1, atol=1e-6)


def test_other_units_of_intensity_change_nothing():
    labels, image = scene()
    maps = [
        softlabel.soften(labels, image=i, method="geols").dense()
        for i in (image, 1000 * image - 77)
    ]
    np.testing.assert_allclose(*maps, atol=1e-6)


def test_what_looks_alike_is_near_however_far_away():
    """Two bright discs, one of them annotated: the other one is as near to the class."""
    image = np.zeros((20, 40))
    rows, columns = np.indices(image.shape)
    discs = [np.hypot(rows - 10, columns - c) < 6 for c in (9, 30)]
    image[discs[0] | discs[1]] = 100
    image[9:12, 14:26] = 100  # a bright bridge between them
    labels = discs[0].astype(np.uint8)
    soft = softlabel.soften(labels, image=image, method="geols").dense()[1]
    assert soft[10, 30] == pytest.approx(0.1) and soft[1, 20] < 0.01


def test_an_image_without_contrast_is_near_everywhere():
    labels, image = scene()
    soft = softlabel.soften(labels, image=np.zeros_like(image), method="geols").dense()
    np.testing.assert_allclose(soft[1:].max(axis=0), np.where(labels > 0, 1, 0.1), atol=1e-7)


def test_a_region_that_thinning_removes_is_its_own_skeleton():
    labels = np.zeros((6, 6), np.uint8)
    labels[2:4, 2:4] = 1
    image = np.arange(36.0).reshape(6, 6)
    soft = softlabel.soften(labels, image=image, method="geols").dense()
    assert np.isfinite(soft).all() and soft[1][labels == 1].min() > 0.9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"alpha": 1.2}, r"alpha must lie in 0\.\.1; got 1.2"),
        ({"image": None}, "The method geols looks at the image; give image="),
        ({"image": np.full((4, 4), np.nan)}, "NaN or infinite"),
        ({"image": np.zeros((4, 5))}, "image must have shape"),
    ],
)
def test_refusals(options, sentence):
    given = {"image": np.zeros((4, 4)), **options}
    with pytest.raises(ValueError, match=sentence):
        softlabel.soften(np.eye(4, dtype=int), method="geols", **given)
