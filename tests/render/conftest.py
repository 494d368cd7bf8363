"""Two caches that are looked at only, made once."""

from __future__ import annotations

import factories
import pytest

from softlabel.cache import open_cache


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
