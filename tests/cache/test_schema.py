"""Names of the cache file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.cache import schema
from softlabel.errors import CaseError
from softlabel.ids import check_id

ids = st.text(max_size=60)


@given(ids)
def test_part_names_are_safe_and_tell_ids_apart(text):
    try:
        check_id(text)
    except CaseError:
        return
    assert re.fullmatch(r"[0-9a-f]{32}\.h5", schema.part_name(text))
    assert schema.part_name(text) != schema.part_name(text + "x")


def test_ids_that_differ_only_in_case_have_other_parts():
    assert schema.part_name("Scan") != schema.part_name("scan")


@pytest.mark.parametrize(
    "text",
    ["", " a", "a ", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "e\u0301", "x" * 201, "\ud800"],
)
def test_ids_that_cannot_name_a_case(text):
    with pytest.raises(CaseError, match=r"The case id .* expected one short line .* Rename"):
        check_id(text)
