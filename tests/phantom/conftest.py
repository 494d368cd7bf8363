"""Phantoms that many tests look at, made once."""

from __future__ import annotations

import pytest

from softlabel.phantom import make_brain, make_ct, make_oct_subject


@pytest.fixture(scope="session")
def subject():
    """Seven B-scans of the real size."""
    return make_oct_subject(3, 1, (496, 768, 7))


@pytest.fixture(scope="session")
def brain():
    """A brain of the real size."""
    return make_brain(5, 1)


@pytest.fixture(scope="session")
def scan():
    """A CT scan with voxels of 3.1 × 3.1 × 4.5 mm: large enough for all classes."""
    return make_ct(2, 1, (160, 160, 200))
