"""What would be silently wrong about a data set: every kind of finding, and how each is found.

Findings are data. :mod:`softlabel.generation.check` collects what they are drawn from.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from softlabel.errors import plural
from softlabel.generation.numbering import numbered_maps
from softlabel.generation.preset import preset_hint, resolved
from softlabel.generation.settings import Settings
from softlabel.mapping import LabelMapping
from softlabel.readers.labelfacts import LabelFacts
from softlabel.readers.look import LabelLook
from softlabel.readers.mapped import mapped_facts
from softlabel.softening import method_named
from softlabel.softening.methods import NONE
from softlabel.types import CaseRef, Dataset, long_axes

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class FindingKind:
    """One thing that can be wrong.

    Attributes
    ----------
    severity : {"error", "warning"}
        An error would certainly give a wrong cache; a warning may.
    meaning : str
        What it means, in one sentence.
    settled_by : str
        The options that settle it.
    """

    severity: str
    meaning: str
    settled_by: str


FINDINGS: dict[str, FindingKind] = {
    "palette": FindingKind(
        ERROR,
        "Label maps have palettes in which one value has several colours, so that values mean "
        "something else from file to file.",
        "--classes FILE with a colour for each class",
    ),
    "codings": FindingKind(
        ERROR,
        "Classes are 0, 1, 2 … in some files and stretched up to 255 or 65535 in others.",
        "--map, for masks 0=background,1-=NAME",
    ),
    "grey": FindingKind(
        ERROR,
        "Label maps hold many grey levels between their frequent values, as resizing or lossy "
        "compression makes them.",
        "--threshold 128 for masks; otherwise the original label maps",
    ),
    "instances": FindingKind(
        WARNING,
        "Label values number the objects of each image instead of naming classes.",
        "--map 0=background,1-=NAME",
    ),
    "one-hot": FindingKind(
        ERROR,
        "The first or last axis of the label arrays looks like one channel for each class.",
        "label maps with one value a pixel (np.argmax along that axis)",
    ),
    "names": FindingKind(
        ERROR,
        "Files give one name different values, or one value different names.",
        "label maps whose values agree, or one file a class",
    ),
    "stack": FindingKind(
        WARNING,
        "Arrays without names of their axes may be a stack of images and no volume.",
        "one array an image, or --accept stack",
    ),
    "view": FindingKind(
        WARNING,
        "The label maps are all alike, as a mask of the field of view is.",
        "--labels for the annotation, --masks for the field of view",
    ),
    "groups": FindingKind(
        WARNING,
        "Ids look like slices or scans of fewer patients, but every case is a group of its own, so "
        "that a split would cut through patients.",
        "--group REGEX",
    ),
    "pixels": FindingKind(
        WARNING,
        "Pixels are far from square while distances are counted in pixels.",
        "--distance-unit mm, and for thick slices --in-plane, by a --method that has them",
    ),
    "superpixels": FindingKind(
        WARNING,
        "Superpixels are so small that few lie across a boundary, or so large that nearly every "
        "one does.",
        "--preset auto, --superpixel-size or --n-segments",
    ),
    "idle": FindingKind(
        WARNING, "An option changes nothing in this data set.", "leaving the option out"
    ),
    "file": FindingKind(
        WARNING, "A file says contradictory things, and was taken one way.", "see the sentence"
    ),
}
"""All kinds of findings, by their codes."""


@dataclass(frozen=True)
class Finding:
    """Something that was found in a data set.

    Attributes
    ----------
    code : str
        A key of :data:`FINDINGS`.
    text : str
        What was found, with examples.
    cases : tuple of str
        Ids of the cases that it was found in; empty when it is of the whole data set.
    accepted : bool
        The user knows: an error counts as a warning.
    """

    code: str
    text: str
    cases: tuple[str, ...] = ()
    accepted: bool = False

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return WARNING if self.accepted else FINDINGS[self.code].severity

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON and the cache."""
        kind = FINDINGS[self.code]
        return {
            "code": self.code,
            "severity": self.severity,
            "accepted": self.accepted,
            "text": self.text,
            "meaning": kind.meaning,
            "settled_by": kind.settled_by,
            "cases": list(self.cases[:SHOWN_CASES]),
            "n_cases": len(self.cases),
        }


SHOWN_CASES = 20


@dataclass(frozen=True)
class Evidence:
    """All that findings are drawn from.

    Attributes
    ----------
    dataset : Dataset
    settings : Settings
    refs : tuple of CaseRef
        The cases that were looked at.
    looks : mapping of id to LabelLook
        Those whose label map could be read.
    """

    dataset: Dataset
    settings: Settings
    refs: tuple[CaseRef, ...]
    looks: Mapping[str, LabelLook]

    @cached_property
    def facts(self) -> Mapping[str, LabelFacts]:
        """Label maps by id, after the mapping."""
        return {case: mapped_facts(look.facts, self.dataset) for case, look in self.looks.items()}


