"""Arrays of a case that are read block by block when somebody looks at them, as Dask arrays.

napari keeps the blocks that were computed last, so that the next slice comes from memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np

from softlabel.cache import StoredArray
from softlabel.softmaps.entropy import entropy_bits
from softlabel.types import Array

Key = tuple[slice, ...]
"""Part of the spatial axes, in the order of the file."""


@dataclass(frozen=True)
class SpatialAxes:
    """How the spatial axes of a case are given to a viewer.

    Attributes
    ----------
    order : tuple of int
        Axis of the file for each axis of the viewer: across the slices, rows, columns.
    shape : tuple of int
        In the order of the file.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]

    def arranged(self, values: Array) -> Array:
        """An array (*spatial, ...) with its spatial axes in the viewer's order."""
        rest = range(len(self.order), values.ndim)
        return np.ascontiguousarray(values.transpose(*self.order, *rest))


def stored(array: StoredArray, axes: SpatialAxes, leading: int | None = None,
           dtype: Any = None) -> da.Array:  # fmt: skip
    """An array of a case, or one index of its leading axis, by slabs of whole slices.

    A slab is as thick as the stored chunks, of which each would be decoded for one slice as well.
    """
    kind = array.dtype if dtype is None else np.dtype(dtype)

    def read(key: Key) -> Array:
        return array[key if leading is None else (leading, *key)].astype(kind, copy=False)

    return _lazy(read, axes, _slab(array, axes), kind)


def colours(array: StoredArray, axes: SpatialAxes) -> da.Array:
    """An image of three channels with these along the last axis."""

    def read(key: Key) -> Array:
        return np.moveaxis(array[(slice(None), *key)], 0, -1)

    return _lazy(read, axes, _slab(array, axes), array.dtype, (len(array),))


def entropy(soft: StoredArray, axes: SpatialAxes) -> da.Array:
    """Entropy over the classes in bits, chunk by chunk: all classes of a slab may be gigabytes."""

    def read(key: Key) -> Array:
        return entropy_bits(soft[(slice(None), *key)])

    return _lazy(read, axes, _chunks(soft, axes), np.dtype(np.float32))


def _chunks(array: StoredArray, axes: SpatialAxes) -> tuple[int, ...]:
    """Shape of the stored chunks along the spatial axes."""
    return (array.chunks or array.shape)[-len(axes.shape) :]


def _slab(array: StoredArray, axes: SpatialAxes) -> tuple[int, ...]:
    """Shape of the stored chunks, with whole rows and columns."""
    across = axes.order[0] if len(axes.order) > 2 else None
    thickness = _chunks(array, axes)
    return tuple(thickness[a] if a == across else n for a, n in enumerate(axes.shape))


def _lazy(
    read: Callable[[Key], Array],
    axes: SpatialAxes,
    block: tuple[int, ...],
    dtype: np.dtype[Any],
    trailing: tuple[int, ...] = (),
) -> da.Array:
    """What ``read`` gives, in the viewer's order; ``block`` is in that of the file."""
    shape = (*(axes.shape[a] for a in axes.order), *trailing)
    chunks = da.core.normalize_chunks((*(block[a] for a in axes.order), *trailing), shape)
    return da.map_blocks(
        partial(_read_block, read, axes),
        # a name of its own: napari knows blocks by it, and the file may be another one later
        name=f"softlabel-{uuid4().hex}",
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
    )


def _read_block(read: Callable[[Key], Array], axes: SpatialAxes, block_info: Any = None) -> Array:
    place = block_info[None]["array-location"]
    key = dict(zip(axes.order, (slice(*ends) for ends in place), strict=False))
    return axes.arranged(read(tuple(key[axis] for axis in range(len(axes.order)))))
