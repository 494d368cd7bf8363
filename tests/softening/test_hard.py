"""The hard labels as soft maps."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from scenes import scenes

import softlabel


@given(scene=scenes())
def test_one_in_the_annotated_class_and_nothing_to_store(scene):
    maps = softlabel.soften(
        scene.labels, method="hard", classes=scene.classes, ignore=scene.ignore, normalize="sum"
    )
    wanted = [(scene.labels == value) & (scene.labels != scene.ignore) for value in scene.classes]
    np.testing.assert_array_equal(maps.dense(), wanted)
    assert not maps.band.any() and maps.values.size == 0


def test_raters_are_averaged():
    labels = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 9]])
    maps = softlabel.soften(labels, method="hard", rater_axis=0, ignore=9)
    np.testing.assert_allclose(maps.dense()[1], [0, 1 / 3, 1], atol=1e-7)
