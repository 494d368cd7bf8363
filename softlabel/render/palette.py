"""Colours of classes and of soft labels."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap, to_rgb

# 1 to 7 are those of Okabe & Ito (2008); the others were chosen so that, seen with normal vision,
# protanopia or deuteranopia, any two differ by more than 9 CIEDE2000. Index 0, mostly background,
# takes the grey.
PALETTE = (
    "#c8c8c8", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
    "#487070", "#c02098", "#e8c098", "#207048", "#c02020", "#c09898", "#489848", "#9870e8",
)  # fmt: skip

ENTROPY_BITS, ENTROPY_BITS_OF_MANY, MANY_CLASSES = 2.0, 3.0, 16
"""End of the entropy's colour scale (four, eight equally likely classes), and from how many classes
on the second holds. It depends on the class table alone, so that the cases of a cache compare."""

SOFT_COLOURS, ENTROPY_COLOURS = "viridis", "plasma"
TRUTH_COLOUR, HATCH_COLOUR, MASK_COLOUR = "#ffffff", "#d0d0d0", "#3a2a55"


def class_colour(index: int) -> tuple[float, float, float]:
    """Colour of a class, which depends on nothing but its place in the class table.

    The palette repeats lighter, darker, and very light.

    Examples
    --------
    >>> class_colour(5)
    (0.0, 0.4470588235294118, 0.6980392156862745)
    """
    turn, place = 0, index
    if index >= len(PALETTE):
        turn, place = divmod(index - 1, len(PALETTE) - 1)
        place += 1
    target, share = ((0.0, 0.0), (1.0, 0.5), (0.0, 0.4), (1.0, 0.75))[turn % 4]
    return tuple((1 - share) * c + share * target for c in to_rgb(PALETTE[place]))  # type: ignore[return-value]


def soft_scale(of_one_class: bool, classes: int) -> tuple[Colormap, float]:
    """Colour map of soft labels or of their entropy, and the value at its end."""
    if of_one_class:
        return _colours(SOFT_COLOURS), 1.0
    most = ENTROPY_BITS if classes < MANY_CLASSES else ENTROPY_BITS_OF_MANY
    return _colours(ENTROPY_COLOURS), float(min(most, max(1.0, np.log2(classes))))


def _colours(name: str) -> Colormap:
    """A colour map without its darkest end, which could pass for a grey."""
    return ListedColormap(colormaps[name](np.linspace(0.08, 1, 256)))
