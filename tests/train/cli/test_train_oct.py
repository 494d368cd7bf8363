"""``softlabel-train train-oct``."""

from __future__ import annotations

from ..factories import call


def test_data_that_are_not_there_are_named_before_anything_is_made(tmp_path):
    result = call("train-oct", "--data", tmp_path / "none", "-o", tmp_path / "x")
    assert result.exit_code == 2 and "no folder; give the folder of Subject_XX.mat" in result.output
    assert not (tmp_path / "x").exists()
