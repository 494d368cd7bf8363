"""The softening methods by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import softlabel
from softlabel.softening import METHODS


def test_every_method_has_a_title_and_options():
    for name, method in METHODS.items():
        assert method.title, name
        assert dataclasses.is_dataclass(method.options())  # all options have defaults


def test_an_option_of_several_methods_means_one_thing():
    """It is one option of the command line."""
    seen = {}
    for method in METHODS.values():
        for field in dataclasses.fields(method.options):
            meaning = (field.type, field.default, dict(field.metadata))
            assert seen.setdefault(field.name, meaning) == meaning


def test_what_needs_superpixels_says_so():
    row = np.array([1, 0])
    for name, method in METHODS.items():
        if method.needs_superpixels:
            with pytest.raises(ValueError, match="needs superpixels; give"):
                softlabel.soften(row, method=name)
        elif not (method.takes_soft_labels or method.needs_image):
            assert softlabel.soften(np.sort(row), method=name).classes == (0, 1)


def test_methods_without_tensor_code():
    pytest.importorskip("torch")
    row = np.array([1, 0])
    with pytest.raises(ValueError, match="gaussian is computed on the CPU only"):
        softlabel.soften(row, method="gaussian", device="torch-cpu")
    softlabel.soften(row, method="gaussian", device="auto")
