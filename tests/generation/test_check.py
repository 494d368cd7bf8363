"""The look at a data set before anything is computed: what it tells, remembers and leaves alone."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace

import factories
import numpy as np
import pytest
from PIL import Image
from readers.factories import WRITERS, read_all

from softlabel.errors import UsageError
from softlabel.generation import check as module
from softlabel.generation.check import check_dataset
from softlabel.generation.looks import FOLDER_VARIABLE, RECORD_VERSION, load_check, save_check
from softlabel.generation.settings import Settings
from softlabel.mapping import LabelMapping, parse_mapping
from softlabel.readers import READERS, list_dataset, scan_classes

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
    found = check_dataset(list_dataset(data), SETTINGS, remember=False)
    maps = labels_of(data)
    for row in found.classes():
        assert row.pixels == sum((m == row.value).sum() for m in maps)
        assert row.cases == sum((m == row.value).any() for m in maps)
    assert [row.value for row in found.classes()] == [0, 128, 255]
    assert found.errors == () and found.unreadable == {}


def test_workers_see_the_same(data):
    one, two = (check_dataset(list_dataset(data), SETTINGS, jobs=n, remember=False) for n in (1, 2))
    assert one == two


def test_the_mapping_is_applied_to_the_table(data):
    mapping = parse_mapping("0=background,128-255=disc")
    found = check_dataset(list_dataset(data, mapping=mapping), SETTINGS, remember=False)
    rows = {row.value: row for row in found.classes()}
    assert set(rows) == {0, 128} and rows[128].name == "disc"
    assert rows[128].pixels == sum((m > 0).sum() for m in labels_of(data))


def test_files_are_read_again_only_when_they_change(data, remembered, monkeypatch):
    before = check_dataset(list_dataset(data), SETTINGS)
    assert list(remembered.rglob("*.json")) and not list(data.rglob("*.json"))
    reader = READERS["pairs"]
    read = []

    def look(dataset, ref, opened):
        read.append(ref.id)
        return reader.look(dataset, ref, opened)

    monkeypatch.setitem(module.READERS, "pairs", replace(reader, look=look))
    assert check_dataset(list_dataset(data), SETTINGS).looks == before.looks and read == []
    Image.fromarray(labels_of(data)[0] * 0).save(data / "labels/b.png")
    os.utime(data / "labels/b.png", (1, 1))
    after = check_dataset(list_dataset(data), SETTINGS)
    assert read == ["b"] and after.looks["b"].facts.values == (0,)
    read.clear()
    check_dataset(list_dataset(data), SETTINGS, remember=False)
    assert read == ["a", "b", "c"]


@pytest.mark.parametrize("own_look", [True, False])
@pytest.mark.parametrize("format", READERS)
def test_every_format_is_looked_at(tmp_path, monkeypatch, format, own_look):
    WRITERS[format](tmp_path)
    if not own_look:  # as of a reader that somebody adds
        plain = replace(READERS[format], look=None)
        monkeypatch.setitem(module.READERS, format, plain)
    dataset = list_dataset(tmp_path, format)
    found = check_dataset(dataset, SETTINGS, remember=False)
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
        looks = check_dataset(dataset, SETTINGS, remember=False).looks
        assert {i: look.spacing_mm for i, look in looks.items()} == {
            i: case.spacing_mm for i, case in read_all(dataset).items()
        }


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 99, "cases": {}}',
                                     b'{"version": 2, "cases": {"a": [1, 2]}}'])  # fmt: skip
def test_a_damaged_memory_is_read_past(data, remembered, content):
    before = check_dataset(list_dataset(data), SETTINGS)
    (path,) = remembered.rglob("*.json")
    path.write_bytes(content)
    assert check_dataset(list_dataset(data), SETTINGS) == before
    assert json.loads(path.read_text())["version"] == RECORD_VERSION


def test_a_memory_that_cannot_be_written_is_done_without(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    assert check_dataset(list_dataset(data), SETTINGS).findings == ()


def test_a_label_map_that_cannot_be_read_is_named(data):
    (data / "labels/b.png").write_bytes(b"torn")
    found = check_dataset(list_dataset(data), SETTINGS, remember=False)
    assert set(found.unreadable) == {"b"} and "b.png" in found.unreadable["b"]
    assert set(found.looks) == {"a", "c"}


@pytest.fixture
def read(monkeypatch):
    """Ids of the label maps that are read from now on."""
    reader, found = READERS["pairs"], []

    def look(dataset, ref, opened):
        found.append(ref.id)
        return reader.look(dataset, ref, opened)

    monkeypatch.setitem(module.READERS, "pairs", replace(reader, look=look))
    return found


def saved(data, path, **options):
    dataset = list_dataset(data, **options)
    save_check(path, dataset, dataset.refs, check_dataset(dataset, SETTINGS, remember=False).seen)
    return load_check(path)


def test_a_saved_check_spares_reading(data, tmp_path, read):
    record = saved(data, tmp_path / "check.json")
    assert read == ["a", "b", "c"]
    found = check_dataset(list_dataset(data), SETTINGS, remember=False, saved=record)
    assert read == ["a", "b", "c"] and found.changed == ()
    assert found == check_dataset(list_dataset(data), SETTINGS, remember=False)


def test_files_that_changed_since_a_check_was_saved_are_read(data, tmp_path, read):
    record = saved(data, tmp_path / "check.json")
    Image.fromarray(labels_of(data)[0] * 0).save(data / "labels/b.png")
    os.utime(data / "labels/c.png", (1, 1))  # of the same size
    read.clear()
    found = check_dataset(list_dataset(data), SETTINGS, remember=False, saved=record)
    assert read == ["b", "c"] and found.changed == ("b", "c")
    assert found.looks["b"].facts.values == (0,)


def test_a_share_is_judged_as_the_whole_that_was_saved(data, tmp_path, read):
    for name, labels in zip("abc", labels_of(data), strict=True):
        mask = (labels > 0).astype(np.uint8) * (1 if name == "a" else 255)
        Image.fromarray(mask).save(data / f"labels/{name}.png")
    record = saved(data, tmp_path / "check.json")
    read.clear()
    dataset = list_dataset(data)
    share = check_dataset(dataset, SETTINGS, refs=dataset.refs[2:], remember=False, saved=record)
    assert read == [] and [f.code for f in share.findings] == ["codings"]
    alone = check_dataset(dataset, SETTINGS, refs=dataset.refs[2:], remember=False)
    assert alone.findings == ()


def test_palettes_are_settled_alike_by_a_saved_check(data, tmp_path):
    for name, order in (("a", (0, 1)), ("b", (1, 0)), ("c", (0, 1))):
        labels = np.asarray(order, np.uint8)[(np.asarray(Image.open(data / f"labels/{name}.png"))
                                              > 0).astype(int)]  # fmt: skip
        image = Image.fromarray(labels, "P")
        image.putpalette([0, 0, 0, 255, 0, 0] if order[0] == 0 else [255, 0, 0, 0, 0, 0])
        image.save(data / f"labels/{name}.png")
    record = saved(data, tmp_path / "check.json")
    dataset = list_dataset(data)
    found = check_dataset(dataset, SETTINGS, refs=dataset.refs[1:2], remember=False, saved=record)
    assert found.dataset.mapping.colours == {(0, 0, 0): 0, (255, 0, 0): 1}
    reread = check_dataset(found.dataset, SETTINGS, remember=False).looks
    for name, look in found.looks.items():
        assert replace(look.facts, between=0) == replace(reread[name].facts, between=0)


def test_a_check_of_label_maps_that_are_read_in_another_way_is_refused(data, tmp_path):
    record = saved(data, tmp_path / "check.json")
    with pytest.raises(UsageError, match=r"other options \(threshold: None → 128"):
        check_dataset(
            list_dataset(data, mapping=LabelMapping(threshold=128)), SETTINGS, saved=record
        )  # fmt: skip
    grouped = list_dataset(
        data, options={"group": "(.)"}
    )  # another group is another reading of ids
    assert check_dataset(grouped, SETTINGS, remember=False, saved=record).changed == ()


def test_a_label_map_that_cannot_be_read_is_not_tried_again(data, tmp_path, read):
    (data / "labels/b.png").write_bytes(b"torn")
    record = saved(data, tmp_path / "check.json")
    read.clear()
    found = check_dataset(list_dataset(data), SETTINGS, remember=False, saved=record)
    assert read == [] and "b.png" in found.unreadable["b"]
    assert found.class_table == scan_classes(list_dataset(data))


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "mapping"),
    [({}, None), ({"ignore": 255}, None), ({}, "0=background,1-200=disc"), ({}, "255=ignore")],
)
def test_classes_are_those_of_a_scan(data, options, mapping):
    given = None if mapping is None else parse_mapping(mapping)
    dataset = list_dataset(data, options=options, mapping=given)
    found = check_dataset(dataset, SETTINGS, remember=False)
    assert found.class_table == scan_classes(dataset)
    part = check_dataset(dataset, SETTINGS, refs=dataset.refs[:2], remember=False)
    assert part.class_table is None


def test_classes_that_only_a_further_rater_marked(tmp_path):
    for rater, value in (("one", 1), ("two", 7)):
        (tmp_path / rater).mkdir()
        Image.fromarray(np.full((32, 32), value, np.uint8)).save(tmp_path / rater / "a.png")
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "images/a.png")
    dataset = list_dataset(tmp_path, options={"images": "images/*", "raters": "one/*,two/*"})
    found = check_dataset(dataset, SETTINGS, remember=False)
    assert found.class_table.values == (1, 7) and found.class_table == scan_classes(dataset)


def test_an_unknown_code_is_refused(data):
    with pytest.raises(UsageError, match=r"no finding 'grays'.*The findings are: palette, codings"):
        check_dataset(list_dataset(data), SETTINGS, accept=["grays"])
