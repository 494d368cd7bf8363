"""Exact distances to class boundaries, only where they are asked for."""

from softlabel.distance.blocks import Blocks, Measured
from softlabel.distance.boundary import BOUNDARIES, Boundary, Metric
from softlabel.distance.measure import measure_blocks

__all__ = ["BOUNDARIES", "Blocks", "Boundary", "Measured", "Metric", "measure_blocks"]
