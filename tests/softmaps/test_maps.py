"""SoftMaps: the sparse representation against the dense arrays that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import scenes, smooth_field

import softlabel
from softlabel.softmaps.class_index import class_index_map, class_positions, ignored_index
from softlabel.softmaps.from_dense import TILE_EDGE, from_class_maps
from softlabel.softmaps.maps import hard_maps, no_regions
from softlabel.superpixels.front import grid
from softlabel.types import ClassTable


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


@st.composite
def dense_maps(draw):
    """(index, table, dense array, on, off): values of any kind, hard outside of a soft area."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(5,), (300,), (700,), (6, 7), (40, 70), (3, 4, 5), (13, 30, 11)]))
    n_classes = draw(st.sampled_from([2, 1, 5]))
    on, off = draw(st.sampled_from([(1.0, 0.0), (0.9 + 0.1 / n_classes, 0.1 / n_classes)]))
    index = rng.integers(0, n_classes, shape).astype(draw(st.sampled_from([np.uint8, np.uint16])))
    if draw(st.booleans()):
        index[smooth_field(rng, shape, 2) < 0.3] = ignored_index(index.dtype)
    own = index == np.arange(n_classes).reshape(-1, *[1] * len(shape))
    dense = np.where(own, np.float32(on), np.float32(off))
    soft = smooth_field(rng, shape, 3) < draw(st.sampled_from([0.1, 0.0, 0.9, 1.0]))
    soft = soft & (rng.random((n_classes, *shape)) < 0.8)
    dense[soft] = rng.random(int(soft.sum()))
    dense[:, index == ignored_index(index.dtype)] = 0
    table = ClassTable.from_values(3 * np.arange(n_classes))
    return index, table, dense.astype(np.float32), on, off


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


def test_index_maps_in_the_order_of_fortran():
    """As nibabel delivers volumes; every view of the maps must mean the same pixels."""
    index = np.asfortranarray(np.random.default_rng(0).integers(0, 2, (40, 50)).astype(np.uint8))
    values = np.random.default_rng(1).random((2, 40, 50), np.float32)
    table = ClassTable.from_values([0, 1])
    whole = (slice(0, 40), slice(0, 50))
    maps = from_class_maps(index, table, ((k, whole, values[k]) for k in range(2)))
    np.testing.assert_array_equal(maps.dense(), values)
    np.testing.assert_array_equal(maps.class_map(1), values[1])
    assert maps.band.all() and maps.total() == pytest.approx(values.sum(), rel=1e-6)


# --- maps that were computed densely --------------------------------------------------------------


def check_round_trip(given_maps, rtol=1e-6):
    index, table, dense, on, off = given_maps
    whole = tuple(slice(0, n) for n in index.shape)
    maps = from_class_maps(index, table, ((k, whole, dense[k]) for k in range(len(table))), on, off)
    np.testing.assert_array_equal(maps.dense(), dense)
    ignored = index == ignored_index(index.dtype)
    own = index == np.arange(len(table)).reshape(-1, *[1] * index.ndim)
    hard = np.where(own, np.float32(on), np.float32(off))
    np.testing.assert_array_equal(maps.band, (dense != hard).any(axis=0) & ~ignored)
    np.testing.assert_allclose(maps.total(), dense.sum(dtype=np.float64), rtol=rtol, atol=1e-5)
    for k in range(len(table)):
        np.testing.assert_array_equal(maps.class_map(k), dense[k])


@given(given_maps=dense_maps())
def test_round_trip_of_dense_maps(given_maps):
    check_round_trip(given_maps)


@settings(max_examples=settings.default.max_examples // 5, suppress_health_check=list(HealthCheck))
@given(given_maps=dense_maps())
def test_kernels_are_right_as_plain_python(interpreted, given_maps):
    for kernel in ("_fill_hard", "_fill_blocks", "_mark_band", "_excess"):
        assert f"softlabel.softmaps.maps.{kernel}" in interpreted
    check_round_trip(given_maps, rtol=1e-4)  # NumPy adds up in float32 what numba does in float64


@given(given_maps=dense_maps(), data=st.data())
def test_maps_may_be_given_inside_a_box(given_maps, data):
    """What lies outside of the box of a class is hard."""
    index, table, dense, on, off = given_maps
    box = tuple(
        slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))))
        for n in index.shape
    )
    maps = from_class_maps(
        index, table, ((k, box, dense[k][box]) for k in range(len(table))), on, off
    )
    wanted = hard_maps(index, table, on, off).dense()
    wanted[(slice(None), *box)] = dense[(slice(None), *box)]
    np.testing.assert_array_equal(maps.dense(), wanted)
    slices = random_patch(data, index.shape)
    np.testing.assert_array_equal(maps.patch(slices), wanted[(slice(None), *slices)])


def test_only_tiles_with_soft_values_are_kept():
    edge = TILE_EDGE[2]
    index = np.zeros((3 * edge, 3 * edge), np.uint8)
    values = (index == 0).astype(np.float32)
    values[edge + 1, 2 * edge + 1] = 0.5
    table = ClassTable.from_values([0, 1])
    maps = from_class_maps(index, table, [(0, (slice(None, 3 * edge),) * 2, values)][:0])
    assert len(maps.regions) == 0
    whole = (slice(0, 3 * edge), slice(0, 3 * edge))
    maps = from_class_maps(index, table, [(0, whole, values)])
    assert maps.regions.lower.tolist() == [[0, edge, 2 * edge]]
    assert maps.regions.upper.tolist() == [[1, 2 * edge, 3 * edge]]
    assert len(maps.values) == edge**2


