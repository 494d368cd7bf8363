"""Label smoothing (Szegedy et al. 2016): the same softness everywhere.

    q_c = (1 − ε) y_c + ε / K

K counts the classes of the table, those that an image lacks included, without the ignored label.
Two numbers describe the result, so that it needs no block: the value of a pixel in its own class
and that in every other one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from softlabel.coerce import make_plain
from softlabel.softening.inputs import MethodInput
from softlabel.softmaps.maps import SoftMaps, hard_maps


@dataclass(frozen=True)
class SmoothingOptions:
    """Options of the method.

    Attributes
    ----------
    epsilon : float, 0 to below 1
        Share of the label that is spread evenly over all classes.
    """

    epsilon: float = field(
        default=0.1, metadata={"help": "Share that is spread over all classes (0 to below 1)."}
    )

    def __post_init__(self) -> None:
        make_plain(self)
        if not 0 <= self.epsilon < 1:
            raise ValueError(f"epsilon must lie in 0..1, below 1; got {self.epsilon}.")


def soften_by_smoothing(given: MethodInput, options: SmoothingOptions) -> SoftMaps:
    """Spread a share of every label over all classes.

    Parameters
    ----------
    given : MethodInput
    options : SmoothingOptions

    Returns
    -------
    SoftMaps
        Without regions.

    Raises
    ------
    ValueError
        When the ignored label is among the classes, which would take part in the spreading.
    """
    if given.ignore in given.table.values:
        raise ValueError(
            f"Label smoothing spreads over all classes, and the ignored label {given.ignore} is "
            "one of them; leave it out of the classes."
        )
    share = options.epsilon / len(given.table)
    return hard_maps(given.index, given.table, on=1 - options.epsilon + share, off=share)
