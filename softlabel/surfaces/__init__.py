"""Layer boundaries of OCT: from label maps, in µm, against a grader's, as maps and tables.

:func:`surfaces_of_labels` finds them, :func:`surface_errors` compares them, :func:`thickness_um`
and :func:`etdrs_table` sum them up, and :func:`as_duke_layers` writes them as the data set does.
"""

from softlabel.surfaces.etdrs import Sector, etdrs_table
from softlabel.surfaces.from_labels import Surfaces, surfaces_of_labels
from softlabel.surfaces.measures import (
    SurfaceErrors,
    as_duke_layers,
    from_duke_layers,
    surface_errors,
    thickness_um,
)

__all__ = [
    "Sector",
    "SurfaceErrors",
    "Surfaces",
    "as_duke_layers",
    "etdrs_table",
    "from_duke_layers",
    "surface_errors",
    "surfaces_of_labels",
    "thickness_um",
]
