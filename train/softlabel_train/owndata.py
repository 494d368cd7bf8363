"""Whether a run goes on with the data that it was started with, by the digests of its cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from softlabel.cache import Cache
from softlabel.errors import UsageError, first_of, plural
from softlabel.ids import natural_key
from softlabel_train.splits import Split

SHOWN_CASES = 5


def digests_of(cache: Cache, split: Split) -> dict[str, str]:
    """Digest of every case that trains or validates, by its id."""
    used = sorted({*split.train, *split.validation}, key=natural_key)
    return {case_id: cache[case_id].content_digest() for case_id in used}


def require_same_data(
    folder: Path, cache: Path, before: Mapping[str, str], now: Mapping[str, str]
) -> None:
    """Refuse to go on with cases that have changed, are gone, or are new.

    Parameters
    ----------
    folder : Path
        Of the run.
    cache : Path
    before, now : mapping of str to str
        From :func:`digests_of`; empty in checkpoints of earlier versions, which tell nothing.

    Raises
    ------
    UsageError
        Naming them.
    """
    if not before:
        return
    kept = [case_id for case_id in before if case_id in now]
    found = (
        ("has", "have", "other images or labels", [i for i in kept if now[i] != before[i]]),
        ("is", "are", "gone", [i for i in before if i not in now]),
        ("is", "are", "new", [i for i in now if i not in before]),
    )
    changes = [
        f"{plural(len(ids), 'case')} {one if len(ids) == 1 else many} {what} "
        f"({first_of(ids, SHOWN_CASES)})"
        for one, many, what, ids in found
        if ids
    ]
    if changes:
        raise UsageError(
            f"The run {folder} was started with other data than {cache} now holds: "
            f"{', '.join(changes)}; give the cache of that run, or another folder for a new run."
        )


def untold(checkpoint: Path) -> str:
    """The warning for a checkpoint that holds no digests."""
    return (
        f"{checkpoint} is of an earlier version, which did not record its images and labels: that "
        "the cache still holds the same was not checked."
    )
