"""What may name a case, and in which order names stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.errors import CaseError
from softlabel.ids import check_id, fitting_ids, natural_key


@pytest.mark.parametrize(
    "case_id",
    [
        "Subject 01 – B-scan 10",
        "a",
        "..a",
        "a.b",
        "患者七",
        "Müller",
        "x" * 200,
        "A",
        "a:b*?",
        "🙂",
    ],
)
def test_ids_are_free_text(case_id):
    assert check_id(case_id) is case_id


@pytest.mark.parametrize(
    ("case_id", "fault"),
    [
        ("", "is empty or begins or ends with white space"),
        (" a", "is empty or begins or ends with white space"),
        ("a\n", "is empty or begins or ends with white space"),
        ("\u00a0a", "is empty or begins or ends with white space"),
        (".", "is a relative path"),
        ("..", "is a relative path"),
        ("a/b", "contains a slash"),
        ("/etc/passwd", "contains a slash"),
        ("a\\b", "contains a slash"),
        ("a\0b", "contains a control character"),
        ("a\nb", "contains a control character"),
        ("a\x1b[31mb", "contains a control character"),
        ("a\u2028b", "contains a control character"),
        ("a\ud800b", "contains a control character"),
        ("Mu\u0308ller", "is not in composed Unicode form"),
        ("x" * 201, "is longer than 200 characters"),
    ],
)
def test_what_is_no_id(case_id, fault):
    with pytest.raises(CaseError, match=fault) as error:
        check_id(case_id)
    assert "expected one short line of text" in str(error.value)
    assert "Rename the file or entry" in str(error.value)
    assert len(str(error.value)) < 400


def test_natural_order():
    names = ["scan10", "scan2", "Scan1", "scan2b", "scan02", "a", "10", "9"]
    assert sorted(names, key=natural_key) == [
        "9", "10", "Scan1", "a", "scan02", "scan2", "scan2b", "scan10",
    ]  # fmt: skip


@given(st.lists(st.text(alphabet="ab01２²-.", max_size=8)))
def test_natural_order_is_total_and_does_not_depend_on_the_input(names):
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.text(max_size=5), st.integers(0, 10**30), st.integers(0, 10**30))
def test_numbers_are_compared_as_numbers(prefix, a, b):
    prefix = prefix.rstrip("0123456789")
    first, second = natural_key(f"{prefix}{a}"), natural_key(f"{prefix}{b}")
    assert (first < second) == (a < b)


def test_numbers_of_any_length_sort_by_their_value():
    long = "1" * 5000
    names = [f"s{long}0", f"s{long}", "s2", "s010", "s0", "s9", f"s{'0' * 5000}3"]
    expected = ["s0", "s2", f"s{'0' * 5000}3", "s9", "s010", f"s{long}", f"s{long}0"]
    assert sorted(names, key=natural_key) == expected


def test_patterns_fit_ids_in_their_order_and_an_id_is_no_pattern():
    assert fitting_ids("s*", ["s2", "t", "s10", "S1"]) == ["s2", "s10"]
    assert fitting_ids("[ab]", ["[ab]", "a"]) == ["[ab]"]
    assert fitting_ids("nobody", ["a"]) == []
