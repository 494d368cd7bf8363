"""Which label values, or colours, of a source are which class: a mapping, and its text form.

Knows label values and names; the readers know which files they come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from softlabel.errors import UsageError

Array = npt.NDArray[Any]

MAX_LABEL = 2**63 - 1
"""Label values are compared, and stored in a cache, as int64."""

IGNORE = "ignore"
"""The name that stands for pixels that were not annotated."""

Colour = tuple[int, int, int]

_RULE = re.compile(r"\s*(?P<values>[0-9][0-9\s|-]*?)\s*=\s*(?P<target>[^=]*?)\s*")


@dataclass(frozen=True)
class Span:
    """Label values from ``low`` to ``high``, both included; ``high`` None is without end.

    Examples
    --------
    >>> 7 in Span(1, 15), 400 in Span(1, None)
    (True, True)
    """

    low: int
    high: int | None

    def __contains__(self, value: int) -> bool:
        return self.low <= value and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.high is None:
            return f"{self.low}-"
        return str(self.low) if self.high == self.low else f"{self.low}-{self.high}"

    def overlaps(self, other: Span) -> bool:
        """Whether some value lies in both."""
        first, second = sorted((self, other), key=lambda span: span.low)
        return first.high is None or second.low <= first.high

    def mask(self, labels: Array) -> Array:
        """Where label values lie in it."""
        inside = labels >= self.low
        return inside if self.high is None else inside & (labels <= self.high)


@dataclass(frozen=True)
class Rule:
    """Values of the source that become one class, or are ignored.

    Attributes
    ----------
    spans : tuple of Span
        The values.
    name : str
        Name of the class; empty when the source names it. :data:`IGNORE` for ignored pixels.
    value : int or None
        Label value of the class; None is the lowest value of the spans.
    """

    spans: tuple[Span, ...]
    name: str = ""
    value: int | None = None

    @property
    def ignores(self) -> bool:
        """Whether these pixels count as not annotated."""
        return self.name == IGNORE

    @property
    def target(self) -> int:
        """Label value that the values become."""
        return self.spans[0].low if self.value is None else self.value

    def __str__(self) -> str:
        values = "|".join(map(str, self.spans))
        number = "" if self.value is None else str(self.value)
        return f"{values}={':'.join(part for part in (number, self.name) if part)}"


@dataclass(frozen=True)
class LabelMapping:
    """How label maps are read: which values are one class, which are ignored, where a mask begins.

    Attributes
    ----------
    rules : tuple of Rule
        No value lies in two of them. Values in none stay what they are.
    threshold : float or None
        Values of at least this become 1, the rest 0, when a file is read.
    colours : mapping of (red, green, blue) to int
        Label value of each colour when a file is read; a colour in none is an error.

    Raises
    ------
    UsageError
        When rules overlap, or a value that is left alone could be taken for another class.

    Examples
    --------
    >>> mapping = parse_mapping("0=background,1-15=fluid,255=ignore")
    >>> mapping.apply(np.array([0, 3, 15, 255, 20])).tolist(), mapping.names(), mapping.ignore
    ([0, 1, 1, 255, 20], {0: 'background', 1: 'fluid'}, 255)
    """

    rules: tuple[Rule, ...] = ()
    threshold: float | None = None
    colours: Mapping[Colour, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spans = [(span, rule) for rule in self.rules for span in rule.spans]
        for number, (span, rule) in enumerate(spans):
            for other, other_rule in spans[number + 1 :]:
                if span.overlaps(other):
                    raise UsageError(
                        f"The label mapping has the rules {rule} and {other_rule}, which both hold "
                        f"the value {max(span.low, other.low)}; expected every value in one rule. "
                        "Narrow one of the ranges."
                    )
        names: dict[str, int] = {}
        for rule in self.rules:
            if (
                rule.name
                and not rule.ignores
                and names.setdefault(rule.name, rule.target) != (rule.target)
            ):
                raise UsageError(
                    f"The label mapping names two classes {rule.name!r} ({names[rule.name]} and "
                    f"{rule.target}); join their values as in 1|4-6={rule.name}, or give them "
                    "names that differ."
                )

    def __bool__(self) -> bool:
        return bool(self.rules or self.colours) or self.threshold is not None

    @property
    def ignore(self) -> int | None:
        """Label value of what is ignored; None when nothing is."""
        return next((rule.target for rule in self.rules if rule.ignores), None)

    def names(self) -> dict[int, str]:
        """Names of the classes by the label value that they get."""
        return {rule.target: rule.name for rule in self.rules if rule.name and not rule.ignores}

    def target_of(self, value: int) -> int:
        """What one label value becomes."""
        for rule in self.rules:
            if any(value in span for span in rule.spans):
                return self.ignore if rule.ignores and self.ignore is not None else rule.target
        return value

    def apply(self, labels: Array) -> Array:
        """Label values after the rules, in the smallest unsigned type that holds them.

        Parameters
        ----------
        labels : ndarray of an integer type, not negative
            Colours and the threshold were applied when the file was read.
        """
        if not self.rules:
            return labels
        mapped = labels.astype(np.int64)
        for rule in self.rules:
            target = self.ignore if rule.ignores and self.ignore is not None else rule.target
            for span in rule.spans:
                mapped[span.mask(labels)] = target
        return mapped.astype(np.min_scalar_type(int(mapped.max(initial=0))))

    def names_exactly(self, value: int) -> bool:
        """Whether a rule names this value itself, and not a range that it lies in.

        Examples
        --------
        >>> [parse_mapping(text).names_exactly(255) for text in ("1-=cyst", "255=cyst")]
        [False, True]
        """
        return any(s.low == value == s.high for rule in self.rules for s in rule.spans)

    def collisions(self, values: Iterable[int]) -> dict[int, list[int]]:
        """Values that no rule names, with those that a rule turns into the same value.

        Parameters
        ----------
        values : iterable of int
            All values of a data set.

        Returns
        -------
        dict of int to list of int
        """
        values = sorted(set(values))
        untouched = {v for v in values if not any(v in s for r in self.rules for s in r.spans)}
        moved: dict[int, list[int]] = {}
        for value in values:
            target = self.target_of(value)
            if value not in untouched and target in untouched:
                moved.setdefault(target, []).append(value)
        return moved

    def as_record(self) -> dict[str, Any]:
        """Plain values for a cache's settings; what is not set is left out."""
        record: dict[str, Any] = {}
        if self.rules:
            record["rules"] = [str(rule) for rule in self.rules]
        if self.threshold is not None:
            record["threshold"] = self.threshold
        if self.colours:
            record["colours"] = [[*colour, value] for colour, value in sorted(self.colours.items())]
        return record


