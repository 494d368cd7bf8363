from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softlabel.readers.layers import FLUID, NOT_ANNOTATED, class_map_from_layers


def naive_class_map(boundaries, fluid, n_rows, row_base):
    """One pixel at a time, as the data set's description says it."""
    classes = np.zeros((n_rows, boundaries.shape[1]), dtype=np.uint8)
    for column in range(boundaries.shape[1]):
        lines = [float(value) for value in boundaries[:, column]]
        for row in range(n_rows):
            if any(np.isnan(value) for value in lines):
                classes[row, column] = 255
                continue
            below, lowest = 0, -np.inf
            for value in lines:
                lowest = max(lowest, value)
                if row >= lowest - row_base:
                    below += 1
            classes[row, column] = 9 if fluid is not None and fluid[row, column] else below
    return classes


rows = st.integers(1, 12)
boundary_values = st.one_of(
    st.just(np.nan), st.integers(-3, 16).map(float), st.floats(-3, 16, allow_nan=False, width=32)
)


@given(data=st.data(), n_rows=rows, columns=st.integers(1, 5), row_base=st.integers(0, 1))
def test_equals_the_naive_reference(data, n_rows, columns, row_base):
    boundaries = data.draw(hnp.arrays(float, (8, columns), elements=boundary_values))
    fluid = data.draw(st.none() | hnp.arrays(bool, (n_rows, columns)))
    expected = naive_class_map(boundaries, fluid, n_rows, row_base)
    np.testing.assert_array_equal(
        class_map_from_layers(boundaries, fluid, n_rows, row_base), expected
    )


@given(data=st.data(), columns=st.integers(1, 4))
def test_classes_never_decrease_downwards(data, columns):
    boundaries = data.draw(
        hnp.arrays(float, (8, columns), elements=st.floats(-5, 30, allow_nan=False))
    )
    classes = class_map_from_layers(boundaries, None, 20).astype(int)
    assert (np.diff(classes, axis=0) >= 0).all()


def test_row_base_moves_every_boundary_by_one_row():
    boundaries = np.arange(2.0, 10.0)[:, np.newaxis]
    one = class_map_from_layers(boundaries, None, 12, row_base=1)
    zero = class_map_from_layers(boundaries, None, 12, row_base=0)
    np.testing.assert_array_equal(one[:-1], zero[1:])
    assert one[1, 0] == 1 and one[0, 0] == 0


def test_a_fractional_boundary_begins_at_the_next_whole_row():
    classes = class_map_from_layers(np.full((1, 1), 3.4), None, 5, row_base=1)
    assert classes[:, 0].tolist() == [0, 0, 0, 1, 1]


def test_crossing_boundaries_leave_an_empty_layer():
    boundaries = np.array([[4.0], [2.0], [6.0]])
    classes = class_map_from_layers(boundaries, None, 8, row_base=0)
    assert classes[:, 0].tolist() == [0, 0, 0, 0, 2, 2, 3, 3]


def test_one_nan_ignores_the_column_and_its_fluid():
    boundaries = np.tile(np.arange(1.0, 9.0)[:, np.newaxis], 2)
    boundaries[5, 1] = np.nan
    fluid = np.ones((9, 2), dtype=bool)
    classes = class_map_from_layers(boundaries, fluid, 9)
    assert (classes[:, 0] == FLUID).all() and (classes[:, 1] == NOT_ANNOTATED).all()


def test_the_input_is_left_alone():
    boundaries = np.array([[3.0, np.nan], [1.0, 2.0]])
    before = boundaries.copy()
    class_map_from_layers(boundaries, np.ones((4, 2), dtype=bool), 4)
    np.testing.assert_array_equal(boundaries, before)
