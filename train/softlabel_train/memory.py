"""Running out of memory, in a sentence; and giving back what is free."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from functools import cache
from typing import Any

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


def give_back() -> None:
    """Return freed memory of the processor to the system.

    The allocator of glibc keeps the memory of a training step, which a prediction of a whole image
    cannot use for its larger tensors: the two add up, and so do the runs of a sweep. Elsewhere
    this does nothing but collect garbage.
    """
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    """glibc's function; None where the process has another library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
