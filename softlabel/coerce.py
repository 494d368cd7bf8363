"""Fields of settings as plain Python values of the types that their annotations state.

Settings arrive from Python, YAML, JSON and NumPy. Each dataclass of them calls
:func:`make_plain` before anything else, so that whatever passes is recorded alike, and what would
only look right (a text that is true, half a superpixel) is refused in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

_WORDS = {bool: "True or False", int: "an integer", float: "a number", str: "text",
          Mapping: "a mapping"}  # fmt: skip


@cache
def _kinds(of: type) -> dict[str, Any]:
    return get_type_hints(of)


def make_plain(instance: Any) -> None:
    """Replace every field of a frozen dataclass by a plain value of its annotated type.

    Parameters
    ----------
    instance : dataclass
        Its fields are of the types bool, int, float, str, a tuple of those, a mapping, or one of
        them or None.

    Raises
    ------
    ValueError
        Naming the field, the value, and the type that is expected.
    """
    for name, kind in _kinds(instance.__class__).items():
        value = getattr(instance, name)
        try:
            plain = _plain(value, kind)
        except (TypeError, OverflowError):
            raise ValueError(f"{name} must be {_words(kind)}; got {value!r}.") from None
        object.__setattr__(instance, name, plain)


def _plain(value: Any, kind: Any) -> Any:
    """The value in Python's own type; TypeError when it is of another kind."""
    kinds = get_args(kind)
    if type(None) in kinds:
        return None if value is None else _plain(value, kinds[0])
    if get_origin(kind) is tuple and Ellipsis in kinds and _is_sequence(value) and len(value):
        return tuple(_plain(part, kinds[0]) for part in value)
    if get_origin(kind) is tuple and _is_sequence(value) and len(value) == len(kinds):
        return tuple(_plain(part, of) for part, of in zip(value, kinds, strict=True))
    if get_origin(kind) is Mapping and isinstance(value, Mapping):
        return dict(value)  # a copy: what is frozen must not change with the caller's
    if kind is str and isinstance(value, str):
        return str.__str__(value)
    truth = isinstance(value, bool | np.bool_)  # a bool is an integer to Python, not to a person
    if kind is bool and truth:
        return bool(value)
    if kind is int and isinstance(value, Integral) and not truth:
        return int(value)
    if kind is float and isinstance(value, Real) and not truth:
        return float(value)  # 100 and 100.0 are one setting
    raise TypeError


def _is_sequence(value: Any) -> bool:
    """YAML and JSON know lists only, and NumPy makes arrays of them."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _words(kind: Any) -> str:
    kinds = get_args(kind)
    if type(None) in kinds:
        return f"{_words(kinds[0])} or None"
    if get_origin(kind) is tuple:
        return "numbers" if Ellipsis in kinds else f"{len(kinds)} numbers"
    return _WORDS[get_origin(kind) or kind]
