"""``dataset.json``, the description that nnU-Net and the Medical Segmentation Decathlon share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softlabel.errors import SourceError
from softlabel.readers.safety import load_json

NAME = "dataset.json"

MOST_DIGITS = 19
"""Of a number in a key: labels are below 2^63."""


def load_dataset_json(root: Path) -> tuple[Path, dict[str, Any]]:
    """Read ``dataset.json`` in a folder.

    Raises
    ------
    SourceError
        When it is missing, broken, or not an object.
    """
    path = root / NAME
    if not path.is_file():
        raise SourceError(
            f"{root} holds no {NAME}; expected the folder of one data set, with {NAME}, imagesTr "
            "and labelsTr in it. Check the path."
        )
    return path, load_json(path)


def is_nnunet(content: Mapping[str, Any]) -> bool:
    """Whether it is nnU-Net v2's: it names the file ending, and classes by name."""
    return "file_ending" in content and "labels" in content


def is_msd(content: Mapping[str, Any]) -> bool:
    """Whether it is the Decathlon's: it lists the training cases."""
    return not is_nnunet(content) and isinstance(content.get("training"), list)


def require(content: Mapping[str, Any], key: str, kind: type, path: Path, example: str) -> Any:
    """Return an entry of the wanted type.

    Raises
    ------
    SourceError
        When it is missing, empty or of another type, with an example of what belongs there.
    """
    value = content.get(key)
    if not isinstance(value, kind) or not value:
        state = "lacks the entry" if key not in content else "has an unusable entry"
        raise SourceError(f"{path} {state} {key!r}; expected one such as {example}. Correct it.")
    return value


def numbered_names(entry: Mapping[str, Any], key: str, path: Path) -> dict[int, str]:
    """An entry ``{"0": "T1", "1": "T2"}`` as ``{0: "T1", 1: "T2"}``, in ascending order.

    Raises
    ------
    SourceError
        When a key is not a number of at least 0 or a value is not text.
    """
    names: dict[int, str] = {}
    for number, name in entry.items():
        is_number = number.isascii() and number.isdigit() and len(number) <= MOST_DIGITS
        if not is_number or not isinstance(name, str | int):
            raise SourceError(
                f"{path} has the entry {number!r:.60}: {name!r:.60} in {key!r}; expected a number "
                'with its name, such as "0": "T1". Correct it.'
            )
        names[int(number)] = str(name)
    return dict(sorted(names.items()))
