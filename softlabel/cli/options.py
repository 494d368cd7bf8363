"""Options that more than one command has, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

cache_argument = click.argument("cache", type=click.Path(path_type=Path), metavar="CACHE.h5")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for machines instead of a table."
)


def verbosity_options(command: F) -> F:
    """``-v`` for more, ``-q`` for nothing but errors."""
    command = click.option("-v", "--verbose", is_flag=True, help="Say more.")(command)
    return click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")(command)


def reader_options(command: F) -> F:
    """Every option of every reader, with the formats that it belongs to."""
    from softlabel.readers import READERS

    merged: dict[str, list[tuple[str, Any]]] = {}
    for reader in READERS.values():
        for option in reader.options:
            merged.setdefault(option.name, []).append((reader.name, option))
    for name, owners in reversed(merged.items()):
        formats = ", ".join(reader for reader, _ in owners)
        first = owners[0][1]
        default = "" if first.default is None else f" Default: {first.default}."
        kind: Any = {
            "int": click.INT,
            "path": click.Path(exists=True, dir_okay=False),
        }.get(first.kind, click.STRING)
        if first.choices:
            kind = click.Choice(list(first.choices))
        command = click.option(
            f"--{name.replace('_', '-')}",
            f"format_{name}",
            type=kind,
            help=f"[{formats}] {first.help}{default}",
        )(command)
    return command


def given_reader_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take the reader's options out of a command's keyword arguments."""
    names = [name for name in options if name.startswith("format_")]
    taken = {name.removeprefix("format_"): options.pop(name) for name in names}
    return {name: value for name, value in taken.items() if value is not None}
