"""Mixed superpixels against a few lines with Python sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import scenes

from softlabel.softening.mixed import mixed_superpixels
from softlabel.softmaps.class_index import class_index_map, ignored_index
from softlabel.types import ClassTable


def find(scene, min_minority):
    """mixed_superpixels() of a scene, as plain lists."""
    table = ClassTable.from_values(scene.classes)
    index = class_index_map(scene.labels, table, scene.ignore)
    volume = np.ascontiguousarray(index).reshape((1,) * (3 - index.ndim) + index.shape)
    ids = np.ascontiguousarray(scene.superpixels, np.int32).reshape(volume.shape)
    mixed = mixed_superpixels(volume, ignored_index(index.dtype), len(table), ids, min_minority)
    regions = mixed.regions
    pixels = [
        regions.pixels[a:b].tolist()
        for a, b in zip(regions.start[:-1], regions.start[1:], strict=True)
    ]
    blocks = list(zip(mixed.block_region.tolist(), mixed.block_class.tolist(), strict=True))
    return pixels, regions.lower.tolist(), regions.upper.tolist(), blocks


def expected(scene, min_minority):
    shape = (1,) * (3 - scene.labels.ndim) + scene.labels.shape
    labels, ids = scene.labels.reshape(shape), scene.superpixels.reshape(shape)
    pixels, lower, upper, blocks = [], [], [], []
    for s in sorted(set(ids.ravel().tolist()) - set(range(-1000, 0))):
        held = [v for v in labels[ids == s].tolist() if v != scene.ignore]
        largest = max((held.count(c) for c in scene.classes), default=0)
        if len(set(held)) < 2 or len(held) - largest < min_minority * len(held):
            continue
        blocks += [(len(pixels), scene.classes.index(c)) for c in sorted(set(held))]
        flat = np.flatnonzero((ids == s).ravel())
        pixels.append([p for p in flat.tolist() if labels.ravel()[p] != scene.ignore])
        corners = np.argwhere(ids == s)
        lower.append(corners.min(axis=0).tolist())
        upper.append((corners.max(axis=0) + 1).tolist())
    return pixels, lower, upper, blocks


@given(scene=scenes(), min_minority=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]))
def test_finds_the_superpixels_with_two_known_classes(scene, min_minority):
    assert find(scene, min_minority) == expected(scene, min_minority)


@settings(max_examples=settings.default.max_examples // 4, suppress_health_check=list(HealthCheck))
@given(scene=scenes(), min_minority=st.sampled_from([0.0, 0.25]))
def test_kernels_are_right_as_plain_python(interpreted, scene, min_minority):
    assert any(name.startswith("softlabel.softening.mixed.") for name in interpreted)
    assert find(scene, min_minority) == expected(scene, min_minority)


@pytest.mark.parametrize("plain_python", [False, True])
def test_superpixels_may_hold_many_classes(plain_python, request):
    """More blocks than the kernel reserves at first, which is four a superpixel."""
    if plain_python:
        request.getfixturevalue("interpreted")
    labels = np.arange(600).reshape(1, 10, 60) % 60
    ids = np.repeat(np.arange(10, dtype=np.int32), 60).reshape(1, 10, 60)
    mixed = mixed_superpixels(labels.astype(np.uint8), 255, 60, ids)
    np.testing.assert_array_equal(mixed.block_region, np.repeat(np.arange(10), 60))
    np.testing.assert_array_equal(mixed.block_class, np.tile(np.arange(60), 10))


def test_bounding_boxes_hold_ignored_pixels_and_lists_do_not():
    labels = np.array([[[255, 0, 1, 255]]], np.uint8)
    mixed = mixed_superpixels(labels, 255, 2, np.zeros((1, 1, 4), np.int32))
    assert mixed.regions.pixels.tolist() == [1, 2]
    assert mixed.regions.lower.tolist() == [[0, 0, 0]]
    assert mixed.regions.upper.tolist() == [[1, 1, 4]]
