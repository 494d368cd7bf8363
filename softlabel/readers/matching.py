"""Which image belongs to which label map, told by the names of the files.

With one label map a case, five rules are tried, and the one that finds a partner for the most files
is taken for the whole data set, the first of equals:

1. the same stem: ``img/a.png``, ``mask/a.tif``;
2. the same stem but for a suffix of the label map: ``a.nii.gz``, ``a_seg.nii.gz``;
3. the same text where the patterns have wildcards: ``*/t1.nii``, ``*/label.nii``;
4. the same, but for a suffix of the label map;
5. the same stem but for a word that says what the file is: ``a_img.png``, ``mask_a.png``.

With several label files a case, four others:

1. the same stem but for a suffix with a number: ``a.png``, ``a_mask.png``, ``a_mask_1.png``;
2. the same text in all wildcards but the last of the label files: ``*/ct.nii``, ``*/organs/*.nii``;
3. the same text in all wildcards but the last of both: ``*/images/*.png``, ``*/masks/*.png``;
4. a stem that begins with that of the image: ``a.nii``, ``a_liver.nii``, ``a_spleen.nii``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from softlabel.readers.imagefiles import ending_of, stem_of

IMAGE_WORDS = ("image", "img", "im", "scan", "training", "test", "original", "orig")
LABEL_WORDS = (
    "segmentation", "segmentations", "labels", "label", "lbl", "mask", "masks", "seg", "gt",
    "anno", "annotation", "manual", "manual1", "manual2", "groundtruth", "ground_truth",
    "labelmap", "dseg",
)  # fmt: skip

_LABEL_SUFFIX = re.compile(
    rf"(?P<stem>.+)(?P<suffix>[_-](?:{'|'.join(LABEL_WORDS)}))(?P<number>[_-]?\d+)?", re.IGNORECASE
)


@dataclass(frozen=True)
class Match:
    """Files of one case.

    Attributes
    ----------
    images : tuple of str
        One for each image pattern, in their order.
    labels : tuple of str
        One, or with several label files a case all of them, in the order of their names.
    parts : tuple of str
        What names each of several label files within its case, such as ``liver``.
    raters : tuple of str
        One for each rater pattern.
    mask : str or None
    """

    images: tuple[str, ...]
    labels: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    raters: tuple[str, ...] = ()
    mask: str | None = None


@dataclass(frozen=True)
class Matches:
    """The outcome of :func:`match_names`.

    Attributes
    ----------
    rule : str
        How the names matched, in words.
    pairs : mapping of id to Match
    problems : mapping of id to str
        What has no partner, or more than one.
    ambiguous : tuple of str
        Ids of those that have partners of every kind, and more than one of some.
    unlabelled : tuple of str
        Images without any label map: they are no part of the data set.
    """

    rule: str
    pairs: dict[str, Match]
    problems: dict[str, str]
    ambiguous: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Roles:
    """The files of a data set by what they are.

    Attributes
    ----------
    images : tuple of NamePattern
        One for each channel.
    labels : NamePattern or None
        None when there are raters instead.
    raters : tuple of NamePattern
    masks : NamePattern or None
    several : bool
        A case may have several label files.
    """

    images: tuple[NamePattern, ...]
    labels: NamePattern | None
    raters: tuple[NamePattern, ...] = ()
    masks: NamePattern | None = None
    several: bool = False

    @property
    def annotations(self) -> tuple[NamePattern, ...]:
        """The patterns of label maps: the one, or those of the raters."""
        return self.raters if self.labels is None else (self.labels, *self.raters)


def match_names(roles: Roles) -> Matches:
    """Match the files of every case.

    Examples
    --------
    >>> found = match_names(Roles(
    ...     (NamePattern("*.png", ("a.png", "b.png")),),
    ...     NamePattern("*_mask.png", ("a_mask.png", "b_mask.png")),
    ... ))
    >>> found.pairs["a"].labels, found.rule
    (('a_mask.png',), 'by stem, label maps ending in _mask')
    """
    rules = _rules_of_several(roles) if roles.several else _RULES
    outcomes = [_match(roles, rule) for rule in rules]
    return max(outcomes, key=lambda outcome: len(outcome.pairs))  # max takes the first of equals


def wildcard_texts(glob: str, name: str) -> list[str]:
    """The texts that the wildcards of a pattern stand for, without the file's ending.

    Wildcards that touch stand for one text.

    Examples
    --------
    >>> wildcard_texts("*/t1.nii.gz", "subject7/t1.nii.gz")
    ['subject7']
    >>> wildcard_texts("*[0-9].bmp", "train_1.bmp")
    ['train_1']
    """
    match = re.fullmatch(_as_regex(glob), name, re.DOTALL)
    if match is None:
        return [_stem_key(glob, name)]
    stem_end = len(name) - len(ending_of(name) or "")
    texts: list[str] = []
    end_before = -1
    for group in range(1, match.re.groups + 1):
        start, end = match.span(group)
        text = name[start : min(end, stem_end)].strip("/").replace("/", "_")
        if start == end_before and texts and "/" not in name[start - 1 : start + 1]:
            texts[-1] += text
        else:
            texts.append(text)
        end_before = end
    return [text for text in texts if text]


def wildcard_key(glob: str, name: str) -> str:
    """All texts that the wildcards of a pattern stand for, joined.

    Examples
    --------
    >>> wildcard_key("img_*.png", "img_03.png"), wildcard_key("**/*", "p1/a.png")
    ('03', 'p1_a')
    """
    return "_".join(wildcard_texts(glob, name)) or _stem_key(glob, name)


def label_suffix(stem: str) -> str | None:
    """The suffix by which a stem says that it is a label map, or None.

    Examples
    --------
    >>> label_suffix("brain_seg"), label_suffix("brain"), label_suffix("train_1_anno")
    ('_seg', None, '_anno')
    """
    _, suffix, number = split_suffix(stem)
    return suffix.lower() if suffix and not number else None


def split_suffix(stem: str) -> tuple[str, str, str]:
    """A stem, the suffix by which it says that it is a label map, and the number behind that.

    Examples
    --------
    >>> split_suffix("b (1)_mask_2"), split_suffix("b (1)_mask"), split_suffix("b (1)")
    (('b (1)', '_mask', '_2'), ('b (1)', '_mask', ''), ('b (1)', '', ''))
    """
    found = _LABEL_SUFFIX.fullmatch(stem)
    return (
        (stem, "", "") if found is None else (found["stem"], found["suffix"], found["number"] or "")
    )


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


# --- the rules ------------------------------------------------------------------------------------

_KeyOf = Callable[[str, str], str]


@dataclass(frozen=True)
class _Rule:
    """How a file name becomes the name of its case, and of its part in it."""

    words: str
    image_key: _KeyOf
    label_key: _KeyOf
    by_suffix: bool = False
    part: _KeyOf = field(default=lambda glob, name: stem_of(name.rpartition("/")[2]))


def _stem_key(glob: str, name: str) -> str:
    return stem_of(name.rpartition("/")[2])


def _without_suffix(stem: str) -> str:
    return stem[: len(stem) - len(label_suffix(stem) or "")]


def _without_last_text(glob: str, name: str) -> str:
    return "_".join(wildcard_texts(glob, name)[:-1])


_RULES = (
    _Rule("by stem", _stem_key, _stem_key),
    _Rule(
        "by stem", _stem_key, lambda glob, name: _without_suffix(_stem_key(glob, name)),
        by_suffix=True,
    ),
    _Rule("by what * stands for", wildcard_key, wildcard_key),
    _Rule(
        "by what * stands for", wildcard_key,
        lambda glob, name: _without_suffix(wildcard_key(glob, name)), by_suffix=True,
    ),
    _Rule(
        "by stem without words such as img and mask",
        lambda glob, name: without_word(_stem_key(glob, name), IMAGE_WORDS),
        lambda glob, name: without_word(_stem_key(glob, name), LABEL_WORDS),
    ),
)  # fmt: skip


def _rules_of_several(roles: Roles) -> tuple[_Rule, ...]:
    stems = sorted({_stem_key("", n) for pattern in roles.images for n in pattern.names},
                   key=len, reverse=True)  # fmt: skip

    def image_stem_of(stem: str) -> str:
        fitting = (s for s in stems if re.match(rf"{re.escape(s)}[_\-. ]", stem))
        return next(fitting, stem)

    def own_text(glob: str, name: str) -> str:
        return (wildcard_texts(glob, name) or [""])[-1]

    return (
        _Rule(
            "by stem, several label maps a case", _stem_key,
            lambda glob, name: split_suffix(_stem_key(glob, name))[0],
        ),
        _Rule(
            "by what * stands for, several label maps a case", wildcard_key, _without_last_text,
            part=own_text,
        ),
        _Rule(
            "by folder, several label maps a case", _without_last_text, _without_last_text,
            part=own_text,
        ),
        _Rule(
            "by the beginning of the stem, several label maps a case", _stem_key,
            lambda glob, name: image_stem_of(_stem_key(glob, name)),
            part=lambda glob, name: _stem_key(glob, name)[
                len(image_stem_of(_stem_key(glob, name))) + 1 :
            ],
        ),
    )  # fmt: skip


# --- matching -------------------------------------------------------------------------------------


def _match(roles: Roles, rule: _Rule) -> Matches:
    """Match by one rule."""
    by_key = [_by_key(pattern, rule.image_key) for pattern in roles.images]
    by_key += [_by_key(pattern, rule.label_key) for pattern in roles.annotations]
    cases = dict.fromkeys(key for files in by_key for key in files)
    masks = {} if roles.masks is None else _masks_of(roles.masks, rule, cases)
    pairs: dict[str, Match] = {}
    problems: dict[str, str] = {}
    ambiguous: list[str] = []
    unlabelled: list[str] = []
    for case in cases:
        found = [files.get(case, []) for files in by_key]
        several = len(roles.images) if roles.several else None
        if (
            case
            and all(len(names) == 1 or (names and n == several) for n, names in enumerate(found))
            and len(masks.get(case, ())) < 2
        ):
            pairs[case] = _as_match(roles, rule, found, masks.get(case, []))
        elif not any(found[len(roles.images) :]):
            unlabelled += [name for names in found for name in names]
        else:
            problems[case] = _problem(case, [*found, masks.get(case, [])], roles)
            if all(found):
                ambiguous.append(case)
    words = rule.words
    if rule.by_suffix and pairs:
        stems = [_stem_key("", label) for match in pairs.values() for label in match.labels]
        suffixes = sorted({suffix for stem in stems if (suffix := label_suffix(stem))})
        words += f", label maps ending in {', '.join(suffixes)}" if suffixes else ""
    return Matches(words, pairs, problems, tuple(ambiguous), tuple(unlabelled))


def _as_match(roles: Roles, rule: _Rule, found: list[list[str]], masks: list[str]) -> Match:
    n_images = len(roles.images)
    images = tuple(names[0] for names in found[:n_images])
    annotations = found[n_images:]
    labels: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    if roles.labels is not None:
        labels = tuple(annotations.pop(0))
        parts = tuple(rule.part(roles.labels.glob, name) for name in labels)
    return Match(
        images, labels, parts, tuple(names[0] for names in annotations),
        masks[0] if masks else None,
    )  # fmt: skip


def _masks_of(pattern: NamePattern, rule: _Rule, cases: Collection[str]) -> dict[str, list[str]]:
    """Masks by case: matched as label maps are, or by the stem without all words of both kinds."""

    def key_of(glob: str, name: str) -> str:
        stem = without_word(_stem_key(glob, name), LABEL_WORDS)
        keys = (rule.label_key(glob, name), stem, without_word(stem, IMAGE_WORDS))
        return next((key for key in keys if key in cases), keys[0])

    return _by_key(pattern, key_of)


def _by_key(pattern: NamePattern, key_of: _KeyOf) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in pattern.names:
        by_key[key_of(pattern.glob, name)].append(name)
    return by_key


def _problem(case: str, found: list[list[str]], roles: Roles) -> str:
    names_of = [f"image ({p.glob})" for p in roles.images]
    if roles.labels is not None:
        names_of.append(f"label map ({roles.labels.glob})")
    names_of += [f"label map of a rater ({p.glob})" for p in roles.raters]
    names_of.append("mask" if roles.masks is None else f"mask ({roles.masks.glob})")
    present = [name for names in found for name in names]
    for role, names in zip(names_of, found, strict=True):
        several = roles.several and role.startswith("label map (")
        if len(names) > 1 and not several:
            hint = (
                "; if they are parts of one annotation: --label-files union, or class when each is "
                "a class"
                if role.startswith("label map (")
                else ""
            )
            return (
                f"The case {case!r} has {len(names)} files that could be its {role}: "
                f"{', '.join(names[:4])}; expected one. Rename them, or narrow the pattern{hint}."
            )
    missing = next(r for r, names in zip(names_of, found, strict=True) if not names)
    return (
        f"{present[0]} has no {missing} that its name matches; expected one file for each. "
        "Add it, rename it, or leave the case out."
    )


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
