"""A case softened by several methods, with their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softlabel.cache import Header
from softlabel.comparison.scores import Scores, near_boundary, score_maps
from softlabel.errors import CaseError, did_you_mean
from softlabel.generation.case_superpixels import make_superpixels
from softlabel.generation.compute import (
    hard_labels,
    header_of,
    in_whole_pieces,
    soften_case,
)
from softlabel.generation.settings import OF_SUPERPIXELS, Settings
from softlabel.readers import READERS, read_case
from softlabel.softening import method_named
from softlabel.softmaps.class_index import class_index_map
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset

BAND_PX = 8.0
"""Pixels this near to a boundary have scores of their own, since most others are right anyway."""

TRUTH = "truth"


@dataclass(frozen=True, eq=False)
class Comparison:
    """One case, softened by several methods.

    Attributes
    ----------
    case : Case
    classes : ClassTable
    hard : ndarray of uint8 or uint16, shape (*spatial)
        Class index of every pixel before it was softened; of several raters their majority.
    settings : mapping of str to Settings
    maps : mapping of str to SoftMaps
    scores : mapping of str to Scores
    truth : ndarray of the type of ``hard``, or None
        What the scores are against.
    truth_name : str
    band_px : float
        Half the width of the band that the second pair of scores is of.
    """

    case: Case
    classes: ClassTable
    hard: Array
    settings: Mapping[str, Settings]
    maps: Mapping[str, SoftMaps]
    scores: Mapping[str, Scores]
    truth: Array | None = None
    truth_name: str = ""
    band_px: float = BAND_PX

    def as_dict(self) -> dict[str, Any]:
        """The scores as plain values, NaN as None."""
        return {
            "case": self.case.id,
            "truth": self.truth_name or None,
            "band_px": self.band_px,
            "methods": {name: _plain(scores) for name, scores in self.scores.items()},
        }


def _plain(scores: Scores) -> dict[str, float | None]:
    return {name: None if value != value else value for name, value in vars(scores).items()}


def compare_case(
    case: Case,
    settings: Mapping[str, Settings],
    *,
    classes: ClassTable | Mapping[int, str] | Sequence[int] | None = None,
    truth: Array | None = None,
    truth_name: str = "",
    band_px: float = BAND_PX,
) -> Comparison:
    """Soften a case by several methods and score each.

    Steps before superpixels are not taken: all methods see the case as it was read.

    Parameters
    ----------
    case : Case
    settings : mapping of str to Settings
        By the name that a method has in the result.
    classes : ClassTable, {value: name}, or values, optional
        Those of the data set; default those of the case.
    truth : ndarray of an integer type, shape (*spatial), optional
        Label values that the soft labels are scored against.
    truth_name : str
        What the truth is called.
    band_px : float
        Pixels at most so far from a boundary have scores of their own; in pixels of the finest
        axis.

    Raises
    ------
    CaseError
        When a method does not take the case, or the truth is of another shape or other classes.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.repeat([0, 0, 1, 1], 4)[None].repeat(16, axis=0)
    >>> case = Case("stripes", labels[None] * 50.0, labels, ClassTable.from_values([0, 1]))
    >>> settings = {m: Settings(method=m) for m in ("hard", "gaussian")}
    >>> found = compare_case(case, settings, truth=np.roll(labels, 1, axis=1))
    >>> found.scores["hard"].softened, found.scores["hard"].brier
    (0.0, 0.25)
    >>> found.scores["gaussian"].brier < 0.25
    True
    """
    header = header_of(case, classes)
    try:
        hard = class_index_map(hard_labels(case, header)[0], header.classes, header.ignore)
        known_truth = None if truth is None else truth_index(truth, hard.shape, header)
        maps = dict(soft_maps(case, header, settings))
    except ValueError as error:
        raise CaseError(f"{case.name}: {error}") from error
    near = None if truth is None else near_boundary(hard, band_px, case.spacing_mm)
    scores = {name: score_maps(found, hard, known_truth, near) for name, found in maps.items()}
    return Comparison(
        case,
        header.classes,
        hard,
        dict(settings),
        maps,
        scores,
        known_truth,
        truth_name,
        band_px,
    )


def soft_maps(
    case: Case, header: Header, settings: Mapping[str, Settings]
) -> Iterator[tuple[str, SoftMaps]]:
    """The soft maps of a case by each of the settings; equal superpixels are made once.

    Raises
    ------
    ValueError
        When a method does not take the case.
    """
    made: dict[str, Array] = {}
    for name, chosen in settings.items():
        ids = None
        if method_named(chosen.method).needs_superpixels:
            alike = Settings(**{n: getattr(chosen, n) for n in OF_SUPERPIXELS}).as_json({})
            if alike not in made:
                made[alike] = in_whole_pieces(make_superpixels(case, chosen)[0], case, chosen)
            ids = made[alike]
        try:
            yield name, soften_case(case, ids, header, chosen, None)[0]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def truth_index(truth: Array, shape: tuple[int, ...], header: Header) -> Array:
    """Class indices of another label map of a case.

    Raises
    ------
    ValueError
        When its shape or its values are not those of the case.
    """
    if truth.shape != shape:
        raise ValueError(
            f"the label map to score against has the shape {truth.shape}, the image {shape}; give "
            "one on the grid of the image."
        )
    return class_index_map(truth, header.classes, header.ignore)


def second_rater(case: Case) -> str | None:
    """Name of the label map that another person drew; None when the case has none.

    Maps are a rater's when they stand along the axis of raters, or their name says so.
    """
    if case.rater_axis is not None:
        return case.rater_names[1] if len(case.labels) > 1 else None
    return next(
        (name for name in case.label_maps if name.lower().startswith(("grader", "rater"))), None
    )


def other_map(case: Case, name: str) -> Array:
    """A label map of a case by name: ``truth``, one of its further maps, or one of its raters.

    Raises
    ------
    CaseError
        When it does not have it.
    """
    maps: dict[str, Array] = dict(case.label_maps)
    if case.rater_axis is not None:
        maps |= dict(zip(case.rater_names, case.labels, strict=True))
    if case.truth is not None:
        maps[TRUTH] = case.truth
    if name not in maps:
        known = f"choose one of {', '.join(maps)}" if maps else "it has no other one"
        raise CaseError(
            f"{case.name} has no label map {name!r}{did_you_mean(name, maps) or ';'} {known}."
        )
    return maps[name]


def cases_of(dataset: Dataset, refs: Sequence[CaseRef]) -> Iterator[Case | CaseError]:
    """Read cases of a data set, one by one; what cannot be read comes as its error."""
    reader = READERS[dataset.format]
    source: str | None = None
    opened: Any = None
    for ref in refs:
        try:
            if ref.id in dataset.problems:
                raise CaseError(dataset.problems[ref.id])
            if ref.source != source:
                source, opened = None, None  # let go of the last one before the next is read
                opened = reader.open_source(dataset, ref.source)
                source = ref.source
            yield read_case(reader, dataset, ref, opened)
        except CaseError as error:
            yield error
