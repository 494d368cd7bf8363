"""Where two raters disagree against where soft labels are soft: the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softlabel.comparison.cases import (
    BAND_PX,
    cases_of,
    other_map,
    second_rater,
    soft_maps,
    truth_index,
)
from softlabel.comparison.scores import near_boundary, roc_area
from softlabel.errors import CaseError
from softlabel.generation.compute import header_of
from softlabel.generation.settings import Settings
from softlabel.softmaps.class_index import class_index_map, ignored_index
from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset


@dataclass(frozen=True)
class RaterArea:
    """How well one method's softness of one class tells where raters disagree about it.

    Attributes
    ----------
    method, class_name : str
    area : float
        Mean over the cases of the area under the ROC curve; ½ is chance, NaN without a case.
    cases : int
        Cases in which raters disagree in some pixels of the band, and agree in others.
    disagreeing : float
        Share of the band's pixels in which raters disagree about the class, over all cases.
    """

    method: str
    class_name: str
    area: float
    cases: int
    disagreeing: float


@dataclass(frozen=True)
class RaterReport:
    """What came out over all cases.

    Attributes
    ----------
    band_px : float
    areas : tuple of RaterArea
        Method after method, each with all classes.
    cases : int
        Cases that were compared.
    failures : mapping of str to str
        Cases that could not be, and why.
    """

    band_px: float
    areas: tuple[RaterArea, ...]
    cases: int
    failures: Mapping[str, str] = field(default_factory=dict)

    def mean_area(self, method: str) -> float:
        """Mean over the classes that have an area; NaN without one."""
        found = [a.area for a in self.areas if a.method == method and a.cases]
        return float(np.mean(found)) if found else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, NaN as None."""
        rows = [vars(area) | {"area": area.area if area.cases else None} for area in self.areas]
        return {
            "band_px": self.band_px, "cases": self.cases, "areas": rows,
            "failures": dict(self.failures),
        }  # fmt: skip


@dataclass(frozen=True)
class _ClassBand:
    """One class of one case: an area for each method, and the band that it is of."""

    areas: Mapping[str, float]
    pixels: int
    disagreeing: int


def against_raters(
    dataset: Dataset,
    refs: Sequence[CaseRef],
    settings: Mapping[str, Settings],
    classes: ClassTable,
    *,
    other: str | None = None,
    band_px: float = BAND_PX,
    done: Callable[[str], None] = lambda case_id: None,
) -> RaterReport:
    """Compare where soft labels of one rater are soft with where another rater disagrees.

    The first rater's label map is softened by each method. In the band around the boundary of a
    class, the pixels in which exactly one of both says the class are the positives, and the score
    of a pixel is how far its soft label of the class is from 0 and 1.

    Parameters
    ----------
    dataset : Dataset
    refs : sequence of CaseRef
        Which of its cases.
    settings : mapping of str to Settings
        By the name that a method has in the result.
    classes : ClassTable
    other : str, optional
        Name of the second rater's label map; default the first that is a rater's.
    band_px : float
        Half the width of the band, in pixels of the finest axis.
    done : callable (case id)
        Called after each case.
    """
    found: list[list[_ClassBand]] = []
    failures: dict[str, str] = {}
    for ref, case in zip(refs, cases_of(dataset, refs), strict=True):
        try:
            if isinstance(case, CaseError):
                raise case
            found.append(class_bands(case, settings, classes, other, band_px))
        except CaseError as error:
            failures[ref.id] = str(error)
        done(ref.id)
    return RaterReport(band_px, tuple(_areas(found, settings, classes)), len(found), failures)


def class_bands(
    case: Case,
    settings: Mapping[str, Settings],
    classes: ClassTable,
    other: str | None,
    band_px: float,
) -> list[_ClassBand]:
    """What the raters of one case say about each class.

    Raises
    ------
    CaseError
        When there is no second rater, or a method does not take the case.
    """
    name = other or second_rater(case)
    if name is None:
        raise CaseError(
            f"{case.name} has no label map of a second rater; name one of its label maps with "
            "--truth."
        )
    second = other_map(case, name)
    if case.rater_axis is not None:
        case = replace(case, labels=case.labels[0], rater_axis=None, raters=())
    header = header_of(case, classes)
    try:
        one = class_index_map(case.labels, classes, header.ignore)
        two = truth_index(second, one.shape, header)
        maps = dict(soft_maps(case, header, settings))
    except ValueError as error:
        raise CaseError(f"{case.name}: {error}") from error
    known = (one != ignored_index(one.dtype)) & (two != ignored_index(two.dtype))
    bands = []
    for k in range(len(classes)):
        band = known & near_boundary(_one_class(one, k), band_px, case.spacing_mm)
        positive = ((one == k) != (two == k))[band]
        areas = {n: roc_area(softness(m.class_map(k)[band]), positive) for n, m in maps.items()}
        bands.append(_ClassBand(areas, len(positive), int(positive.sum())))
    return bands


def softness(values: Array) -> Array:
    """How far soft labels are from 0 and 1.

    Examples
    --------
    >>> softness(np.array([0.0, 0.25, 0.5, 1.0])).tolist()
    [0.0, 0.25, 0.5, 0.0]
    """
    return np.minimum(values, 1 - values)


def _one_class(index: Array, k: int) -> Array:
    """1 in a class, 0 in others; ignored pixels stay so."""
    ignored = ignored_index(index.dtype)
    return np.where(index == ignored, ignored, index == k).astype(index.dtype)


def _areas(
    found: Sequence[Sequence[_ClassBand]], settings: Mapping[str, Settings], classes: ClassTable
) -> Iterator[RaterArea]:
    for method in settings:
        for k, name in enumerate(classes.names):
            of_class = [bands[k] for bands in found]
            areas = [b.areas[method] for b in of_class if b.areas[method] == b.areas[method]]
            pixels = sum(band.pixels for band in of_class)
            yield RaterArea(
                method,
                name,
                float(np.mean(areas)) if areas else float("nan"),
                len(areas),
                sum(band.disagreeing for band in of_class) / max(1, pixels),
            )
