"""Running out of memory is one sentence."""

from __future__ import annotations

import pytest
import torch
from softlabel_train.config import load_recipe
from softlabel_train.loop import memory_advice
from softlabel_train.memory import OutOfMemory, explain_memory


def test_memory_that_runs_out_says_what_to_lower():
    recipe = load_recipe("smoke")
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ):
        lower = r"Lower data\.batch_size \(now 4\) or data\.crop"
        with pytest.raises(OutOfMemory, match=lower), explain_memory(memory_advice(recipe)):
            raise error
    with pytest.raises(RuntimeError, match="another thing"), explain_memory("advice"):
        raise RuntimeError("another thing")
