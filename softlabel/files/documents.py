"""JSON and YAML of others as plain values, within bounds.

The libraries take what no such file needs and what costs whoever reads it: values nested a million
deep, aliases that multiply a line of YAML to gigabytes, numbers of thousands of digits, halves of
characters that no file name and no terminal can take. Of a key that is there twice they keep the
last in silence, so that a class table lacks a class. All of that is refused in words that follow
the name of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

DEEPEST = 100
"""Lists and objects within each other; COCO takes five, recipes six."""

LARGEST_YAML = 1 << 20
"""Characters of a YAML text: reading a million takes PyYAML about ten seconds."""

MOST_YAML_VALUES = 100_000
"""Values of a YAML text, those that an alias repeats counted each time."""

LONGEST_NUMBER = 1000
"""Characters of a whole number; where one of so many has no place, its reader says so."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class DocumentError(ValueError):
    """What is wrong with a text, as a clause that follows the name of its file."""


def parse_json(text: str | bytes) -> Any:
    """The values of a JSON text. NaN and Infinity are numbers, as for Python's library.

    Raises
    ------
    DocumentError
        When it is no JSON, names a key twice, or goes beyond the bounds of this module.

    Examples
    --------
    >>> parse_json('{"1": "edema", "1": "core"}')
    Traceback (most recent call last):
    softlabel.files.documents.DocumentError: it has the key '1' twice
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        content = json.loads(text, object_pairs_hook=_object, parse_int=_whole)
        _require_shallow(content)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DocumentError(_HALF_A_CHARACTER) from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is no UTF-8 text ({error.reason})") from error
    except RecursionError as error:
        raise DocumentError(_TOO_DEEP) from error
    except DocumentError:
        raise
    except ValueError as error:
        raise DocumentError(str(error)[:120]) from error
    return content


def parse_yaml(text: str) -> Any:
    """The plain values of a YAML text.

    Raises
    ------
    DocumentError
        When it names a key twice, holds a value that cannot be, or goes beyond the bounds of this
        module.
    yaml.YAMLError
        When it is no YAML, with the place.

    Examples
    --------
    >>> parse_yaml("a: [1, 2]")
    {'a': [1, 2]}
    """
    import yaml

    if len(text) > LARGEST_YAML:
        raise DocumentError(f"it has {len(text)} characters, expected at most {LARGEST_YAML}")
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _require_bounded(node)
        return loader.construct_document(node)
    except RecursionError as error:
        raise DocumentError(_TOO_DEEP) from error
    except (DocumentError, yaml.YAMLError):
        raise
    except Exception as error:  # its constructors raise nearly anything for a text with a tag
        raise DocumentError(f"a value of it cannot be ({str(error)[:120]})") from error
    finally:
        loader.dispose()


_TOO_DEEP = f"it is nested more than {DEEPEST} deep"
_HALF_A_CHARACTER = "it has half of a character (a lone surrogate) in a text"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for n, name in enumerate(names) if name in names[:n])
        raise DocumentError(f"it has the key {twice[:60]!r} twice")
    return found


def _whole(text: str) -> int:
    _require_short(text)
    return int(text)


def _require_short(number: str) -> None:
    if len(number) > LONGEST_NUMBER:
        raise DocumentError(
            f"it has a number of {len(number)} characters, expected at most {LONGEST_NUMBER}"
        )


def _require_shallow(content: Any) -> None:
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise DocumentError(_TOO_DEEP)


def _require_bounded(root: yaml.Node) -> None:
    """Walk over the nodes of a YAML text before a value is made of them.

    A node to which aliases lead is one node here, and as many values as there are ways to it.
    """
    values: dict[int, int] = {}  # of each node, with those below it
    above: set[int] = set()
    waiting: list[tuple[yaml.Node, bool]] = [(root, False)]
    while waiting:
        node, is_counted = waiting.pop()
        if is_counted:
            above.remove(id(node))
            values[id(node)] = 1 + sum(values[id(child)] for child in _children(node))
            if values[id(node)] > MOST_YAML_VALUES:
                raise DocumentError(
                    f"it holds more than {MOST_YAML_VALUES} values, those that aliases repeat "
                    "counted each time"
                )
        elif id(node) in above:
            raise DocumentError("an alias of it stands for something that holds the alias")
        elif id(node) not in values:
            _require_plain(node)
            above.add(id(node))
            if len(above) > DEEPEST:
                raise DocumentError(_TOO_DEEP)
            waiting += [(node, True), *((child, False) for child in _children(node))]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node.value, list):
        for entry in node.value:  # of a mapping: a key and its value
            yield from entry if isinstance(entry, tuple) else (entry,)


def _require_plain(node: yaml.Node) -> None:
    """Refuse half characters, long numbers, and keys that are there twice."""
    if isinstance(node.value, str):
        if _SURROGATE.search(node.value):
            raise DocumentError(_HALF_A_CHARACTER)
        if node.tag in _NUMBER_TAGS:
            _require_short(node.value)
        return
    seen: set[Hashable] = set()
    for entry in node.value:
        if isinstance(entry, tuple) and isinstance(entry[0].value, str):
            key = (entry[0].tag, entry[0].value)
            if key in seen:
                line = entry[0].start_mark.line + 1
                raise DocumentError(f"it has the key {key[1][:60]!r} twice (line {line})")
            seen.add(key)
