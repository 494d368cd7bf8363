"""Eq. 1 of Li et al. (2020) near every boundary, without superpixels: the plain control.

    q_c = ½ (d_c / (scale + |d_c|) + 1)    where |d_c| ≤ width
    q_c = y_c                              elsewhere

with d_c the signed distance to the boundary of φ_c, positive inside. The image has no say.

Distances are measured in tiles of a regular grid (:mod:`softlabel.softening.tiles`) as in
superpixels, by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from softlabel.coerce import make_plain
from softlabel.distance.boundary import BOUNDARIES
from softlabel.distance.measure import measure_blocks
from softlabel.softening.conversion import EQ1, check_conversion
from softlabel.softening.inputs import MethodInput
from softlabel.softening.superpixel import (
    CONVERSION_TEXT,
    check_boundary,
    metric_of,
    soften_measured,
)
from softlabel.softening.tiles import maps_of_tiles, tiles_within
from softlabel.softmaps.from_dense import TILE_EDGE
from softlabel.softmaps.maps import SoftMaps

WIDTH = 8
"""Default width in pixels of the finest spacing."""


@dataclass(frozen=True)
class DistanceOptions:
    """Options of the method.

    Attributes
    ----------
    boundary : {"inner", "outer", "edge", "symmetric"}
        Where the boundary of a class lies (:data:`softlabel.distance.boundary.BOUNDARIES`).
    width : float or None
        Distance from the boundary up to which labels are soft, in pixels or, when soften is given
        a spacing, in its unit. None is 8 pixels, with a spacing 8 times its smallest value.
    in_plane, slice_axis, conversion
        As in :class:`softlabel.softening.superpixel.SuperpixelOptions`.
    """

    boundary: str = "inner"
    width: float | None = field(
        default=None,
        metadata={"help": "Distance up to which labels are soft. Default: 8 pixels of the finest "
                  "spacing."},
    )  # fmt: skip
    in_plane: bool = field(default=False, metadata={"help": "Distances within slices only."})
    slice_axis: int | None = None
    conversion: str = field(default=EQ1, metadata=CONVERSION_TEXT)

    def __post_init__(self) -> None:
        make_plain(self)
        check_boundary(self.boundary)
        check_conversion(self.conversion)
        if self.width is not None and not 0 < self.width < np.inf:
            raise ValueError(f"width must be a positive number; got {self.width}.")


def soften_by_distance(given: MethodInput, options: DistanceOptions) -> SoftMaps:
    """Soften a map of class indices around the boundaries of its classes.

    Parameters
    ----------
    given : MethodInput
    options : DistanceOptions

    Returns
    -------
    SoftMaps
        Whose regions are the grid tiles that hold a value other than 0 and 1.
    """
    index, table = given.index, given.table
    volume = np.ascontiguousarray(index).reshape((1,) * (3 - index.ndim) + index.shape)
    metric = metric_of(index.ndim, given.spacing, options)
    width = WIDTH * min(given.spacing) if options.width is None else options.width
    tiles = tiles_within(volume, len(table), TILE_EDGE[index.ndim], metric, width)
    blocks, start = tiles.blocks, tiles.value_start
    values = np.empty(int(start[-1]), np.float32)
    for measured in measure_blocks(blocks, BOUNDARIES[options.boundary], metric):
        soften_measured(
            blocks, measured, given.scale, options.conversion, start[measured.blocks], values
        )
    # inside of its class a value is ½ or more, outside ½ or less: 0 and 1 are hard
    is_soft = (values > 0) & (values < 1)
    soft = np.logical_or.reduceat(is_soft, start[:-1]) if len(start) > 1 else is_soft
    return maps_of_tiles(index, table, tiles, values, soft)
