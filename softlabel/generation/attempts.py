"""Which cases were being computed when a worker died, told by files that it left behind.

A worker on another machine that is killed says nothing, and Dask only knows what tasks it had, some
of which had not begun. So a worker makes a file for a case before it begins with it and removes it
afterwards. A file that is found by the next worker is a death: it has a byte for each.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from softlabel.cache import schema
from softlabel.files.atomic import remove_folder
from softlabel.files.owner import Claim

SUFFIX = ".attempts"

DEATHS = 2
"""A case that was worked on when so many workers died is not tried again."""


@dataclass(frozen=True)
class Attempts:
    """The cases that a run has begun with.

    Attributes
    ----------
    folder : Path
        On a file system that all workers share.
    """

    folder: Path

    def deaths(self, case_id: str) -> int:
        """How many workers died while they computed a case, as long as none computes it now."""
        try:
            return self._file(case_id).stat().st_size
        except OSError:
            return 0

    @contextlib.contextmanager
    def attempt(self, case_id: str) -> Iterator[None]:
        """Compute a case in the block: a process that dies in it leaves a byte."""
        path = self._file(case_id)
        with contextlib.suppress(OSError):  # a full disk is told by what is published
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(handle, b".")
            os.close(handle)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def _file(self, case_id: str) -> Path:
        return self.folder / schema.part_name(case_id)


@contextlib.contextmanager
def attempts_of(claim: Claim) -> Iterator[Attempts]:
    """The attempts of a run that owns an output, while the block runs; those of the dead go."""
    parent = claim.output.with_suffix(SUFFIX)
    parent.mkdir(exist_ok=True)
    for folder in parent.iterdir():
        if not (claim.path.parent / folder.name).exists():
            _remove(folder)
    folder = parent / claim.path.name
    folder.mkdir()
    try:
        yield Attempts(folder)
    finally:
        _remove(folder)
        with contextlib.suppress(OSError):
            parent.rmdir()  # of the last one; that of others is not empty


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        remove_folder(folder)
