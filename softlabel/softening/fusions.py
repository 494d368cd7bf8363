"""How the label maps of several raters become one: the ways by name.

A fusion is given the soft maps of each rater alone, made by any method that it takes, and returns
those of the image. The hard label of the result, which says where it is hard, is the majority of
the raters, the earliest of equals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from softlabel.softening.raters import mean_over_raters
from softlabel.softening.staple import soft_staple, staple
from softlabel.softmaps.maps import SoftMaps


@dataclass(frozen=True)
class Fusion:
    """A way to fuse raters.

    Attributes
    ----------
    title : str
        What it does and where it comes from, in a line.
    run : callable (list of SoftMaps) -> SoftMaps
    method : str or None
        The only method whose maps it takes; None takes all.
    """

    title: str
    run: Callable[[list[SoftMaps]], SoftMaps]
    method: str | None = None


FUSIONS: dict[str, Fusion] = {
    "mean": Fusion("mean of the raters' soft maps", mean_over_raters),
    "staple": Fusion("STAPLE of their hard labels (Warfield et al. 2004)", staple, "hard"),
    "soft-staple": Fusion("STAPLE of their soft maps (Kats et al. 2019)", soft_staple),
}


def fusion_problem(fuse: str, method: str) -> str | None:
    """Why raters whose maps a method made cannot be fused so; None when they can.

    Examples
    --------
    >>> fusion_problem("mean", "gaussian")
    >>> fusion_problem("staple", "gaussian")
    'the fusion staple takes hard labels; use the method hard, or soft-staple'
    """
    if fuse not in FUSIONS:
        return f"fuse must be one of {', '.join(FUSIONS)}; got {fuse!r}"
    only = FUSIONS[fuse].method
    if only not in (None, method):
        return f"the fusion {fuse} takes hard labels; use the method {only}, or soft-{fuse}"
    return None
