"""The distance method against Eq. 1 of dense distance transforms (tests/reference.py)."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import Scene, scenes

import softlabel
from softlabel.distance.boundary import BOUNDARIES
from softlabel.softmaps.from_dense import TILE_EDGE

boundaries = st.sampled_from(list(BOUNDARIES))
widths = st.sampled_from([None, 1.0, 2.5, 0.2, 30.0, 1e9])


def soften(scene, **options):
    return softlabel.soften(
        scene.labels, method="distance", classes=scene.classes, spacing=scene.spacing,
        ignore=scene.ignore, **options,
    )  # fmt: skip


def expected(
    scene, boundary="inner", width=None, scale=None, slice_axis=None, conversion="eq1"
):  # fmt: skip
    step = np.ones(scene.labels.ndim) if scene.spacing is None else np.array(scene.spacing)
    width = 8 * step.min() if width is None else width
    scale = step.min() if scale is None else scale
    known = np.ones(scene.labels.shape, bool)
    if scene.ignore is not None:
        known = scene.labels != scene.ignore
    q = []
    for value in scene.classes:
        phi = (scene.labels == value) & known
        if slice_axis is None:
            d = reference.signed_distance(phi, known, boundary, step)
        else:
            d = reference.signed_distance_in_plane(phi, known, boundary, step, slice_axis)
        near = known & (np.abs(d) <= width * (1 + 1e-6)) & np.isfinite(d)
        d = np.where(near, d, 0)
        q.append(np.where(near, reference.convert(d, scale, conversion), phi))
    return np.array(q)


def check(scene, **options):
    found = soften(scene, **options)
    np.testing.assert_allclose(found.dense(), expected(scene, **options), atol=1e-6)


@given(scene=scenes(), boundary=boundaries, width=widths, scale=st.sampled_from([None, 0.4, 3.0]))
def test_equals_eq_1_in_the_band(scene, boundary, width, scale):
    check(scene, boundary=boundary, width=width, scale=scale)


@given(scene=scenes(), boundary=boundaries, scale=st.sampled_from([None, 0.4, 3.0]),
       conversion=st.sampled_from(["probit", "logistic"]))  # fmt: skip
def test_equals_other_conversions_in_the_band(scene, boundary, scale, conversion):
    check(scene, boundary=boundary, scale=scale, conversion=conversion)


@settings(max_examples=settings.default.max_examples // 4, suppress_health_check=list(HealthCheck))
@given(scene=scenes(), boundary=boundaries, width=widths)
def test_kernels_are_right_as_plain_python(interpreted, scene, boundary, width):
    assert any(name.startswith("softlabel.softening.tiles.") for name in interpreted)
    check(scene, boundary=boundary, width=width)


@given(scene=scenes(ndim=(2, 3)), boundary=boundaries, data=st.data())
def test_in_plane(scene, boundary, data):
    axis = data.draw(st.integers(0, scene.labels.ndim - 1))
    found = soften(scene, boundary=boundary, in_plane=True, slice_axis=axis)
    wanted = expected(scene, boundary, slice_axis=axis)
    np.testing.assert_allclose(found.dense(), wanted, atol=1e-6)


@given(scene=scenes(), boundary=boundaries)
def test_divided_by_the_sum(scene, boundary):
    plain = expected(scene, boundary)
    total = plain.sum(axis=0)
    divided = soften(scene, boundary=boundary, normalize="sum").dense()
    np.testing.assert_allclose(divided, plain / np.where(total > 0, total, 1), atol=1e-6)


@pytest.mark.parametrize("shape", [(900,), (110, 150), (40, 38, 44)])
@pytest.mark.parametrize("width", [2.0, 20.0])
def test_across_tiles(shape, width):
    """Boundaries at the edges of tiles, and whole tiles far from any."""
    labels = np.zeros(shape, int)
    labels[: shape[0] // 2] = 1
    labels[(-1,) * len(shape)] = 2
    scene = Scene(labels, np.zeros(shape, int), (0, 1, 2, 3), None, None)
    for boundary in BOUNDARIES:
        check(scene, boundary=boundary, width=width)


@pytest.mark.parametrize("ndim", TILE_EDGE)
def test_a_width_that_ends_where_a_tile_does(ndim):
    """The nearest pixels of the class may lie a tile further than those that are measured to."""
    edge = TILE_EDGE[ndim]
    labels = np.zeros((4 * edge, *(2,) * (ndim - 1)), int)
    labels[:edge] = 1
    for boundary in BOUNDARIES:
        for width in (edge - 1.0, edge, edge + 1.0):
            scene = Scene(labels, np.zeros(labels.shape, int), (0, 1), None, None)
            check(scene, boundary=boundary, width=float(width))


def test_a_hard_class_beside_a_soft_one_is_divided_as_well():
    """Across an ignored pixel, class 0 has no boundary in the tile in which class 1 is soft."""
    labels = np.repeat([1, 9, 0], [255, 1, 300])
    plain, divided = (
        softlabel.soften(labels, method="distance", ignore=9, normalize=n).dense(np.float64)
        for n in ("none", "sum")
    )
    assert plain[0, 256] == 1 and plain[1, 256] > 0.1
    np.testing.assert_allclose(
        divided[:, 256:], plain[:, 256:] / plain[:, 256:].sum(axis=0), atol=1e-6
    )


def test_equals_the_superpixel_method_of_one_superpixel():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (9, 11))
    for boundary in BOUNDARIES:
        one = softlabel.soften(labels, np.zeros(labels.shape, int), boundary=boundary)
        near = softlabel.soften(labels, method="distance", boundary=boundary, width=100.0)
        np.testing.assert_array_equal(one.dense(), near.dense())


def test_the_width_is_in_the_unit_of_the_spacing_and_counts_pixels_of_the_finest_by_default():
    labels = np.repeat([0, 1], 20)
    for spacing, width, pixels in ((1.0, None, 8), (0.5, None, 8), (0.5, 2.0, 4), (1.0, 2.0, 2)):
        maps = softlabel.soften(labels, method="distance", spacing=(spacing,), width=width)
        # inner: on either side of one class or of the other the distances 0 to the width
        assert maps.band.sum() == 2 * (pixels + 1)


def test_far_from_boundaries_nothing_is_stored():
    labels = np.zeros((400, 400), np.uint8)
    labels[:, 200:] = 1
    maps = softlabel.soften(labels, method="distance")
    assert maps.band[:, 191:208].all() and not maps.band[:, :190].any()
    assert maps.nbytes - maps.index.nbytes < labels.size * 2  # two of thirteen columns of tiles


@pytest.mark.parametrize("width", [0.0, -1.0, float("inf"), float("nan")])
def test_width_must_be_positive(width):
    with pytest.raises(ValueError, match="width must be a positive number; got"):
        softlabel.soften(np.array([0, 1]), method="distance", width=width)


def test_unknown_boundary():
    with pytest.raises(ValueError, match=r"boundary must be one of inner, .*; got 'mid'"):
        softlabel.soften(np.array([0, 1]), method="distance", boundary="mid")
