"""Which image belongs to which label map, told by the names of the files.

Five rules are tried, and the one that finds a partner for the most files is taken for the whole
data set, the first of equals:

1. the same stem: ``img/a.png``, ``mask/a.tif``;
2. the same stem but for a suffix of the label map: ``a.nii.gz``, ``a_seg.nii.gz``;
3. the same text where the patterns have wildcards: ``*/t1.nii``, ``*/label.nii``;
4. the same, but for a suffix of the label map;
5. the same stem but for a word that says what the file is: ``a_img.png``, ``mask_a.png``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from softlabel.readers.imagefiles import ending_of, stem_of

IMAGE_WORDS = ("image", "img", "im", "scan")
LABEL_WORDS = ("segmentation", "labels", "label", "lbl", "mask", "seg", "gt")
LABEL_SUFFIXES = ("_segmentation", "_labels", "_label", "_mask", "_seg", "_gt")


@dataclass(frozen=True)
class Matches:
    """The outcome of :func:`match_names`.

    Attributes
    ----------
    rule : str
        How the names matched, in words.
    pairs : mapping of id to (images, label)
        One image for each pattern, in their order.
    problems : mapping of id to str
        What has no partner, or more than one.
    ambiguous : tuple of str
        Ids of those that have partners of every kind, and more than one of some.
    """

    rule: str
    pairs: dict[str, tuple[tuple[str, ...], str]]
    problems: dict[str, str]
    ambiguous: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamePattern:
    """Files of one role: the pattern that the user gave, and the names that it found.

    Attributes
    ----------
    glob : str
        Relative to the data set, with ``/``.
    names : tuple of str
        Relative paths that it matches.
    """

    glob: str
    names: tuple[str, ...]


def match_names(images: Sequence[NamePattern], labels: NamePattern) -> Matches:
    """Pair images with label maps.

    Parameters
    ----------
    images : sequence of NamePattern
        One for each channel.
    labels : NamePattern

    Examples
    --------
    >>> found = match_names(
    ...     [NamePattern("*.png", ("a.png", "b.png"))],
    ...     NamePattern("*_mask.png", ("a_mask.png", "b_mask.png")),
    ... )
    >>> found.pairs["a"], found.rule
    ((('a.png',), 'a_mask.png'), 'by stem, label maps ending in _mask')
    """
    rules: list[tuple[str, _KeyOf, _KeyOf, bool]] = [
        ("by stem", _stem_key, _stem_key, False),
        ("by stem", _stem_key, lambda glob, name: _without_suffix(_stem_key(glob, name)), True),
        ("by what * stands for", wildcard_key, wildcard_key, False),
        (
            "by what * stands for",
            wildcard_key,
            lambda glob, name: _without_suffix(wildcard_key(glob, name)),
            True,
        ),
        (
            "by stem without words such as img and mask",
            lambda glob, name: without_word(_stem_key(glob, name), IMAGE_WORDS),
            lambda glob, name: without_word(_stem_key(glob, name), LABEL_WORDS),
            False,
        ),
    ]
    outcomes = [_match(images, labels, *rule) for rule in rules]
    return max(outcomes, key=lambda outcome: len(outcome.pairs))  # max takes the first of equals


def wildcard_key(glob: str, name: str) -> str:
    """The text that the wildcards of a pattern stand for, without the file's ending.

    Examples
    --------
    >>> wildcard_key("*/t1.nii.gz", "subject7/t1.nii.gz")
    'subject7'
    >>> wildcard_key("img_*.png", "img_03.png")
    '03'
    """
    match = re.fullmatch(_as_regex(glob), name, re.DOTALL)
    if match is None:
        return _stem_key(glob, name)
    stem_end = len(name) - len(ending_of(name) or "")
    spans = [match.span(i) for i in range(1, match.re.groups + 1)]
    parts = [name[start : min(end, stem_end)] for start, end in spans if 0 <= start < stem_end]
    return "_".join(part.replace("/", "_") for part in parts if part) or _stem_key(glob, name)


def label_suffix(stem: str) -> str | None:
    """The suffix by which a stem says that it is a label map, or None.

    Examples
    --------
    >>> label_suffix("brain_seg"), label_suffix("brain")
    ('_seg', None)
    """
    lower = stem.lower()
    return next((s for s in LABEL_SUFFIXES if lower.endswith(s) and lower != s), None)


def without_word(stem: str, words: Sequence[str]) -> str:
    """A stem without the word, at its end or its beginning, that says what the file is.

    Examples
    --------
    >>> without_word("case1_IMG", IMAGE_WORDS), without_word("mask-7", LABEL_WORDS)
    ('case1', '7')
    >>> without_word("masked_7", LABEL_WORDS), without_word("mask", LABEL_WORDS)
    ('masked_7', 'mask')
    """
    word = "|".join(words)
    found = re.fullmatch(rf"(.+)[_\-. ](?:{word})|(?:{word})[_\-. ](.+)", stem, re.IGNORECASE)
    return stem if found is None else found[1] or found[2]


_KeyOf = Callable[[str, str], str]


def _match(
    images: Sequence[NamePattern],
    labels: NamePattern,
    rule: str,
    image_key: _KeyOf,
    label_key: _KeyOf,
    by_suffix: bool,
) -> Matches:
    roles = [_by_key(pattern, image_key) for pattern in images] + [_by_key(labels, label_key)]
    pairs: dict[str, tuple[tuple[str, ...], str]] = {}
    problems: dict[str, str] = {}
    ambiguous: list[str] = []
    for case in dict.fromkeys(key for role in roles for key in role):
        found = [role.get(case, []) for role in roles]
        if all(len(names) == 1 for names in found):
            pairs[case] = tuple(names[0] for names in found[:-1]), found[-1][0]
        else:
            problems[case] = _problem(case, found, images, labels)
            if all(found):
                ambiguous.append(case)
    if by_suffix and pairs:
        stems = [stem_of(label.rpartition("/")[2]) for _, label in pairs.values()]
        suffixes = sorted({suffix for stem in stems if (suffix := label_suffix(stem))})
        rule += f", label maps ending in {', '.join(suffixes)}" if suffixes else ""
    return Matches(rule, pairs, problems, tuple(ambiguous))


def _by_key(pattern: NamePattern, key_of: _KeyOf) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in pattern.names:
        by_key[key_of(pattern.glob, name)].append(name)
    return by_key


def _problem(
    case: str, found: list[list[str]], images: Sequence[NamePattern], labels: NamePattern
) -> str:
    roles = [*((f"image ({p.glob})", p) for p in images), (f"label map ({labels.glob})", labels)]
    present = [name for names in found for name in names]
    for (role, _), names in zip(roles, found, strict=True):
        if len(names) > 1:
            return (
                f"The case {case!r} has {len(names)} files that could be its {role}: "
                f"{', '.join(names[:4])}; expected one. Rename them, or narrow the pattern."
            )
    missing = next(role for (role, _), names in zip(roles, found, strict=True) if not names)
    return (
        f"{present[0]} has no {missing} that its name matches; expected one file for each. "
        "Add it, rename it, or leave the case out."
    )


def _stem_key(glob: str, name: str) -> str:
    return stem_of(name.rpartition("/")[2])


def _without_suffix(stem: str) -> str:
    return stem[: len(stem) - len(label_suffix(stem) or "")]


def _as_regex(glob: str) -> str:
    """A glob as a regular expression with one group for each wildcard."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", glob)
    groups = {"**/": "((?:[^/]+/)*)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
    regex = ""
    for piece in pieces:
        if piece in groups:
            regex += groups[piece]
        elif piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
            regex += f"([{piece[1:-1].replace('!', '^', 1)}])" if piece[1] == "!" else f"({piece})"
        else:
            regex += re.escape(piece)
    return regex
