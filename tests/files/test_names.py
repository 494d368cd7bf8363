"""File names made of free text: distinct, safe, and changed no more than they must."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from softlabel.files.names import file_name, file_names, is_device


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=8))
@example(["a", "A", "..", ".", "CON", "nul.txt", "x-0123abcd", "a/b", "a\\b", "a b", "a\0b"])
@example(["a b", "a_b", "a_b-" + "0" * 8, "é", "e", "e\u0301"])
def test_file_names_are_safe_and_distinct(names):
    found = file_names(names)
    assert list(found) == names
    assert len({name.lower() for name in found.values()}) == len(names)
    for name in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,99}", name)
        assert Path(name).name == name
        assert name.lower().split(".")[0] not in {"con", "nul", "aux", "prn"}


def test_plain_ids_keep_their_names():
    names = ["Subject_01_bscan_010", "070", "a.b-c"]
    assert file_names(names) == {name: name for name in names}


def test_texts_that_differ_only_in_case_get_a_hash():
    found = file_names(["scan", "Scan", "other"])
    assert found["other"] == "other"
    assert len({name.lower() for name in found.values()}) == 3


def test_a_text_is_changed_no_more_than_it_must():
    (name,) = file_names(["Größe 1/2"]).values()
    assert re.fullmatch("Gro_e_1_2-[0-9a-f]{8}", name)


def test_settings_are_file_names():
    assert file_name("generate.n_segments=500") == "generate.n_segments=500"
    assert file_name("a/b") != file_name("a_b") == "a_b"


def test_devices_of_windows_are_told_whatever_their_ending():
    assert all(map(is_device, ("CON", "aux.x", "nul.nii.gz", "com1", "LPT9.png")))
    assert not any(map(is_device, ("control", "com10", "a.con", "")))
