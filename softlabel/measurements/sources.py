"""Label maps by case and name, wherever they lie: a cache, a data set, or files on their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.cache import CachedCase, open_cache
from softlabel.errors import CaseError, SourceError, UsageError, did_you_mean, plural
from softlabel.files.names import readable_stem
from softlabel.mapping import LabelMapping
from softlabel.readers import READERS, detect, list_dataset, read_case
from softlabel.readers.imagefiles import images_in, is_image_file, read_label_map, stem_of
from softlabel.types import Array, CaseRef, Dataset

LABELS, TRUTH = "labels", "truth"
"""Names of the label map that a case is about, and of the one that only phantoms know."""

NOT_ANNOTATED = 255
"""Value of pixels without an annotation where a source does not say."""

_PROBABILITIES = ".probabilities.npz"
"""Ending of what ``softlabel-train predict`` writes beside a label map."""


@dataclass(frozen=True, eq=False)
class CaseLabels:
    """The label maps of one case, on the grid of the scanner.

    Attributes
    ----------
    id : str
    source : str
        What errors name: the case, and its file where that is known.
    group : str
        The patient; empty where nothing tells.
    maps : mapping of str to array_like of an integer type, shape (*spatial)
        Read when they are asked for by :meth:`map_of`.
    ignore : int
    spacing_mm : tuple of float or None
    slice_axis : int or None
    image : callable () -> ndarray of shape (*spatial), or None
        Its first channel.
    """

    id: str
    source: str
    group: str
    maps: Mapping[str, Any]
    ignore: int = NOT_ANNOTATED
    spacing_mm: tuple[float, ...] | None = None
    slice_axis: int | None = None
    image: Callable[[], Array] | None = None

    def map_of(self, name: str) -> Array:
        """One of the label maps.

        Raises
        ------
        CaseError
            When the case does not have it.
        """
        if name not in self.maps:
            hint = did_you_mean(name, self.maps) or ";"
            raise CaseError(
                f"{self.source} has no label map {name!r}{hint} choose one of "
                f"{', '.join(self.maps)}."
            )
        return np.asarray(self.maps[name])

    @property
    def graders(self) -> tuple[str, str] | None:
        """Names of the label maps of two graders, where the case has those of two.

        Maps are of a grader when they are the labels or their name says so.
        """
        named = [n for n in self.maps if n.lower().startswith(("grader", "rater"))]
        if len(named) == 1 and LABELS in self.maps:
            return LABELS, named[0]
        return (named[0], named[1]) if len(named) > 1 else None


@dataclass(frozen=True)
class LabelSource:
    """Cases whose label maps can be read.

    Attributes
    ----------
    path : Path
    description : str
        One line for the user.
    ids : tuple of str
        In natural order.
    read : callable (id: str) -> CaseLabels
        Raises :class:`~softlabel.errors.CaseError` for what cannot be read.
    problems : mapping of str to str
        Cases that were seen to be unreadable, and why.
    """

    path: Path
    description: str
    ids: tuple[str, ...]
    read: Callable[[str], CaseLabels]
    problems: Mapping[str, str] = field(default_factory=dict)


CACHE, DATASET, FILES = "cache", "dataset", "files"
"""What a source can be."""


def kind_of(path: Path) -> str:
    """What a source is, by its name and what lies there: a cache, files alone, or a data set."""
    if path.suffix == ".h5":
        return CACHE
    return FILES if _label_files(path) and not _is_recognised(path) else DATASET


def open_labels(
    path: Path,
    format: str = "auto",
    options: Mapping[str, Any] | None = None,
    mapping: LabelMapping | None = None,
) -> LabelSource:
    """Find the cases of a cache, a data set, or a folder of label maps alone.

    Parameters
    ----------
    path : Path
        A cache ``.h5``; what a reader lists; else a label map, or a folder of them, such as
        ``softlabel-train predict`` writes, named ``ID.ext``.
    format, options, mapping
        As for :func:`softlabel.readers.list_dataset`; a format or an option makes any path a data
        set. A cache refuses all of them. Label maps alone take the mapping.

    Raises
    ------
    SourceError, CacheError, UsageError
        When nothing can be listed, or an option has no meaning.
    """
    kind = kind_of(path)
    asked = format != "auto" or bool(options)
    if kind == CACHE:
        if asked or mapping:
            raise UsageError(
                f"{path} is a cache, which takes no --format, no --map and no options of the "
                "formats: its label maps are as they were read. Leave them out."
            )
        return _of_cache(path)
    if kind == FILES and not asked:
        return _of_files(path, _label_files(path), mapping)
    return _of_dataset(list_dataset(path, format, options, mapping))


def open_pair(
    path: Path,
    against: Path | None,
    format: str = "auto",
    options: Mapping[str, Any] | None = None,
    mapping: LabelMapping | None = None,
) -> tuple[LabelSource, LabelSource | None]:
    """Open what is measured and what it is compared with.

    Format, options and mapping are those of the first that is a data set; where none is one, of
    the first that is no cache. A distance of pixels (``spacing_mm``) is no option of files alone,
    nor of a cache.

    Raises
    ------
    SourceError, CacheError, UsageError
        As :func:`open_labels`.
    """
    paths = [path] if against is None else [path, against]
    kinds = [kind_of(p) for p in paths]
    owner = next((kinds.index(kind) for kind in (DATASET, FILES) if kind in kinds), 0)
    given = dict(options or {})
    if kinds[owner] != DATASET:
        given.pop("spacing_mm", None)
    opened = [
        open_labels(p, format, given, mapping) if n == owner else open_labels(p)
        for n, p in enumerate(paths)
    ]
    return opened[0], opened[1] if against is not None else None


# --- a cache --------------------------------------------------------------------------------------


def _of_cache(path: Path) -> LabelSource:
    cache = open_cache(path)
    ignore = NOT_ANNOTATED if cache.ignore is None else cache.ignore

    def read(case_id: str) -> CaseLabels:
        case = cache[case_id]
        return CaseLabels(
            case_id, f"{case_id} ({case.path})", case.group, _cached_maps(case), ignore,
            case.original_spacing_mm, case.slice_axis, _cached_image(case),
        )  # fmt: skip

    described = f"softlabel cache: {plural(len(cache), 'case')}"
    return LabelSource(path, described, tuple(cache), read)


def _cached_maps(case: CachedCase) -> dict[str, Any]:
    maps: dict[str, Any] = {LABELS: case.original_labels}
    if case.original_truth is not None:
        maps[TRUTH] = case.original_truth
    return maps | dict(case.original_label_maps)


def _cached_image(case: CachedCase) -> Callable[[], Array] | None:
    stored = case.original_image
    return None if stored is None else lambda: stored[0]


# --- a data set -----------------------------------------------------------------------------------


def _of_dataset(dataset: Dataset) -> LabelSource:
    reader = READERS[dataset.format]
    refs = {ref.id: ref for ref in dataset.refs}
    opened: dict[str, Any] = {}

    def read(case_id: str) -> CaseLabels:
        ref = refs[case_id]
        if ref.source not in opened:  # the cases of one source follow each other
            opened.clear()
            opened[ref.source] = reader.open_source(dataset, ref.source)
        return _read_dataset_case(dataset, ref, opened[ref.source])

    return LabelSource(dataset.root, dataset.description, tuple(refs), read, dataset.problems)


def _read_dataset_case(dataset: Dataset, ref: CaseRef, opened: Any) -> CaseLabels:
    case = read_case(READERS[dataset.format], dataset, ref, opened)
    maps: dict[str, Any] = {}
    if case.rater_axis is None:
        maps[LABELS] = case.labels
    else:  # none of several annotators is the one
        maps |= dict(zip(case.rater_names, case.labels, strict=True))
    if case.truth is not None:
        maps[TRUTH] = case.truth
    ignore = NOT_ANNOTATED if case.ignore is None else case.ignore
    return CaseLabels(
        case.id, case.name, case.group, maps | dict(case.label_maps), ignore, case.spacing_mm,
        case.slice_axis, lambda: np.asarray(case.image[0]),
    )  # fmt: skip


# --- files on their own ---------------------------------------------------------------------------


def _is_recognised(path: Path) -> bool:
    try:
        detect(path)
    except SourceError:
        return False
    return True


def _label_files(path: Path) -> dict[str, Path]:
    """Label maps by id: image files that lie in the folder itself.

    Raises
    ------
    SourceError
        When two of them have one stem.
    """
    files = images_in(path) if path.is_dir() else [path] if path.is_file() else []
    found: dict[str, Path] = {}
    for file in files:
        if file.name.lower().endswith(_PROBABILITIES) or not is_image_file(file):
            continue
        case_id = stem_of(file.name)
        if case_id in found:
            raise SourceError(
                f"{found[case_id]} and {file} would both be the label map of the case "
                f"{case_id!r}; expected one file a case. Move one of them away."
            )
        found[case_id] = file
    return found


def _of_files(path: Path, files: Mapping[str, Path], mapping: LabelMapping | None) -> LabelSource:
    def read(case_id: str) -> CaseLabels:
        file = files[case_id]
        pixels = read_label_map(file, mapping=mapping)
        labels = pixels.values if mapping is None else mapping.apply(pixels.values)
        ignore = None if mapping is None else mapping.ignore
        return CaseLabels(
            case_id, str(file), "", {LABELS: labels},
            NOT_ANNOTATED if ignore is None else ignore, pixels.spacing_mm, pixels.slice_axis,
        )  # fmt: skip

    described = f"label maps alone: {plural(len(files), 'file')}"
    return LabelSource(path, described, tuple(files), read)


def reference_ids(source: LabelSource, reference: LabelSource) -> dict[str, str]:
    """The case of ``reference`` that each case of ``source`` is, by id or by its name as a file.

    Raises
    ------
    UsageError
        When there is none at all, with an id of each.
    """
    by_name = {readable_stem(case_id): case_id for case_id in reference.ids}
    by_name |= {case_id: case_id for case_id in reference.ids}
    found = {}
    for case_id in source.ids:
        other = by_name.get(case_id) or by_name.get(readable_stem(case_id))
        if other is not None:
            found[case_id] = other
    if not found and source.ids and reference.ids:
        raise UsageError(
            f"No case of {source.path} is one of {reference.path}: the ids are {source.ids[0]!r} "
            f"and so on, and {reference.ids[0]!r} and so on; expected the same ids. Rename the "
            "files, or give the data set that the label maps are of."
        )
    return found
