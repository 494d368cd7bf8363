"""MATLAB files that are written, read by SciPy."""

from __future__ import annotations

import io

import numpy as np
import scipy.io

from softlabel.files.matfile import mat_bytes

ABOUT = b"MATLAB 5.0 MAT-file, a test"


def test_variables_come_back_with_their_types():
    rng = np.random.default_rng(0)
    given = {
        "images": rng.integers(0, 255, (5, 4, 3), np.uint8),
        "layers": np.where(rng.random((2, 4)) < 0.5, np.nan, rng.normal(size=(2, 4))),
    }
    data = mat_bytes(iter(given.items()), ABOUT)
    found = scipy.io.loadmat(io.BytesIO(data))
    for name, values in given.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)
    assert found["__header__"].rstrip() == ABOUT
    assert len(data) < sum(values.nbytes for values in given.values()) + 2000


def test_the_clock_is_not_in_it(monkeypatch):
    first = mat_bytes([("a", np.zeros((3, 3)))], ABOUT)
    monkeypatch.setattr("time.asctime", lambda *_: "Thu Jan  1 00:00:00 1970")
    assert mat_bytes([("a", np.zeros((3, 3)))], ABOUT) == first
