"""Where the boundary of a class lies, and how distances to it are measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.types import Array

ROUNDING = 1e-6
"""Relative tolerance of limits, so that a pixel exactly on one counts as within."""

# Targets: pixels of the class (IN) or known pixels outside of it (OUT). FACING: those with a face
# neighbour on the other side. SHELL: those with a face neighbour that is not on their own side,
# ignored ones included. A pixel without one is never the nearest of its side to a pixel elsewhere:
# its neighbour in that direction is on the same side, and nearer.
IN_SHELL, IN_FACING, OUT_SHELL, OUT_FACING = range(4)


@dataclass(frozen=True)
class Boundary:
    """One convention of where the boundary between a class and the rest lies.

    Attributes
    ----------
    inside, outside : int
        Targets of the pixels inside and outside of the class.
    to_face : bool
        Measure to the near face of the target and not to its centre.
    """

    inside: int
    outside: int
    to_face: bool = False


BOUNDARIES: dict[str, Boundary] = {
    "inner": Boundary(inside=IN_FACING, outside=IN_SHELL),
    "outer": Boundary(inside=OUT_SHELL, outside=OUT_FACING),
    "edge": Boundary(inside=OUT_SHELL, outside=IN_SHELL, to_face=True),
    "symmetric": Boundary(inside=OUT_SHELL, outside=IN_SHELL),
}


@dataclass(frozen=True)
class Metric:
    """How distances are measured along the three axes.

    Attributes
    ----------
    spacing : tuple of float
        Distance between neighbouring pixels along each axis.
    active : tuple of bool
        False along an axis that distances and faces do not cross (in-plane distances).
    to_face : bool
        As in :class:`Boundary`.
    """

    spacing: tuple[float, float, float]
    active: tuple[bool, bool, bool]
    to_face: bool = False

    @property
    def finest(self) -> float:
        """Smallest spacing of an active axis."""
        return min(s for s, on in zip(self.spacing, self.active, strict=True) if on)

    def squares(self, axis: int, radius: float) -> npt.NDArray[np.float64]:
        """Squared distance along ``axis`` of the offsets 0, 1, 2 … within ``radius``."""
        if not self.active[axis]:
            return np.zeros(1)
        step = self.spacing[axis]
        reach = math.floor(radius / step * (1 + ROUNDING) + (0.5 if self.to_face else 0.0))
        offsets = np.arange(reach + 1, dtype=np.float64)
        if self.to_face:
            offsets = np.maximum(offsets - 0.5, 0.0)
        return np.asarray((offsets * step) ** 2)

    def diagonals(self, lower: Array, upper: Array) -> npt.NDArray[np.float64]:
        """Diagonals of bounding boxes, centre to centre, shape (R,)."""
        steps = np.where(self.active, self.spacing, 0.0)
        return np.asarray(np.sqrt((((upper - lower - 1) * steps) ** 2).sum(axis=1)))
