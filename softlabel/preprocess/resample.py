"""Voxels of another size: images by cubic splines, labels class by class, and back.

Both grids cover the same field of view, edge to edge, as in nnU-Net, scikit-image and
:func:`scipy.ndimage.zoom` with ``grid_mode``: of n voxels along an axis m are made, and the centre
of the new voxel i lies at ``(i + ½) · n/m − ½`` old voxels. The spacing that results is what
divides the field of view evenly, the wanted one to within half a voxel over the whole axis. The
axes keep their directions, so that an oblique volume stays oblique.

Splines and linear interpolation are sums along one axis after the other, so each axis is taken in
turn by a sparse matrix, first those along which the array shrinks. Images are not smoothed before
they are made smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.background import as_dtype
from softlabel.preprocess.grid import change_maps, check_case, check_finite, moved_affine
from softlabel.preprocess.record import Record
from softlabel.preprocess.step import Kind
from softlabel.types import Array, Case, spacing_in_order

if TYPE_CHECKING:
    from scipy import sparse

ACROSS = ("linear", "spline", "nearest")

FEWEST_VOXELS = 4
"""Fewer along an axis that had more come of a spacing in another unit, most likely."""

THICK = 3.0
"""An axis with more than this times the finest spacing is across thick slices, as in nnU-Net."""

SPLINE_PAD = 12
"""Repeated border voxels before the spline filter. What lies beyond has a weight below 1e-6."""

TIE = 1e-6
"""Shares of classes that differ by less are equal: rounding of float32 must not decide."""

MAX_VOXELS = 2**30

Orders = tuple[int, ...]
"""Degree of the interpolation along each axis: 3, 1 or 0 (the nearest voxel)."""


@dataclass(frozen=True)
class ResampleOptions:
    """Options of the step.

    Attributes
    ----------
    spacing_mm : tuple of float
        Wanted size of voxels: once, or along each axis; 0 keeps that of the axis.
    across_slices : {"linear", "spline", "nearest"}
        How images are interpolated along axes of more than 3 times the finest spacing, where
        splines would ring from slice to slice. With ``nearest`` labels and soft maps take the
        nearest slice as well.
    """

    spacing_mm: tuple[float, ...] = field(
        default=(1.0,),
        metadata={"help": "Size of voxels in mm, once or along each axis; 0 keeps an axis."},
    )
    across_slices: str = field(
        default="linear",
        metadata={
            "help": "Interpolation across slices that are more than 3 times as thick as pixels.",
            "choices": ACROSS,
        },
    )

    def __post_init__(self) -> None:
        make_plain(self)
        if not all(0 <= s < np.inf for s in self.spacing_mm):
            raise ValueError(
                "spacing_mm must be sizes in mm, or 0 to keep an axis; got "
                f"{' '.join(f'{s:g}' for s in self.spacing_mm)}."
            )
        if self.across_slices not in ACROSS:
            raise ValueError(
                f"across_slices must be one of {', '.join(ACROSS)}; got {self.across_slices!r}."
            )


def resampled_shape(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], wanted_mm: tuple[float, ...]
) -> tuple[int, ...]:
    """Number of voxels along each axis that comes closest to a wanted spacing.

    An axis with a single slice stays as it is: nothing is known of what lies beside it.

    Raises
    ------
    ValueError
        When there are not as many sizes as axes, or far too many or next to no voxels would be
        made.

    Examples
    --------
    >>> resampled_shape((240, 240, 48), (0.958, 0.958, 3.0), (1.0,))
    (230, 230, 144)
    >>> resampled_shape((240, 240, 1), (1.0, 1.0, 3.0), (2.0, 0.0, 1.0))
    (120, 240, 1)
    """
    wanted = wanted_mm * len(shape) if len(wanted_mm) == 1 else wanted_mm
    if len(wanted) != len(shape):
        raise ValueError(
            f"spacing_mm has {len(wanted)} sizes and the image {len(shape)} axes; give one size, "
            "or one for each axis."
        )
    sizes = tuple(
        n if n == 1 or size == 0 else max(1, round(n * step / size))
        for n, step, size in zip(shape, spacing_mm, wanted, strict=True)
    )
    for axis, (n, m, step) in enumerate(zip(shape, sizes, spacing_mm, strict=True)):
        if m < min(n, FEWEST_VOXELS):
            raise ValueError(
                f"a spacing of {wanted[axis]:g} mm leaves {m} of {n} voxels along axis {axis}, "
                f"{step:g} mm apart now; give sizes in mm near that, or 0 to keep the axis."
            )
    if prod(sizes) > MAX_VOXELS:
        raise ValueError(
            f"an image of {shape} voxels would become one of {sizes}; at most {MAX_VOXELS:,} "
            "voxels are made. Give spacing_mm in mm, near that of the image."
        )
    return sizes


def resample_image(image: Array, shape: tuple[int, ...], orders: Orders | None = None) -> Array:
    """Resample one channel.

    Parameters
    ----------
    image : ndarray, shape (*spatial)
        Finite.
    shape : tuple of int
        Voxels to make.
    orders : tuple of int, optional
        Degree along each axis; default 3 along all.

    Returns
    -------
    ndarray of the same dtype, shape ``shape``
        Within the range of the image: the overshoot of splines is clipped.

    Examples
    --------
    >>> resample_image(np.array([0.0, 1, 2, 3]), (8,), (1,))
    array([0.  , 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.  ])
    """
    check_finite(image[None])
    orders = orders or (3,) * image.ndim
    exact = image.dtype.itemsize <= 2 or image.dtype == np.float32
    values = _along_all(image.astype(np.float32 if exact else np.float64), shape, orders)
    return as_dtype(values.clip(image.min(), image.max()), image.dtype)


def resample_soft(soft: Array, shape: tuple[int, ...], orders: Orders | None = None) -> Array:
    """Resample values of each class linearly, which keeps their range and their sum.

    Parameters
    ----------
    soft : ndarray, shape (K, *spatial)
    shape : tuple of int
    orders : tuple of int, optional
        Degree along each axis, at most 1.

    Returns
    -------
    ndarray of the same dtype, shape (K, *shape)
    """
    orders = tuple(min(order, 1) for order in orders or (1,) * len(shape))
    return np.stack([_along_all(values, shape, orders).astype(soft.dtype) for values in soft])


def resample_labels(labels: Array, shape: tuple[int, ...], orders: Orders | None = None) -> Array:
    """Resample a label map: the class that has the largest share at each new voxel.

    The share of a class is the linear interpolation of where it is (1) and is not (0). Equal shares
    go to the class with fewer voxels, so that thin structures survive; an ignored value takes part
    as a class does. Each class is computed in its own box.

    Parameters
    ----------
    labels : ndarray of integers or bool, shape (*spatial)
    shape : tuple of int
    orders : tuple of int, optional
        Degree along each axis, at most 1.

    Returns
    -------
    ndarray of the same dtype, shape ``shape``

    Examples
    --------
    >>> resample_labels(np.array([0, 0, 5, 0, 0, 0]), (3,))
    array([0, 5, 0])
    """
    from scipy import ndimage

    orders = tuple(min(order, 1) for order in orders or (1,) * labels.ndim)
    values, counts = np.unique(labels, return_counts=True)
    if len(values) == 1:
        return np.full(shape, values[0], labels.dtype)
    boxes = ndimage.find_objects(np.searchsorted(values, labels).astype(np.int32) + 1)
    weights = [_weights(*sizes) for sizes in zip(labels.shape, shape, orders, strict=True)]
    resampled = np.empty(shape, labels.dtype)
    largest = np.full(shape, -np.inf, np.float32)
    for k in np.lexsort((-values.astype(np.int64), -counts)):  # the rarest last
        reached, cut = zip(*map(_reached, weights, boxes[k]), strict=True)
        share = (labels[boxes[k]] == values[k]).astype(np.float32)
        for axis, matrix in enumerate(cut):
            share = _along(share, matrix, axis)
        best = largest[reached]  # a view
        wins = (share > 0) & (share >= best - TIE)
        resampled[reached][wins] = values[k]
        np.maximum(best, share, out=best)
    return resampled


def _reached(matrix: sparse.csr_matrix, side: slice) -> tuple[slice, sparse.csr_matrix]:
    """New voxels along an axis that the old ones of ``side`` have a weight in, and the weights."""
    part = matrix[:, side]
    rows = np.flatnonzero(np.diff(part.indptr))
    found = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    return found, part[found]


def _weights(n: int, m: int, order: int) -> sparse.csr_matrix:
    """Weights of n old voxels (of a spline: coefficients, padded) in each of m new ones."""
    from scipy import sparse

    at = (np.arange(m) + 0.5) * (n / m) - 0.5
    if order == 3:
        at = at + SPLINE_PAD
        first = np.floor(at).astype(np.int64)
        t = at - first
        parts = [
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        ]
        columns = [first - 1 + k for k in range(4)]
        n += 2 * SPLINE_PAD
    elif order == 1:
        at = at.clip(0, n - 1)
        first = np.floor(at).astype(np.int64)
        parts = [1 - (at - first), at - first]
        columns = [first, np.minimum(first + 1, n - 1)]
    else:
        parts, columns = [np.ones(m)], [np.floor(at + 0.5).astype(np.int64).clip(0, n - 1)]
    rows = np.tile(np.arange(m), len(parts))
    weights = np.concatenate(parts)
    matrix = sparse.csr_matrix((weights, (rows, np.concatenate(columns))), shape=(m, n))
    matrix.eliminate_zeros()
    return matrix


def _along_all(values: Array, shape: tuple[int, ...], orders: Orders) -> Array:
    """Resample along every axis whose size changes, those that shrink most first."""
    from scipy import ndimage

    before = values.shape
    for axis in sorted(range(values.ndim), key=lambda axis: shape[axis] / before[axis]):
        n, m, order = before[axis], shape[axis], orders[axis]
        if n == m:
            continue
        if order == 3:
            pad = [(SPLINE_PAD, SPLINE_PAD) if a == axis else (0, 0) for a in range(values.ndim)]
            padded = np.pad(values, pad, mode="edge")
            values = ndimage.spline_filter1d(padded, 3, axis, output=values.dtype, mode="mirror")
        values = _along(values, _weights(n, m, order), axis)
    return values


def _along(values: Array, matrix: sparse.csr_matrix, axis: int) -> Array:
    first = np.moveaxis(values, axis, 0)
    flat = np.ascontiguousarray(first).reshape(len(first), -1)
    product = matrix.astype(values.dtype) @ flat
    return np.moveaxis(product.reshape(matrix.shape[0], *first.shape[1:]), 0, axis)


def orders_of(spacing_mm: tuple[float, ...], shape: tuple[int, ...], across: str) -> Orders:
    """Degree of the interpolation of images along each axis.

    Examples
    --------
    >>> orders_of((0.958, 0.958, 3.0), (240, 240, 48), "linear")
    (3, 3, 1)
    """
    steps = [s for s, n in zip(spacing_mm, shape, strict=True) if n > 1]
    thick = {"linear": 1, "spline": 3, "nearest": 0}[across]
    return tuple(thick if s > THICK * min(steps, default=s) else 3 for s in spacing_mm)


def apply_resample(case: Case, options: ResampleOptions) -> tuple[Case, Record]:
    """Resample a case to a wanted spacing: the image and every map, the spacing and the affine.

    Parameters
    ----------
    case : Case
    options : ResampleOptions

    Returns
    -------
    Case, Record

    Raises
    ------
    ValueError
        When the case states no spacing, is not finite, or maps lie on different grids.
    """
    check_case(case)
    if case.spacing_mm is None:
        raise ValueError(
            "the case states no spacing of voxels, so it cannot be resampled to one in mm; give "
            "its spacing."
        )
    spacing = spacing_in_order(case.spacing_mm, len(case.shape))
    shape = resampled_shape(case.shape, spacing, options.spacing_mm)
    orders = orders_of(spacing, case.shape, options.across_slices)
    settings = {
        "spacing_mm": list(options.spacing_mm),
        "across_slices": options.across_slices,
        "orders": list(orders),
    }
    record = Record("resample", case.shape, shape, settings)
    if shape == case.shape:
        return case, record
    scale = tuple(n / m for n, m in zip(case.shape, shape, strict=True))
    resampled = change_maps(case, lambda array, kind: resample(array, shape, kind, orders))
    return replace(
        resampled,
        spacing_mm=tuple(s * f for s, f in zip(spacing, scale, strict=True)),
        affine=moved_affine(case.affine, [f / 2 - 0.5 for f in scale], scale),
    ), record


def resample(array: Array, shape: tuple[int, ...], kind: Kind, orders: Orders) -> Array:
    """Resample an array of any kind, (..., *spatial) to (..., *shape)."""
    ndim = len(shape)
    spatial = array.shape[array.ndim - ndim :]
    if spatial == shape:
        return array
    functions: dict[str, Callable[[Array, tuple[int, ...], Orders], Array]] = {
        "image": resample_image,
        "labels": resample_labels,
        "soft": _resample_values,
    }
    one = functions[kind]
    parts = [one(part, shape, orders) for part in array.reshape(-1, *spatial)]
    return np.stack(parts).reshape(*array.shape[: array.ndim - ndim], *shape)


def _resample_values(values: Array, shape: tuple[int, ...], orders: Orders) -> Array:
    return np.asarray(resample_soft(values[None], shape, orders)[0])


def restore_resample(record: Record, array: Array, kind: Kind) -> Array:
    """Resample back to the grid before, with the same degrees along each axis.

    Borders of labels come back within half the diagonal of a voxel of the coarser grid; classes
    that are thinner than that may be lost.
    """
    return resample(array, record.shape_before, kind, tuple(record.settings["orders"]))
