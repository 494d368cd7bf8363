"""A class table in a file, in any of the ways people and programs write one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softlabel.errors import SourceError
from softlabel.files.documents import DocumentError, parse_json, parse_yaml
from softlabel.mapping import IGNORE, Colour, LabelMapping, Rule, Span
from softlabel.readers.labeltables import BUILT_IN, LabelLine, parse_label_table
from softlabel.readers.safety import read_text
from softlabel.types import ClassTable

_EXPECTED = (
    'expected {"0": "background", "30": "lesion"}, or {"background": 0, "lesion": [30, 31]}, or a '
    "list of names for the values 0, 1, 2 …, or a label table of ITK-SNAP, 3D Slicer, FreeSurfer "
    "or CVAT"
)
MAX_TABLE_BYTES = 1 << 20
"""The largest table of FreeSurfer's has some hundred kilobytes."""

_HEX_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")


@dataclass(frozen=True)
class ClassFile:
    """What a file says of classes.

    Attributes
    ----------
    classes : ClassTable
        Every value that label maps may have, before the mapping.
    ignore : int or None
        Value of pixels that were not annotated.
    mapping : LabelMapping or None
        Values that are one class, several values that are ignored, colours of classes.
    """

    classes: ClassTable
    ignore: int | None = None
    mapping: LabelMapping | None = None


def load_class_table(path: Path) -> tuple[ClassTable, int | None]:
    """The class table and the ignore label of :func:`load_class_file`.

    Raises
    ------
    SourceError
        As there.
    """
    found = load_class_file(path)
    return found.classes, found.ignore


def load_class_file(path: Path) -> ClassFile:
    """Read a class table, and what it says of values that are one class and of colours.

    Understood are ``{value: name}``, ``{name: value}`` and ``{name: [value, value]}`` (the name
    ``ignore`` stands for pixels that were not annotated), a list of names for the values 0, 1, 2 …,
    each of them under a key ``labels`` or ``classes``; ``{name: "#ff0000"}``, and
    ``{name: [255, 0, 0]}`` under a key ``colours`` or ``colors``; the tables of
    :mod:`softlabel.readers.labeltables`. Classes of colours are numbered in the order of the file,
    the background first.

    Parameters
    ----------
    path : Path
        ``.json``, the text of a label table, or else YAML; or the word for a table that needs no
        file, such as ``freesurfer``.

    Raises
    ------
    SourceError
        When the file is none of these.
    """
    if str(path) in BUILT_IN:
        return ClassFile(class_table(BUILT_IN[str(path)], path))
    text = read_text(path, MAX_TABLE_BYTES)
    if path.suffix.lower() != ".json" and (lines := parse_label_table(text)) is not None:
        return _from_lines(lines, path)
    content = _parse(text, path)
    if isinstance(content, dict):
        for key in ("colours", "colors"):
            if isinstance(content.get(key), dict):
                return _from_colours(content[key], path)
        for key in ("labels", "classes"):
            if isinstance(content.get(key), dict | list):
                content = content[key]
                break
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict) or not content:
        raise SourceError(f"{path} is no class table; {_EXPECTED}. Correct the file.")
    if all(isinstance(v, str) and _HEX_COLOUR.fullmatch(v) for v in content.values()):
        return _from_colours(content, path)
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


def joined_mapping(first: LabelMapping | None, then: LabelMapping | None) -> LabelMapping | None:
    """The mapping of a class file with that of the command line.

    Raises
    ------
    UsageError
        When both have a rule for one value.
    """
    if first is None or then is None:
        return first or then
    colours = {**first.colours, **then.colours}
    return LabelMapping((*first.rules, *then.rules), then.threshold, colours)


def _parse(text: str, path: Path) -> Any:
    import yaml

    try:
        return parse_json(text) if path.suffix.lower() == ".json" else parse_yaml(text)
    except (DocumentError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:160]
        raise SourceError(
            f"{path} is not valid {'JSON' if path.suffix.lower() == '.json' else 'YAML'} "
            f"({reason}); {_EXPECTED}. Correct the file."
        ) from error


