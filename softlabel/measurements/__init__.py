"""What label maps of OCT measure: layer boundaries, their errors and thickness, as files.

:func:`open_labels` finds label maps in a cache, a data set or a folder, :func:`measure_surfaces`
measures them volume by volume, and :func:`write_surfaces` writes what a study needs. The numbers
come from :mod:`softlabel.surfaces`.
"""

from softlabel.measurements.scans import Layers, ScanSurfaces
from softlabel.measurements.sources import LabelSource, open_labels
from softlabel.measurements.surfaces import Comparison, measure_surfaces
from softlabel.measurements.volumes import Volume
from softlabel.measurements.write import Report, write_surfaces

__all__ = [
    "Comparison",
    "LabelSource",
    "Layers",
    "Report",
    "ScanSurfaces",
    "Volume",
    "measure_surfaces",
    "open_labels",
    "write_surfaces",
]
