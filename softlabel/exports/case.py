"""A case as it is exported: its arrays on one grid, the soft labels class by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from softlabel.cache import Cache, CachedCase, StoredArray
from softlabel.errors import CaseError
from softlabel.preprocess import restore
from softlabel.types import Array, ClassTable

Grid = Literal["scanner", "cache"]
"""Where arrays lie: as the scanner made the image, or as the steps before superpixels left it."""

GRIDS: tuple[Grid, ...] = get_args(Grid)

NOT_CALIBRATED = (
    "Soft labels are pseudo-probabilities, made of a label map and its image; they are not "
    "calibrated."
)
"""For every format that has a place for it: nobody shall take them for frequencies."""


@dataclass(frozen=True, eq=False)
class ExportedCase:
    """What is exported of a case.

    Attributes
    ----------
    id, source : str
    inputs : tuple of str
        Files that it was read from, relative to the data set.
    classes : ClassTable
        Along axis 0 of ``soft``.
    ignore : int or None
        Label value of pixels that were not annotated; there ``soft`` is 0 in every class.
    channels : tuple of str
    labels : array of integers, shape (*spatial)
        Hard labels.
    soft : array of float32, shape (K, *spatial)
        Give it the index of a class: of a cache's own grid one class at a time is read.
    others : mapping of str to array
        ``image`` (C, *spatial) where it is there on this grid; ``superpixels`` and ``mask`` on the
        cache's own.
    spacing_mm : tuple of float or None
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to millimetres, NIfTI convention.
    """

    id: str
    source: str
    inputs: tuple[str, ...]
    classes: ClassTable
    ignore: int | None
    channels: tuple[str, ...]
    labels: StoredArray
    soft: StoredArray | Array
    others: Mapping[str, StoredArray]
    spacing_mm: tuple[float, ...] | None
    affine: Array | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.labels.shape


def exported(cache: Cache, case: CachedCase, grid: Grid) -> ExportedCase:
    """A case of a cache on one of its grids.

    Raises
    ------
    CacheError
        When its file is damaged.
    CaseError
        When its soft labels cannot be brought back to the grid of the scanner.
    """
    back = grid == "scanner" and bool(case.preprocessing)
    named = {"image": case.original_image if back else case.image}
    if not back:
        named |= {"superpixels": case.superpixels, "mask": case.mask}
    return ExportedCase(
        case.id,
        case.source,
        case.inputs,
        cache.classes,
        cache.ignore,
        cache.channels,
        case.original_labels if back else case.labels,
        _restored(case) if back else case.soft,
        {name: array for name, array in named.items() if array is not None},
        case.original_spacing_mm if back else case.spacing_mm,
        case.original_affine if back else case.affine,
    )


def _restored(case: CachedCase) -> Array:
    try:
        return restore(case.preprocessing, case.soft[...], "soft")
    except ValueError as error:
        raise CaseError(
            f"{case.id}: the steps before superpixels cannot be undone ({error}); export it on the "
            "grid of the cache with --grid cache."
        ) from error
