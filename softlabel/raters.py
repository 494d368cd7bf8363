"""Several annotators: what they are called, in readers, caches and training alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def rater_names(places: Sequence[str]) -> list[str]:
    """Names of annotators, by what is fixed in their patterns and differs.

    Examples
    --------
    >>> rater_names(["anna/*_seg.nii.gz", "ben/*_seg.nii.gz"])
    ['anna', 'ben']
    """
    words = [[w for w in re.split(r"[/*?.\[\]]+", p) if w] for p in places]
    common = set(words[0]).intersection(*words[1:]) if len(words) > 1 else set()
    names = ["_".join(w for w in own if w not in common) for own in words]
    numbers = [f"rater{n + 1}" for n in range(len(names))]
    if len(set(names)) < len(names):
        return numbers
    return [name or number for name, number in zip(names, numbers, strict=True)]


def recorded_raters(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the raters that the label maps of a cache were combined of; empty for one.

    Parameters
    ----------
    settings : mapping
        The record of the cache.

    Examples
    --------
    >>> recorded_raters({"format": "duke", "format_options": {"grader": "both"}})
    ('grader1', 'grader2')
    """
    options = settings.get("format_options", {})
    if not isinstance(options, Mapping):  # it is whatever the file says
        return ()
    if options.get("grader") == "both":
        return ("grader1", "grader2")
    places = places_of(str(options.get("raters") or ""))
    return tuple(rater_names(places)) if places else ()


def places_of(text: str) -> tuple[str, ...]:
    """The places that the option ``raters`` lists, with commas between them.

    Examples
    --------
    >>> places_of("labelsTr, labelsTr_second,")
    ('labelsTr', 'labelsTr_second')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def hard_label_rule(raters: Sequence[str]) -> str:
    """Whose label the hard one is.

    Examples
    --------
    >>> hard_label_rule(["anna", "ben"])
    'that of anna; where anna ignored a pixel, that of ben'
    >>> hard_label_rule(["anna", "ben", "cleo"])
    'the majority of anna, ben, cleo; of equals that of the earliest'
    """
    if len(raters) == 2:
        return f"that of {raters[0]}; where {raters[0]} ignored a pixel, that of {raters[1]}"
    return f"the majority of {', '.join(raters)}; of equals that of the earliest"
