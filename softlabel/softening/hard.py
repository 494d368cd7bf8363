"""The hard labels as soft maps: what every softening is compared with.

q_c = y_c
"""

from __future__ import annotations

from dataclasses import dataclass

from softlabel.softening.inputs import MethodInput
from softlabel.softmaps.maps import SoftMaps, hard_maps


@dataclass(frozen=True)
class HardOptions:
    """Options of the method: none."""


def keep_hard(given: MethodInput, options: HardOptions) -> SoftMaps:
    """Soft maps that are 1 in the annotated class and 0 in all others.

    Parameters
    ----------
    given : MethodInput
    options : HardOptions

    Returns
    -------
    SoftMaps
        Without regions.
    """
    return hard_maps(given.index, given.table)
