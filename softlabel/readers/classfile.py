"""A class table in a JSON or YAML file, in any of the ways people write one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from softlabel.errors import SourceError
from softlabel.readers.safety import read_text
from softlabel.types import ClassTable

_EXPECTED = (
    'expected {"0": "background", "30": "lesion"}, or {"background": 0, "lesion": 30}, or a list '
    "of names for the values 0, 1, 2 …"
)


def load_class_table(path: Path) -> tuple[ClassTable, int | None]:
    """Read a class table and the ignore label that it may name.

    Understood are ``{value: name}``, ``{name: value}`` (as in nnU-Net, where the name ``ignore``
    stands for pixels that were not annotated), a list of names for the values 0, 1, 2 …, and each
    of them under a key ``labels`` or ``classes``.

    Parameters
    ----------
    path : Path
        ``.json``, or else YAML.

    Returns
    -------
    ClassTable
    int or None
        The ignore label.

    Raises
    ------
    SourceError
        When the file is none of these.
    """
    content = _parse(path)
    if isinstance(content, dict):
        for key in ("labels", "classes"):
            if isinstance(content.get(key), dict | list):
                content = content[key]
                break
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict) or not content:
        raise SourceError(f"{path} is no class table; {_EXPECTED}. Correct the file.")
    return _from_mapping(content, path)


def class_table(names: Mapping[int, str], path: Path) -> ClassTable:
    """Make a table whose errors name the file that it comes from.

    Raises
    ------
    SourceError
        When the values or names do not make a class table.
    """
    try:
        return ClassTable.from_mapping(names)
    except SourceError as error:
        raise SourceError(f"{path}: {error} Correct the file.") from error


def _parse(path: Path) -> Any:
    text = read_text(path)
    try:
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise SourceError(
            f"{path} is not valid {'JSON' if path.suffix.lower() == '.json' else 'YAML'} "
            f"({reason}); {_EXPECTED}. Correct the file."
        ) from error


def _from_mapping(content: Mapping[Any, Any], path: Path) -> tuple[ClassTable, int | None]:
    pairs = [(_as_value(key), _as_value(value), key, value) for key, value in content.items()]
    if all(value is not None for value, _, _, _ in pairs):
        named = [(value, name) for value, _, _, name in pairs]
    elif all(value is not None for _, value, _, _ in pairs):
        named = [(value, name) for _, value, name, _ in pairs]
    else:
        raise SourceError(f"{path} names neither values nor classes throughout; {_EXPECTED}.")
    table: dict[int, str] = {}
    for value, name in named:
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise SourceError(f"{path} gives the value {value} the name {name!r:.60}; {_EXPECTED}.")
        if value in table:
            raise SourceError(
                f"{path} names the value {value} twice ({table[value]!r} and {name!r}); expected "
                "one name a value. Correct the file."
            )
        table[int(value or 0)] = str(name)
    ignore = next((value for value, name in table.items() if name.lower() == "ignore"), None)
    if ignore is not None:
        del table[ignore]
    return class_table(table, path), ignore


def _as_value(entry: Any) -> int | None:
    """The label value that a key or value of the file states, None if it states none."""
    if isinstance(entry, bool):
        return None
    if isinstance(entry, int):
        return entry if entry >= 0 else None
    if isinstance(entry, str) and entry.isascii() and entry.isdigit():
        return int(entry)
    return None
