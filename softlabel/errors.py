"""What can go wrong, in sentences that a user can act on.

Every message says in one sentence which file (or argument) is concerned, what was found, what was
expected, and how to fix it. A :class:`CaseError` stops one case; every other
:class:`SoftlabelError` stops the run before it has computed anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SoftlabelError(Exception):
    """Base of every error that softlabel raises on purpose."""


class UsageError(SoftlabelError):
    """An option, an argument or a combination of them that cannot work (exit status 2)."""


class SourceError(SoftlabelError):
    """A data set that cannot be listed at all: wrong folder, broken ``dataset.json`` and so on."""


class CaseError(SoftlabelError):
    """One case that cannot be read or computed; the other cases go on."""


class CacheError(SoftlabelError):
    """A file that is not a readable softlabel cache, or not the one that was asked for."""


class MissingExtraError(SoftlabelError):
    """An optional dependency that is not installed; :func:`missing_extra` makes one."""


def missing_extra(what: str, package: str, extra: str) -> MissingExtraError:
    """The error of something that needs a package which is not installed.

    The fix names the extra of the clone, whose versions fit together, and the package, which is
    enough where softlabel was installed without its clone.

    Examples
    --------
    >>> print(missing_extra("device='cuda'", "torch", "gpu"))
    device='cuda' needs torch, which is not installed; run pip install '.[gpu]' in the clone of
    softlabel, or pip install torch.
    """
    return MissingExtraError(
        f"{what} needs {package}, which is not installed; run pip install '.[{extra}]' in the "
        f"clone of softlabel, or pip install {package}."
    )


def nearest(word: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Known words that ``word`` may be a misspelling of, the nearest first, upper case or lower.

    Examples
    --------
    >>> nearest("opl", ["ILM", "OPL"]), nearest("opl", ["vitreous"])
    (['OPL'], [])
    """
    spellings: dict[str, list[str]] = {}
    for candidate in known:
        spellings.setdefault(candidate.casefold(), []).append(candidate)
    close = difflib.get_close_matches(word.casefold(), spellings, most, cutoff)
    return [candidate for key in close for candidate in spellings[key]][:most]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence on an unknown word: the nearest known one; empty when none is near.

    Examples
    --------
    >>> did_you_mean("opl", ["ILM", "OPL"]), did_you_mean("opl", ["vitreous"])
    ('; did you mean OPL?', '')
    """
    close = nearest(word, known)
    return f"; did you mean {close[0]}?" if close else ""


def first_of(names: Iterable[str], most: int) -> str:
    """The first of some names, and how many more there are.

    Examples
    --------
    >>> first_of("abcd", 3), first_of("ab", 3)
    ('a, b, c and 1 more', 'a, b')
    """
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def any_of(names: Iterable[str]) -> str:
    """Names of which one will do.

    Examples
    --------
    >>> any_of("abc"), any_of("ab"), any_of("a")
    ('a, b or c', 'a or b', 'a')
    """
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    Examples
    --------
    >>> plural(1, "case"), plural(2, "case")
    ('1 case', '2 cases')
    >>> plural(0, "class")
    '0 classes'
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")
