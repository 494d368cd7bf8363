"""The look at a data set before anything is computed: what it tells, remembers and leaves alone."""

from __future__ import annotations

import json
import os
from collections import Counter

import factories
import numpy as np
import pytest
from PIL import Image
from readers.factories import WRITERS, read_all

from softlabel.errors import UsageError
from softlabel.generation import check as module
from softlabel.generation.check import FOLDER_VARIABLE, check, memory_folder
from softlabel.generation.settings import Settings
from softlabel.mapping import parse_mapping
from softlabel.readers import READERS, list_dataset

SETTINGS = Settings(n_segments=24)


@pytest.fixture
def data(tmp_path):
    return factories.write_scenes(tmp_path / "data")


@pytest.fixture
def remembered(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "memory"))
    return tmp_path / "memory"


def labels_of(data):
    return [np.asarray(Image.open(path)) for path in sorted((data / "labels").iterdir())]


def test_classes_are_counted_over_all_cases(data):
    found = check(list_dataset(data), SETTINGS, remember=False)
    maps = labels_of(data)
    for row in found.classes():
        assert row.pixels == sum((m == row.value).sum() for m in maps)
        assert row.cases == sum((m == row.value).any() for m in maps)
    assert [row.value for row in found.classes()] == [0, 128, 255]
    assert found.errors == () and found.unreadable == {}


def test_workers_see_the_same(data):
    one, two = (check(list_dataset(data), SETTINGS, jobs=n, remember=False) for n in (1, 2))
    assert one == two


def test_the_mapping_is_applied_to_the_table(data):
    mapping = parse_mapping("0=background,128-255=disc")
    found = check(list_dataset(data, mapping=mapping), SETTINGS, remember=False)
    rows = {row.value: row for row in found.classes()}
    assert set(rows) == {0, 128} and rows[128].name == "disc"
    assert rows[128].pixels == sum((m > 0).sum() for m in labels_of(data))


def test_files_are_read_again_only_when_they_change(data, remembered, monkeypatch):
    before = check(list_dataset(data), SETTINGS)
    assert list(remembered.rglob("*.json")) and not list(data.rglob("*.json"))
    reader = READERS["pairs"]
    read = []

    def look(dataset, ref, opened):
        read.append(ref.id)
        return reader.look(dataset, ref, opened)

    monkeypatch.setitem(module.READERS, "pairs", module.replace(reader, look=look))
    assert check(list_dataset(data), SETTINGS).looks == before.looks and read == []
    Image.fromarray(labels_of(data)[0] * 0).save(data / "labels/b.png")
    os.utime(data / "labels/b.png", (1, 1))
    after = check(list_dataset(data), SETTINGS)
    assert read == ["b"] and after.looks["b"].facts.values == (0,)
    read.clear()
    check(list_dataset(data), SETTINGS, remember=False)
    assert read == ["a", "b", "c"]


@pytest.mark.parametrize("own_look", [True, False])
@pytest.mark.parametrize("format", READERS)
def test_every_format_is_looked_at(tmp_path, monkeypatch, format, own_look):
    WRITERS[format](tmp_path)
    if not own_look:  # as of a reader that somebody adds
        plain = module.replace(READERS[format], look=None)
        monkeypatch.setitem(module.READERS, format, plain)
    dataset = list_dataset(tmp_path, format)
    found = check(dataset, SETTINGS, remember=False)
    assert found.unreadable == {} and found.errors == ()
    counted = Counter()
    for labels in (case.labels for case in read_all(dataset).values()):
        counted.update(dict(zip(*(a.tolist() for a in np.unique(labels, return_counts=True)),
                                strict=True)))  # fmt: skip
    assert {row.value: row.pixels for row in found.classes() if row.pixels} == counted


def test_the_spacing_that_a_format_states_is_looked_at(tmp_path):
    for format in ("heidelberg", "dicom"):
        WRITERS[format](tmp_path / format)
        dataset = list_dataset(tmp_path / format)
        looks = check(dataset, SETTINGS, remember=False).looks
        assert {i: look.spacing_mm for i, look in looks.items()} == {
            i: case.spacing_mm for i, case in read_all(dataset).items()
        }


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 99, "cases": {}}',
                                     b'{"version": 2, "cases": {"a": [1, 2]}}'])  # fmt: skip
def test_a_damaged_memory_is_read_past(data, remembered, content):
    before = check(list_dataset(data), SETTINGS)
    (path,) = remembered.rglob("*.json")
    path.write_bytes(content)
    assert check(list_dataset(data), SETTINGS) == before
    assert json.loads(path.read_text())["version"] == module.RECORD_VERSION


def test_a_memory_that_cannot_be_written_is_done_without(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    assert check(list_dataset(data), SETTINGS).findings == ()


def test_the_folder_of_the_memory(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert memory_folder() == tmp_path / "softlabel"
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    assert memory_folder() == tmp_path / "own"


def test_a_label_map_that_cannot_be_read_is_named(data):
    (data / "labels/b.png").write_bytes(b"torn")
    found = check(list_dataset(data), SETTINGS, remember=False)
    assert set(found.unreadable) == {"b"} and "b.png" in found.unreadable["b"]
    assert set(found.looks) == {"a", "c"}


def test_an_unknown_code_is_refused(data):
    with pytest.raises(UsageError, match=r"no finding 'grays'.*The findings are: palette, codings"):
        check(list_dataset(data), SETTINGS, accept=["grays"])
