"""Where the voxels of a NIfTI file lie: its two affines, its voxel size, and what they disagree on.

A header may state its place up to three times: an affine (sform), a rotation with the voxel size
(qform), and the voxel size alone (pixdim). The sform counts first, as in nibabel, then the qform;
where they contradict each other a :class:`~softlabel.types.Note` says both.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.readers.geometry import (
    TOLERANCE_VOXELS,
    corner_shift_voxels,
    require_invertible,
    spacing_from_affine,
)
from softlabel.types import Array, Note

_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_SAME_SIZE = 1e-3
"""Voxel sizes that differ by less, relatively, are the same."""

_SILENT = logging.Logger("softlabel.nibabel", logging.CRITICAL + 1)
"""nibabel writes what it corrects in a header to stderr, without the name of the file."""


def checked_header(header_class: Any, block: bytes) -> tuple[Any, tuple[float, ...]]:
    """A header after nibabel's checks and corrections, and its voxel size from before them.

    Parameters
    ----------
    header_class : type
        nibabel's class of the header.
    block : bytes

    Returns
    -------
    header
    pixdim : tuple of float
        Voxel size along the first three axes as stored, which nibabel changes where it is 0.
    """
    header = header_class(block, check=False)
    pixdim = tuple(float(size) for size in header["pixdim"][1:4])
    header.check_fix(logger=_SILENT)
    return header, pixdim


def nifti_place(
    header: Any, pixdim: tuple[float, ...], shape: tuple[int, ...], path: Path
) -> tuple[Array | None, tuple[float, ...] | None, tuple[Note, ...]]:
    """Affine, spacing in mm, and what the header contradicts itself in.

    Parameters
    ----------
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
    pixdim : tuple of float
        Voxel size as stored; see :func:`checked_header`.
    shape : tuple of int
        Spatial shape.
    path : Path

    Returns
    -------
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to millimetres; None when the header has no form code.
    spacing_mm : tuple of float or None
        None when the header does not tell it.
    notes : tuple of Note
        ``sform-qform``, ``identity-affine`` or ``pixdim``.

    Raises
    ------
    CaseError
        When the affine gives no voxel its own place.
    """
    mm = _MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    sizes = tuple(abs(size) * mm for size in pixdim[: len(shape)])
    stated = all(math.isfinite(size) and size > 0 for size in sizes)
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if not sform and not stated:
        return None, None, (_no_voxel_size(pixdim[: len(shape)], path),)
    if not sform and not qform:
        # Without a form code the header places nothing, but it may still tell the voxel size.
        return None, tuple(float(str(np.float32(size))) for size in sizes), ()
    scale = np.diag([mm, mm, mm, 1.0])
    affine = scale @ require_invertible(header.get_best_affine(), path)
    spacing_mm = spacing_from_affine(affine, len(shape))
    notes: tuple[Note, ...] = ()
    if sform and stated and _is_identity(affine, mm) and not _same(sizes, spacing_mm):
        notes = (_identity(spacing_mm, sizes, path),)
    elif sform and qform:
        notes = _disagreement(affine, _qform(header, scale), shape, path)
    return affine, spacing_mm, notes


def _qform(header: Any, scale: Array) -> Array | None:
    """The affine of the qform, None where its numbers make none."""
    try:
        matrix: Array = scale @ header.get_qform()
    except Exception:
        return None
    return matrix if np.isfinite(matrix).all() else None


def _disagreement(
    sform: Array, qform: Array | None, shape: tuple[int, ...], path: Path
) -> tuple[Note, ...]:
    if qform is None:
        return ()
    shift = corner_shift_voxels(sform, qform, shape)
    if shift <= TOLERANCE_VOXELS:
        return ()
    return (
        Note(
            "sform-qform",
            f"{path} places its voxels twice, and differently: the sform "
            f"{_rows(sform)} and the qform {_rows(qform)} put corners {shift:.3g} voxels apart; "
            "the sform was taken.",
        ),
    )


def _identity(spacing_mm: tuple[float, ...], sizes: tuple[float, ...], path: Path) -> Note:
    return Note(
        "identity-affine",
        f"{path} has an identity affine, so voxels of {_by(spacing_mm)} mm, but states voxels of "
        f"{_by(sizes)} mm (pixdim); the affine was taken.",
    )


def _no_voxel_size(pixdim: tuple[float, ...], path: Path) -> Note:
    return Note(
        "pixdim",
        f"{path} states voxels of {_by(pixdim)} mm (pixdim) and no affine; its spacing is unknown.",
    )


def _is_identity(affine: Array, mm: float) -> bool:
    return bool(np.allclose(affine[:3, :3], mm * np.eye(3), rtol=0, atol=1e-6 * mm))


def _same(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return all(math.isclose(a, b, rel_tol=_SAME_SIZE) for a, b in zip(first, second, strict=True))


def _by(sizes: tuple[float, ...]) -> str:
    return " × ".join(f"{size:.6g}" for size in sizes)


def _rows(affine: Array) -> str:
    rows = (" ".join(f"{value:.6g}" for value in row) for row in affine[:3])
    return f"({'; '.join(rows)})"
