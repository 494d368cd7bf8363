"""Input files by content: recorded once, and found changed by as little reading as possible."""

from __future__ import annotations

import hashlib
import os

import pytest

from softlabel.cache import InputFile, SeenFile
from softlabel.errors import CaseError
from softlabel.generation import input_files
from softlabel.generation.input_files import input_change, record_inputs, shares_input


@pytest.fixture
def files(tmp_path):
    """Recorded name and place of two files."""
    for name in ("image", "label"):
        (tmp_path / name).write_text(f"the {name}")
    return {name: tmp_path / name for name in ("image", "label")}


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that are read from now on."""
    names = []
    real = input_files.content_hash
    monkeypatch.setattr(
        input_files, "content_hash", lambda path: names.append(path.name) or real(path)
    )
    return names


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_files_are_recorded_by_size_and_content(files):
    known = {}
    recorded = record_inputs(files, known)
    assert recorded == (
        InputFile("image", 9, sha256("the image")),
        InputFile("label", 9, sha256("the label")),
    )
    seen = known["label"][1]
    assert seen == SeenFile(9, files["label"].stat().st_mtime_ns, sha256("the label"))


def test_a_file_that_cases_share_is_read_once(files, hashed):
    known = {}
    record_inputs({"image": files["image"]}, known)
    record_inputs(files, known)
    record_inputs(files, {})  # another worker's task of the same source
    assert sorted(hashed) == ["image", "label"]


def test_a_file_that_cannot_be_read_is_named(files):
    files["label"].unlink()
    with pytest.raises(CaseError, match=rf"{files['label']} cannot be read \(No such file"):
        record_inputs(files, {})


def test_unchanged_files_are_not_read_again(files, hashed):
    known = {}
    recorded = record_inputs(files, known)
    seen = {name: pair[1] for name, pair in known.items()}
    hashed.clear()
    assert input_change(files, recorded, seen, check_content=False) is None
    assert hashed == []
    assert input_change(files, recorded, seen, check_content=True) is None
    assert hashed == ["image", "label"]


def test_a_touched_file_is_read_once_and_remembered(files, hashed):
    recorded = record_inputs(files, {})
    hashed.clear()
    seen = {}
    os.utime(files["label"], ns=(5, 5))
    for _ in range(2):
        assert input_change(files, recorded, seen, check_content=False) is None
    assert sorted(hashed) == ["image", "label"] and seen["label"].mtime_ns == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda files: files["label"].write_text("the lebal"), "label has changed"),
        (lambda files: files["label"].write_text("longer now"), "label has another size than be"),
        (lambda files: files["label"].unlink(), r"label cannot be read \(No such file"),
        (lambda files: files.pop("label"), "label is no input any more"),
        (lambda files: files.update(more=files["label"]), "more is a new input"),
    ],
)
def test_why_a_case_is_stale(files, change, reason):
    recorded = record_inputs(files, {})
    change(files)
    found = input_change(files, recorded, {}, check_content=False)
    assert found is not None and found.startswith(reason.replace("\\", ""))


def test_one_unchanged_file_is_enough_to_be_the_same_data_set(files):
    recorded = record_inputs(files, {})
    assert shares_input(files, recorded, {})
    files["label"].write_text("the lebal")
    assert shares_input(files, recorded, {})
    files["image"].write_text("another image")
    assert not shares_input(files, recorded, {})
    assert not shares_input({}, recorded, {})
