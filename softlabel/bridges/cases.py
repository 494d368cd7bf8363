"""Which cases of a cache somebody trains with, by name, by patient, or by a file of splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from softlabel.cache import Cache
from softlabel.errors import UsageError, first_of
from softlabel.files.splits import PARTS, read_split

SHOWN = 10

Split = str | os.PathLike[str] | Sequence[str] | None
"""A file of splits, ids of cases and patients, or None for every case."""


def chosen_cases(cache: Cache, split: Split, part: str = "train", fold: int = 0) -> dict[str, str]:
    """The patient of every chosen case by its id, in the order of the cache.

    Parameters
    ----------
    cache : Cache
    split : path, sequence of str, or None
        A file that :func:`softlabel.files.splits.read_split` reads; ids of cases and patients;
        None for all.
    part : str
        Of a file: train, validation (or val) or evaluation (or test).
    fold : int
        Of a file; the first is 0.

    Raises
    ------
    UsageError
        When the file cannot be used, has no such part, or a name is neither a case nor a patient.
    """
    groups = {case_id: cache.facts(case_id).group for case_id in cache}
    if split is None:
        return groups
    if not isinstance(split, str | os.PathLike):
        return _members(cache, groups, split)
    path = Path(split)
    if part not in PARTS:
        raise UsageError(f"There is no part {part!r} of a split; expected {', '.join(PARTS)}.")
    parts = {name: _members(cache, groups, names) for name, names in read_split(path, fold).items()}
    if PARTS[part] not in parts:
        raise UsageError(f"The split {path} has no part {part}; it has {', '.join(parts)}.")
    own = parts[PARTS[part]]
    for other, members in parts.items():
        if other != PARTS[part] and (both := [case for case in own if case in members]):
            raise UsageError(
                f"The split {path} has the case {first_of(both, SHOWN)} in its parts {PARTS[part]} "
                f"and {other}, by name or by patient; list each in one part."
            )
    return own


def _members(cache: Cache, groups: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The patient of each case that is named, or whose patient is."""
    wanted = set(names)
    known = {*groups, *groups.values()}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"{cache.path} has neither a case nor a patient {first_of(unknown, SHOWN)}; its "
            f"patients are {first_of(dict.fromkeys(groups.values()), SHOWN)}."
        )
    return {case: group for case, group in groups.items() if case in wanted or group in wanted}
