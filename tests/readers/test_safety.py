from __future__ import annotations

import zlib

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError
from softlabel.readers import safety
from softlabel.readers.safety import check_promise, load_json, path_inside, read_text, reading


@pytest.mark.parametrize(
    "error",
    [ValueError("bad\nheader"), zlib.error("Error -3"), KeyError("x"), EOFError(), OSError()],
)
def test_no_raw_error_gets_out(tmp_path, error):
    path = tmp_path / "scan.nii"
    with pytest.raises(CaseError) as caught, reading(path, "a NIfTI file"):
        raise error
    assert str(path) in str(caught.value) and "a NIfTI file" in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.__cause__ is error


def test_what_is_missing_forbidden_or_too_large_has_its_own_mend(tmp_path):
    with pytest.raises(CaseError, match="does not exist"), reading(tmp_path, "x"):
        raise FileNotFoundError
    with pytest.raises(CaseError, match="permissions"), reading(tmp_path, "x"):
        raise PermissionError(13, "Permission denied")
    with pytest.raises(CaseError, match="memory"), reading(tmp_path, "x"):
        raise MemoryError


def test_deliberate_errors_and_interrupts_pass_unchanged(tmp_path):
    for error in (SourceError("as it is"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, reading(tmp_path, "x"):
            raise error
        assert caught.value is error


@pytest.mark.filterwarnings("error")
def test_promises_of_32_bit_sizes_do_not_wrap_around(tmp_path):
    with pytest.raises(CaseError, match="promises 65536 × 65537 values, more than"):
        check_promise(tmp_path, np.array([65536, 65537], dtype=np.int32), 1, 10**9)


def test_promises(tmp_path):
    check_promise(tmp_path, (10, 10), 8, 800)
    check_promise(tmp_path, (10, 10), 8, 1, max_ratio=1032)
    with pytest.raises(CaseError, match=r"promises 10 × 10 values \(800 bytes\).*only 799 bytes"):
        check_promise(tmp_path, (10, 10), 8, 799)
    with pytest.raises(CaseError, match="more than the"):
        check_promise(tmp_path, (2**20, 2**20), 1, 2**62)
    with pytest.raises(CaseError, match="empty"):
        check_promise(tmp_path, (3, 0), 1, 10)
    with pytest.raises(CaseError, match="negative"):
        check_promise(tmp_path, (-3, -3), 1, 10)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("../x.nii", "leads out"),
        ("a/../../x.nii", "leads out"),
        ("a\\..\\..\\x.nii", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:\\x.nii", "absolute"),
        ("\\\\server\\x.nii", "absolute"),
        ("a\0b", "NUL"),
        ("", "not a path"),
        (None, "not a path"),
        (["x"], "not a path"),
        ("a" * 300, "no file name"),
        ("\ud800", "no file name"),
    ],
)
def test_paths_that_leave_the_folder_are_refused(tmp_path, text, fault):
    with pytest.raises(CaseError, match=fault):
        path_inside(tmp_path, text, "dataset.json")


def test_paths_that_stay_inside(tmp_path):
    assert path_inside(tmp_path, "./imagesTr/a..b.nii.gz", "x") == tmp_path / "imagesTr/a..b.nii.gz"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"{", "not valid JSON"), (b"[1]", "holds a list"), (b"\xff{}", "UTF-8"), (b"", "not valid")],
)
def test_broken_json(tmp_path, content, reason):
    path = tmp_path / "dataset.json"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=reason) as caught:
        load_json(path)
    assert str(path) in str(caught.value)


def test_deeply_nested_json_and_huge_texts(tmp_path, monkeypatch):
    path = tmp_path / "dataset.json"
    path.write_text("[" * 100_000)
    with pytest.raises(SourceError, match="not valid JSON"):
        load_json(path)
    monkeypatch.setattr(safety, "MAX_TEXT_BYTES", 10)
    with pytest.raises(SourceError, match="at most 10"):
        load_json(path)


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert load_json(path) == {"a": 1}


def test_a_promise_larger_than_the_memory_that_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(safety, "free_bytes", lambda: 10**6)
    check_promise(tmp_path, (1000, 1001), 1, 10**9)
    monkeypatch.setattr(safety, "ALWAYS_FREE_BYTES", 1000)
    with pytest.raises(CaseError, match=r"1000 × 1001 values \(1001000 bytes\), more than the"):
        check_promise(tmp_path, (1000, 1001), 1, 10**9)
    check_promise(tmp_path, (1000, 1000), 1, 10**9)
    monkeypatch.setattr(safety, "free_bytes", lambda: None)
    check_promise(tmp_path, (1000, 1001), 1, 10**9)


def test_texts_are_read_up_to_their_bound(tmp_path, monkeypatch):
    path = tmp_path / "table.tsv"
    path.write_bytes(b"a\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"
    with pytest.raises(SourceError, match="has 7 bytes; expected a text of at most 6"):
        read_text(path, 6)
