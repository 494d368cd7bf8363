"""What surfaces tell: errors against a grader's, thickness, and the layout of the data set.

All take rows of boundaries (L, columns) or (L, columns, B-scans), 0-based at edges between pixels,
NaN where unknown, as :class:`softlabel.surfaces.Surfaces` has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softlabel.types import Array


@dataclass(frozen=True, eq=False)
class SurfaceErrors:
    """How far boundaries lie from those of a reference, one value for each of the L boundaries.

    Attributes
    ----------
    absolute_um, signed_um : ndarray of float64, shape (L,)
        Means over the A-scans that both have, NaN where there is none. Signed: positive where the
        boundary lies deeper than the reference's.
    n : ndarray of int64, shape (L,)
        A-scans that both have.
    missing : ndarray of int64, shape (L,)
        A-scans that only the reference has; no mean has them.
    """

    absolute_um: Array
    signed_um: Array
    n: Array
    missing: Array


def surface_errors(rows: Array, reference: Array, axial_um: float) -> SurfaceErrors:
    """Compare boundaries with those of a grader, or those of two graders.

    Parameters
    ----------
    rows, reference : ndarray of float, shape (L, columns) or (L, columns, B-scans)
    axial_um : float
        Distance of pixels along the A-scans.

    Raises
    ------
    ValueError
        When the shapes differ, or the distance is not positive.

    Examples
    --------
    >>> found = surface_errors(np.array([[4.0, 5.0, np.nan]]), np.array([[3.0, 6.0, 6.0]]), 4.0)
    >>> found.absolute_um, found.signed_um, found.n, found.missing
    (array([4.]), array([0.]), array([2]), array([1]))
    """
    if rows.shape != reference.shape:
        raise ValueError(
            f"the boundaries have the shape {rows.shape} and the reference {reference.shape}; both "
            "must be those of one scan."
        )
    _check_distance("axial_um", axial_um)
    off = (rows - reference).reshape(len(rows), -1) * axial_um
    both = np.isfinite(off)
    n = both.sum(axis=1)
    known = np.isfinite(reference).reshape(len(rows), -1).sum(axis=1)
    with np.errstate(invalid="ignore"):
        absolute = np.where(both, np.abs(off), 0).sum(axis=1) / n
        signed = np.where(both, off, 0).sum(axis=1) / n
    return SurfaceErrors(absolute, signed, n, known - n)


def thickness_um(rows: Array, upper: int, lower: int, axial_um: float) -> Array:
    """Distance between two boundaries, (columns,) or (columns, B-scans), NaN where one is unknown.

    Parameters
    ----------
    rows : ndarray of float, shape (L, columns) or (L, columns, B-scans)
    upper, lower : int
        Numbers of the boundaries, from 0.
    axial_um : float
        Distance of pixels along the A-scans.

    Raises
    ------
    ValueError
        When the boundaries are not in order, or the distance is not positive.

    Examples
    --------
    >>> thickness_um(np.array([[3.0, 3.0], [5.5, np.nan]]), 0, 1, 4.0)
    array([10., nan])
    """
    if not 0 <= upper < lower < len(rows):
        raise ValueError(
            f"the boundaries {upper} and {lower} do not lie one above the other in 0.."
            f"{len(rows) - 1}; give the upper one first."
        )
    _check_distance("axial_um", axial_um)
    return np.asarray((rows[lower] - rows[upper]) * axial_um, dtype=np.float64)


def as_duke_layers(rows: Array, row_base: int = 1, whole: bool = True) -> Array:
    """Boundaries as Duke OCT-DME keeps a grader's: ``manualLayers1`` of a ``Subject_*.mat``.

    Parameters
    ----------
    rows : ndarray of float, shape (L, columns) or (L, columns, B-scans)
        0-based, at edges between pixels.
    row_base : int
        Number of the first row: 1 in MATLAB.
    whole : bool
        A value is the first row of the layer below, as graders' values are. Otherwise it is the
        place of the boundary itself, with its fraction. Both stand for the same label map.

    Returns
    -------
    ndarray of float64, shape (L, columns, B-scans)
        An A-scan with any unknown boundary was not annotated, and is NaN throughout.

    Examples
    --------
    >>> rows = np.array([[1.5, 3.5], [3.5, np.nan]])
    >>> as_duke_layers(rows)[..., 0], as_duke_layers(rows, whole=False)[:, 0, 0]
    (array([[ 3., nan],
           [ 5., nan]]), array([2.5, 4.5]))
    """
    places = np.asarray(rows, dtype=np.float64)
    layers = (np.ceil(places) if whole else places) + row_base
    layers = np.where(np.isfinite(layers).all(axis=0), layers, np.nan)
    return layers[:, :, np.newaxis] if layers.ndim == 2 else layers


def from_duke_layers(layers: Array, row_base: int = 1, whole: bool = True) -> Array:
    """Rows at edges between pixels of the boundaries of Duke OCT-DME: :func:`as_duke_layers` back.

    With ``whole`` a boundary lies at the edge above the first row of the layer below, as in a label
    map made from it, so that a label map equal to a grader's has no error. Otherwise a value is the
    place itself. Graders' lines cross by a pixel here and there; a boundary above its predecessor
    is moved down to it, as the reader of the data set does.
    """
    places = np.asarray(layers, dtype=np.float64) - row_base
    rows = np.ceil(places) - 0.5 if whole else places
    known = np.isfinite(rows)
    ordered = np.maximum.accumulate(np.where(known, rows, -np.inf), axis=0)
    return np.where(known, ordered, np.nan)


def _check_distance(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be a distance above 0; got {value}.")
