"""A look at the annotation of one case: its labels in numbers, and what its file says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
        The last axis looks like one channel a class: each pixel is 1 in one of them.
    axes_known : bool
        The file says which of its axes are spatial.
    notes : tuple of Note
    """

    facts: LabelFacts
    palette: Colours = ()
    names: Mapping[int, str] | None = None
    spacing_mm: tuple[float, ...] | None = None
    one_hot: bool = False
    axes_known: bool = True
    notes: tuple[Note, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"names": list((self.names or {}).items())}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> LabelLook:
        """Inverse of :meth:`as_record`.

        Raises
        ------
        KeyError, TypeError, ValueError
            When it is the record of something else.
        """
        facts = {name: _immutable(value) for name, value in record["facts"].items()}
        spacing = record["spacing_mm"]
        return cls(
            LabelFacts(**facts),
            tuple((int(r), int(g), int(b)) for r, g, b in record["palette"]),
            {int(value): str(name) for value, name in record["names"]},
            None if spacing is None else tuple(float(s) for s in spacing),
            bool(record["one_hot"]),
            bool(record["axes_known"]),
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


def _immutable(value: Any) -> Any:
    """Lists, and those within them, as tuples."""
    return tuple(map(_immutable, value)) if isinstance(value, list) else value
