"""Tiles near boundaries: every pixel within reach has the blocks that it needs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes
from scipy import ndimage

from softlabel.distance.boundary import Metric
from softlabel.softening.tiles import maps_of_tiles, tiles_within
from softlabel.softmaps.class_index import class_index_map
from softlabel.types import ClassTable


def tiles_of(scene, edge, width):
    table = ClassTable.from_values(scene.classes)
    index = class_index_map(scene.labels, table, scene.ignore)
    volume = index.reshape((1,) * (3 - index.ndim) + index.shape)
    metric = Metric((1.0, 1.0, 1.0), tuple(n > 1 for n in volume.shape))
    if not any(metric.active):
        metric = Metric((1.0, 1.0, 1.0), (True, True, True))
    return tiles_within(volume, len(table), edge, metric, width), volume, index, table


@given(scene=scenes(), edge=st.sampled_from([2, 4, 32]), width=st.sampled_from([0.5, 2.0, 9.0]))
def test_pixels_near_a_boundary_have_a_block_of_their_class_and_of_the_other(scene, edge, width):
    tiles, volume, _, table = tiles_of(scene, edge, width)
    blocks = tiles.blocks
    held = {
        (int(p), int(k))
        for r, k in zip(blocks.region, blocks.class_index, strict=True)
        for p in blocks.pixels[blocks.start[r] : blocks.start[r + 1]]
    }
    known = volume < len(table)
    for k in range(len(table)):
        own = volume == k
        if not own.any() or not (known & ~own).any():
            continue
        near = ndimage.distance_transform_edt(~own) <= width
        for p in np.flatnonzero(near & known & ~own):
            assert (p, k) in held and (p, int(volume.ravel()[p])) in held


@given(scene=scenes(), edge=st.sampled_from([2, 8]))
def test_hard_values_become_hard_maps_and_soft_ones_are_kept(scene, edge):
    tiles, volume, index, table = tiles_of(scene, edge, 2.0)
    blocks, flat = tiles.blocks, volume.ravel()
    values = np.concatenate([np.empty(0, np.float32), *(
        (flat[blocks.pixels[blocks.start[r] : blocks.start[r + 1]]] == k).astype(np.float32)
        for r, k in zip(blocks.region, blocks.class_index, strict=True)
    )])  # fmt: skip
    none = np.zeros(len(blocks.region), bool)
    hard = maps_of_tiles(index, table, tiles, values, none)
    assert not len(hard.values)
    kept = maps_of_tiles(index, table, tiles, values, ~none)
    np.testing.assert_array_equal(kept.dense(), hard.dense())
    assert len(kept.values) == len(values)
