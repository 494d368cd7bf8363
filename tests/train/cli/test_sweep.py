"""``softlabel-train sweep``."""

from __future__ import annotations

from ..factories import QUICK, call


def test_sweep_prints_its_table(oct_cache, tmp_path):
    result = call("sweep", "smoke", "arm=hard,superpixel", "seed=0", f"data.cache={oct_cache}",
                  *(f"--set={o}" for o in (*QUICK, "evaluate.bootstrap=0")), "-o", tmp_path / "s",
                  "-q")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "hard" in result.output and "superpixel" in result.output
    assert call("sweep", "smoke", "seed=a,b").exit_code == 2
