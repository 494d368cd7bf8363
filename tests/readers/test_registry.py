"""What every reader promises, whatever its format."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from softlabel.errors import SoftlabelError
from softlabel.readers import READERS, list_dataset, scan_classes

from .factories import (
    WRITERS,
    read_all,
)


@pytest.mark.parametrize("name", READERS)
def test_files_of_a_case_exist_and_are_relative(tmp_path, name):
    WRITERS[name](tmp_path)
    for ref in list_dataset(tmp_path).refs:
        assert ref.files and all((tmp_path / file).is_file() for file in ref.files)
        assert not any(file.startswith(("/", "..")) for file in ref.files)


@pytest.mark.parametrize("name", READERS)
def test_read_labels_are_the_labels_of_the_case(tmp_path, name):
    WRITERS[name](tmp_path)
    dataset = list_dataset(tmp_path)
    reader = READERS[name]
    ref = dataset.refs[-1]
    opened = reader.open_source(dataset, ref.source)
    case = reader.read_case(dataset, ref, opened)
    labels = reader.read_labels(dataset, ref, opened)
    np.testing.assert_array_equal(labels, case.labels)
    alone = reader.opened_labels(dataset, ref.source)
    np.testing.assert_array_equal(reader.read_labels(dataset, ref, alone), case.labels)
    if reader.look is not None:
        assert reader.look(dataset, ref, alone) == reader.look(dataset, ref, opened)
    assert case.labels.dtype.kind in "iu" and case.labels.shape == case.shape
    assert case.image.dtype.isnative and case.image.flags.c_contiguous
    assert case.group and case.channels and len(case.channels) == len(case.image)


NAMED = ("labelme", "dicom")
"""Formats that state names only: the class table gives them their values, so nothing is scanned."""


@pytest.mark.parametrize("name", [name for name in READERS if name not in NAMED])
def test_a_scan_finds_the_values_of_all_label_maps(tmp_path, name):
    WRITERS[name](tmp_path)
    dataset = list_dataset(tmp_path)
    held = set()
    for case in read_all(dataset).values():
        held |= set(np.unique(case.labels).tolist())
    found = scan_classes(replace(dataset, classes=None))
    assert set(found.values) == held - {dataset.ignore}
    if dataset.classes is not None:
        assert scan_classes(dataset) is dataset.classes


@pytest.mark.parametrize("name", READERS)
def test_damage_anywhere_is_a_sentence(tmp_path, name):
    """Flip, cut and overwrite bytes of every file of a case: only softlabel's errors come out."""
    WRITERS[name](tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())[:4]
    chance = random.Random(0)
    for path in files:
        original = path.read_bytes()
        for _ in range(12):
            content = bytearray(original)
            start = chance.randrange(min(len(content), 600))
            length = chance.choice((1, 4, 40))
            content[start : start + length] = chance.randbytes(length)
            path.write_bytes(content[: chance.choice((len(content), len(content) * 2 // 3))])
            try:
                read_all(list_dataset(tmp_path, name))
            except SoftlabelError as error:
                assert "\n" not in str(error) and len(str(error)) > 40
        path.write_bytes(original)
    read_all(list_dataset(tmp_path, name))
