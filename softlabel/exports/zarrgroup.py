"""zarr, version 3 of its format: one group a case, a chunk for each class and patch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.cache import Cache, chunk_shape
from softlabel.errors import missing_extra
from softlabel.exports.case import NOT_CALIBRATED, ExportedCase
from softlabel.exports.format import ExportOptions, Format
from softlabel.files.atomic import folder_at_once
from softlabel.types import ClassTable

AXES = ("i", "j", "k")
"""Names of the spatial axes, in the order of the source file."""


def require(cache: Cache, options: ExportOptions) -> None:
    """Look whether zarr is installed.

    Raises
    ------
    MissingExtraError
    """
    _zarr()


def files(name: str, classes: ClassTable, options: ExportOptions) -> Sequence[str]:
    """One folder a case."""
    return (f"{name}.zarr",)


def write(case: ExportedCase, paths: Sequence[Path], options: ExportOptions) -> None:
    """Write a group with the arrays ``soft``, ``labels``, ``image`` …; it is there as a whole."""
    with folder_at_once(paths[0], replace=True) as unfinished:
        _write_group(case, unfinished)


def _write_group(case: ExportedCase, folder: Path) -> None:
    group = _zarr().create_group(store=folder, zarr_format=3, attributes=_attributes(case))
    spatial = AXES[: len(case.shape)]
    soft = _array(group, "soft", (len(case.classes), *case.shape), np.float32, ("class", *spatial))
    for k in range(len(case.classes)):  # one class in memory, where the cache has them
        soft[k] = case.soft[k]
    for name, stored in {"labels": case.labels, **case.others}.items():
        names = ("channel", *spatial) if name == "image" else spatial
        array = _array(group, name, stored.shape, stored.dtype, names)
        array[...] = np.asarray(stored)


def _array(group: Any, name: str, shape: tuple[int, ...], dtype: Any, axes: tuple[str, ...]) -> Any:
    spatial = sum(axis in AXES for axis in axes)
    patch = chunk_shape(0, shape[-spatial:], np.dtype(dtype).itemsize)
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(*[1] * (len(shape) - spatial), *patch),
        dimension_names=axes,
        fill_value=0,
    )


def _attributes(case: ExportedCase) -> dict[str, Any]:
    known = {
        "spacing_mm": None if case.spacing_mm is None else list(case.spacing_mm),
        "affine": None if case.affine is None else np.asarray(case.affine).tolist(),
        "ignore": case.ignore,
        "channels": list(case.channels) or None,
    }
    return {
        "id": case.id,
        "classes": [{"value": value, "name": name} for value, name in case.classes],
        "about": NOT_CALIBRATED,
        **{name: value for name, value in known.items() if value is not None},
    }


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise missing_extra("Exporting to zarr", "zarr", "export") from error
    return zarr


FORMAT = Format(
    "a group of version 3 for each case", files, write,
    require=require,
)  # fmt: skip
