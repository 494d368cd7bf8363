"""Superpixels of images, in 2D and 3D: SLIC, a regular grid, and how well they fit labels."""

from softlabel.superpixels.front import by_slice, grid, scale_channels, slic
from softlabel.superpixels.pieces import whole_pieces

__all__ = ["by_slice", "grid", "scale_channels", "slic", "whole_pieces"]
