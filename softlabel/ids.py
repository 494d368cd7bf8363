"""Case ids: what may name a case, in which order they stand, and which fit a pattern."""

from __future__ import annotations

import fnmatch
import unicodedata
from collections.abc import Collection
from typing import Any

from softlabel.errors import CaseError


def check_id(case_id: str) -> str:
    """Return ``case_id`` if it can name a case, else raise.

    An id is a link name in the cache and a word in reports, so it must be one non-empty line
    without ``/`` and control characters, neither ``.`` nor ``..``, at most 200 characters, and
    in the composed Unicode form (NFC), so that two ids that look alike are alike. Ids that differ
    only in case are different ids.

    Raises
    ------
    CaseError
        Naming what is wrong and how to fix it.

    Examples
    --------
    >>> check_id("Subject 01 – B-scan 10")
    'Subject 01 – B-scan 10'
    """
    fault = None
    if not case_id or case_id != case_id.strip():
        fault = "is empty or begins or ends with white space"
    elif case_id in {".", ".."}:
        fault = "is a relative path"
    elif "/" in case_id or "\\" in case_id:
        fault = "contains a slash"
    elif any(unicodedata.category(ch) in {"Cc", "Cs", "Zl", "Zp"} for ch in case_id):
        fault = "contains a control character"
    elif unicodedata.normalize("NFC", case_id) != case_id:
        fault = "is not in composed Unicode form (NFC)"
    elif len(case_id) > 200:
        fault = "is longer than 200 characters"
    if fault:
        raise CaseError(
            f"The case id {case_id[:60]!r} {fault}; expected one short line of text without "
            "slashes or control characters. Rename the file or entry that it comes from."
        )
    return case_id


def natural_key(text: str) -> tuple[Any, ...]:
    """Sort key under which ``scan2`` comes before ``scan10``.

    Examples
    --------
    >>> sorted(["scan10", "scan2"], key=natural_key)
    ['scan2', 'scan10']
    """
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for ch in f"{text}\0":
        if ch.isascii() and ch.isdigit():
            digits += ch
            continue
        if digits:
            number = digits.lstrip("0")  # longer is larger, whatever its length
            parts.append((0, len(number), number))
            digits = ""
        parts.append((1, 0, ch))
    return (*parts, text)


def fitting_ids(text: str, known: Collection[str]) -> list[str]:
    """The id ``text``, or the ids that fit it as a pattern of a shell, in their order.

    Examples
    --------
    >>> fitting_ids("s*", ["s1", "t1", "s2"]), fitting_ids("s*", ["s*", "s1"])
    (['s1', 's2'], ['s*'])
    """
    return [text] if text in known else [i for i in known if fnmatch.fnmatchcase(i, text)]
