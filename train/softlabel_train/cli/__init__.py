"""The command line of the trainer: a translator from options to one call of the core.

Each command is a module; nothing else in softlabel_train knows click.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.table import Table

from softlabel import __version__
from softlabel.console import drawing
from softlabel.console.group import EXIT_FAILED, EXIT_USAGE, LazyGroup, fail
from softlabel.errors import CacheError, SoftlabelError, SourceError, UsageError, missing_extra
from softlabel.interrupt import interrupted_status

# Commands are imported when they are asked for: torch takes seconds.
COMMANDS = {
    "fit": "Train a network as a recipe says.",
    "evaluate": "Score a run on the patients that it was not trained on.",
    "report": "Write one HTML file to look at a run with.",
    "predict": "Write label maps of images or of a cache.",
    "denoiser": "Train the denoiser dncnn, on phantoms or on B-scans.",
    "sweep": "Compare settings: a grid of runs and seeds, ending in one table.",
    "init": "Write a recipe for a data set of your own.",
    "recipes": "List the recipes and what can be set in them.",
    "train-oct": "Hard against soft labels on OCT, from the data to the table.",
    "train-mri": "Hard against soft labels on MRI, from the data to the table.",
}


class Commands(LazyGroup):
    """Turns errors into sentences."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or say which library it lacks."""
        try:
            return super().get_command(ctx, cmd_name)
        except ModuleNotFoundError as error:
            fail(_lacks(error), EXIT_USAGE)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors become one sentence on stderr and an exit status."""
        try:
            return super().invoke(ctx)
        except (UsageError, SourceError) as error:
            fail(str(error), EXIT_USAGE)
        except SoftlabelError as error:
            fail(plain(error), EXIT_FAILED)
        except KeyboardInterrupt:
            fail("Interrupted; run the same command again to go on.", interrupted_status())
        except ModuleNotFoundError as error:  # of a command that looked at its recipe first
            fail(_lacks(error), EXIT_USAGE)
        except Exception as error:
            # what a worker process raised arrives as text with its traceback
            found = from_worker(error)
            if found is None:
                raise
            fail(found, EXIT_FAILED)


def _lacks(error: ModuleNotFoundError) -> str:
    """Which library is missing; an import of our own that fails is raised."""
    module = (error.name or "").partition(".")[0]
    if module in ("softlabel", "softlabel_train"):
        raise error
    return str(missing_extra("The trainer", module.replace("_", "-"), "train"))


def plain(error: BaseException) -> str:
    """The sentence of an error, also of one that a loader process raised."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return from_worker(error) or text


def from_worker(error: BaseException) -> str | None:
    """The last sentence of one of our errors in a traceback that arrived as text, else None."""
    kinds = [CacheError.__name__, UsageError.__name__, "CaseError", "TrainingError",
             "CheckpointError", "ModelError", "OutOfMemory", "OSError"]  # fmt: skip
    for line in reversed(str(error).splitlines()):
        kind, colon, sentence = line.partition(": ")
        if colon and kind.rpartition(".")[2] in kinds:
            return sentence
    return None


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables; what reads them from a pipe has room for every column."""
    console = drawing.console(sys.stdout)
    for table in tables:
        console.print(table)


def show_left_out(left_out: Mapping[str, str]) -> None:
    """Print which cases a table lacks, and why: id to reason."""
    if left_out:
        click.echo(f"Left out, since they could not be computed ({len(left_out)}):")
    for case, reason in left_out.items():
        click.echo(f"  {case}: {reason}")


@click.command(
    name="softlabel-train",
    cls=Commands,
    package=__name__,
    about=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="softlabel-train COMMAND --help explains a command. Exit status: 0 all done, 1 a run or "
    "an image failed, 2 wrong usage, 130 interrupted by Ctrl-C, 143 by SIGTERM.",
)
@click.version_option(__version__, prog_name="softlabel-train")
def main() -> None:
    """Train segmentation networks on softlabel caches, and score them."""
