"""What is told of a case without its arrays: read from its part, kept in the index as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.before import read_notes
from softlabel.cache.files import get_attribute, get_text
from softlabel.cache.structure import own
from softlabel.files.documents import parse_json


@dataclass(frozen=True)
class CaseFacts:
    """Facts of a case, as plain values.

    Attributes
    ----------
    group : str
    shape : tuple of int
        Spatial.
    channels : int
    spacing_mm : tuple of float or None
    superpixels, superpixels_asked : int
    class_pixels : tuple of int
    own_class_sum : tuple of float or None
        None in parts of format 1.
    softened_pixels : int
    soft_sum : float
    original_pixels : int or None
        Before the steps; None without any.
    notes : tuple of (str, str)
        Code and text of what the steps noted.
    superpixel_settings : mapping
        What a preset chose; empty without one.
    """

    group: str
    shape: tuple[int, ...]
    channels: int
    spacing_mm: tuple[float, ...] | None
    superpixels: int
    superpixels_asked: int
    class_pixels: tuple[int, ...]
    own_class_sum: tuple[float, ...] | None
    softened_pixels: int
    soft_sum: float
    original_pixels: int | None
    notes: tuple[tuple[str, str], ...]
    superpixel_settings: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """One line of ASCII."""
        record = asdict(self)
        if not self.superpixel_settings:  # an index without presets stays as it was
            del record["superpixel_settings"]
        return json.dumps(record, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CaseFacts:
        """Inverse of :meth:`as_json`.

        Raises
        ------
        ValueError, TypeError or KeyError
            When the text is something else.
        """
        record = json.loads(text)
        whole = {
            name: int(record[name])
            for name in ("channels", "superpixels", "superpixels_asked", "softened_pixels")
        }
        original = record["original_pixels"]
        return cls(
            group=str(record["group"]),
            shape=tuple(int(n) for n in record["shape"]),
            spacing_mm=_numbers(record["spacing_mm"]),
            class_pixels=tuple(int(n) for n in record["class_pixels"]),
            own_class_sum=_numbers(record["own_class_sum"]),
            soft_sum=float(record["soft_sum"]),
            original_pixels=None if original is None else int(original),
            notes=tuple((str(code), str(text)) for code, text in record["notes"]),
            superpixel_settings=_require_plain(record.get("superpixel_settings", {})),
            **whole,
        )


def read_facts(case: h5py.Group) -> CaseFacts:
    """Facts of a case of a file.

    Raises
    ------
    KeyError, ValueError or TypeError
        When something is missing, or of another kind than docs/format.md says.
    """
    labels = own(case, "labels")
    original = None
    if schema.RECORDS in case:
        name = f"{schema.ORIGINAL}/labels"
        original = math.prod((own(case, name) if name in case else labels).shape)
    notes = read_notes(own(case, schema.NOTES)) if schema.NOTES in case else ()
    return CaseFacts(
        group=get_text(case, "group"),
        shape=tuple(labels.shape),
        channels=int(own(case, "image").shape[0]),
        spacing_mm=_numbers(case.attrs.get("spacing_mm")),
        superpixels=int(get_attribute(case, "n_superpixels")),
        superpixels_asked=int(get_attribute(case, "n_superpixels_asked")),
        class_pixels=tuple(int(n) for n in np.asarray(get_attribute(case, "class_pixels"))),
        own_class_sum=_numbers(case.attrs.get("own_class_sum")),
        softened_pixels=int(get_attribute(case, "softened_pixels")),
        soft_sum=float(get_attribute(case, "soft_sum")),
        original_pixels=original,
        notes=tuple((note.code, note.text) for note in notes),
        superpixel_settings=superpixel_settings_of(
            get_text(case, schema.SUPERPIXEL_SETTINGS, default="")
        ),
    )


def superpixel_settings_of(text: str) -> dict[str, Any]:
    """What a preset chose, from the text of a part; nothing of an empty one.

    Raises
    ------
    ValueError
        When it is no JSON object of numbers, words and pairs of numbers.
    """
    return _require_plain(parse_json(text)) if text else {}


def _require_plain(choice: Any) -> dict[str, Any]:
    if not isinstance(choice, dict) or not all(
        isinstance(v, str | int | float) or (isinstance(v, list) and len(v) == 2)
        for v in choice.values()
    ):
        raise ValueError("superpixel_settings are no JSON object of settings")
    return choice


def _numbers(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(v) for v in values)
