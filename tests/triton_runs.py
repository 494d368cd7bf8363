"""Where Triton's kernels can run in this process: on a card, or in Triton's interpreter.

The interpreter must be asked for before Triton is imported, so tests of kernels are skipped
without a card and run in a process of their own (``test_triton_values.py`` starts it).
"""

from __future__ import annotations

import os

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"


DEVICE = _device()

here = pytest.mark.skipif(
    not INTERPRETED and DEVICE == "cpu", reason="no card; runs in Triton's interpreter elsewhere"
)
