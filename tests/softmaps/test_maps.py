"""SoftMaps: the sparse representation against the dense arrays that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import scenes

import softlabel
from softlabel.softmaps.maps import hard_maps
from softlabel.superpixels.front import grid


@st.composite
def soft_maps(draw):
    """Soft maps of every representation: superpixels, tiles, divided by their sum, hard."""
    scene = draw(scenes())
    method = draw(st.sampled_from([{}, {"boundary": "edge"}, {"method": "gaussian"}]))
    normalize = draw(st.sampled_from(["none", "sum"]))
    return softlabel.soften(
        scene.labels, scene.superpixels, classes=scene.classes, spacing=scene.spacing,
        ignore=scene.ignore, normalize=normalize, **method,
    )  # fmt: skip


def random_patch(data, shape):
    """Slices as users write them: bounds from the end, beyond it, left out, empty."""
    bound = st.none() | st.integers(-12, 25)
    count = data.draw(st.integers(0, len(shape)))
    return tuple(
        slice(data.draw(bound), data.draw(bound), data.draw(st.sampled_from([None, 1])))
        for _ in range(count)
    )


# --- the dense array and its parts ----------------------------------------------------------------


@given(maps=soft_maps(), data=st.data())
def test_a_patch_is_a_part_of_the_dense_array(maps, data):
    slices = random_patch(data, maps.index.shape)
    found = maps.patch(slices)
    np.testing.assert_array_equal(found, maps.dense()[(slice(None), *slices)])
    assert found.dtype == np.float32 and found.flags.c_contiguous


@given(maps=soft_maps(), data=st.data(), size=st.integers(1, 6))
def test_groups_of_classes_are_a_patch_without_what_is_off_everywhere(maps, data, size):
    if data.draw(st.booleans()):  # label smoothing: off is not 0, ignored pixels are
        maps = hard_maps(maps.index, maps.table, on=0.75, off=0.25)
    slices = random_patch(data, maps.index.shape)
    wanted = maps.dense()[(slice(None), *slices)]
    found = np.full_like(wanted, maps.off)
    firsts = []
    for first, values in maps.class_groups(slices, size):
        found[first : first + size] = values
        firsts.append(first)
    np.testing.assert_array_equal(found, wanted)
    assert firsts == sorted(set(firsts)) and all(first % size == 0 for first in firsts)


def test_classes_that_are_not_in_a_patch_cost_nothing():
    maps = softlabel.soften(np.repeat([0, 90], 8), np.repeat([0, 1], 8), classes=range(100))
    assert [first for first, _ in maps.class_groups((), 10)] == [0, 90]
    assert [first for first, _ in maps.class_groups(np.s_[8:], 10)] == [90]


@given(maps=soft_maps())
def test_class_maps_are_the_rows_of_the_dense_array(maps):
    for k in range(len(maps.classes)):
        np.testing.assert_array_equal(maps.class_map(k), maps.dense()[k])


@given(maps=soft_maps())
def test_band_is_where_a_value_is_not_hard(maps):
    dense = maps.dense()
    own = maps.index == np.arange(len(maps.classes)).reshape(-1, *[1] * maps.index.ndim)
    np.testing.assert_array_equal(maps.band, (dense != own).any(axis=0))
    assert maps.band.dtype == np.bool_


@given(maps=soft_maps())
def test_total_is_the_sum_of_the_dense_array(maps):
    np.testing.assert_allclose(maps.total(), maps.dense(np.float64).sum(), rtol=1e-6, atol=1e-6)


@given(maps=soft_maps())
def test_blocks_are_as_documented(maps):
    """Ascending (region, class), every region's pixels in ascending order, none of them ignored,
    regions disjoint and inside their boxes."""
    pairs = list(zip(maps.block_region.tolist(), maps.block_class.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    pixels, start = maps.regions.pixels, maps.regions.start
    assert len(maps.regions) == len(start) - 1 and start[0] == 0 and start[-1] == len(pixels)
    assert len(np.unique(pixels)) == len(pixels)
    assert maps.known.ravel()[pixels].all()
    sizes = np.diff(start)
    np.testing.assert_array_equal(np.diff(maps.block_start), sizes[maps.block_region])
    assert maps.block_start[-1] == len(maps.values) and maps.values.dtype == np.float32
    shape = (1,) * (3 - maps.index.ndim) + maps.index.shape
    held = {r: set() for r in range(len(maps.regions))}
    for region, k in pairs:
        held[region].add(k)
    for r in range(len(maps.regions)):
        part = pixels[start[r] : start[r + 1]]
        assert (np.diff(part) > 0).all()
        corners = np.stack(np.unravel_index(part, shape), axis=1)
        assert (corners >= maps.regions.lower[r]).all() and (corners < maps.regions.upper[r]).all()
        assert set(maps.index.ravel()[part].tolist()) <= held[r]


@given(maps=soft_maps())
def test_nbytes_grows_with_the_band_only(maps):
    values = maps.values.nbytes
    assert maps.nbytes >= maps.index.nbytes + values + maps.regions.pixels.nbytes
    if not maps.band.any() and not len(maps.regions):
        assert maps.nbytes == maps.index.nbytes + 2 * 8  # two empty lists of starts


def test_nbytes_is_far_below_the_dense_array_when_superpixels_hold_few_classes():
    labels = np.repeat(np.arange(50), 200).reshape(100, 100)  # stripes of two rows
    superpixels = grid((100, 100), 400)
    maps = softlabel.soften(labels, superpixels)
    assert maps.band.all()
    assert maps.nbytes < 0.2 * maps.dense().nbytes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype(dtype):
    maps = softlabel.soften(np.array([1, 1, 0, 0]), np.zeros(4, int))
    assert maps.dense(dtype).dtype == dtype
    assert maps.patch(np.s_[1:3], dtype).dtype == dtype
    np.testing.assert_array_equal(maps.dense(dtype), maps.dense().astype(dtype))


def test_dense_is_a_fresh_array():
    maps = softlabel.soften(np.array([1, 1, 0, 0]), np.zeros(4, int))
    maps.dense()[:] = 7
    assert maps.dense().max() < 1


@pytest.mark.parametrize(
    ("slices", "sentence"),
    [
        (np.s_[:, :, :], "A patch is at most 2 slices, one a spatial axis"),
        (3, "A patch is at most 2 slices"),
        ((slice(None), 3), "A patch is at most 2 slices"),
        (np.s_[::2], "A patch has slices of step 1; got step 2 on axis 0"),
        (np.s_[:, ::-1], "A patch has slices of step 1; got step -1 on axis 1"),
        (np.s_[...], "A patch is at most 2 slices"),
    ],
)
def test_what_is_no_patch(slices, sentence):
    maps = softlabel.soften(np.eye(4, dtype=int), np.zeros((4, 4), int))
    with pytest.raises(IndexError, match=sentence):
        maps.patch(slices)


# --- class indices --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64])
def test_soft_labels_are_not_cut_to_whole_numbers(dtype):
    soft = softlabel.soften(np.array([1, 1, 0, 0]), np.zeros(4, int))
    with pytest.raises(ValueError, match=f"need a floating type; got {np.dtype(dtype)}"):
        soft.dense(dtype)
    assert soft.dense(np.float16).dtype == np.float16


def test_what_notebooks_show_is_short():
    soft = softlabel.soften(np.array([[1, 1, 0, 0]]), np.zeros((1, 4), int))
    assert repr(soft) == "<SoftMaps of 2 classes, 1 × 4, 8 values in the band>"