# --- label values ---------------------------------------------------------------------------------

FEW_VALUES = 8
GREY_SHARE = 0.2
"""Grey levels of a resized mask are a small share of its pixels: those at edges."""


def _palettes(evidence: Evidence) -> Iterator[Finding]:
    """One value that has another colour elsewhere; colours then tell the classes."""
    if evidence.dataset.mapping is not None and evidence.dataset.mapping.colours:
        return
    colours: dict[int, set[tuple[int, int, int]]] = defaultdict(set)
    where: dict[int, str] = {}
    differing: list[str] = []
    for case, look in evidence.looks.items():
        for value, colour in zip(look.facts.values, look.palette, strict=False):
            if colours[value] and colour not in colours[value]:
                differing.append(case)
            colours[value].add(colour)
            where.setdefault(value, case)
    if differing:
        value = next(v for v, found in sorted(colours.items()) if len(found) > 1)
        yield Finding(
            "palette",
            f"The value {value} is {' and '.join(map(str, sorted(colours[value])[:3]))} (red, "
            f"green, blue), for example in {where[value]} and {differing[0]}.",
            tuple(dict.fromkeys(differing)),
        )


def colour_mapping(looks: Mapping[str, LabelLook]) -> LabelMapping | None:
    """Values by colour where palettes differ in order only: those of the first file.

    None where a case has no palette, or one has two values of one colour.
    """
    value_of: dict[tuple[int, int, int], int] = {}
    for look in looks.values():
        if len(look.palette) != len(look.facts.values) or len(set(look.palette)) < len(
            look.palette
        ):
            return None
        for colour, value in zip(look.palette, look.facts.values, strict=True):
            if colour not in value_of:
                free = value if value not in value_of.values() else max(value_of.values()) + 1
                value_of[colour] = free
    return LabelMapping(colours=value_of) if value_of else None


FULL_SCALES = ((127, 128, 254, 255), (32767, 32768, 65534, 65535))
"""Highest values of label maps that were stretched to be seen, as 0, 255 or 0, 127, 254 are, in 8
and in 16 bits."""


def _codings(evidence: Evidence) -> Iterator[Finding]:
    """Files of 0, 1, 2 … beside files of the same classes stretched up to 255 or 65535."""
    if _named(evidence):
        return
    codings: dict[int, dict[str, set[int]]] = defaultdict(dict)
    for case, facts in evidence.facts.items():
        others = set(facts.values) - {0}
        if others:
            coding = _coding(max(others))
            if coding is None:
                return
            codings[coding][case] = others
    found = [codings[coding] for coding in sorted(codings)]
    values = [set[int]().union(*cases.values()) for cases in found]
    for n in range(1, len(found)):
        if values[n - 1].isdisjoint(values[n]) and len(values[n]) <= len(values[n - 1]):
            low, high = found[n - 1], found[n]
            yield Finding(
                "codings",
                f"{plural(len(low), 'label map')} of {_listed(values[n - 1])} (for example "
                f"{next(iter(low))}) beside {len(high)} of {_listed(values[n])} (for example "
                f"{next(iter(high))}).",
                tuple(low if len(low) <= len(high) else high),
            )
            return


def _coding(highest: int) -> int | None:
    """0 for few values, 1 and 2 for those stretched over 8 and 16 bits; None for any others."""
    scales = (range(FEW_VALUES + 1), *FULL_SCALES)
    return next((n for n, scale in enumerate(scales) if highest in scale), None)


def _listed(values: set[int]) -> str:
    return " and ".join(map(str, (0, *sorted(values))))


def _named(evidence: Evidence) -> bool:
    """Whether the source, or a mapping, says what the values are."""
    return evidence.dataset.classes is not None


def _grey(evidence: Evidence) -> Iterator[Finding]:
    """Many rare values strictly between frequent ones, at edges only."""
    if _named(evidence) and evidence.dataset.mapping is None:
        return
    found = {case: len(facts.values) for case, facts in evidence.facts.items() if _is_grey(facts)}
    if found:
        worst = max(found, key=lambda case: found[case])
        values = evidence.facts[worst].values
        yield Finding(
            "grey",
            f"{plural(len(found), 'label map')} with grey levels, for example {worst} with "
            f"{found[worst]} values ({', '.join(map(str, values[:6]))} …).",
            tuple(found),
        )


def _is_grey(facts: LabelFacts) -> bool:
    if len(facts.values) <= FEW_VALUES:
        return False
    pixels, edges = np.array(facts.pixels), np.array(facts.edges)
    rare = pixels < 0.02 * pixels.sum()
    if rare.sum() < len(facts.values) - 4 or pixels[rare].sum() > GREY_SHARE * pixels.sum():
        return False
    thin = edges[rare].sum() > 0.9 * pixels[rare].sum()
    return bool(thin and facts.between > 0.3 * pixels[rare].sum())


