"""Label maps in the format of their image, or in one that can hold them."""

from __future__ import annotations

import numpy as np
from PIL import Image
from softlabel_train.labelfiles import write_label_map

from softlabel.readers.imagefiles import read_pixels


def test_a_label_map_of_an_ome_tiff_is_named_for_what_it_is(tmp_path):
    labels = np.arange(90, dtype=np.uint8).reshape(3, 5, 6)
    path = write_label_map(tmp_path, "a", labels, tmp_path / "a.ome.tiff", None)
    assert path.name == "a.tiff"  # it has no metadata of OME
    np.testing.assert_array_equal(read_pixels(path).values, labels)


def test_wide_label_values_find_a_format(tmp_path):
    labels = np.array([[0, 70_000]], np.uint32)
    path = write_label_map(tmp_path, "a", labels, tmp_path / "a.png", None)
    assert path.suffix == ".npy"
    np.testing.assert_array_equal(np.load(path), labels)
    sixteen = np.array([[0, 700]], np.uint16)
    path = write_label_map(tmp_path, "b", sixteen, tmp_path / "b.png", None)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), sixteen)