def test_hard_maps_with_label_smoothing():
    table = ClassTable.from_values([0, 1, 2, 3])
    maps = hard_maps(np.array([2, 255, 0], np.uint8), table, on=0.925, off=0.025)
    np.testing.assert_allclose(
        maps.dense().T, [[0.025, 0.025, 0.925, 0.025], [0] * 4, [0.925, 0.025, 0.025, 0.025]]
    )
    assert not maps.band.any()
    assert maps.total() == pytest.approx(2)
    assert len(no_regions()) == len(maps.regions) == 0


# --- class indices --------------------------------------------------------------------------------


@given(scene=scenes())
def test_class_index_map_is_the_position_of_the_value(scene):
    table = ClassTable.from_values(scene.classes)
    index = class_index_map(scene.labels, table, scene.ignore)
    assert index.dtype == np.uint8 and index.shape == scene.labels.shape
    assert index.flags.c_contiguous
    for k, value in enumerate(scene.classes):
        np.testing.assert_array_equal(index == k, scene.labels == value)
    if scene.ignore is not None:
        np.testing.assert_array_equal(index == 255, scene.labels == scene.ignore)


@pytest.mark.parametrize(("n", "dtype"), [(254, np.uint8), (255, np.uint16), (4096, np.uint16)])
def test_class_indices_leave_room_for_the_ignored_one(n, dtype):
    labels = np.array([0, n - 1, 70000])
    index = class_index_map(labels, ClassTable.from_values(range(n)), ignore=70000)
    assert index.dtype == dtype
    assert index.tolist() == [0, n - 1, np.iinfo(dtype).max]


@pytest.mark.parametrize("ignore", [None, 9, -1, 2**40])
@pytest.mark.parametrize("values", [(0, 5), (5, 2**33), (5, 65536)])
@pytest.mark.parametrize("strange", [3, -3, 2**35, 70000])
def test_values_outside_of_the_table_are_named(ignore, values, strange):
    labels = np.array([values[0], strange, values[1]])
    with pytest.raises(
        ValueError, match=rf"The label map holds \[{strange}\], which are not among"
    ):
        class_index_map(labels, ClassTable.from_values(values), ignore)


@pytest.mark.parametrize("ignore", [-1, 9, 2**33, 2**40])
def test_values_of_any_size(ignore):
    labels = np.array([2**33, 5, ignore, 5])
    values = [5, 2**33] if ignore != 2**33 else [5]
    index = class_index_map(labels, ClassTable.from_values(values), ignore)
    assert index.tolist() == [255 if ignore == 2**33 else 1, 0, 255, 0]


BIG = 2**60


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
@pytest.mark.parametrize("big", [2**31, 2**53, BIG, 2**63 - 3])
def test_neighbours_are_told_apart_however_large(dtype, big):
    """int64 and uint64 meet as float64 in NumPy, where 2^53 and 2^53 + 1 are one number."""
    table = ClassTable.from_values([0, big, big + 1])
    labels = np.array([big + 1, 0, big, big + 2], dtype)
    assert class_index_map(labels, table, big + 2).tolist() == [2, 0, 1, 255]
    with pytest.raises(ValueError, match=rf"holds \[{big + 2}\], which are not among"):
        class_index_map(labels, table, None)
    position, known = class_positions(labels, table)
    assert position[:3].tolist() == [2, 0, 1] and known.tolist() == [True, True, True, False]
    maps = softlabel.soften(labels, np.zeros(4, int), ignore=big + 2)
    assert maps.classes == table.values and maps.class_map(1)[2] == 0.5


def test_labels_beyond_int64_are_no_classes():
    labels = np.array([2**64 - 1, 0, 2**63 + 1], np.uint64)
    with pytest.raises(ValueError, match=rf"holds \[{2**63 + 1}, {2**64 - 1}\], which are not"):
        class_index_map(labels, ClassTable.from_values([0, 1]), ignore=-1)
    found = class_index_map(labels[:2], ClassTable.from_values([0, 1]), ignore=2**64 - 1)
    assert found.tolist() == [255, 0]


def test_empty_label_map():
    assert class_index_map(np.zeros((0, 3), int), ClassTable.from_values([0]), None).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64])
def test_soft_labels_are_not_cut_to_whole_numbers(dtype):
    soft = softlabel.soften(np.array([1, 1, 0, 0]), np.zeros(4, int))
    with pytest.raises(ValueError, match=f"need a floating type; got {np.dtype(dtype)}"):
        soft.dense(dtype)
    assert soft.dense(np.float16).dtype == np.float16


def test_what_notebooks_show_is_short():
    soft = softlabel.soften(np.array([[1, 1, 0, 0]]), np.zeros((1, 4), int))
    assert repr(soft) == "<SoftMaps of 2 classes, 1 × 4, 8 values in the band>"
