"""A finished cache of three cases, which a test may do anything to."""

from __future__ import annotations

import shutil
from pathlib import Path

import factories
import pytest


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; nobody touches it."""
    return factories.make_cache(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def cache(pristine: Path, tmp_path: Path) -> Path:
    """``c.h5`` of the cases a, b and c, its parts and its ``data`` beside it, copied with times."""
    shutil.copytree(pristine.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "c.h5"
