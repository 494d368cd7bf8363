"""Exact distances to class boundaries, only where they are asked for."""

from softlabel.distance.boundary import BOUNDARIES, Boundary, Metric
from softlabel.distance.search import Scratch, Search, search_levels

__all__ = ["BOUNDARIES", "Boundary", "Metric", "Scratch", "Search", "search_levels"]
