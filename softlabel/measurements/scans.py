"""The surfaces of one case: a B-scan, or a volume of them, and how far they are from a reference's.

Errors are of A-scans in which both label maps show the boundary. Where fluid hides it a row is a
guess between neighbours, which would measure the interpolation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from softlabel.errors import CaseError
from softlabel.measurements.sources import CaseLabels
from softlabel.preprocess import Axes, axes_of
from softlabel.preprocess.bscans import MAX_AXIAL_MM
from softlabel.surfaces import SurfaceErrors, Surfaces, surface_errors, surfaces_of_labels
from softlabel.surfaces.from_labels import FLUID
from softlabel.types import Array, Case

SURFACES = ("ILM", "NFL/GCL", "IPL/INL", "INL/OPL", "OPL/ONL", "ISM/ISE", "OS/RPE", "BM")
"""Boundaries of Duke OCT-DME from the top downwards."""

LAYERS = ("NFL", "GCL-IPL", "INL", "OPL", "ONL-ISM", "ISE", "OS-RPE")
"""What lies between them."""

WHOLE = "retina"
"""From the first boundary to the last."""


@dataclass(frozen=True)
class Layers:
    """What the values of label maps are: class k lies below exactly k boundaries.

    Attributes
    ----------
    surfaces : tuple of str
        Names of the boundaries, from the top downwards.
    fluid : tuple of int
        Values that lie over the layers.
    """

    surfaces: tuple[str, ...] = SURFACES
    fluid: tuple[int, ...] = (FLUID,)

    def __post_init__(self) -> None:
        if len(self.surfaces) < 2 or len(set(self.surfaces)) < len(self.surfaces):
            raise ValueError(
                f"the boundaries are {', '.join(self.surfaces)}; expected two different names or "
                "more, from the top downwards."
            )
        for value in self.fluid:
            if 0 <= value <= len(self.surfaces):
                raise ValueError(
                    f"fluid has the value {value}, which is that of a layer: {len(self.surfaces)} "
                    f"boundaries have the layers 0 to {len(self.surfaces)}. Give another value of "
                    "fluid, or none."
                )

    @property
    def thicknesses(self) -> dict[str, tuple[int, int]]:
        """The upper and the lower boundary of the retina and of every layer, by name."""
        last = len(self.surfaces) - 1
        names = LAYERS if self.surfaces == SURFACES else self._between()
        return {WHOLE: (0, last)} | {name: (k, k + 1) for k, name in enumerate(names)}

    def _between(self) -> tuple[str, ...]:
        pairs = zip(self.surfaces, self.surfaces[1:], strict=False)
        return tuple(f"{upper} to {lower}" for upper, lower in pairs)


@dataclass(frozen=True, eq=False)
class ScanSurfaces:
    """The surfaces of one case.

    Attributes
    ----------
    id, group : str
    found : Surfaces
        Rows (L, columns, B-scans), one B-scan for an image.
    fluid : ndarray of bool, shape (rows, columns, B-scans)
    image : ndarray, shape (rows, columns, B-scans), or None
    spacing_um : tuple of float or None
        Axial and lateral distance of pixels, and that of B-scans in a volume.
    errors : SurfaceErrors or None
        From the reference, where there is one.
    graders : SurfaceErrors or None
        Of the second grader from the first, where there are two.
    """

    id: str
    group: str
    found: Surfaces
    fluid: Array
    image: Array | None
    spacing_um: tuple[float, ...]
    errors: SurfaceErrors | None = None
    graders: SurfaceErrors | None = None


@dataclass(frozen=True)
class Scales:
    """How pixels lie.

    Attributes
    ----------
    spacing_mm : tuple of float or None
        Their distance along each axis, which wins over what cases state.
    axial_axis : int
        Axis along the A-scans.
    """

    spacing_mm: tuple[float, ...] | None = None
    axial_axis: int = 0


@dataclass(frozen=True, eq=False)
class Compared:
    """A case with the names of the label maps that are compared.

    Attributes
    ----------
    case : CaseLabels
    name : str
    reference : CaseLabels or None
    reference_name : str
    """

    case: CaseLabels
    name: str
    reference: CaseLabels | None = None
    reference_name: str = ""


def scan_surfaces(
    compared: Compared, layers: Layers, scales: Scales, *, with_image: bool = False
) -> ScanSurfaces:
    """Find the surfaces of a case, and compare them with those of the reference.

    Raises
    ------
    CaseError
        When the case lacks the label map, the map has no layers or is no OCT, or its reference has
        another shape.
    """
    case, reference = compared.case, compared.reference
    labels = case.map_of(compared.name)
    true = None if reference is None else reference.map_of(compared.reference_name)
    if reference is not None and true is not None:
        _require_shape(case, labels, reference, true)
    spacing_mm = _spacing(compared, scales, labels.ndim)
    axes = _axes(case, labels, spacing_mm, scales.axial_axis)
    axial_um = 1000 * spacing_mm[axes.rows]
    found = _surfaces(case, labels, axes, layers)
    _require_boundary(case, labels, found, layers)
    errors = None
    if reference is not None and true is not None:
        other = _surfaces(reference, true, axes, layers)
        errors = surface_errors(found.shown, other.shown, axial_um)
    order = [axes.rows, axes.columns, *([] if axes.bscans is None else [axes.bscans])]
    image = case.image() if with_image and case.image is not None else None
    return ScanSurfaces(
        case.id,
        case.group or (reference.group if reference else ""),
        found,
        _stack(np.isin(labels, layers.fluid) & (labels != case.ignore), axes),
        None if image is None else _stack(image, axes),
        tuple(1000 * spacing_mm[axis] for axis in order),
        errors,
        _between_graders(reference or case, axes, layers, axial_um),
    )


def _between_graders(
    case: CaseLabels, axes: Axes, layers: Layers, axial_um: float
) -> SurfaceErrors | None:
    if case.graders is None:
        return None
    first, second = (
        _surfaces(case, case.map_of(name), axes, layers).shown for name in case.graders
    )
    return surface_errors(second, first, axial_um)


def _surfaces(case: CaseLabels, labels: Array, axes: Axes, layers: Layers) -> Surfaces:
    try:
        return surfaces_of_labels(
            _stack(labels, axes), len(layers.surfaces), layers.fluid, case.ignore
        )
    except ValueError as error:
        raise CaseError(f"{case.source}: {error}") from error


def _stack(array: Array, axes: Axes) -> Array:
    """A spatial array as (rows, columns, B-scans)."""
    return np.moveaxis(axes.stack(array), 0, -1)


def _spacing(compared: Compared, scales: Scales, ndim: int) -> tuple[float, ...]:
    """Distance of pixels that the user, the case or its reference states."""
    case, reference = compared.case, compared.reference
    stated = scales.spacing_mm or case.spacing_mm or (reference.spacing_mm if reference else None)
    example = ",".join(("0.00387", "0.01133", "0.123")[:ndim])
    if stated is None:
        raise CaseError(
            f"{case.source} states no distance of pixels, without which nothing is in µm; give it "
            f"in mm for each axis, such as --spacing-mm {example}."
        )
    if len(stated) != ndim:
        raise CaseError(
            f"{case.source} has {ndim} axes, and the distances of pixels are {len(stated)} "
            f"({', '.join(f'{s:g}' for s in stated)} mm); give one for each axis, such as "
            f"--spacing-mm {example}."
        )
    return tuple(float(s) for s in stated)


def _axes(case: CaseLabels, labels: Array, spacing_mm: Sequence[float], axial_axis: int) -> Axes:
    if labels.ndim in (2, 3) and 0 <= axial_axis < labels.ndim:
        axial_mm = spacing_mm[axial_axis]
        if axial_mm > MAX_AXIAL_MM:
            raise CaseError(
                f"{case.source} has pixels of {axial_mm:g} mm along the A-scans (axis "
                f"{axial_axis} of the shape {labels.shape}); OCT has at most {MAX_AXIAL_MM:g} mm. "
                "Give a label map of OCT, the axis of the A-scans with --axial-axis, or the right "
                "--spacing-mm (in mm)."
            )
    bare = Case(
        case.id, labels[np.newaxis], labels, None, spacing_mm=tuple(spacing_mm),
        slice_axis=case.slice_axis,
    )  # fmt: skip
    try:
        return axes_of(bare, axial_axis)
    except ValueError as error:
        raise CaseError(f"{case.source}: {error}") from error


def _require_boundary(case: CaseLabels, labels: Array, found: Surfaces, layers: Layers) -> None:
    if not np.isfinite(found.rows).any():
        values = ", ".join(map(str, np.unique(labels)[:12].tolist()))
        raise CaseError(
            f"{case.source} shows no boundary in any A-scan: its label map holds {values}; "
            f"expected the layers 0 to {len(layers.surfaces)} from the top downwards, what lies "
            "below the last boundary with a value of its own. Map values to layers with --map."
        )


def _require_shape(case: CaseLabels, labels: Array, reference: CaseLabels, true: Array) -> None:
    if labels.shape != true.shape:
        raise CaseError(
            f"{case.source} has the shape {labels.shape} and its reference {reference.source} "
            f"{true.shape}; expected label maps of one grid. Bring one onto the grid of the other."
        )


_PART = re.compile(r"(.+)_bscan_(\d{1,6})")


def volume_of(case_id: str) -> tuple[str, int | None]:
    """The volume that a case is a B-scan of, by its id, and the number of the B-scan.

    Examples
    --------
    >>> volume_of("Subject_01_bscan_010"), volume_of("scan 3")
    (('Subject_01', 10), ('scan 3', None))
    """
    part = _PART.fullmatch(case_id)
    return (part[1], int(part[2])) if part else (case_id, None)
