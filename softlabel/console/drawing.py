"""Tables and bars by rich, of texts that others wrote."""

from __future__ import annotations

from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from softlabel.console.terminal import EscapingStream, lines, one_line

TABLE_WIDTH = 120
"""Columns of a table that goes into a file or a pipe."""


class TextConsole(Console):
    """A rich console for texts of others: no markup in them, each of them one line."""

    def render_str(self, text: str, *args: Any, **options: Any) -> Text:
        """The text as rich draws it."""
        return super().render_str(one_line(text), *args, **options)


def in_lines(text: str) -> Text:
    """A cell or caption whose line ends are meant; all else is escaped."""
    return Text(lines(text))


def console(stream: TextIO, **options: Any) -> TextConsole:
    """A console that draws on a stream, past its escapes; in a file or pipe it has room for tables.

    Parameters
    ----------
    stream : text stream
        ``sys.stdout`` or ``sys.stderr``.
    **options
        Of :class:`rich.console.Console`.
    """
    options.setdefault("width", None if stream.isatty() else TABLE_WIDTH)
    file = stream.behind if isinstance(stream, EscapingStream) else stream
    return TextConsole(file=file, highlight=False, markup=False, emoji=False, **options)
