"""Softening methods of other packages, and any method by its name.

A package registers a :class:`~softlabel.softening.methods.Method` by an entry point of the group
``softlabel.methods``. Its metadata is read when a name is asked for that softlabel does not have
itself, and the package is imported when it is that one which is asked for: a package that is broken
stops nothing but its own method.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from softlabel.softening.inputs import MethodInput
from softlabel.softening.methods import METHODS, Method
from softlabel.softmaps.maps import SoftMaps

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "softlabel.methods"
"""The group of entry points."""

NAMES = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""What a method may be called: it is a word of the command line."""

PLAIN = (bool, int, float, str, type(None))
"""Types of the values that a cache can record."""


@dataclass(frozen=True)
class Plugin:
    """A method of another package.

    Attributes
    ----------
    method : Method
    package : str
        The distribution that registers it.
    version : str
        Of the distribution.
    """

    method: Method
    package: str
    version: str

    @property
    def release(self) -> str:
        """Name and version, as a cache records them."""
        return f"{self.package} {self.version}"


def method_named(name: str) -> Method:
    """A method of softlabel, else one of another package.

    Raises
    ------
    ValueError
        When there is no such method, or the package that has it cannot be used.
    """
    return METHODS[name] if name in METHODS else load_plugin(name).method


def release_of(name: str) -> str | None:
    """Package and version that a method is of; None for softlabel's own."""
    return None if name in METHODS else load_plugin(name).release


def registered_names() -> tuple[str, ...]:
    """Names that other packages register, whether they can be used or not."""
    return tuple(sorted({entry.name for entry in _entry_points()}))


@cache
def load_plugin(name: str) -> Plugin:
    """Import the method of another package.

    Raises
    ------
    ValueError
        Naming the package, when it cannot be imported, what it registers is no method, or its name
        is taken; naming the methods that there are, when nobody registers it.
    """
    entries = [entry for entry in _entry_points() if entry.name == name]
    if not entries:
        known = ", ".join(dict.fromkeys([*METHODS, *registered_names()]))
        raise ValueError(f"method must be one of {known}; got {name!r}.")
    package, version = _release(entries[0])
    who = f"The package {package} {version}"
    if problem := _name_problem(name, entries):
        raise ValueError(f"{who} registers the softening method {name!r}, {problem}.")
    try:
        found = entries[0].load()
    except Exception as error:  # whatever the import of a stranger's module may raise
        raise ValueError(
            f"{who} registers the softening method {name!r}, but {entries[0].value} cannot be "
            f"imported ({type(error).__name__}: {error}); fix or uninstall the package."
        ) from error
    if problem := _method_problem(found):
        raise ValueError(
            f"{who} registers the softening method {name!r}, but {entries[0].value} {problem}; "
            "install a version of the package that fits this softlabel, or uninstall it."
        )
    return Plugin(replace(found, run=partial(_checked_run, name, found)), package, version)


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # takes milliseconds

    return list(entry_points(group=GROUP))


def _release(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution of an entry point."""
    metadata = None if entry.dist is None else entry.dist.metadata
    if metadata is None or "Name" not in metadata or "Version" not in metadata:
        return f"of {entry.value}", ""
    return metadata["Name"], metadata["Version"]


def _name_problem(name: str, entries: list[EntryPoint]) -> str | None:
    if name in METHODS:
        return "which softlabel has itself; uninstall the package, or register another name"
    if not NAMES.fullmatch(name):
        return "and a name is lower-case letters, digits and single dashes; register another one"
    releases = [" ".join(_release(entry)) for entry in entries]
    if len(releases) > 1:
        counted = Counter(releases[1:])
        return f"and so does {', '.join(counted)}; uninstall one of them"
    if not _release(entries[0])[1]:
        return "and its metadata states no version, which a cache records; install it with pip"
    return None


def _method_problem(found: Any) -> str | None:
    if not isinstance(found, Method):
        return f"is of the type {type(found).__name__}, not softlabel.softening.Method"
    if found.on_device or found.takes_soft_labels:
        return "sets on_device or takes_soft_labels, which are for softlabel's own methods"
    if not (isinstance(found.options, type) and is_dataclass(found.options)):
        return "has options that are no dataclass"
    try:
        options = found.options()
    except Exception as error:
        return f"has options without defaults ({type(error).__name__}: {error})"
    for field in fields(options):
        value = getattr(options, field.name)
        if not all(isinstance(v, PLAIN) for v in (value if isinstance(value, tuple) else (value,))):
            return (
                f"has the option {field.name!r} of the type {type(value).__name__}, not bool, int, "
                "float, str, None or a tuple of them"
            )
    return None


def _checked_run(name: str, method: Method, given: MethodInput, options: Any) -> SoftMaps:
    """Run a method whose author may not have read what is expected of its result."""
    maps = method.run(given, options)
    if not isinstance(maps, SoftMaps):
        raise ValueError(
            f"The method {name} returned a {type(maps).__name__}, not softlabel.SoftMaps."
        )
    if maps.index.shape != given.index.shape or maps.table != given.table:
        raise ValueError(f"The method {name} returned soft maps of another shape or other classes.")
    if not 0 <= maps.values.min(initial=0) <= maps.values.max(initial=0) < np.inf:  # NaN is not
        raise ValueError(f"The method {name} returned negative, infinite or NaN soft labels.")
    return maps
