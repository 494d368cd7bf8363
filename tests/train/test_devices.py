"""Devices and processes of a run: what is there, and what is refused."""

from __future__ import annotations

import pytest
import torch
from softlabel_train.loop import fit

from softlabel.errors import UsageError

from .factories import recipe_for


def test_no_cuda_when_asked_for(oct_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"sees no CUDA device.*set train\.accelerator=cpu"):
        fit(recipe_for(oct_cache, "train.accelerator=cuda"), tmp_path / "run", show=False)
