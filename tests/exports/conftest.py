"""Caches to export: a volume with everything, slices after steps, and what the tests expect."""

from __future__ import annotations

from pathlib import Path

import factories
import pytest

from softlabel.cache import open_cache


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two volumes with an affine, ignored pixels and classes of odd names."""
    folder = tmp_path_factory.mktemp("volumes")
    return factories.full_cache(folder, [factories.full_case(), factories.full_case("sub-02", 1)])


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A B-scan that went through steps, without spacing and affine."""
    return factories.oct_cache(tmp_path_factory.mktemp("slices"))


@pytest.fixture(scope="session")
def ids(volumes: Path) -> list[str]:
    """Ids of the volumes."""
    with open_cache(volumes) as cache:
        return list(cache)
