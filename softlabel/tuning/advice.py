"""Which of the settings that were tried to take, and what to be warned of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from softlabel.tuning.rows import Row
from softlabel.tuning.sweep import DEFAULT, Tuning

LEAST_PIXELS = 4
"""Superpixels smaller than this on average soften next to nothing."""

GRID_FILL = 0.95
"""Superpixels of which the median fills more of its bounding box are a grid in disguise."""

LEAST_OVER_CHANCE, LEAST_OVER_GRID = 0.02, 0.02
"""Boundary recall over chance, and achievable Dice over a grid's, of which one must be more where
the image has a say."""

LEAST_OF_BOXES = 0.06
"""The same Dice where superpixels are boxes: so much may come of another shape of the boxes. Most
superpixels of an even background are boxes, whatever those at the boundaries are."""

MOST_SOFTENED = 0.5
"""Share of the pixels of all classes but the largest that the recommended settings soften."""

NEARLY_ALL = 0.8
"""The same share from which nearly everything is soft."""


EQUAL, NEARLY = 0.01, 0.05
"""Differences of scores, and of shares softened, that do not count."""


@dataclass(frozen=True)
class Advice:
    """What to take.

    Attributes
    ----------
    row : Row or None
        Recommended; None when nothing but the defaults was tried.
    default : Row or None
        What happens without any option; None when it was not tried.
    warnings : tuple of str
        Sentences.
    """

    row: Row | None
    default: Row | None
    warnings: tuple[str, ...]


def advise(tuning: Tuning) -> Advice:
    """The recommended settings of a tuning.

    Among those that are no grid in disguise and leave at least half of the pixels of all classes
    but the largest hard: the one with the largest sum of boundary recall over chance and mean
    achievable Dice, of nearly equal ones that with the larger recall. The first falls where
    superpixels are small, the second where they are large. The defaults are what others are
    compared with: of them alone nothing follows.
    """
    tried = [row for row in tuning.rows if row.trial.size is not None]
    row = _recommended(tried) if tried else None
    default = next((r for r in tuning.rows if r.trial == DEFAULT), None)
    return Advice(row, default, tuple(_warnings(row, default)))


def score(row: Row) -> float:
    """Boundary recall over chance plus mean achievable Dice, which counts alone without recall."""
    return row.mean_dice + _over_chance(row)


def is_grid(row: Row) -> bool:
    """The superpixels are single pixels, or fit the labels no better than the boxes of a grid."""
    return row.made_size < LEAST_PIXELS or are_boxes(row) or ignores_image(row)


def are_boxes(row: Row) -> bool:
    """They are boxes, and reach no more of the classes than those of a grid."""
    return row.fill > GRID_FILL and row.mean_dice - row.mean_grid_dice <= LEAST_OF_BOXES


def ignores_image(row: Row) -> bool:
    """They find boundaries no better than chance does, and classes no better than a grid."""
    over_grid = row.mean_dice - row.mean_grid_dice
    return not (row.over_chance > LEAST_OVER_CHANCE or over_grid > LEAST_OVER_GRID)


def _recommended(rows: Sequence[Row]) -> Row:
    seeing = [row for row in rows if not is_grid(row)] or list(rows)
    hard = [row for row in seeing if row.softened_of_classes <= MOST_SOFTENED]
    if hard:
        return _best(hard)
    # the least soft, of nearly equal ones the best
    least = min(row.softened_of_classes for row in seeing)
    return _best([r for r in seeing if r.softened_of_classes <= least + NEARLY])


def _best(rows: Sequence[Row]) -> Row:
    """The largest score, or a nearly equal one whose recall over chance is clearly larger."""
    best = max(rows, key=score)
    equal = [row for row in rows if score(row) >= score(best) - EQUAL]
    follows = max(equal, key=_over_chance)
    clearly = _over_chance(follows) > _over_chance(best) + LEAST_OVER_CHANCE
    return follows if clearly else best


def _over_chance(row: Row) -> float:
    """0 where no case has a boundary."""
    return row.over_chance if row.over_chance == row.over_chance else 0.0


def _warnings(row: Row | None, default: Row | None) -> Iterator[str]:
    if default is not None:
        for sentence in _troubles(default):
            yield f"The defaults: {sentence}"
    for sentence in _troubles(row) if row is not None else ():
        yield f"The best that was tried: {sentence}"


def _troubles(row: Row) -> Iterator[str]:
    """What is wrong with the superpixels of a row."""
    if row.made_size < LEAST_PIXELS:
        yield (
            f"superpixels have {row.made_size:.1f} pixels, too few to lie across a boundary; ask "
            "for fewer or larger ones."
        )
    elif are_boxes(row):
        yield (
            f"superpixels are a grid in disguise (the median one fills {row.fill:.2f} of its "
            f"bounding box, and they reach a Dice of {row.mean_dice:.2f} where a grid reaches "
            f"{row.mean_grid_dice:.2f}), so that the image has no say; a smaller --compactness "
            "lets intensities decide."
        )
    elif ignores_image(row):
        yield (
            f"superpixels find {row.over_chance:+.2f} of the boundaries over chance and reach a "
            f"Dice of {row.mean_dice:.2f} where a grid reaches {row.mean_grid_dice:.2f}, so that "
            "the image has little say; a method without superpixels (--method distance) may do as "
            "well."
        )
    if row.softened_of_classes > NEARLY_ALL:
        yield (
            f"{row.softened_of_classes:.0%} of the pixels of all classes but the largest become "
            "soft, so that little is left of what was drawn; smaller superpixels soften less."
        )
