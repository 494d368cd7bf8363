"""Caches that are looked at only, made once."""

from __future__ import annotations

from pathlib import Path

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.generation.settings import Settings


@pytest.fixture(scope="session")
def volume(tmp_path_factory):
    """One case with everything: two channels, mask, truth, ignored rows, 0.5 × 0.5 × 2 mm."""
    with open_cache(factories.full_cache(tmp_path_factory.mktemp("volume"))) as cache:
        yield cache


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Three images without anything that a case need not have."""
    with open_cache(factories.make_cache(tmp_path_factory.mktemp("images"))) as cache:
        yield cache


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """An image of 20 classes in stripes, of which that of the value 19 is absent."""
    from softlabel.types import Case, ClassTable

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(19), 4)[None].repeat(24, axis=0).astype(np.uint8)
    image = (labels + rng.normal(0, 2, labels.shape)).astype(np.float32)[None]
    table = ClassTable.from_values(range(20))
    case = Case("stripes", image, labels, table)
    folder = tmp_path_factory.mktemp("many")
    path = factories.cache_of(folder, [case], Settings(n_segments=40), table, None, ())
    with open_cache(path) as cache:
        yield cache


@pytest.fixture
def stored():
    """Arrays of a case as h5py alone reads them."""

    def read(cache, case_id, name) -> np.ndarray:
        path: Path = factories.part(cache.path, case_id)
        with h5py.File(path, "r", locking=False) as file:
            return file[f"case/{name}"][...]

    return read
