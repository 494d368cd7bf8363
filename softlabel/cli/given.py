"""The options that a command was given, as words for another command."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import Any

import click
from click.core import ParameterSource


def given_words(context: click.Context, leave_out: Collection[str] = ()) -> list[str]:
    """Options that stood on the command line, as words of one that has them too.

    Parameters
    ----------
    context : click.Context
        After parsing.
    leave_out : collection of str
        Names of parameters that the other command does not take.

    Returns
    -------
    list of str
        Not yet quoted for a shell.
    """
    words: list[str] = []
    for param in context.command.params:
        name = param.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if isinstance(param, click.Option) and given and name not in leave_out:
            words += _words(param, context.params[name])
    return words


def command_line(program: str, source: str, options: list[str]) -> str:
    """A command for a POSIX shell: the words quoted, a source that begins with a dash not taken
    for an option.

    Examples
    --------
    >>> print(command_line("softlabel generate", "my data", ["-o", "c.h5"]))
    softlabel generate 'my data' -o c.h5
    """
    safe = f"./{source}" if source.startswith("-") else source
    return f"{program} {shlex.join([safe, *options])}"


def _words(option: click.Option, value: Any) -> list[str]:
    if option.is_flag:
        return [option.opts[0] if value or not option.secondary_opts else option.secondary_opts[0]]
    flag = max(option.opts, key=len)
    words: list[str] = []
    for one in value if option.multiple else (value,):
        texts = [str(v) for v in one] if isinstance(one, tuple) else [str(one)]
        if isinstance(one, tuple) and option.nargs == 1:  # numbers with commas between them
            texts = [",".join(texts)]
        # with an equals sign a value may begin with a dash
        joined = len(texts) == 1 and texts[0].startswith("-")
        words += [f"{flag}={texts[0]}"] if joined else [flag, *texts]
    return words
