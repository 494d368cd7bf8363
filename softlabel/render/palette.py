"""Colours of soft labels, and of what lies over pictures."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap

ENTROPY_BITS, ENTROPY_BITS_OF_MANY, MANY_CLASSES = 2.0, 3.0, 16
"""End of the entropy's colour scale (four, eight equally likely classes), and from how many classes
on the second holds. It depends on the class table alone, so that the cases of a cache compare."""

SOFT_COLOURS, ENTROPY_COLOURS = "viridis", "plasma"
TRUTH_COLOUR, HATCH_COLOUR, MASK_COLOUR = "#ffffff", "#d0d0d0", "#3a2a55"


def soft_scale(of_one_class: bool, classes: int) -> tuple[Colormap, float]:
    """Colour map of soft labels or of their entropy, and the value at its end."""
    if of_one_class:
        return _colours(SOFT_COLOURS), 1.0
    most = ENTROPY_BITS if classes < MANY_CLASSES else ENTROPY_BITS_OF_MANY
    return _colours(ENTROPY_COLOURS), float(min(most, max(1.0, np.log2(classes))))


def _colours(name: str) -> Colormap:
    """A colour map without its darkest end, which could pass for a grey."""
    return ListedColormap(colormaps[name](np.linspace(0.08, 1, 256)))