def _instances(evidence: Evidence) -> Iterator[Finding]:
    """Values that number objects: each one piece, and no structure that recurs."""
    if _named(evidence) or _is_grey_any(evidence):
        return
    ignore = evidence.dataset.ignore
    unmarked = {0} if ignore is None else {0, ignore}
    numbered = numbered_maps(evidence.facts, unmarked)
    if not numbered:
        return
    counts = [len(set(facts.values) - unmarked) for facts in evidence.facts.values()]
    first = evidence.facts[numbered[0]].values
    least, most = min(counts), max(counts)
    yield Finding(
        "instances",
        f"{plural(len(numbered), 'label map')} number their objects (for example {numbered[0]}: "
        f"{', '.join(map(str, first[:8]))}{' …' if len(first) > 8 else ''}, each one piece); "
        f"images have {most if least == most else f'{least} to {most}'} of them.",
        tuple(numbered),
    )


def _is_grey_any(evidence: Evidence) -> bool:
    return any(_is_grey(facts) for facts in evidence.facts.values())


def _one_hot(evidence: Evidence) -> Iterator[Finding]:
    found = [c for c, look in evidence.looks.items() if look.one_hot and not look.axes_known]
    if found:
        shape = evidence.looks[found[0]].facts.shape
        yield Finding(
            "one-hot",
            f"{plural(len(found), 'label array')} of shapes such as {shape} ({found[0]}), of which "
            "each pixel is marked in one place of the first or last axis.",
            tuple(found),
        )


def _names(evidence: Evidence) -> Iterator[Finding]:
    """Names and values of segments that do not fit together across files."""
    value_of: dict[str, tuple[int, str]] = {}
    name_of: dict[int, tuple[str, str]] = {}
    for case, look in evidence.looks.items():
        for value, name in (look.names or {}).items():
            known_value, first = value_of.setdefault(name, (value, case))
            known_name, other = name_of.setdefault(value, (name, case))
            if known_value != value:
                yield Finding(
                    "names",
                    f"{name!r} is {known_value} in {first} and {value} in {case}.",
                    (first, case),
                )
                return
            if known_name != name:
                yield Finding(
                    "names",
                    f"The value {value} is {known_name!r} in {other} and {name!r} in {case}.",
                    (other, case),
                )
                return


def _view(evidence: Evidence) -> Iterator[Finding]:
    """Binary maps of one piece that hardly differ between images."""
    looks = list(evidence.looks.values())
    if len(looks) < 3 or any(len(look.facts.values) != 2 for look in looks):
        return
    shares = np.array([look.facts.pixels[1] / look.facts.size for look in looks])
    one_piece = all(look.facts.pieces[1:] == (1,) for look in looks)
    if one_piece and shares.min() > 0.4 and np.ptp(shares) < 0.02:
        yield Finding(
            "view",
            f"In every one of {len(looks)} label maps one piece covers {100 * shares.min():.0f} to "
            f"{100 * shares.max():.0f} % of the image.",
        )


# --- geometry and settings ------------------------------------------------------------------------

MOST_ANISOTROPY = 2.0
LEAST_PIXELS = 16.0
"""Pixels a superpixel, below which few lie across a boundary."""

MOST_MIXED = 0.9
"""Share of superpixels across a boundary, estimated, above which the image has no say."""


def _stack(evidence: Evidence) -> Iterator[Finding]:
    found = [
        c for c, look in evidence.looks.items()
        if not look.axes_known and not look.one_hot and len(look.facts.shape) == 3
    ]  # fmt: skip
    if found and len(found) == len(evidence.looks):
        shape = evidence.looks[found[0]].facts.shape
        yield Finding(
            "stack",
            f"{plural(len(found), 'array')} of three axes, for example {found[0]} of shape "
            f"{' × '.join(map(str, shape))}, are taken for volumes: distances and superpixels "
            "reach across all three axes.",
            tuple(found),
        )


_SLICE = re.compile(r"(?P<scan>.+?)[_\-. ]*(?:slice|frame|bscan|img|image|z|s|t)?[_\-. ]*\d+")


def _groups(evidence: Evidence) -> Iterator[Finding]:
    """Ids that share their beginning, each a group of its own."""
    if any(ref.group != ref.id for ref in evidence.refs) or len(evidence.refs) < 4:
        return
    scans: dict[str, list[str]] = defaultdict(list)
    for ref in evidence.refs:
        found = _SLICE.fullmatch(ref.id)
        scans[found["scan"] if found else ref.id].append(ref.id)
    shared = [ids for ids in scans.values() if len(ids) > 1]
    if len(scans) > 1 and sum(map(len, shared)) >= 0.5 * len(evidence.refs):
        ids = shared[0]
        yield Finding(
            "groups",
            f"{len(evidence.refs)} cases look like parts of {len(scans)} (for example {ids[0]} and "
            f"{ids[1]}), but each is a group of its own.",
        )


