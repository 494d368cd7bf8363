"""Colours of classes, which pictures, reports and exported tables share."""

from __future__ import annotations

# 1 to 7 are those of Okabe & Ito (2008); the others were chosen so that, seen with normal vision,
# protanopia or deuteranopia, any two differ by more than 9 CIEDE2000. Index 0, mostly background,
# takes the grey.
PALETTE = (
    "#c8c8c8", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
    "#487070", "#c02098", "#e8c098", "#207048", "#c02020", "#c09898", "#489848", "#9870e8",
)  # fmt: skip


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
    red, green, blue = (
        (1 - share) * int(PALETTE[place][at : at + 2], 16) / 255 + share * target
        for at in (1, 3, 5)
    )
    return red, green, blue


def class_rgb(index: int) -> tuple[int, int, int]:
    """The same in 0 to 255.

    Examples
    --------
    >>> class_rgb(5)
    (0, 114, 178)
    """
    red, green, blue = (round(255 * c) for c in class_colour(index))
    return red, green, blue


def class_hex(index: int) -> str:
    """The same as pages have it.

    Examples
    --------
    >>> class_hex(5)
    '#0072b2'
    """
    return "#{:02x}{:02x}{:02x}".format(*class_rgb(index))
