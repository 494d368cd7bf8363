"""What a step did to a case: enough to undo it, and to write down.

A record holds plain settings and small arrays (a shift for each A-scan). It becomes JSON and comes
back without a difference, so that it can travel in a cache or a checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from softlabel.types import Array

MAX_VALUES = 4_000_000
"""More values than this in an array of a record are a sign of an image that was put into it."""

_DTYPES = ("bool", *(f"{k}int{b}" for k in ("", "u") for b in (8, 16, 32, 64)),
           "float16", "float32", "float64")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Record:
    """What one step did to one case.

    Attributes
    ----------
    step : str
        Name in :data:`softlabel.preprocess.STEPS`.
    shape_before, shape_after : tuple of int
        Spatial shapes.
    settings : mapping of str to JSON values
        The options, and what the step found out.
    arrays : mapping of str to ndarray
        Small arrays of numbers or truth values, finite.

    Examples
    --------
    >>> record = Record("crop", (9, 4), (6, 4), {"margin_um": 80.0}, {"start": np.array([2])})
    >>> again = Record.from_json(record.as_json())
    >>> again == record, again.arrays["start"]
    (True, array([2]))
    """

    step: str
    shape_before: tuple[int, ...]
    shape_after: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values that :mod:`json` can write: arrays as lists with dtype and shape.

        Raises
        ------
        ValueError
            When an array is not numeric, not finite or far too large for a record, or a setting is
            no JSON value.
        """
        for name, array in self.arrays.items():
            _check_array(name, array)
        content = {
            "step": self.step,
            "shape_before": list(self.shape_before),
            "shape_after": list(self.shape_after),
            "settings": dict(self.settings),
            "arrays": {name: _array_as_json(array) for name, array in self.arrays.items()},
        }
        try:
            plain: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"the record of the step {self.step} is no JSON: {error}.") from error
        return plain

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """Read what :meth:`as_json` made.

        Raises
        ------
        ValueError
            When the content is not that of a record.
        """
        try:
            return cls(
                step=str(content["step"]),
                shape_before=tuple(int(n) for n in content["shape_before"]),
                shape_after=tuple(int(n) for n in content["shape_after"]),
                settings=dict(content["settings"]),
                arrays={n: _array_from_json(a) for n, a in content["arrays"].items()},
            )
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"a record of a preprocessing step has the keys step, shape_before, shape_after, "
                f"settings and arrays; {error} is missing or of another type."
            ) from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.as_json() == other.as_json()


def _check_array(name: str, array: Array) -> None:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise ValueError(f"the array {name!r} of a record has the type {array.dtype}, no number.")
    if array.size > MAX_VALUES:
        raise ValueError(
            f"the array {name!r} of a record has {array.size:,} values; at most {MAX_VALUES:,}."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"the array {name!r} of a record holds values that are not finite.")


def _array_as_json(array: Array) -> dict[str, Any]:
    # Python writes the shortest text that reads back as the same double, and every float32 is one.
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.ravel().tolist()}


def _array_from_json(content: Mapping[str, Any]) -> Array:
    """An array of a record that may be anybody's: numbers only, no more of them than it states."""
    values, name = content["values"], content["dtype"]
    if name not in _DTYPES or not isinstance(values, list) or len(values) > MAX_VALUES:
        raise TypeError(f"an array of the type {name!r}")
    array = np.array(values, dtype=name)
    _check_array(str(name), array)
    return array.reshape(tuple(content["shape"]))
