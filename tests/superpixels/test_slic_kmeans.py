"""Rounds of the k-means of SLIC; that all of them together are right is `test_slic_cpu`."""

import numpy as np
import pytest

from softlabel.superpixels.slic_kmeans import k_means


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [(1, "aaaabbbb"), (2, "aaaaabbb"), (3, "aaaaabbb"), (50, "aaaaabbb")],
)
def test_the_rounds_of_the_modules_picture(rounds, expected):
    volume = np.array([0, 0, 0, 0, 0, 9, 9, 9], np.float32).reshape(1, 1, 1, 8)
    axes = [np.array([0]), np.array([0]), np.array([1, 6])]
    labels = k_means(volume, axes, np.float32(4), 1.0, np.ones(3, np.float32), rounds)
    assert labels.shape == (1, 1, 8) and labels.dtype == np.int32
    assert "".join("ab"[k] for k in labels.ravel()) == expected
