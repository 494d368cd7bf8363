"""Retinal layer boundaries, as graders draw them, to the class map that a network learns."""

from __future__ import annotations

import numpy as np

from softlabel.types import Array

NOT_ANNOTATED = 255
FLUID = 9


def class_map_from_layers(
    boundaries: Array, fluid: Array | None, n_rows: int, row_base: int = 1
) -> Array:
    """Class of every pixel of a B-scan from the rows of its layer boundaries.

    The pixel in row ``i`` lies below a boundary at ``value`` when ``i >= value - row_base``: a
    boundary value is the first row of the layer below. Class ``k`` is what lies below exactly
    ``k`` boundaries.

    Parameters
    ----------
    boundaries : ndarray of float, shape (L, columns)
        Row of each boundary in each column, from the top downwards, possibly fractional. Graders'
        lines cross by a pixel here and there: a boundary above its predecessor is moved down to
        it. A column with any value that is not finite was not annotated.
    fluid : ndarray of bool, shape (n_rows, columns), or None
        Fluid lies over the layers, but not over columns that were not annotated.
    n_rows : int
        Rows of the B-scan.
    row_base : int
        Number that the file gives to the first row: 1 as in MATLAB.

    Returns
    -------
    ndarray of uint8, shape (n_rows, columns)
        0 … L, :data:`FLUID`, and :data:`NOT_ANNOTATED`.

    Examples
    --------
    One column of six rows with two boundaries, the first row of their layers being 3 and 5:

    >>> class_map_from_layers(np.array([[3.0], [5.0]]), None, n_rows=6)[:, 0]
    array([0, 0, 1, 1, 2, 2], dtype=uint8)
    """
    annotated = np.isfinite(boundaries).all(axis=0)
    tops = np.maximum.accumulate(np.where(annotated, boundaries, 0.0), axis=0) - row_base
    rows = np.arange(n_rows)[:, np.newaxis]
    classes = np.zeros((n_rows, boundaries.shape[1]), dtype=np.uint8)
    for top in tops:
        classes += rows >= top
    if fluid is not None:
        classes[fluid] = FLUID
    classes[:, ~annotated] = NOT_ANNOTATED
    return classes
