"""Soft labels of a cache as files that other software reads: NIfTI, NPZ, zarr, DICOM-SEG.

What the steps before superpixels changed comes back to the grid of the scanner, unless the grid of
the cache is asked for.
"""

from softlabel.exports.case import GRIDS, ExportedCase
from softlabel.exports.formats import FORMATS
from softlabel.exports.run import ExportInterrupted, ExportReport, export_cache

__all__ = ["FORMATS", "GRIDS", "ExportInterrupted", "ExportReport", "ExportedCase", "export_cache"]
