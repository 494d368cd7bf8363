"""Label maps in the format of their image, or in one that can hold them."""

from __future__ import annotations

import numpy as np
from PIL import Image
from softlabel_train.labelfiles import write_label_map


def test_wide_label_values_find_a_format(tmp_path):
    labels = np.array([[0, 70_000]], np.uint32)
    path = write_label_map(tmp_path, "a", labels, tmp_path / "a.png", None)
    assert path.suffix == ".npy"
    np.testing.assert_array_equal(np.load(path), labels)
    sixteen = np.array([[0, 700]], np.uint16)
    path = write_label_map(tmp_path, "b", sixteen, tmp_path / "b.png", None)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), sixteen)
