"""Where Triton's kernels can run in this process: on a card, or in Triton's interpreter.

The interpreter must be asked for before Triton is imported, so tests of kernels are skipped
without a card and run in a process of their own (``test_triton_values.py`` starts it).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

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

compiles = pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")


def compiled(kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any]) -> str:
    """The assembler text of a kernel for a card that need not be there: Triton brings its own.

    Parameters
    ----------
    kernel : JITFunction
    types : mapping of str to str
        Triton's type of each argument; those left out are int32.
    constants : mapping of str to values
        Arguments that are constants.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else types.get(n, "i32") for n in names}
    source = ASTSource(kernel, signature, constants)
    asm = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm
    assert asm["cubin"]
    return str(asm["ptx"])
