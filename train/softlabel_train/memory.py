"""Running out of memory, in a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from softlabel.errors import SoftlabelError


class OutOfMemory(SoftlabelError):
    """The memory of the machine or of its GPU was not enough."""


@contextlib.contextmanager
def explain_memory(advice: str) -> Iterator[None]:
    """Turn the many ways to run out of memory into one sentence that says what to do.

    Raises
    ------
    OutOfMemory
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not (
            "out of memory" in text or "can't allocate memory" in text
        ):
            raise
        raise OutOfMemory(f"The memory ran out. {advice}") from error
