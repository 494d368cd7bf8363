"""The arms of a sweep: every combination of the values of some keys of a recipe."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softlabel.files.names import file_name


@dataclass(frozen=True)
class Arm:
    """One combination of the swept keys.

    Attributes
    ----------
    overrides : mapping of str to values
    """

    overrides: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``key=value`` of every swept key; the value alone of ``arm``."""
        return " ".join(self._parts) or "recipe"

    @property
    def folder(self) -> str:
        """The same as a file name."""
        return file_name("_".join(self._parts) or "recipe")

    @property
    def words(self) -> list[str]:
        """``KEY=VALUE`` of every swept key, as ``load_recipe`` reads it.

        Examples
        --------
        >>> Arm({"arm": "soft", "loss.beta": 0.5}).words
        ['arm="soft"', 'loss.beta=0.5']
        """
        return [f"{key}={json.dumps(value)}" for key, value in self.overrides.items()]

    @property
    def _parts(self) -> list[str]:
        return [str(v) if k == "arm" else f"{k}={_plain(v)}" for k, v in self.overrides.items()]


def make_arms(grid: Mapping[str, Sequence[Any]]) -> list[Arm]:
    """Every combination of the values, the last key changing fastest.

    Examples
    --------
    >>> [arm.name for arm in make_arms({"arm": ["hard", "soft"], "loss.beta": [1, 2]})]
    ['hard loss.beta=1', 'hard loss.beta=2', 'soft loss.beta=1', 'soft loss.beta=2']
    """
    return [
        Arm(dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())
    ]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
