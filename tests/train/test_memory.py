"""Running out of memory is one sentence."""

from __future__ import annotations

import platform

import pytest
import torch
from softlabel_train.config import load_recipe
from softlabel_train.footprint import resident_bytes
from softlabel_train.loop import memory_advice
from softlabel_train.memory import OutOfMemory, explain_memory, give_back


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other ways")
def test_what_is_free_is_given_back():
    # many small blocks below one that stays: the allocator can only give back what is in between
    blocks = [torch.zeros(16_000) for _ in range(3000)]
    last = torch.zeros(16_000)
    del blocks
    kept = resident_bytes()
    give_back()
    assert resident_bytes() < kept - 100e6
    assert last.sum() == 0
