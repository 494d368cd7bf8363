"""Fields as plain values: what becomes what, and what is refused."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from softlabel.coerce import make_plain


class Word(str, enum.Enum):  # noqa: UP042
    HIGH = "high"


@dataclass(frozen=True)
class Fields:
    flag: bool = False
    count: int = 1
    share: float = 0.0
    word: str = "low"
    axis: int | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    many: tuple[float, ...] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_plain(self)


@pytest.mark.parametrize(
    ("name", "given", "plain"),
    [
        ("flag", np.False_, False),
        ("count", np.uint64(2**63), 2**63),
        ("share", 3, 3.0),
        ("share", np.float16(0.5), 0.5),
        ("share", np.int8(-1), -1.0),
        ("word", Word.HIGH, "high"),
        ("axis", None, None),
        ("axis", np.int32(2), 2),
        ("pair", [0, 1], (0.0, 1.0)),
        ("pair", np.array([0, 1], np.uint8), (0.0, 1.0)),
        ("many", [1, np.float32(0.5), 2], (1.0, 0.5, 2.0)),
        ("many", (3,), (3.0,)),
        ("many", None, None),
    ],
)
def test_what_becomes_a_plain_value(name, given, plain):
    found = getattr(Fields(**{name: given}), name)
    assert found == plain and type(found) is type(plain)
    assert repr(found) == repr(plain), "of Python's types inside too"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("flag", 1, "True or False"),
        ("flag", "yes", "True or False"),
        ("count", 1.0, "an integer"),
        ("count", False, "an integer"),
        ("share", "1", "a number"),
        ("share", np.True_, "a number"),
        ("share", 1j, "a number"),
        ("word", b"high", "text"),
        ("axis", "None", "an integer or None"),
        ("pair", (0,), "2 numbers"),
        ("pair", "01", "2 numbers"),
        ("pair", {0.0, 1.0}, "2 numbers"),
        ("many", (), "numbers or None"),
        ("many", 1.0, "numbers or None"),
        ("many", "12", "numbers or None"),
        ("many", (1, "2"), "numbers or None"),
        ("more", [], "a mapping"),
    ],
)
def test_what_is_refused(name, given, expected):
    with pytest.raises(ValueError) as raised:
        Fields(**{name: given})
    assert str(raised.value) == f"{name} must be {expected}; got {given!r}."
