"""What was measured of each setting, as means over the cases that were looked at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from softlabel.tuning.fit import Fit, Trial


@dataclass(frozen=True)
class Row:
    """A setting and its figures, means over the cases.

    Attributes
    ----------
    trial : Trial
    cases : int
    made : float
        Superpixels in what was looked at of a case.
    made_size : float
        Pixels a superpixel that was returned.
    recall, chance : float
        Boundary recall, and what chance gives (:attr:`softlabel.tuning.fit.Fit.over_chance`); NaN
        where no case has a boundary.
    dice, grid_dice : mapping of int to float
        Achievable Dice by label value, over the cases that hold the class.
    softened, softened_of_classes : float
        Of all known pixels, and of those of all classes but the largest.
    fill : float
        Share of its bounding box that the median superpixel fills.
    """

    trial: Trial
    cases: int
    made: float
    made_size: float
    recall: float
    chance: float
    dice: Mapping[int, float]
    grid_dice: Mapping[int, float]
    softened: float
    softened_of_classes: float
    fill: float

    @property
    def over_chance(self) -> float:
        """``recall`` − ``chance``."""
        return self.recall - self.chance

    @property
    def mean_dice(self) -> float:
        """Mean achievable Dice over the classes."""
        return mean(self.dice.values())

    @property
    def mean_grid_dice(self) -> float:
        """The same of a regular grid of as many superpixels."""
        return mean(self.grid_dice.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN becomes None."""
        numbers = {
            "superpixel_size": self.trial.size,
            "compactness": self.trial.compactness,
            "sigma": self.trial.sigma,
            "cases": self.cases,
            "superpixels": self.made,
            "pixels_a_superpixel": self.made_size,
            "recall": self.recall,
            "recall_by_chance": self.chance,
            "recall_over_chance": self.over_chance,
            "dice": self.mean_dice,
            "dice_of_a_grid": self.mean_grid_dice,
            "softened": self.softened,
            "softened_of_classes": self.softened_of_classes,
            "box_fill": self.fill,
        }
        plain: dict[str, Any] = {
            k: None if isinstance(v, float) and math.isnan(v) else v for k, v in numbers.items()
        }
        return plain | {"dice_a_class": {str(v): dice for v, dice in self.dice.items()}}


def row_of(trial: Trial, fits: Iterable[Fit]) -> Row:
    """The means of what was measured of a setting; means leave out what is undefined."""
    found = list(fits)
    return Row(
        trial=trial,
        cases=len(found),
        made=mean(f.made for f in found),
        made_size=sum(f.pixels for f in found) / max(1, sum(f.made for f in found)),
        recall=mean(f.recall for f in found),
        chance=mean(f.recall - f.over_chance for f in found),
        dice=_by_class([f.dice for f in found]),
        grid_dice=_by_class([f.grid_dice for f in found]),
        softened=mean(f.softened for f in found),
        softened_of_classes=mean(f.softened_of_classes for f in found),
        fill=mean(f.fill for f in found),
    )


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are numbers; NaN without any.

    Examples
    --------
    >>> mean([1.0, float("nan"), 2.0])
    1.5
    """
    numbers = [v for v in values if v == v]
    return sum(numbers) / len(numbers) if numbers else float("nan")


def _by_class(cases: list[Mapping[int, float]]) -> dict[int, float]:
    values = sorted({value for dice in cases for value in dice})
    return {value: mean(dice[value] for dice in cases if value in dice) for value in values}
