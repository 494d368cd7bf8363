"""The command line: a translator from options to one call of the core.

Each command is a module; nothing else in softlabel knows click.
"""

from __future__ import annotations

from typing import Any

import click

from softlabel import __version__
from softlabel.console.group import EXIT_FAILED, EXIT_USAGE, LazyGroup, fail
from softlabel.errors import CacheError, SoftlabelError, SourceError, UsageError
from softlabel.interrupt import interrupted_status

# Commands are imported when they are asked for, so that --help is quick.
COMMANDS = {
    "check": "Find what would be silently wrong about a data set.",
    "tune": "Find superpixel settings for a data set.",
    "generate": "Compute the soft labels of a data set into a cache.",
    "inspect": "Draw image, superpixels and soft labels of cached cases.",
    "compare": "Compare softening methods side by side.",
    "view": "Look at the cases of a cache in napari.",
    "report": "Write one HTML file to look at a cache with.",
    "info": "Say what a cache holds.",
    "verify": "Read and check every byte of a cache.",
    "surfaces": "Measure the layer boundaries of OCT label maps.",
    "index": "Rebuild the index of a cache from its parts.",
    "export": "Write soft labels as NIfTI, NPZ, zarr or DICOM-SEG.",
    "pack": "Put a cache into one file.",
    "unpack": "Turn a packed file into a cache of parts.",
    "nnunet": "Train nnU-Net with soft labels.",
    "phantom": "Write a synthetic data set whose true labels are known.",
}


class Commands(LazyGroup):
    """Turns errors into sentences."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors become one sentence on stderr and an exit status."""
        try:
            return super().invoke(ctx)
        except (UsageError, SourceError, CacheError) as error:
            fail(str(error), EXIT_USAGE)
        except SoftlabelError as error:
            fail(str(error), EXIT_FAILED)
        except KeyboardInterrupt:
            fail("Interrupted.", interrupted_status())


@click.command(
    name="softlabel",
    cls=Commands,
    package=__name__,
    about=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="softlabel COMMAND --help explains a command. Exit status: 0 all done, 1 some cases "
    "failed, 2 wrong usage, 130 interrupted by Ctrl-C, 143 by SIGTERM.",
)
@click.version_option(__version__, prog_name="softlabel")
def main() -> None:
    """Turn hard label maps into soft ones where the image says that a boundary is uncertain."""
