"""A look at the annotation of one case: its labels in numbers, and what its file says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from operator import index
from typing import Any

from softlabel.readers.labelfacts import LabelFacts, label_facts
from softlabel.types import Array, Note

Colours = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class LabelLook:
    """What the check of a data set knows of one case.

    Attributes
    ----------
    facts : LabelFacts
        Of the label map as the file holds it, of several raters of the first; before the rules of
        a mapping.
    palette : tuple of (red, green, blue)
        Colour of each value that occurs, in the order of ``facts.values``; empty without a palette.
    names : mapping of int to str
        Names of the values as the file states them; empty when it states none.
    spacing_mm : tuple of float or None
    one_hot : bool
        The first or last axis looks like one channel a class: each pixel is marked in one of them.
    axes_known : bool
        The file says which of its axes are spatial.
    other_values : tuple of int
        Values that only the maps of further raters hold.
    notes : tuple of Note
    """

    facts: LabelFacts
    palette: Colours = ()
    names: Mapping[int, str] | None = None
    spacing_mm: tuple[float, ...] | None = None
    one_hot: bool = False
    axes_known: bool = True
    other_values: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"names": list((self.names or {}).items())}

    def by_colour(self, values: Mapping[tuple[int, int, int], int]) -> LabelLook:
        """The look at the same label map with its values given by the colours of its palette.

        The pixels between two others stay those of the values before.
        """
        facts = self.facts
        named = sorted((values[colour], n) for n, colour in enumerate(self.palette))
        order = [n for _, n in named]
        return replace(
            self,
            facts=replace(
                facts,
                values=tuple(value for value, _ in named),
                pixels=tuple(facts.pixels[n] for n in order),
                pieces=tuple(facts.pieces[n] for n in order if facts.pieces),
                boxes=tuple(facts.boxes[n] for n in order if facts.boxes),
                edges=tuple(facts.edges[n] for n in order),
            ),
            palette=(),
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> LabelLook:
        """Inverse of :meth:`as_record`.

        Raises
        ------
        KeyError, TypeError, ValueError
            When it is the record of something else.
        """
        facts = {name: _whole_numbers(value) for name, value in dict(record["facts"]).items()}
        spacing = record["spacing_mm"]
        return cls(
            LabelFacts(**facts),
            tuple((int(r), int(g), int(b)) for r, g, b in record["palette"]),
            {int(value): str(name) for value, name in record["names"]},
            None if spacing is None else tuple(float(s) for s in spacing),
            bool(record["one_hot"]),
            bool(record["axes_known"]),
            tuple(int(value) for value in record["other_values"]),
            tuple(Note(**note) for note in record["notes"]),
        )


def look_at(
    labels: Array,
    spacing_mm: tuple[float, ...] | None = None,
    notes: tuple[Note, ...] = (),
) -> LabelLook:
    """A look at a label map that a reader made itself, so that no file says more of it.

    Parameters
    ----------
    labels : ndarray of an integer type, shape (*spatial)
    spacing_mm : tuple of float or None
    notes : tuple of Note
    """
    return LabelLook(label_facts(labels), spacing_mm=spacing_mm, notes=notes)


def _whole_numbers(value: Any) -> Any:
    """A whole number, or tuples of such for lists and those within them."""
    return tuple(map(_whole_numbers, value)) if isinstance(value, list) else index(value)
