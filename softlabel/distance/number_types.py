"""Types for squared distances: the fewer bytes, the more of them in a vector register."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from softlabel.distance.blocks import Blocks
from softlabel.distance.boundary import Metric
from softlabel.distance.transform import Squares
from softlabel.types import Array


@dataclass(frozen=True)
class Numbers:
    """A type for squared distances: the fewer bytes, the more of them in a vector register.

    Attributes
    ----------
    dtype, count_dtype : type
        Of squared distances and of the counts along the first axis.
    most : float
        Largest squared limit, times ``factor``, that it is used for.
    factor : float
        What squared distances are multiplied by to be whole numbers.
    """

    dtype: type
    count_dtype: type
    most: float
    factor: float

    def squares(self, metric: Metric, limit: float) -> Squares:
        """Squared distances along the axes within a limit."""
        far = math.inf if self.dtype is np.float64 else np.iinfo(self.dtype).max // 2
        z, y, x = (metric.squares(axis, limit) * self.factor for axis in range(3))
        z = np.append(z, far)
        dtype = self.dtype
        return Squares(z.astype(dtype), y.astype(dtype), x.astype(dtype), dtype(far))


def number_types(metric: Metric) -> list[Numbers]:
    """Types to choose from, the smallest first: whole numbers only where they are exact.

    Examples
    --------
    >>> row = Metric((1.0, 1.0, 1.5), (False, False, True))
    >>> [numbers.dtype.__name__ for numbers in number_types(row)]
    ['float64']
    """
    types = [Numbers(np.float64, np.int32, math.inf, 1.0)]
    steps = [s for s, on in zip(metric.spacing, metric.active, strict=True) if on]
    if all(step.is_integer() for step in steps):
        factor = 4.0 if metric.to_face else 1.0
        # A limit's square stays below half of what the type holds, and counts below 255.
        types = [
            Numbers(np.uint16, np.uint8, 30_000.0, factor),
            Numbers(np.int32, np.int32, 4_000_000.0, factor),
            *types,
        ]
    return types


def by_number_type(blocks: Blocks, metric: Metric) -> Iterator[tuple[Numbers, Array]]:
    """The blocks that are measured in each type."""
    above = -math.inf
    limits = (blocks.limits**2)[blocks.region]
    for numbers in number_types(metric):
        most = numbers.most / numbers.factor
        chosen = np.flatnonzero((limits > above) & (limits <= most))
        above = most
        if len(chosen):
            yield numbers, chosen
