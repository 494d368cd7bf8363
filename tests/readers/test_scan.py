from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from softlabel.errors import SourceError
from softlabel.readers import list_dataset, scan_classes

from .factories import label_volume, truncate, volume, write_duke, write_npy, write_pairs


def test_values_of_all_cases_without_the_ignore_label(tmp_path):
    write_pairs(tmp_path)
    write_npy(tmp_path / "img/c.npy", volume((4, 4)))
    write_npy(tmp_path / "mask/c.npy", np.full((4, 4), 7.0))
    table = scan_classes(list_dataset(tmp_path, options={"ignore": 255}))
    assert tuple(table) == ((0, "label 0"), (7, "label 7"), (128, "label 128"))


def test_a_table_that_is_there_is_taken(tmp_path):
    write_pairs(tmp_path)
    (tmp_path / "c.yaml").write_text("[a, b]")
    dataset = list_dataset(tmp_path, options={"classes": str(tmp_path / "c.yaml")})
    assert scan_classes(dataset) is dataset.classes


def test_images_are_not_read(tmp_path):
    write_pairs(tmp_path)
    for path in (tmp_path / "img").iterdir():
        path.write_bytes(b"")
    assert scan_classes(list_dataset(tmp_path)).values == (0, 128, 255)


def test_nothing_readable(tmp_path):
    write_pairs(tmp_path, ("a",))
    truncate(tmp_path / "mask/a.png")
    with pytest.raises(SourceError, match=r"first reason: .*mask/a\.png"):
        scan_classes(list_dataset(tmp_path))


def test_only_the_ignore_label(tmp_path):
    write_npy(tmp_path / "images/a.npy", volume())
    write_npy(tmp_path / "labels/a.npy", label_volume() * 0 + 9)
    with pytest.raises(SourceError, match="no class was found"):
        scan_classes(list_dataset(tmp_path, options={"ignore": 9}))


def test_an_image_taken_for_a_label_map(tmp_path):
    write_npy(tmp_path / "images/a.npy", volume((100, 100)))
    write_npy(tmp_path / "labels/a.npy", np.arange(10_000).reshape(100, 100))
    with pytest.raises(SourceError, match=r"labels/a\.npy has 10000 distinct"):
        scan_classes(list_dataset(tmp_path))


def test_sources_that_cannot_be_opened_are_left_out(tmp_path):
    write_duke(tmp_path, "Subject_01")
    write_duke(tmp_path, "Subject_02")
    dataset = replace(list_dataset(tmp_path), classes=None)
    truncate(tmp_path / "Subject_01.mat", 0.3)
    table = scan_classes(dataset)
    assert 0 in table.values and 9 in table.values and max(table.values) == 9
