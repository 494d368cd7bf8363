"""What a step is: a frozen record of functions, one module a step.

A step changes a case before superpixels are made and the network sees it, and can be undone: what
was computed on the changed grid comes back to that of the scanner. It looks at one case and never
at another one, so that a case comes out the same whatever the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from softlabel.preprocess.record import Record
from softlabel.types import Array, Case

Kind = Literal["image", "labels", "soft"]
"""What an array holds: intensities, label values (taken from the nearest pixel), or values of each
class from 0 to 1 (interpolated, which keeps their range and their sum)."""

KINDS: tuple[Kind, ...] = ("image", "labels", "soft")


@dataclass(frozen=True)
class Step:
    """A step of preprocessing.

    Attributes
    ----------
    title : str
        What it does and where it comes from, in a line.
    options : type
        Frozen dataclass of its options, which makes them plain (:mod:`softlabel.coerce`). A field
        with ``help`` in its metadata becomes an option of the command line; ``choices`` beside it
        are the words that it may be, ``file`` says that the command line takes a file where the
        field has its SHA-256, and ``idle`` is a function of the options that names those beside
        which the field has no meaning ("" for none).
    apply : callable (case, options) -> (Case, Record)
        Changes the image and every map that lies on its grid. Raises ValueError, in one sentence,
        when the case cannot be changed so.
    restore : callable (record, array, kind) -> ndarray
        Brings an array of shape (..., *spatial) back to the grid before the step.
    words : tuple of str
        What a user may say of it, first the word that leaves it out. Empty where numbers ask for
        it.
    of_word : callable (word or numbers) -> mapping
        The options that such a word stands for.
    asked_by : str
        Field of :class:`softlabel.preprocess.PreprocessOptions` that asks for it; empty for one of
        the step's name.
    weights : callable (options) -> str, or None
        SHA-256 of the weights of the network that the options need, empty for none; where it is
        not empty ``apply`` takes the network as a third argument.
    in_place : bool
        Whether every pixel always stays where it is, and only intensities and masks change.
    """

    title: str
    options: type
    apply: Callable[..., tuple[Case, Record]]
    restore: Callable[[Record, Array, Kind], Array]
    words: tuple[str, ...] = ()
    of_word: Callable[[Any], Mapping[str, Any]] = lambda word: {}
    asked_by: str = ""
    weights: Callable[[Any], str] | None = None
    in_place: bool = False


def unchanged(record: Record, array: Array, kind: Kind) -> Array:
    """Restore what a step left on its grid: the array itself."""
    return array
