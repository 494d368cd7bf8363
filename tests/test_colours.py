"""Colours of classes are those of matplotlib's reading of the palette, and differ."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_hex, to_rgb

from softlabel.colours import PALETTE, class_colour, class_rgb


@pytest.mark.parametrize("index", range(len(PALETTE)))
def test_the_first_are_the_palette(index):
    assert class_colour(index) == pytest.approx(to_rgb(PALETTE[index]), abs=1e-12)
    assert "#" + bytes(class_rgb(index)).hex() == to_hex(class_colour(index))


def test_sixty_classes_have_sixty_colours():
    assert len({class_rgb(k) for k in range(60)}) == 60
    assert all(0 <= c <= 1 for k in range(500) for c in class_colour(k))
