"""The frame of both command lines: a group of commands, exit statuses, errors on stderr.

Knows click, and the commands only by name: each is imported when it is asked for, so that
``--help`` is quick.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn

import click

from softlabel.console.terminal import escaping_streams, one_line
from softlabel.errors import did_you_mean

EXIT_FAILED, EXIT_USAGE = 1, 2


def system_error(error: OSError) -> str:
    """An error of the operating system as a sentence with a fix."""
    fixes = {
        errno.ENOSPC: "free some space", errno.EDQUOT: "free some space",
        errno.EROFS: "choose a folder that may be written to",
        errno.EACCES: "check that you may read or write it",
        errno.EPERM: "check that you may read or write it",
    }  # fmt: skip
    fix = fixes.get(error.errno or 0)
    reason = error.strerror or str(error) or type(error).__name__
    what = error.filename if error.filename is not None else "The system"
    return f"{what}: {reason}{f'; {fix} and run the same command again' if fix else ''}."


def fail(message: str, status: int) -> NoReturn:
    """Print an error as one line on stderr and exit."""
    click.echo(one_line(f"Error: {message}"), err=True)
    sys.exit(status)


def say(message: str) -> None:
    """Print a sentence that cites what others wrote as one line on stderr."""
    click.echo(one_line(message), err=True)


class LazyGroup(click.Group):
    """Finds a command in the module of its name.

    Parameters
    ----------
    package : str
        Package of the modules; dashes of a command are underscores there.
    about : mapping of str to str
        Names of the commands, in the order of the help, and what each does.
    """

    def __init__(self, *args: Any, package: str, about: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.package, self.about = package, about

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line on streams that escape what a terminal does not know."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # it may not know ×, Σ, β or an id
                stream.reconfigure(errors="backslashreplace")
        with escaping_streams():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of the operating system becomes a sentence."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever reads the output has had enough
                raise
            fail(system_error(error), EXIT_FAILED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in their order."""
        return list(self.about)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.about:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(import_module(f"{self.package}.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; what is none is wrong usage, with the nearest that is one."""
        name = args[0]
        # click would look for the nearest among the commands that it knows: those imported
        if name not in self.about and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}{did_you_mean(name, self.about) or '.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.about.items()))
