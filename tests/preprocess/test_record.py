"""Records become JSON and come back without a difference."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softlabel.preprocess import Record

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)  # fmt: skip
DTYPES = st.sampled_from(["bool", "uint8", "int32", "int64", "uint64", "float32", "float64"])


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(DTYPES))
    elements = None
    if dtype.kind == "f":
        bits = 8 * dtype.itemsize
        elements = st.floats(allow_nan=False, allow_infinity=False, width=bits)
    shape = hnp.array_shapes(max_dims=3, min_side=0, max_side=4)
    return draw(hnp.arrays(dtype, shape, elements=elements))


@given(
    st.dictionaries(st.text(max_size=5), PLAIN, max_size=4),
    st.dictionaries(st.text(max_size=5), arrays(), max_size=3),
)
def test_round_trip_through_text(settings, content):
    record = Record("crop", (4, 5), (3, 5), settings, content)
    again = Record.from_json(json.loads(json.dumps(record.as_json())))
    assert again == record
    assert again.settings == settings and again.shape_after == (3, 5)
    for name, array in content.items():
        assert again.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(again.arrays[name], array)
        assert again.arrays[name].tobytes() == array.tobytes()  # −0 is not 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, np.nan]), "not finite"),
        (np.array(["x"]), "no number"),
        (np.array([1 + 2j]), "no number"),
        (np.zeros(5_000_000, np.uint8), "5,000,000 values"),
    ],
)
def test_arrays_that_do_not_belong_in_a_record(array, message):
    with pytest.raises(ValueError, match=message):
        Record("crop", (1,), (1,), arrays={"start": array}).as_json()


@pytest.mark.parametrize("value", [np.float64("nan"), object(), {1, 2}])
def test_settings_that_are_no_json(value):
    with pytest.raises(ValueError, match="step crop is no JSON"):
        Record("crop", (1,), (1,), {"x": value}).as_json()


@pytest.mark.parametrize("content", [{}, {"step": "crop"}, {"step": "crop", "shape_before": 3}])
def test_what_is_no_record(content):
    with pytest.raises(ValueError, match="a record of a preprocessing step has the keys"):
        Record.from_json(content)


def test_records_of_other_content_differ():
    record = Record("crop", (4,), (3,), {"a": 1}, {"s": np.array([1])})
    assert record != Record("crop", (4,), (3,), {"a": 2}, {"s": np.array([1])})
    assert record != Record("crop", (4,), (3,), {"a": 1}, {"s": np.array([1], np.int32)})
    assert record != "crop"
