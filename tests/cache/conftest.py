"""A cache of three cases, which a test may do anything to."""

from __future__ import annotations

from pathlib import Path

import factories
import pytest


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; nobody touches it."""
    return factories.make_cache(tmp_path_factory.mktemp("read"), ("s10", "s2", "s1"))


@pytest.fixture
def cache(shared: Path, tmp_path: Path) -> Path:
    """A copy of :func:`shared`."""
    return factories.copy_cache(shared, tmp_path / "copy")
