"""normalize="sum" is q / Σq of the same maps, for every method and representation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import scenes

import softlabel
from softlabel.softening.normalize import NORMALIZATIONS, normalized


def soften(scene, normalize, **kwargs):
    return softlabel.soften(
        scene.labels, scene.superpixels, classes=scene.classes, spacing=scene.spacing,
        ignore=scene.ignore, normalize=normalize, **kwargs,
    )  # fmt: skip


methods = st.sampled_from(
    [{"boundary": b} for b in ("inner", "outer", "edge", "symmetric")] + [{"method": "gaussian"}]
)


def check_sums(scene, method):
    plain = soften(scene, "none", **method).dense(np.float64)
    maps = soften(scene, "sum", **method)
    total = plain.sum(axis=0)
    np.testing.assert_allclose(maps.dense(), plain / np.where(total > 0, total, 1), atol=1e-6)
    np.testing.assert_allclose(maps.dense().sum(axis=0), maps.known, atol=1e-6)


@given(scene=scenes(), method=methods)
def test_divides_by_the_sum_over_the_classes(scene, method):
    check_sums(scene, method)


@settings(max_examples=settings.default.max_examples // 10, suppress_health_check=list(HealthCheck))
@given(scene=scenes(), method=methods)
def test_kernel_is_right_as_plain_python(interpreted, scene, method):
    assert any(name.startswith("softlabel.softening.normalize.") for name in interpreted)
    check_sums(scene, method)


@given(scene=scenes(), method=methods)
def test_the_argmax_stays(scene, method):
    plain, divided = (soften(scene, n, **method).dense() for n in NORMALIZATIONS)
    np.testing.assert_array_equal(
        np.take_along_axis(divided, plain.argmax(axis=0)[None], 0)[0], divided.max(axis=0)
    )


def test_worked_example():
    """inner gives ½ + ¼ across the edge, which becomes ⅔ + ⅓."""
    q = softlabel.soften(np.array([1, 1, 0, 0]), np.zeros(4, int), normalize="sum").dense()
    np.testing.assert_allclose(q[1], [9 / 11, 2 / 3, 1 / 3, 2 / 11], atol=1e-6)


def test_a_tile_with_only_the_tail_of_a_class():
    """The blur of one voxel reaches into tiles in which the background rounds to exactly 1."""
    for place in np.ndindex(6, 6, 6):
        labels = np.zeros((24, 24, 24), np.uint8)
        labels[tuple(p + 12 for p in place)] = 1
        plain, divided = (
            softlabel.soften(labels, method="gaussian", normalize=n).dense() for n in NORMALIZATIONS
        )
        np.testing.assert_allclose(divided, plain, atol=1e-6)


def test_a_hard_class_beside_a_soft_one_among_raters():
    """Across ignored pixels a class can stay hard in a whole tile where another one is soft."""
    labels = np.repeat([[1, 9, 0]] * 2, 250, axis=1)
    kwargs = {"ignore": 9, "rater_axis": 0, "boundary": "inner", "scale": 500.0}
    plain, divided = (
        softlabel.soften(labels, np.zeros(750, int), normalize=n, **kwargs).dense(np.float64)
        for n in NORMALIZATIONS
    )
    total = plain.sum(axis=0)
    assert (plain[1, :250] == 1).all() and (plain[0, :250] > 0.2).all()
    np.testing.assert_allclose(divided, plain / np.where(total > 0, total, 1), atol=1e-6)


def test_leaves_its_argument_alone():
    maps = softlabel.soften(np.array([1, 1, 0, 0]), np.zeros(4, int))
    before = maps.values.copy()
    normalized(maps)
    np.testing.assert_array_equal(maps.values, before)


def test_unknown_normalization():
    with pytest.raises(ValueError, match="normalize must be one of none, sum; got 'softmax'"):
        softlabel.soften(np.array([0, 1]), np.zeros(2, int), normalize="softmax")
