"""Class tables, ids, spacing, and the order of names."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import softlabel
from softlabel.errors import SourceError
from softlabel.types import MAX_CLASSES, Case, CaseRef, ClassTable, spacing_in_order

# --- class tables ---------------------------------------------------------------------------------

TABLE = ClassTable((0, 5, 128), ("background", "lesion", "5"))


@given(st.dictionaries(st.integers(0, 2**40), st.text(min_size=1), min_size=1, max_size=20))
def test_a_table_from_a_mapping_is_in_ascending_order(names):
    names = {value: f"{name} {value}" for value, name in names.items()}
    table = ClassTable.from_mapping(names)
    assert list(table.values) == sorted(names)
    assert dict(table) == names and len(table) == len(names)
    for k, value in enumerate(table.values):
        assert table.index_of(value) == table.index_of(names[value]) == k


@given(st.lists(st.integers(0, 300), min_size=1))
def test_a_table_from_values_forgets_order_and_repeats(values):
    table = ClassTable.from_values(np.array(values, np.int16))
    assert table.values == tuple(sorted(set(values)))
    assert table.names == tuple(f"label {v}" for v in table.values)
    assert all(type(v) is int for v in table.values)


def test_index_of_prefers_names_to_values():
    assert TABLE.index_of("lesion") == 1
    assert TABLE.index_of("128") == TABLE.index_of(128) == TABLE.index_of("+128") == 2
    assert TABLE.index_of("5") == 2  # the name of class 128, which goes before the value 5


@pytest.mark.parametrize("unknown", ["7", 7, "-77", "", "²", "1e2", "label 5"])
def test_index_of_an_unknown_class(unknown):
    with pytest.raises(
        SourceError,
        match=r"There is no class .*; the classes are: 0 \(background\), 5 \(lesion\), 128 \(5\)",
    ):
        TABLE.index_of(unknown)


@pytest.mark.parametrize("misspelt", ["Lesion", "LESION", "lesoin"])
def test_a_misspelt_class_is_hinted_at(misspelt):
    with pytest.raises(SourceError, match=r"; did you mean lesion\? The classes are: 0 \(backgr"):
        TABLE.index_of(misspelt)


@pytest.mark.parametrize(
    ("values", "names", "sentence"),
    [
        ((0, 1), ("a",), "2 values and 1 names; give every value one name"),
        ((), (), "has 0 classes; expected 1 to 4096"),
        ((1, 0), ("a", "b"), r"distinct, ascending and not negative; found \[1, 0\]"),
        ((1, 1), ("a", "b"), r"distinct, ascending and not negative; found \[1, 1\]"),
        ((-1, 1), ("a", "b"), r"distinct, ascending and not negative; found \[-1, 1\]"),
        ((0, 2**63), ("a", "b"), r"the value 9223372036854775808; expected values below 2\^63"),
        ((0, 1), ("a", "a"), r"names of a class table must be distinct; found \['a', 'a'\]"),
    ],
)
def test_what_is_no_class_table(values, names, sentence):
    with pytest.raises(SourceError, match=sentence):
        ClassTable(values, names)


def test_an_image_is_no_label_map():
    assert len(ClassTable.from_values(range(MAX_CLASSES))) == MAX_CLASSES
    with pytest.raises(SourceError, match="label maps and not images"):
        ClassTable.from_values(range(MAX_CLASSES + 1))


# --- spacing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(0.5, 3), [0.5, 3.0], np.array([0.5, 3], np.float32)])
def test_spacing_is_a_tuple_of_floats(spacing):
    found = spacing_in_order(spacing, 2)
    assert found == (0.5, 3.0) and all(type(s) is float for s in found)


def test_spacing_defaults_to_pixels():
    assert spacing_in_order(None, 3) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "spacing", [(), (1,), (1, 1, 1), (0, 1), (-1, 1), (np.nan, 1), (np.inf, 1), 2.0]
)
def test_what_is_no_spacing(spacing):
    with pytest.raises(ValueError, match="spacing must be 2 finite positive numbers, one for each"):
        spacing_in_order(spacing, 2)


@pytest.mark.parametrize("spacing", [(1e-6, 1e-2), (1e6, 1e2), (1e-6, 1e-6), (1e6, 1e6), (1, 1e4)])
def test_spacing_at_the_limits(spacing):
    assert spacing_in_order(spacing, 2) == spacing


@pytest.mark.parametrize(
    "spacing",
    [
        (1e-200, 1e-200),
        (1e200, 1e200),
        (1, 1e-200),
        (1e200, 1),
        (9e-7, 1e-6),
        (1e6, 1.1e6),
        (1, 11e3),
    ],
)
def test_spacing_that_distances_cannot_be_computed_with(spacing):
    with pytest.raises(ValueError, match=r"must lie in 1e-06 to 1e\+06, the coarsest axis"):
        spacing_in_order(spacing, 2)


# --- cases ----------------------------------------------------------------------------------------


def test_the_shape_of_a_case_is_spatial():
    case = Case("a", np.zeros((3, 5, 7)), np.zeros((5, 7), int), TABLE)
    assert case.shape == (5, 7)


def test_what_flows_through_is_frozen():
    ref = CaseRef("a", "patient", "a.mat", ("a.mat",))
    for thing, name in ((TABLE, "values"), (ref, "id")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, None)


def dataclasses_of(package):
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            module = importlib.import_module(info.name)
        except ImportError:  # Triton, or another optional dependency
            continue
        for thing in vars(module).values():
            if isinstance(thing, type) and dataclasses.is_dataclass(thing):
                yield thing


@pytest.mark.parametrize("package", ["softlabel", "softlabel_train"])
def test_what_holds_arrays_is_equal_to_itself_only(package):
    """The == that dataclasses make asks an array for its truth value, and fails."""
    pytest.importorskip("torch")
    pytest.importorskip("pydantic")
    holders = [
        thing
        for thing in dataclasses_of(pytest.importorskip(package))
        if any(re.search(r"\b(Array|NDArray|Tensor)\b", f.type) for f in dataclasses.fields(thing))
        and not any("Callable" in f.type for f in dataclasses.fields(thing))
    ]
    assert len(holders) > 5
    assert [h.__name__ for h in holders if h.__dataclass_params__.eq] == []


def test_cases_and_soft_maps_can_be_compared_and_kept_in_sets():
    cases = [Case("a", np.zeros((1, 2, 2)), np.eye(2, dtype=int), TABLE) for _ in "ab"]
    maps = [softlabel.soften(case.labels, case.labels) for case in cases]
    for first, second in (cases, maps):
        assert first == first and first != second
        assert first in [second, first] and len({first, second, first}) == 2
