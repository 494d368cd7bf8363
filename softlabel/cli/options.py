"""Options that more than one command has, each defined once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from softlabel.errors import SourceError, UsageError, first_of

if TYPE_CHECKING:
    from softlabel.mapping import LabelMapping
    from softlabel.types import ClassTable

SHOWN_CHANNELS = 10
"""Names of channels in a sentence."""

F = TypeVar("F", bound=Callable[..., Any])

cache_argument = click.argument("cache", type=click.Path(path_type=Path), metavar="CACHE.h5")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for machines instead of a table."
)

window_option = click.option(
    "--window",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Intensities shown as black and white.  [default: the 0.5th and 99.5th percentile]",
)


def given_window(window: tuple[float, float] | None) -> tuple[float, float] | None:
    """The intensities of ``--window``.

    Raises
    ------
    UsageError
        When there are none between them.
    """
    if window is not None and not window[0] < window[1] < float("inf"):
        low, high = window
        raise UsageError(f"The window {low:g} {high:g} is empty; give the lower intensity first.")
    return window


def verbosity_options(command: F) -> F:
    """``-v`` for more, ``-q`` for nothing but warnings and errors."""
    command = click.option("-v", "--verbose", is_flag=True, help="Say more.")(command)
    return click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")(
        command
    )


class SectionOption(click.Option):
    """An option that the help lists under a heading of its own."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections, in the order of their definition."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def flag(name: str) -> str:
    """The option of a Python name."""
    return f"--{name.replace('_', '-')}"


def without_none(kind: Any) -> Any:
    """X where a type is X | None."""
    kinds = get_args(kind)
    return next(k for k in kinds if k is not type(None)) if type(None) in kinds else kind


class Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "n[,n…]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse ``0.9,0.9,3``; a tuple passes."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 0.9,0.9,3.", param, ctx)


def option(section: str, *names: str, **attributes: Any) -> Callable[[F], F]:
    """``click.option`` under a heading."""
    return click.option(*names, cls=SectionOption, section=section, **attributes)


def format_option(command: F) -> F:
    """``--format``: which reader a data set is for."""
    from softlabel.readers import READERS

    return click.option(
        "--format",
        "format_",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", *READERS]),
        help="Format of SOURCE.",
    )(command)


def label_options(command: F) -> F:
    """``--map`` and ``--threshold``: which label values are which class."""
    command = option(
        "Labels",
        "--threshold",
        type=float,
        metavar="VALUE",
        help="Label maps become masks: 1 where a value is at least this.",
    )(command)
    return option(
        "Labels",
        "--map",
        "map_",
        metavar="RULES",
        help="Which values are which class: '0=background,1-15=fluid,255=ignore'. VALUES=NAME or "
        "VALUES=INTEGER[:NAME]; ranges 1-15, open ranges 1-, several with |.",
    )(command)


def mapping_of(rules: str | None, threshold: float | None) -> LabelMapping | None:
    """The label mapping of ``--map`` and ``--threshold``.

    Raises
    ------
    UsageError
        When the rules cannot be parsed.
    """
    from softlabel.mapping import LabelMapping, parse_mapping

    if rules is not None:
        return parse_mapping(rules, threshold)
    return None if threshold is None else LabelMapping(threshold=threshold)


accept_option = click.option(
    "--accept",
    multiple=True,
    metavar="FINDING",
    help="Take a finding of the check for known: its error counts as a warning. May be repeated.",
)


class _Table(click.Path):
    """A file, or the word for a class table that needs none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from softlabel.readers.labeltables import BUILT_IN

        return value if value in BUILT_IN else super().convert(value, param, ctx)


def reader_options(command: F, leave_out: Collection[str] = ()) -> F:
    """Every option of every reader, with the formats that it belongs to."""
    from softlabel.readers import READERS

    merged: dict[str, list[tuple[str, Any]]] = {}
    for reader in READERS.values():
        for entry in reader.options:
            if entry.name not in leave_out:
                merged.setdefault(entry.name, []).append((reader.name, entry))
    for name, owners in reversed(merged.items()):
        first = owners[0][1]
        kind: Any = {
            "int": click.INT,
            "path": click.Path(exists=True, dir_okay=False),
            "table": _Table(exists=True, dir_okay=False),
        }.get(first.kind, click.STRING)
        if first.choices:
            kind = click.Choice(list(first.choices))
        command = option(
            "Options of the formats",
            f"--{name.replace('_', '-')}",
            f"format_{name}",
            type=kind,
            help=_merged_help(owners),
        )(command)
    return command


def _merged_help(owners: list[tuple[str, Any]]) -> str:
    """Help of an option that several readers have, each text once."""
    texts: dict[str, list[str]] = {}
    for reader, entry in owners:
        default = "" if entry.default is None else f" Default: {entry.default}."
        texts.setdefault(entry.help + default, []).append(reader)
    return " ".join(f"[{', '.join(readers)}] {text}" for text, readers in texts.items())


def given_reader_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take the reader's options out of a command's keyword arguments."""
    names = [name for name in options if name.startswith("format_")]
    taken = {name.removeprefix("format_"): options.pop(name) for name in names}
    return {name: value for name, value in taken.items() if value is not None}


def class_index(classes: ClassTable, given: str | None) -> int | None:
    """Index of the class that ``--class`` gives by name or value.

    Raises
    ------
    UsageError
        When there is none.
    """
    if given is None:
        return None
    try:
        return classes.index_of(given)
    except SourceError as error:
        raise UsageError(str(error)) from error


def channel_index(channels: Sequence[str], given: str | None, owner: object) -> int | None:
    """Index of the channel that ``--channel`` gives by name or index.

    Whether a case has a channel of that index is seen later.

    Parameters
    ----------
    channels : sequence of str
        Names; empty where channels have none.
    given : str or None
    owner : object
        Whose channels they are, for the sentence.

    Raises
    ------
    UsageError
        When there is none of that name.
    """
    if given is None:
        return None
    if given in channels:
        return channels.index(given)
    if given.isascii() and given.isdigit():
        return int(given)
    named = f"are {first_of(channels, SHOWN_CHANNELS)}"
    known = named if channels else "have no names: give an index"
    raise UsageError(f"{owner} has no channel {given!r}; its channels {known}.")
