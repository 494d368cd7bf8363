"""Label values become positions in the class table, whatever their type and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scenes import scenes

import softlabel
from softlabel.softmaps.class_index import class_index_map, index_dtype, translate_labels
from softlabel.types import ClassTable


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
    numbers = {value: k for k, value in enumerate(table.values)}
    assert translate_labels(labels, numbers, -1, np.int32).tolist() == [2, 0, 1, -1]
    maps = softlabel.soften(labels, np.zeros(4, int), ignore=big + 2)
    assert maps.classes == table.values and maps.class_map(1)[2] == 0.5


def test_labels_beyond_int64_are_no_classes():
    labels = np.array([2**64 - 1, 0, 2**63 + 1], np.uint64)
    with pytest.raises(ValueError, match=rf"holds \[{2**63 + 1}, {2**64 - 1}\], which are not"):
        class_index_map(labels, ClassTable.from_values([0, 1]), ignore=-1)
    found = class_index_map(labels[:2], ClassTable.from_values([0, 1]), ignore=2**64 - 1)
    assert found.tolist() == [255, 0]


@pytest.mark.parametrize(
    ("dtype", "low", "spread"),
    [(bool, 0, 1), (bool, 1, 0), ("i1", -100, 200), ("u1", 1, 200), ("i2", -(2**15), 2**16 - 1),
     ("u4", 0, 2**16), ("u4", 2**31, 2**16 + 1), ("i8", 0, 200), ("i8", -(2**63), 2**40),
     ("i8", 2**63 - 201, 200), ("u8", 2**62, 2**63), ("u8", 2**63 + 5, 2**16),
     ("u8", 2**64 - 2, 1)],
)  # fmt: skip
def test_values_are_translated_one_by_one(dtype, low, spread):
    values = sorted({low, low + 1, low + spread // 2, low + spread})
    labels = np.array([values, values[::-1]], dtype)
    numbers = {low: 4, low + spread: 0, -(2**70): 7, 2**70: 8}
    found = translate_labels(labels.T, numbers, 9, np.uint8)
    expected = [[numbers.get(int(v), 9) for v in row] for row in labels.T]
    assert found.tolist() == expected and found.dtype == np.uint8 and found.flags.c_contiguous


@pytest.mark.parametrize("labels", [[0, 1, 255], [0, 0, 1]])
def test_class_indices_have_memory_of_their_own(labels):
    labels = np.array([labels], np.uint8)
    index = class_index_map(labels, ClassTable.from_values([0, 1]), ignore=255)
    np.testing.assert_array_equal(index, labels)
    assert not np.shares_memory(index, labels)


@pytest.mark.parametrize(("n", "dtype"), [(1, "u1"), (254, "u1"), (255, "u2"), (4096, "u2")])
def test_the_type_of_class_indices_has_two_values_left(n, dtype):
    assert index_dtype(n) == np.dtype(dtype) and np.iinfo(index_dtype(n)).max - 1 >= n


def test_empty_label_map():
    assert class_index_map(np.zeros((0, 3), int), ClassTable.from_values([0]), None).shape == (0, 3)
