"""What a report tells of a cache, as plain values: decided before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from softlabel.cache import Cache
from softlabel.cache.describe import describe
from softlabel.cache.facts import CaseFacts
from softlabel.colours import class_hex
from softlabel.errors import plural
from softlabel.generation.failures import read_failures
from softlabel.generation.findings import FINDINGS
from softlabel.generation.report import CaseReport, size_warnings
from softlabel.generation.settings import recorded_settings
from softlabel.reports.charts import Histogram, Strip, histogram, strips
from softlabel.reports.names import Names, from_dicom

MOST_CLASS_COLUMNS = 12
"""Classes that have a column in the table of cases: the softest ones, where there are more."""

NOT_LISTED = "it is not in the cache, and no list of failed cases names it"


@dataclass(frozen=True)
class CaseRow:
    """A line of the table of cases.

    Attributes
    ----------
    id : str
        In the cache.
    name, group : str
        On the page.
    shape, spacing, superpixels : str
    n_superpixels : int
    softened : float
        Share of the known pixels; NaN where none is known.
    soft_sum : float
        Mean Σq over the known pixels; likewise.
    own_q : tuple of float
        For each class the mean soft label in its own pixels; NaN where it has none.
    """

    id: str
    name: str
    group: str
    shape: str
    spacing: str
    superpixels: str
    n_superpixels: int
    softened: float
    soft_sum: float
    own_q: tuple[float, ...]

    @property
    def softest(self) -> tuple[int, ...]:
        """Indices of the classes that the case has, the softest first."""
        known = [k for k, q in enumerate(self.own_q) if np.isfinite(q)]
        return tuple(sorted(known, key=lambda k: (self.own_q[k], k)))

    @property
    def lowest(self) -> float:
        """Own-class q of the softest class; NaN without any."""
        return self.own_q[self.softest[0]] if self.softest else float("nan")


@dataclass(frozen=True)
class Contents:
    """What a report tells of a cache.

    Attributes
    ----------
    title : str
    facts : sequence of (str, str)
        Of the data set and the settings.
    findings : sequence of (str, str, str, str)
        Of what the check of the data set found: code, severity, text, and what it means.
    superpixel_warnings : tuple of str
        What is odd about the number and size of superpixels.
    notes : sequence of (str, str)
        What steps before superpixels noted: code, text.
    class_names : tuple of str
    colours : tuple of str
        Of the classes in pictures.
    classes : tuple of mapping
        As :func:`softlabel.cache.describe.describe` has them; ``softest`` names the case as the
        page does.
    columns : tuple of int
        Classes that have a column in the table of cases.
    rows : tuple of CaseRow
        Worst first: by the lowest own-class q, then by the softened share.
    cases : int
        In the cache, with those that have no row.
    failures : sequence of (str, str)
        Name of a case, and why it is not in the cache or cannot be read.
    histograms : tuple of Histogram
    strips : tuple of Strip
        Own-class q by class.
    anonymous : bool
    """

    title: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[tuple[str, str, str, str]]
    superpixel_warnings: tuple[str, ...]
    notes: Sequence[tuple[str, str]]
    class_names: tuple[str, ...]
    colours: tuple[str, ...]
    classes: tuple[Mapping[str, Any], ...]
    columns: tuple[int, ...]
    rows: tuple[CaseRow, ...]
    cases: int
    failures: Sequence[tuple[str, str]]
    histograms: tuple[Histogram, ...]
    strips: tuple[Strip, ...]
    anonymous: bool


def contents_of(
    cache: Cache, anonymise: bool | None = None, most_rows: int | None = None
) -> Contents:
    """Collect what a report tells, without reading an array.

    Parameters
    ----------
    cache : Cache
    anonymise : bool or None
        None is yes where the source is DICOM.
    most_rows : int, optional
        Of the table of cases; beyond, the worst are in it.
    """
    told = describe(cache)
    settings = recorded_settings(cache.header.settings)
    record = told["settings"] | settings
    anonymous = from_dicom(cache) if anonymise is None else anonymise
    names = Names(anonymous, cache.header.fingerprint)
    ids = [case["id"] for case in told["cases"]]
    rows = [_row(case_id, cache.facts(case_id), names) for case_id in ids]
    rows.sort(key=lambda row: (_last(row.lowest), -_first(row.softened)))
    own_q = np.array([row.own_q for row in rows]).reshape(len(rows), len(cache.classes))
    columns = _columns(own_q)
    return Contents(
        title=f"cache {cache.header.fingerprint[:DIGEST]}" if anonymous else cache.path.name,
        facts=_facts(told, names.settings(record)),
        findings=[_finding(finding, names) for finding in told["findings"]],
        superpixel_warnings=tuple(
            size_warnings([_counted(cache.facts(i), names.of(i)) for i in ids])
        ),
        notes=_notes(told["preprocessing"], names),
        class_names=cache.classes.names,
        colours=tuple(map(class_hex, range(len(cache.classes)))),
        classes=tuple(_class(row, names) for row in told["classes"]),
        columns=columns,
        rows=tuple(rows[:most_rows]),
        cases=len(rows),
        failures=_failures(cache, told, names),
        histograms=_histograms(rows),
        strips=strips({k: own_q[:, k].tolist() for k in columns}, cache.classes.names),
        anonymous=anonymous,
    )


DIGEST = 12
"""Characters of a fingerprint that a page shows."""


def _row(case_id: str, facts: CaseFacts, names: Names) -> CaseRow:
    pixels = np.array(facts.class_pixels, np.float64)
    sums = np.array(facts.own_class_sum or (np.nan,) * len(pixels))
    own_q = np.where(pixels > 0, sums / np.maximum(pixels, 1), np.nan)
    known = sum(facts.class_pixels)
    asked = f" of {facts.superpixels_asked:,}" if facts.superpixels_asked else ""
    spacing = "" if facts.spacing_mm is None else " × ".join(f"{s:.4g}" for s in facts.spacing_mm)
    return CaseRow(
        case_id,
        names.of(case_id),
        names.of(facts.group),
        " × ".join(map(str, facts.shape)),
        spacing,
        f"{facts.superpixels:,}{asked}" if facts.superpixels else "–",
        facts.superpixels,
        facts.softened_pixels / known if known else float("nan"),
        facts.soft_sum / known if known else float("nan"),
        tuple(own_q.tolist()),
    )


def _counted(facts: CaseFacts, name: str) -> CaseReport:
    """What a run would have said of a case."""
    pixels = sum(facts.class_pixels)
    return CaseReport(
        name,
        pixels=pixels,
        softened_pixels=facts.softened_pixels,
        pixels_but_largest=pixels - max(facts.class_pixels, default=0),
        soft_sum=facts.soft_sum,
        n_superpixels=facts.superpixels,
        n_superpixels_asked=facts.superpixels_asked,
    )


def _facts(told: Mapping[str, Any], settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    left = dict(settings)
    source, options = left.pop("format", "unknown"), left.pop("format_options", {})
    absent = len(told["missing"] or ())
    lacking = f" of {len(told['cases']) + absent}" if absent else ""
    facts = [
        ("source", str(source)),
        ("made by", str(told["generator"])),
        ("cases", f"{len(told['cases'])}{lacking} in {plural(len(told['groups']), 'group')}"),
        ("channels", ", ".join(told["channels"]) or "unnamed"),
        ("ignored label", "none" if told["ignore"] is None else str(told["ignore"])),
    ]
    if isinstance(options, Mapping):
        facts += [(f"option {n}", as_text(v)) for n, v in options.items() if v is not None]
    else:
        facts.append(("options", str(options)))
    facts += [(name, as_text(value)) for name, value in left.items() if value not in (None, {}, ())]
    if told["softened_share"] is not None:
        facts.append(("softened", f"{100 * told['softened_share']:.1f} % of the known pixels"))
        facts.append(("mean Σq", f"{told['mean_soft_sum']:.4f}"))
    return facts


def as_text(value: Any) -> str:
    """A setting for people: options by name without those not given, numbers with commas.

    Examples
    --------
    >>> as_text({"in_plane": False, "slice_axis": None, "spacing_mm": (0.5, 2)})
    'in_plane no, spacing_mm 0.5, 2'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{n} {as_text(v)}" for n, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(as_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _finding(finding: Mapping[str, Any], names: Names) -> tuple[str, str, str, str]:
    code, severity = str(finding.get("code", "")), str(finding.get("severity", ""))
    kind = FINDINGS.get(code)
    meaning, remedy = (kind.meaning, f"What settles it: {kind.settled_by}.") if kind else ("", "")
    found = names.sentence(str(finding.get("text", "")), "")
    return code, severity, found, f"{meaning} {remedy}".strip()


