"""A part with another group: everything that it holds is kept, nothing is computed.

The arrays go through the writer of :mod:`softlabel.cache.part` again, so that the bytes are those
of a part that was computed with this group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.before import Before, read_notes, read_records
from softlabel.cache.files import (
    FIX_PART,
    Header,
    check_header,
    damage_as_error,
    get_text,
    open_for_reading,
    read_header,
)
from softlabel.cache.part import CaseResult, InputFile, Statistics, build_part
from softlabel.cache.structure import (
    UncheckedChunks,
    case_problems,
    datasets_below,
    lost_chunks,
    own,
)
from softlabel.errors import CacheError
from softlabel.types import Array, Case


def regrouped_part(path: Path, group: str) -> bytes:
    """Bytes of the part ``path`` with its case in another group.

    Raises
    ------
    CacheError
        When the part is damaged.
    """
    with open_for_reading(path) as file:
        check_header(file, path, (schema.PART,))
        with damage_as_error(path, FIX_PART):
            header = read_header(file)
            case = own(file, "case")
            datasets = datasets_below(case)
            problem = next(case_problems(case, datasets, len(header.classes)), None)
            problem = problem or next(lost_chunks(datasets), None)
            if problem is not None:
                raise CacheError(f"{path} is damaged ({' '.join(problem)}); {FIX_PART}.")
            return build_part(_result(case, datasets, header, group), header)


@dataclass(frozen=True, eq=False)
class _StoredSoft:
    """Soft maps of a file, as the writer asks for them."""

    dataset: h5py.Dataset

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.dataset.shape)

    @property
    def off(self) -> float:
        return float(self.dataset.fillvalue)

    def class_groups(self, slices: Any, size: int) -> Iterator[tuple[int, Array]]:
        for first in range(0, len(self.dataset), size):
            yield first, np.asarray(self.dataset[(slice(first, first + size), *slices)])


def _result(
    case: h5py.Group, datasets: dict[str, h5py.Dataset], header: Header, group: str
) -> CaseResult:
    for dataset in datasets.values():
        UncheckedChunks(dataset).require(dataset)

    def array(name: str) -> Array | None:
        return datasets[name][...] if name in datasets else None

    mask, axis = array("mask"), case.attrs.get("slice_axis")
    prefix = f"{schema.LABEL_MAPS}/"
    labels = datasets["labels"][...]
    return CaseResult(
        Case(
            get_text(case, "id"),
            datasets["image"][...],
            labels,
            header.classes,
            ignore=header.ignore,
            mask=None if mask is None else mask.astype(np.bool_),
            spacing_mm=_spacing(case, "spacing_mm"),
            affine=case.attrs.get("affine"),
            group=group,
            source=get_text(case, "source"),
            channels=header.channels,
            truth=array("truth"),
            slice_axis=None if axis is None else int(axis),
        ),
        labels,
        array("superpixels"),
        _StoredSoft(datasets["soft"]),
        {n.removeprefix(prefix): d[...] for n, d in datasets.items() if n.startswith(prefix)},
        _statistics(case),
        tuple(InputFile(*row) for row in json.loads(get_text(case, "inputs"))),
        before=_before(case, datasets),
        superpixel_settings=get_text(case, schema.SUPERPIXEL_SETTINGS, default=""),
    )


def _spacing(case: h5py.Group, name: str) -> tuple[float, ...] | None:
    spacing = case.attrs.get(name)
    return None if spacing is None else tuple(float(s) for s in spacing)


def _before(case: h5py.Group, datasets: dict[str, h5py.Dataset]) -> Before | None:
    if schema.RECORDS not in datasets:
        return None
    prefix = f"{schema.ORIGINAL}/"
    original = {n.removeprefix(prefix): d[...] for n, d in datasets.items() if n.startswith(prefix)}
    return Before(
        read_records(datasets[schema.RECORDS]),
        read_notes(datasets[schema.NOTES]) if schema.NOTES in datasets else (),
        original.pop("image", None),
        original,
        _spacing(case, "original_spacing_mm"),
        case.attrs.get("original_affine"),
    )


def _statistics(case: h5py.Group) -> Statistics:
    arrays = {name: case.attrs[name] for name in ("class_pixels", *schema.INTENSITY)}
    counts = ("pixels", "softened_pixels", "n_superpixels", "n_superpixels_asked")
    numbers: dict[str, Any] = arrays | {name: int(case.attrs[name]) for name in counts}
    unknown = np.zeros(len(arrays["class_pixels"]))  # a part of format 1, which has no place for it
    own_class_sum = case.attrs.get("own_class_sum", unknown)
    return Statistics(
        **numbers, soft_sum=float(case.attrs["soft_sum"]), own_class_sum=own_class_sum
    )
