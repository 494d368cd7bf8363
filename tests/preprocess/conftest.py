"""B-scans with known truth, drawn once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from softlabel.phantom import make_oct_subject

AXIAL_UM, LATERAL_UM = 3.87, 11.33


@pytest.fixture(scope="session")
def bscans():
    """Eight B-scans of the real size, of two volumes: images, clean images, boundaries, labels."""
    drawn = []
    for seed in (3001, 3002):
        subject = make_oct_subject(seed, 1, (496, 768, 12), 12)
        labels = subject.labels
        drawn += [
            SimpleNamespace(
                image=subject.images[..., b],
                clean=subject.clean[..., b],
                boundaries=subject.boundaries[..., b],
                fluid=subject.fluid[..., b],
                labels=labels[..., b],
            )
            for b in (2, 5, 6, 9)
        ]
    return drawn
