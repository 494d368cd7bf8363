"""Data sets whose label values are mapped, whatever the format."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import UsageError
from softlabel.mapping import parse_mapping
from softlabel.readers import READERS, list_dataset
from softlabel.readers.labelfacts import label_facts
from softlabel.readers.mapped import (
    as_source,
    mapped_classes,
    mapped_facts,
    read_case,
    with_mapping,
)
from softlabel.types import ClassTable

from .factories import WRITERS


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_read_through_the_mapping(tmp_path, name):
    WRITERS[name](tmp_path)
    plain = list_dataset(tmp_path)
    mapped = list_dataset(tmp_path, mapping=parse_mapping("0=background,1-=7:something"))
    assert mapped.format == plain.format == name
    reader = READERS[name]
    for before, after in zip(plain.refs, mapped.refs, strict=True):
        source = read_case(reader, plain, before, reader.open_source(plain, before.source))
        found = read_case(reader, mapped, after, reader.open_source(mapped, after.source))
        known = source.labels if source.ignore is None else source.labels[
            source.labels != source.ignore
        ]  # fmt: skip
        assert (known > 0).any()
        expected = np.where(source.labels > 0, 7, 0)
        if source.ignore is not None:
            expected[source.labels == source.ignore] = found.ignore
        np.testing.assert_array_equal(found.labels, expected)
        if found.classes is not None:  # pairs have none before their label maps were looked at
            assert dict(found.classes)[7] == "something"


def test_the_ignored_value_is_mapped_when_it_is_named_itself(tmp_path):
    WRITERS["duke"](tmp_path)
    for text, ignored in (("1-=7:layer", True), ("1-254|255=7:layer", False)):
        dataset = list_dataset(tmp_path, mapping=parse_mapping(text))
        ref, reader = dataset.refs[0], READERS["duke"]
        case = read_case(reader, dataset, ref, reader.open_source(dataset, ref.source))
        assert (case.labels == case.ignore).any() == ignored


def test_the_source_can_be_had_back(tmp_path):
    WRITERS["duke"](tmp_path)
    plain = list_dataset(tmp_path)
    mapped = with_mapping(plain, parse_mapping("0-=1:all"))
    assert dict(mapped.classes) == {1: "all"}
    assert as_source(mapped).classes == plain.classes and as_source(mapped).ignore == plain.ignore
    assert with_mapping(plain, None) is plain


def test_a_rule_that_makes_another_class_of_one():
    table = ClassTable.from_values([0, 1, 2])
    with pytest.raises(UsageError, match="turns 2 into 1, which is the class 'label 1' already"):
        mapped_classes(table, parse_mapping("2=1:cyst"))


@pytest.mark.parametrize("text", ["1-=7:all", "3=ignore,1=19:one", "255=4:four,2-3=ignore"])
def test_counts_after_the_mapping_are_those_of_the_mapped_label_map(tmp_path, text):
    WRITERS["duke"](tmp_path)  # it ignores 255 itself
    plain, mapped = list_dataset(tmp_path), list_dataset(tmp_path, mapping=parse_mapping(text))
    reader = READERS["duke"]
    for ref in plain.refs:
        opened = reader.open_source(plain, ref.source)
        found = mapped_facts(label_facts(read_case(reader, plain, ref, opened).labels), mapped)
        labels = read_case(reader, mapped, ref, opened).labels
        values, pixels = np.unique(labels, return_counts=True)
        assert found.values == tuple(values) and found.pixels == tuple(pixels)
        assert found.boxes == label_facts(labels).boxes
