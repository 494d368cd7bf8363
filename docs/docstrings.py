"""Docstrings as mkdocstrings needs them: an extension of griffe, which parses them (mkdocs.yml).

Two things of numpydoc and Sphinx it does not know: roles such as ``:func:`softlabel.slic```, and
that ``a, b : int`` under Parameters are two parameters with defaults of their own. griffe shows the
default of the first one for all, and without a type in the docstring its annotation too.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):`~?([^`]+)`")
GROUP = re.compile(r"^( *)(\w+(?:, \w+)+)( : .*)?\n((?:\1 +.*\n?)+)", re.MULTILINE)
"""Several names, their type if it is stated, and the indented lines that describe them."""


class Docstrings(griffe.Extension):
    """Rewrites docstrings after loading and before parsing."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = one_parameter_each(without_roles(obj.docstring.value))


def without_roles(text: str) -> str:
    """Roles as plain code.

    Examples
    --------
    >>> without_roles("made by :func:`softlabel.slic`")
    'made by `softlabel.slic`'
    """
    return ROLE.sub(r"`\1`", text)


def one_parameter_each(text: str) -> str:
    r"""Parameters that share a description, each with its own copy.

    Examples
    --------
    >>> print(one_parameter_each("a, b : int\n    Weights.\nc : float\n"))
    a : int
        Weights.
    b : int
        Weights.
    c : float
    <BLANKLINE>
    """
    return GROUP.sub(_separated, text)


def _separated(match: re.Match[str]) -> str:
    indent, names, kind, description = match.groups(default="")
    if not description.endswith("\n"):
        description += "\n"
    return "".join(f"{indent}{name}{kind}\n{description}" for name in names.split(", "))