def _pixels(evidence: Evidence) -> Iterator[Finding]:
    settings, method = evidence.settings, method_named(evidence.settings.method)
    in_mm = settings.distance_unit == "mm" and method.uses_spacing
    if in_mm or method.distances == NONE:
        return
    in_plane = settings.checked_method_options().get("in_plane", False)
    found: dict[str, float] = {}
    for case, look in evidence.looks.items():
        spacing = look.spacing_mm
        if spacing is None or len(spacing) != len(look.facts.shape):
            continue
        compared = sorted(spacing)[:-1] if in_plane and len(spacing) == 3 else spacing
        ratio = max(compared) / min(compared)
        if ratio > MOST_ANISOTROPY:
            found[case] = ratio
    if found:
        case = max(found, key=lambda c: found[c])
        spacing = evidence.looks[case].spacing_mm or ()
        pixels_only = f"the method {settings.method} counts pixels only"
        counted = "distances in pixels" if method.uses_spacing else pixels_only
        yield Finding(
            "pixels",
            f"{plural(len(found), 'case')} with pixels such as "
            f"{' × '.join(f'{s:.4g}' for s in spacing)} mm ({case}), {found[case]:.1f} times as "
            f"long as wide, and {counted}.",
            tuple(found),
        )


def _superpixels(evidence: Evidence) -> Iterator[Finding]:
    """Superpixels that are too small, or too large for the structures in the label maps."""
    if evidence.settings.superpixels == "file" or evidence.settings.method != "superpixel":
        return
    hint = preset_hint(evidence.settings)
    small: dict[str, float] = {}
    large: dict[str, float] = {}
    for case, look in evidence.looks.items():
        shape = look.facts.shape
        settings = resolved(evidence.settings, shape)
        size = settings.superpixel_size or look.facts.size / settings.n_segments
        per_slice = settings.slic_dims == "slice" and len(shape) == 3
        dims = 2 if per_slice or len(long_axes(shape)) <= 2 else 3
        if settings.superpixel_size is None and per_slice:
            size = look.facts.size / min(shape) / settings.n_segments
        if size < LEAST_PIXELS:
            small[case] = size
        edge_share = sum(look.facts.edges) / (2 * look.facts.size)
        # a superpixel of edge a is crossed where a boundary lies within it: about a × its density
        if edge_share * size ** (1 / dims) > MOST_MIXED and size > LEAST_PIXELS:
            large[case] = size
    for found, words in (
        (small, "so small that few lie across a boundary"),
        (large, "so large that nearly every one lies across a boundary"),
    ):
        if found:
            case = min(found, key=lambda c: found[c])
            yield Finding(
                "superpixels",
                f"{plural(len(found), 'case')} with superpixels of about {found[case]:.0f} pixels "
                f"({case}), {words}.{hint}",
                tuple(found),
            )


def _idle(evidence: Evidence) -> Iterator[Finding]:
    """Rules of a mapping, and an ignored value, that occur nowhere."""
    values = {v for look in evidence.looks.values() for v in look.facts.values}
    if not values:
        return
    mapping = evidence.dataset.mapping
    for rule in mapping.rules if mapping is not None else ():
        if not any(value in span for value in values for span in rule.spans):
            yield Finding("idle", f"No label map holds a value of the rule {rule}.")
    ignore = evidence.dataset.options.get("ignore")
    if ignore is not None and ignore not in values:
        yield Finding("idle", f"No label map holds the ignored value {ignore}.")


def _notes(evidence: Evidence) -> Iterator[Finding]:
    """What readers met in single files, one finding a kind."""
    by_code: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case, look in evidence.looks.items():
        for note in look.notes:
            by_code[note.code].append((case, note.text))
    for found in by_code.values():
        more = f" So do {len(found) - 1} others." if len(found) > 1 else ""
        yield Finding("file", found[0][1] + more, tuple(case for case, _ in found))


CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    _palettes, _codings, _grey, _instances, _one_hot, _names, _view, _stack, _groups, _pixels,
    _superpixels, _idle, _notes,
)  # fmt: skip
"""All checks, in the order in which findings are shown."""


def findings_of(evidence: Evidence, accepted: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
    """All findings of a data set, errors first.

    Parameters
    ----------
    evidence : Evidence
    accepted : set of str
        Codes that the user has accepted.
    """
    found = [
        Finding(f.code, f.text, f.cases, f.code in accepted)
        for check in CHECKS
        for f in check(evidence)
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity != ERROR))
