"""The command line: a translator from options to one call of the core.

Each command is a module; nothing else in softlabel knows click.
"""

from __future__ import annotations

import errno
import io
import sys
from importlib import import_module
from typing import Any

import click

from softlabel import __version__
from softlabel.errors import CacheError, SoftlabelError, SourceError, UsageError, did_you_mean

# Commands are imported when they are asked for, so that --help is quick.
COMMANDS = {
    "generate": "Compute the soft labels of a data set into a cache.",
    "inspect": "Draw image, superpixels and soft labels of cached cases.",
    "info": "Say what a cache holds.",
    "verify": "Read and check every byte of a cache.",
    "index": "Rebuild the index of a cache from its parts.",
    "phantom": "Write a synthetic data set whose true labels are known.",
}

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class LazyGroup(click.Group):
    """Finds a command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of :data:`COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"softlabel.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; what is none is wrong usage, with the nearest that is one."""
        name = args[0]
        # click would look for the nearest among the commands that it knows: those imported
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}{did_you_mean(name, COMMANDS) or '.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors become one sentence on stderr and an exit status."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal may not know ×, Σ or an id
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except (UsageError, SourceError, CacheError) as error:
            fail(str(error), EXIT_USAGE)
        except SoftlabelError as error:
            fail(str(error), EXIT_FAILED)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever reads the output has had enough
                raise
            fail(f"{error.filename or 'A file'}: {error.strerror or error}.", EXIT_FAILED)
        except KeyboardInterrupt:
            fail("Interrupted.", EXIT_INTERRUPTED)


@click.command(
    name="softlabel",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="softlabel COMMAND --help explains a command. Exit status: 0 all done, 1 some cases "
    "failed, 2 wrong usage, 130 interrupted.",
)
@click.version_option(__version__, prog_name="softlabel")
def main() -> None:
    """Turn hard label maps into soft ones where the image says that a boundary is uncertain."""


def fail(message: str, status: int) -> None:
    """Print an error on stderr and exit."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(status)
