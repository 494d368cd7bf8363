"""Label mappings: what the text means, what is refused, and what labels become."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.errors import UsageError
from softlabel.mapping import LabelMapping, parse_mapping

LABELS = np.array([[0, 1, 2, 15], [16, 241, 254, 255]], np.uint8)


def test_values_ranges_and_names():
    mapping = parse_mapping("0=background, 1-15 = fluid ,241|250-254=lesion,255=ignore")
    assert mapping.apply(LABELS).tolist() == [[0, 1, 1, 1], [16, 241, 241, 255]]
    assert mapping.names() == {0: "background", 1: "fluid", 241: "lesion"}
    assert mapping.ignore == 255


def test_numbers_and_open_ranges():
    mapping = parse_mapping("0=0,1-=1:lesion")
    assert mapping.apply(LABELS).tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    assert mapping.names() == {1: "lesion"} and mapping.ignore is None


def test_a_name_may_hold_a_colon_and_digits():
    assert parse_mapping("3=T1: core").names() == {3: "T1: core"}


def test_a_threshold_alone_is_a_mapping():
    assert LabelMapping(threshold=128) and not LabelMapping()
    assert LabelMapping(threshold=128).as_record() == {"threshold": 128}
    named = parse_mapping("0=background,1=lesion", threshold=128)
    assert named.names() == {0: "background", 1: "lesion"}


@pytest.mark.parametrize(("text", "reason"), [
    ("", "has no rule"), ("1", "expected VALUES=NAME"), ("1=", "expected VALUES=NAME"),
    ("a=b", "expected VALUES=NAME"), ("-1=b", "expected VALUES=NAME"),
    ("1-2-3=b", "expected a number, a range"), ("1||2=b", "expected a number, a range"),
    ("5-3=b", "expected 3-5"), ("1-5=a,3=b", "both hold the value 3"),
    ("1-=a,7=b", "both hold the value 7"), ("1=2:", "behind the colon"),
    ("1=2:ignore", "behind the colon"), (f"{2**63}=b", "below 2\\^63"),
    ("1=a,5=7:a", "two classes 'a'"),
])  # fmt: skip
def test_what_cannot_be_a_mapping_is_refused(text, reason):
    with pytest.raises(UsageError, match=reason):
        parse_mapping(text)


def test_a_class_that_another_class_would_join_silently():
    mapping = parse_mapping("10=2")
    assert mapping.collisions([0, 2, 10]) == {2: [10]}
    assert parse_mapping("2|10=2").collisions([0, 2, 10]) == {}
    assert parse_mapping("2=5,5=2").collisions([2, 5]) == {}


rules = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 20)), min_size=1, max_size=5, unique=True
)


@given(rules, st.lists(st.integers(0, 400), min_size=1, max_size=30))
def test_maps_as_one_value_at_a_time(spans, values):
    """Against a dictionary of every value, and through its own text."""
    table, texts, low = {}, [], 0
    for number, (gap, length) in enumerate(spans):
        first = low + gap
        texts.append(f"{first}-{first + length}={number + 1000}")
        table |= dict.fromkeys(range(first, first + length + 1), number + 1000)
        low = first + length + 1
    mapping = parse_mapping(",".join(texts))
    labels = np.array(values, np.uint16)
    expected = [table.get(v, v) for v in values]
    assert mapping.apply(labels).tolist() == expected
    assert [mapping.target_of(v) for v in values] == expected
    again = parse_mapping(",".join(mapping.as_record()["rules"]))
    assert again == mapping