def _notes(preprocessing: Mapping[str, Any] | None, names: Names) -> list[tuple[str, str]]:
    notes = [] if preprocessing is None else preprocessing["notes"]
    return [
        (str(n["code"]), f"{n['cases']} cases: {names.sentence(str(n['text']))}") for n in notes
    ]


def _class(row: Mapping[str, Any], names: Names) -> dict[str, Any]:
    softest = row["softest"]
    return {**row, "softest": None if softest is None else names.of(softest["case"]),
            "lowest_q": None if softest is None else softest["own_class_q"]}  # fmt: skip


def _failures(cache: Cache, told: Mapping[str, Any], names: Names) -> list[tuple[str, str]]:
    """Cases that could not be computed, that the data set has besides, or whose file is damaged."""
    reasons = dict.fromkeys(told["missing"] or (), NOT_LISTED)
    reasons |= read_failures(cache.path)
    reasons |= told["problems"]
    kept = (
        (names.of(case_id), reason if reason is NOT_LISTED else names.sentence(reason))
        for case_id, reason in reasons.items()
    )
    return list(kept)


def _histograms(rows: Sequence[CaseRow]) -> tuple[Histogram, ...]:
    drawn = (
        histogram("share softened", [r.softened for r in rows], percent=True),
        histogram("lowest own-class q", [r.lowest for r in rows]),
        histogram("mean Σq", [r.soft_sum for r in rows]),
        histogram("superpixels", [r.n_superpixels for r in rows if r.n_superpixels]),
    )
    return tuple(chart for chart in drawn if chart is not None)


def _columns(own_q: np.ndarray) -> tuple[int, ...]:
    """The classes that any case has, the softest ones where there are too many."""
    known = np.isfinite(own_q).any(axis=0)
    lowest = np.where(np.isfinite(own_q), own_q, np.inf).min(axis=0, initial=np.inf)
    softest = np.argsort(lowest, kind="stable")[:MOST_CLASS_COLUMNS]
    return tuple(int(k) for k in np.sort(softest) if known[k])


def _last(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _first(value: float) -> float:
    return value if np.isfinite(value) else float("-inf")
