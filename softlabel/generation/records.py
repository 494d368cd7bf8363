"""The record of settings that a cache carries: how its data set is read, and where two differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from softlabel.generation.settings import DEFAULTS, PLUGIN, recorded_settings
from softlabel.readers import READERS
from softlabel.readers.listing import GROUP_OPTION
from softlabel.types import Dataset


def source_record(dataset: Dataset) -> dict[str, Any]:
    """How a data set is read, as a cache records it.

    Options at their default are left out, and so are the groups: they change no value, and other
    ones are written without computing anything.
    """
    options = {o.name: o.default for o in READERS[dataset.format].options}
    return _source_record(dataset.format, dataset.options, options)


def _source_record(
    format_: str, options: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    given = {
        name: value
        for name, value in options.items()
        if value is not None and value != defaults.get(name) and name != GROUP_OPTION.name
    }
    return {"format": format_} | ({"format_options": given} if given else {})


def settings_differences(old: str, new: str) -> list[str]:
    """Settings that differ between two JSON records, as ``name: old → new``."""
    before, after = _flat(old), _flat(new)
    # with the method of a package records hold defaults, but not of settings that came later
    one_package = PLUGIN in before and before[PLUGIN] == after.get(PLUGIN)
    absent = DEFAULTS if one_package else {}
    return [
        f"{n}: {before.get(n, 'unset')} → {after.get(n, 'unset')}"
        for n in sorted(set(before) | set(after))
        if before.get(n, absent.get(n)) != after.get(n, absent.get(n))
    ]


def _flat(text: str) -> dict[str, Any]:
    """All that a record says, defaults included, options inside of options under their own names.

    Records of format 1 hold defaults and the groups, later ones do not.
    """
    record = json.loads(text)
    reader = READERS.get(record.get("format", ""))
    defaults = {} if reader is None else {o.name: o.default for o in reader.options}
    source = _source_record(record.get("format", ""), record.get("format_options", {}), defaults)
    flat: dict[str, Any] = {}
    for name, value in (recorded_settings(text) | source).items():
        flat |= value if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if value is not None}