def _from_lines(lines: Iterable[LabelLine], path: Path) -> ClassFile:
    lines = list(lines)
    if all(line.value is not None for line in lines):
        return _from_pairs([(line.value or 0, line.name) for line in lines], path)
    (name, uses), *_ = Counter(line.name for line in lines).most_common(1)
    if uses > 1:
        raise SourceError(f"{path} names {name!r} twice; expected names that differ.")
    return _from_colours({line.name: list(line.colour or ()) for line in lines}, path)


def _from_mapping(content: Mapping[Any, Any], path: Path) -> ClassFile:
    values = {key: _as_value(key) for key in content}
    lists = {key: _as_values(value) for key, value in content.items()}
    if all(value is not None for value in values.values()):
        named = [(value or 0, content[key]) for key, value in values.items()]
    elif all(found is not None for found in lists.values()):
        named = [(value, name) for name, found in lists.items() for value in found or ()]
    else:
        raise SourceError(f"{path} names neither values nor classes throughout; {_EXPECTED}.")
    for value, name in named:
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise SourceError(f"{path} gives the value {value} the name {name!r:.60}; {_EXPECTED}.")
    several = any(isinstance(value, list) for value in content.values())
    return _from_pairs([(value, str(name)) for value, name in named], path, several)


def _from_pairs(named: list[tuple[int, str]], path: Path, several: bool = False) -> ClassFile:
    """Classes of values and names; with ``several`` a name may have more than one value."""
    of_name: dict[str, list[int]] = {}
    names: dict[int, str] = {}
    for value, name in named:
        if value in names:
            raise SourceError(
                f"{path} names the value {value} twice ({names[value]!r} and {name!r}); expected "
                "one name a value. Correct the file."
            )
        ignored = name.lower() == IGNORE
        names[value] = IGNORE if ignored else name
        of_name.setdefault(names[value], []).append(value)
    rules = [
        Rule(tuple(Span(v, v) for v in sorted(values)), name)
        for name, values in of_name.items()
        if len(values) > 1 and (several or name == IGNORE)
    ]
    merged = {rule.name for rule in rules}
    table = {
        value: f"{name} ({value})" if name in merged and value != min(of_name[name]) else name
        for value, name in names.items()
    }
    ignore = None
    if IGNORE in of_name and IGNORE not in merged:
        (ignore,) = of_name[IGNORE]
        del table[ignore]
    return ClassFile(class_table(table, path), ignore, LabelMapping(tuple(rules)) or None)


def _from_colours(content: Mapping[Any, Any], path: Path) -> ClassFile:
    """Classes of colours, numbered in the order of the file, the background first."""
    names = sorted(map(str, content), key=lambda name: name.lower() != "background")
    names.sort(key=lambda name: name.lower() == IGNORE)
    by_name = {str(name): value for name, value in content.items()}
    colours: dict[Colour, int] = {}
    for value, name in enumerate(names):
        colour = _as_colour(by_name[name])
        if colour is None or colour in colours:
            raise SourceError(
                f"{path} gives {name!r:.60} the colour {by_name[name]!r:.60}; expected red, green "
                "and blue of 0 to 255, such as [255, 0, 0] or '#ff0000', another one for each "
                "class. Correct the file."
            )
        colours[colour] = value
    ignore = len(names) - 1 if names and names[-1].lower() == IGNORE else None
    table = {value: name for value, name in enumerate(names) if value != ignore}
    return ClassFile(class_table(table, path), ignore, LabelMapping(colours=colours))


def _as_colour(entry: Any) -> Colour | None:
    if isinstance(entry, str) and (found := _HEX_COLOUR.fullmatch(entry)):
        entry = list(bytes.fromhex(found[1]))
    if not isinstance(entry, list) or len(entry) != 3:
        return None
    if not all(_as_value(part) is not None and int(part) <= 255 for part in entry):
        return None
    red, green, blue = (int(part) for part in entry)
    return red, green, blue


def _as_values(entry: Any) -> list[int] | None:
    """The label values that an entry states, one or a list of them."""
    entries = entry if isinstance(entry, list) else [entry]
    values = [_as_value(one) for one in entries]
    return None if None in values or not values else [value or 0 for value in values]


def _as_value(entry: Any) -> int | None:
    """The label value that a key or value of the file states, None if it states none."""
    if isinstance(entry, bool):
        return None
    if isinstance(entry, int):
        return entry if entry >= 0 else None
    if isinstance(entry, str) and entry.isascii() and entry.isdigit() and len(entry) < 20:
        return int(entry)
    return None
