"""What a terminal may see of texts that others wrote: ids, names, and whatever an error cites.

A terminal obeys characters that nobody sees: an escape sequence clears the screen or sets the title
of its window, a bidirectional override shows a text in another order than it has. While a command
runs, both streams escape them, whoever writes; tables and bars, which need sequences of their own,
go through :mod:`softlabel.console.drawing`, which escapes the texts that it is given.

Escapes are those of JSON (``\\u001b``), so that a record printed as JSON stays what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_OBEYED = {
    *range(0x20), *range(0x7F, 0xA0),  # C0, DEL and C1
    0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A),  # direction of text
    0x2028, 0x2029,  # lines and paragraphs
}  # fmt: skip
_IN_A_LINE = {code: f"\\u{code:04x}" for code in _OBEYED}
_IN_LINES = {code: text for code, text in _IN_A_LINE.items() if chr(code) not in "\n\t"}


def one_line(text: str) -> str:
    r"""A text as one line in which a terminal obeys nothing.

    Examples
    --------
    >>> print(one_line("scan\x1b[2J\n.png"))
    scan\u001b[2J\u000a.png
    """
    return text.translate(_IN_A_LINE)


def lines(text: str) -> str:
    """A text of several lines in which a terminal obeys nothing but their ends and tabs."""
    return text.translate(_IN_LINES)


class EscapingStream:
    """A text stream that escapes what a terminal would obey; all else is as of the stream behind.

    Attributes
    ----------
    behind : text stream
    """

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def write(self, text: str) -> int:
        """Write a text; return its length, as streams do."""
        self.behind.write(lines(text))
        return len(text)

    def writelines(self, texts: Any) -> None:
        """Write several texts."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@contextmanager
def escaping_streams() -> Iterator[None]:
    """Let both streams escape what a terminal would obey while the block runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (EscapingStream(stream) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
