"""Where the pixels of a file lie, and whether two files lie on the same grid."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError
from softlabel.readers.pixels import Pixels
from softlabel.types import Array

TOLERANCE_VOXELS = 0.1
"""Corners of two grids may lie this far apart; headers written with rounding stay far below."""


def spacing_from_affine(affine: Array, ndim: int) -> tuple[float, ...]:
    """Distance in mm between neighbouring voxel centres along the first ``ndim`` axes.

    Examples
    --------
    >>> spacing_from_affine(np.diag([0.5, 0.5, 3.0, 1.0]), 3)
    (0.5, 0.5, 3.0)
    """
    lengths = np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
    # Headers store float32, where 0.958 reads 0.9580000042915344: the shortest decimals that name
    # the same float32 are what was meant.
    return tuple(float(str(np.float32(length))) for length in lengths[:ndim])


def require_invertible(affine: Array, path: Path) -> Array:
    """Return the affine as float64 when it maps different voxels to different places.

    Raises
    ------
    CaseError
        When it holds NaN or infinite numbers, or squeezes or stretches an axis beyond float32.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0) if np.isfinite(matrix).all() else np.zeros(3)
    limits = np.finfo(np.float32)
    placed = ((lengths >= limits.tiny) & (lengths <= limits.max)).all()
    if not placed or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        raise CaseError(
            f"{path}: the orientation matrix of the header cannot be inverted "
            f"({' '.join(str(matrix[:3].tolist()).split())}); expected one that gives every voxel "
            "its own place. Repair the header (sform or qform)."
        )
    return matrix


def corner_shift_voxels(first: Array, second: Array, shape: tuple[int, ...]) -> float:
    """How far apart two grids put the corners of a volume, in voxels of the first.

    Parameters
    ----------
    first, second : ndarray, shape (4, 4)
        Voxel indices to millimetres.
    shape : tuple of int
        Up to three spatial sizes.

    Returns
    -------
    float
        The largest shift of a corner along any axis of the first grid.

    Examples
    --------
    >>> corner_shift_voxels(np.eye(4), np.diag([1.01, 1, 1, 1]), (101, 10, 10))
    1.005
    """
    sizes = (*shape, 1, 1)[:3]
    # Outer corners, half a voxel beyond the centres, so that one slice has a thickness to compare.
    corners = np.array([(*c, 1.0) for c in itertools.product(*((-0.5, n - 0.5) for n in sizes))])
    shift_mm = corners @ (np.asarray(second) - np.asarray(first)).T
    shift = np.linalg.solve(np.asarray(first)[:3, :3], shift_mm[:, :3].T)
    return float(np.round(np.abs(shift).max(), 6))


def check_same_shape(image: Pixels, image_path: Path, other: Pixels, other_path: Path) -> None:
    """Raise unless both files have the same spatial shape.

    Raises
    ------
    CaseError
        Naming both files and both shapes.
    """
    require_same_shape(image.spatial_shape, image_path, other.spatial_shape, other_path)


def require_same_shape(
    image: tuple[int, ...], image_path: Path, other: tuple[int, ...], other_path: Path
) -> None:
    """:func:`check_same_shape`, of shapes that are known before anything else.

    Raises
    ------
    CaseError
        As there.
    """
    if image != other:
        raise CaseError(
            f"{image_path} has the shape {_by(image)} and {other_path} has "
            f"{_by(other)}; expected the same shape. "
            "Check that they belong together, or resample one onto the grid of the other."
        )


def check_same_grid(image: Pixels, image_path: Path, other: Pixels, other_path: Path) -> None:
    """Raise unless two files of the same shape put every voxel in the same place.

    A file that does not say where its voxels lie agrees with every other. Files that state only
    a spacing are compared by that.

    Raises
    ------
    CaseError
        When any corner is more than :data:`TOLERANCE_VOXELS` apart, naming both files, both
        spacings and both origins.
    """
    first, second = _affine_or_spacing(image, other)
    if first is None or second is None:
        return
    shift = corner_shift_voxels(first, second, image.spatial_shape)
    if shift > TOLERANCE_VOXELS:
        raise CaseError(
            f"{image_path} and {other_path} lie on different grids: {_place(image)} against "
            f"{_place(other)}, so that corners are {shift:.3g} voxels apart; expected at most "
            f"{TOLERANCE_VOXELS}. If only a header is wrong, correct it (or, for pairs, "
            "--grids trust); otherwise resample one file onto the grid of the other (for pairs: "
            "--grids resample)."
        )


def labels_on_grid(image: Pixels, labels: Pixels, path: Path) -> Pixels:
    """Resample a label map onto the grid of an image: each voxel takes the label nearest to it.

    Voxels that lie outside of the label map get 0.

    Raises
    ------
    CaseError
        When the grids have another number of axes, or the header of one places nothing.
    """
    first, second = _affine_or_spacing(image, labels)
    ndim = labels.values.ndim
    if len(image.spatial_shape) != ndim:
        raise CaseError(
            f"{path} has {ndim} axes, its image {len(image.spatial_shape)}; expected as many. "
            "Check that they belong together."
        )
    if first is None or second is None:
        if image.spatial_shape == labels.spatial_shape:
            return labels
        raise CaseError(
            f"{path} has the shape {_by(labels.spatial_shape)}, its image "
            f"{_by(image.spatial_shape)}, and nothing says where their voxels lie; expected "
            "headers that do. Give both the same shape."
        )
    if image.spatial_shape == labels.spatial_shape and (
        corner_shift_voxels(first, second, labels.spatial_shape) == 0
    ):
        return labels
    to_labels = np.linalg.solve(second, first)
    flat = [i for i in range(3) if i < ndim]
    # axes that a 2D file does not have are not crossed
    matrix, offset = to_labels[np.ix_(flat, flat)], to_labels[flat, 3]
    from scipy import ndimage

    moved = ndimage.affine_transform(
        labels.values, matrix, offset, image.spatial_shape, order=0, mode="grid-constant", cval=0,
        prefilter=False,
    )  # fmt: skip
    return replace(
        labels, values=moved, spacing_mm=image.spacing_mm, affine=image.affine,
        slice_axis=image.slice_axis,
    )  # fmt: skip


def _affine_or_spacing(image: Pixels, other: Pixels) -> tuple[Array | None, Array | None]:
    if image.affine is not None and other.affine is not None:
        return image.affine, other.affine
    return _scaling(image.spacing_mm), _scaling(other.spacing_mm)


def _scaling(spacing_mm: tuple[float, ...] | None) -> Array | None:
    if spacing_mm is None:
        return None
    scaling: Array = np.diag([*(*spacing_mm, 1.0)[:3], 1.0])
    return scaling


def _place(pixels: Pixels) -> str:
    spacing = " × ".join(f"{s:.6g}" for s in pixels.spacing_mm or ())
    if pixels.affine is None:
        return f"spacing {spacing} mm"
    origin = ", ".join(f"{o:.6g}" for o in pixels.affine[:3, 3])
    return f"spacing {spacing} mm, origin ({origin}) mm, axes towards {_directions(pixels.affine)}"


def _directions(affine: Array) -> str:
    """Where the axes of a volume point to, such as ``R, A, S``; numbers for oblique ones."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    names = []
    for column in columns.T:
        axis = int(np.abs(column).argmax())
        name = ("RL", "AP", "SI")[axis][0 if column[axis] > 0 else 1]
        oblique = abs(column[axis]) < 0.999
        names.append(f"{name} ({', '.join(f'{c:.3f}' for c in column)})" if oblique else name)
    return ", ".join(names)


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
