"""OCT volumes with known boundaries, drawn once."""

from __future__ import annotations

import pytest

from softlabel.phantom import make_oct_subject


@pytest.fixture(scope="session")
def subject():
    """A small volume with fluid, every B-scan of it annotated."""
    return make_oct_subject(3011, 1, (320, 384, 6), 6)
