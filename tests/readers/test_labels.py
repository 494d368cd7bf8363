from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softlabel.errors import CaseError
from softlabel.readers.labels import check_values, distinct_values, whole_numbers
from softlabel.types import ClassTable

PATH = Path("seg.nii.gz")
integer_maps = hnp.arrays(
    st.sampled_from(["u1", "u2", "i2", "i4", "u4", "i8"]),
    hnp.array_shapes(min_dims=1, max_dims=3),
    elements=st.integers(0, 127),
)


@given(integer_maps)
def test_integers_keep_their_type_and_values(labels):
    found = whole_numbers(labels, PATH)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, labels)


@given(hnp.arrays("f8", 8, elements=st.integers(0, 2**40).map(float)))
def test_floats_that_hold_integers_become_the_smallest_unsigned_type(labels):
    found = whole_numbers(labels, PATH)
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.min_scalar_type(int(labels.max()))


def test_rounding_of_scaled_labels_is_mended():
    scaled = (np.array([0, 21845, 65535]) * np.float32(3 / 65535)).astype(np.float32)
    assert whole_numbers(scaled, PATH).tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.array([0.0, 0.5, 1.0]), r"1 labels that are not whole numbers \(0\.5"),
        (np.array([0.0, np.nan, np.inf]), "2 labels that are NaN or infinite"),
        (np.array([-1, 0, -3], dtype=np.int16), r"2 negative label values \(smallest -3\)"),
        (np.array([-1.0, 0]), "1 negative label values"),
        (np.array([2**64 - 1], dtype=np.uint64), r"below 2\^63"),
        (np.array([1e300]), r"below 2\^53"),
    ],
)
def test_what_is_no_label_map(labels, reason):
    with pytest.raises(CaseError, match=reason) as caught:
        whole_numbers(labels, PATH)
    assert "seg.nii.gz" in str(caught.value)


@given(integer_maps)
def test_distinct_values_equal_numpys(labels):
    assert distinct_values(labels) == np.unique(labels).tolist()


def test_distinct_values_of_large_numbers_and_of_nothing():
    assert distinct_values(np.array([10**9, 5, 10**9])) == [5, 10**9]
    assert distinct_values(np.zeros((0, 3), dtype=int)) == []


def test_values_outside_the_class_table_are_listed_with_their_pixels():
    labels = np.array([[0, 1, 7], [7, 9, 255]], dtype=np.uint8)
    table = ClassTable.from_values([0, 1])
    with pytest.raises(CaseError) as caught:
        check_values(labels, table, 255, PATH)
    assert "7 (2 pixels), 9 (1 pixels); expected 0, 1 or the ignore label 255" in str(caught.value)
    check_values(labels, ClassTable.from_values([0, 1, 7, 9]), 255, PATH)
    check_values(labels, None, None, PATH)


@pytest.mark.filterwarnings("error")
def test_half_precision_labels_need_no_warning():
    found = whole_numbers(np.array([0, 1, 2048], dtype=np.float16), Path("seg.npy"))
    assert found.tolist() == [0, 1, 2048]
    with pytest.raises(CaseError, match="not whole"):
        whole_numbers(np.array([0.5, 60000], dtype=np.float16), Path("seg.npy"))


@pytest.mark.parametrize(
    ("classes", "strange", "hinted"),
    [((0, 1, 2), 3, True), ((0, 1, 2, 4), 6, True), ((0, 1, 2), 4, False), ((0, 1, 3), 4, False),
     ((1, 2), 0, False)],
)  # fmt: skip
def test_sums_of_flags_are_said_to_be(classes, strange, hinted):
    table = ClassTable.from_values(classes)
    with pytest.raises(CaseError, match="outside the class table") as raised:
        check_values(np.array([strange]), table, None, Path("a.nii"))
    assert ("sums of classes" in str(raised.value)) == hinted