def parse_mapping(text: str, threshold: float | None = None) -> LabelMapping:
    """Parse ``VALUES=NAME`` or ``VALUES=INTEGER[:NAME]``, separated by commas.

    VALUES is a value, a range ``1-15``, an open range ``1-``, or several of them with ``|``
    between. A named class takes its lowest value; the name ``ignore`` stands for pixels that were
    not annotated.

    Raises
    ------
    UsageError
        For anything else, and for rules that overlap.

    Examples
    --------
    >>> [str(rule) for rule in parse_mapping("0=0, 241-255=1:fluid").rules]
    ['0=0', '241-255=1:fluid']
    """
    rules = tuple(_rule(part) for part in text.split(",") if part.strip())
    if not rules:
        raise UsageError(
            f"The label mapping {text!r} has no rule; expected one such as "
            "'0=background,1-15=fluid,255=ignore'."
        )
    return LabelMapping(rules, threshold)


def _rule(text: str) -> Rule:
    found = _RULE.fullmatch(text)
    if found is None or not found["target"]:
        raise UsageError(
            f"The label mapping has the rule {text.strip()!r}; expected VALUES=NAME or "
            "VALUES=INTEGER[:NAME], such as '1-15=fluid', '1|4=2:core' or '255=ignore'."
        )
    spans = tuple(sorted((_span(part, text) for part in found["values"].split("|")),
                         key=lambda span: span.low))  # fmt: skip
    number, colon, name = found["target"].partition(":")
    number, name = number.strip(), name.strip()
    if not number.isdecimal():
        return Rule(spans, found["target"])
    if colon and (not name or name == IGNORE):
        raise UsageError(
            f"The label mapping has the rule {text.strip()!r}; expected a class name behind the "
            "colon, or VALUES=ignore for pixels that were not annotated."
        )
    return Rule(spans, name, _checked(int(number), text))


def _span(text: str, rule: str) -> Span:
    low, dash, high = (part.strip() for part in text.partition("-"))
    if not low.isdecimal() or (high and not high.isdecimal()):
        raise UsageError(
            f"The label mapping has the values {text.strip()!r} in {rule.strip()!r}; expected a "
            "number, a range such as 1-15, or an open range such as 1-."
        )
    first = _checked(int(low), rule)
    last = first if not dash else None if not high else _checked(int(high), rule)
    if last is not None and last < first:
        raise UsageError(
            f"The label mapping has the range {text.strip()!r} in {rule.strip()!r}, which ends "
            f"before it begins; expected {last}-{first}."
        )
    return Span(first, last)


def _checked(value: int, rule: str) -> int:
    if value > MAX_LABEL:
        raise UsageError(
            f"The label mapping has the value {value} in {rule.strip()!r}; expected values below "
            "2^63."
        )
    return value
