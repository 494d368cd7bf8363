"""``softlabel-train sweep``."""

from __future__ import annotations

import pytest

from ..factories import QUICK, call


@pytest.mark.slow
def test_sweep_prints_its_table(oct_cache, tmp_path):
    result = call("sweep", "smoke", "arm=hard,superpixel", "seed=0", f"data.cache={oct_cache}",
                  *(f"--set={o}" for o in (*QUICK, "evaluate.bootstrap=0")), "-o", tmp_path / "s",
                  "-q")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "hard" in result.output and "superpixel" in result.output
    assert call("sweep", "smoke", "seed=a,b").exit_code == 2


@pytest.mark.slow
def test_a_grid_is_called_by_its_name(oct_cache, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("base: smoke\ngrids: {beta: {loss.beta: [0.25, 8]}}\n")
    result = call("sweep", own, "beta", f"data.cache={oct_cache}",
                  *(f"--set={o}" for o in (*QUICK, "evaluate.bootstrap=0")), "-o", tmp_path / "s",
                  "-q")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "loss.beta=0.25" in result.output and "loss.beta=8" in result.output
    assert (tmp_path / "s" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    result = call("sweep", own, "gamma")
    assert result.exit_code == 2 and "no grid 'gamma'; its grids are: beta" in result.output
