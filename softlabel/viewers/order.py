"""In which order the cases of a cache are looked at: as they are in it, or the softest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softlabel.cache import Cache
from softlabel.errors import CacheError
from softlabel.types import Array


@dataclass(frozen=True)
class ListedCase:
    """A case in a list.

    Attributes
    ----------
    id : str
    softest : str
        Name of the class that was softened most; "" where nothing tells.
    own_q : float
        Mean soft label of that class in its own pixels; infinite where nothing tells.
    softened : float
        Share of the known pixels.
    """

    id: str
    softest: str = ""
    own_q: float = float("inf")
    softened: float = 0.0

    @property
    def text(self) -> str:
        """One line for the list.

        Examples
        --------
        >>> ListedCase("eye 3", "fluid", 0.4123).text, ListedCase("eye 4").text
        ('eye 3 (fluid 0.412)', 'eye 4')
        """
        return f"{self.id} ({self.softest} {self.own_q:.3f})" if self.softest else self.id


def in_order(cache: Cache, worst_first: bool = False) -> list[ListedCase]:
    """The cases of a cache, as they are in it or, as reports have them, the worst first.

    The worst is the one whose softest class has the lowest own-class q, of equals the one with
    more softened pixels. Cases of which nothing tells it, since their part is damaged or of an
    early version, come last.
    """
    if not worst_first:
        return [ListedCase(case_id) for case_id in cache]
    cases = [_with_its_softest_class(cache, case_id) for case_id in cache]
    return sorted(cases, key=lambda case: (case.own_q, -case.softened))


def own_class_q(cache: Cache, case_id: str) -> Array:
    """For each class the mean soft label in its own pixels; NaN where the case has none.

    Raises
    ------
    CacheError
        When the part of the case is missing or damaged.
    """
    facts = cache.facts(case_id)
    pixels = np.array(facts.class_pixels, np.float64)
    sums = np.array(facts.own_class_sum or (np.nan,) * len(pixels))
    return np.where(pixels > 0, sums / np.maximum(pixels, 1), np.nan)


def _with_its_softest_class(cache: Cache, case_id: str) -> ListedCase:
    try:
        own_q = own_class_q(cache, case_id)
    except CacheError:
        return ListedCase(case_id)
    if not np.isfinite(own_q).any():
        return ListedCase(case_id)
    softest, facts = int(np.nanargmin(own_q)), cache.facts(case_id)
    softened = facts.softened_pixels / sum(facts.class_pixels)
    return ListedCase(case_id, cache.classes.names[softest], float(own_q[softest]), softened)
