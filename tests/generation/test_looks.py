"""Files of looks at label maps: what they are refused for, and that they come back as written."""

from __future__ import annotations

import json

import factories
import pytest

from softlabel.errors import UsageError
from softlabel.generation import looks as module
from softlabel.generation.check import check_dataset
from softlabel.generation.looks import (
    FOLDER_VARIABLE,
    RECORD_VERSION,
    load_check,
    memory_folder,
    require_place,
    save_check,
    unchanged,
)
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset


@pytest.fixture
def dataset(tmp_path):
    return list_dataset(factories.write_scenes(tmp_path / "data"))


@pytest.fixture
def path(dataset, tmp_path):
    path = tmp_path / "check.json"
    seen = check_dataset(dataset, Settings(n_segments=24), remember=False).seen
    save_check(path, dataset, dataset.refs, {**seen, "c": "it is torn"})
    return path


def test_a_version_is_told_in_one_line(tmp_path):
    path = tmp_path / "check.json"
    path.write_text('{"kind": "softlabel check", "version": "\\u001b[2J\\n"}')
    with pytest.raises(UsageError, match=r"of version '\\x1b\[2J\\n', and"):
        load_check(path)


def test_what_was_seen_comes_back(dataset, path):
    found = unchanged(dataset, dataset.refs, load_check(path).records)
    seen = check_dataset(dataset, Settings(n_segments=24), remember=False).seen
    assert found == {**seen, "c": "it is torn"}
    # no place of this machine: the data may be mounted elsewhere
    assert str(dataset.root) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no saved check"),
        (b"\x89HDF", "is no saved check"),
        (b"[" * 100_000, "is no saved check"),
        (b'{"cases": {}}', "is no saved check"),
        (b'{"kind": "softlabel check", "version": 99}', "a check of version 99, and this"),
        (b'{"kind": "softlabel check", "version": %d}' % RECORD_VERSION, "damaged: it names no"),
    ],
)
def test_files_that_are_no_saved_check(tmp_path, content, words):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        load_check(tmp_path / "x.json")
    assert "softlabel check SOURCE -o FILE" in str(caught.value)


def test_a_file_that_is_missing_too_large_or_a_folder(tmp_path, path, monkeypatch):
    with pytest.raises(UsageError, match="is not there"):
        load_check(tmp_path / "nothing.json")
    with pytest.raises(UsageError, match="is no file"):
        load_check(tmp_path)
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 10)
    with pytest.raises(UsageError, match="expected a saved check of at most 0 MiB"):
        load_check(path)


@pytest.mark.parametrize("record", [None, 3, [], [[], {}], [[["a", 1, 2]], "torn"]])
def test_a_damaged_record_is_of_a_case_that_was_not_seen(dataset, path, record):
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cases"]["a"] = record
    path.write_text(json.dumps(content), encoding="utf-8")
    assert set(unchanged(dataset, dataset.refs, load_check(path).records)) == {"b", "c"}


@pytest.mark.parametrize("look", [3, {}, {"facts": 4}, {"facts": [1, 2]}], ids=str)
def test_a_damaged_look_at_files_that_have_not_changed(dataset, path, look):
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cases"]["a"][1] = look
    path.write_text(json.dumps(content), encoding="utf-8")
    assert set(unchanged(dataset, dataset.refs, load_check(path).records)) == {"b", "c"}


def test_another_file_is_not_written_over(tmp_path, path):
    require_place(path)
    require_place(tmp_path / "new.json")
    (tmp_path / "classes.json").write_text('{"0": "background"}', encoding="utf-8")
    with pytest.raises(UsageError, match="is there and is no saved check"):
        require_place(tmp_path / "classes.json")


def test_a_place_that_cannot_be_written(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file.check\.json cannot be written"):
        save_check(tmp_path / "file/check.json", dataset, dataset.refs, {})
    with pytest.raises(UsageError, match=r"file is a file; choose another folder than"):
        require_place(tmp_path / "file/check.json")


def test_a_folder_that_is_not_there_is_made(dataset, tmp_path):
    path = tmp_path / "new" / "check.json"
    require_place(path)
    save_check(path, dataset, dataset.refs, {})
    assert load_check(path).records == {}


def test_the_folder_of_the_memory(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert memory_folder() == tmp_path / "softlabel"
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    assert memory_folder() == tmp_path / "own"
