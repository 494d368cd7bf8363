"""``softlabel-train evaluate``."""

from __future__ import annotations

import json

import pytest

from ..factories import call


@pytest.mark.slow
def test_evaluate_prints_tables_or_json(run):
    result = call(
        "evaluate", run, "bootstrap=50", "--against", "labels", "--against", "truth", "-q"
    )
    assert result.exit_code == 0, result.output
    assert "against truth" in result.output and "calibration" in result.output
    result = call("evaluate", run, "bootstrap=0", "--json", "-q")
    assert json.loads(result.output)["part"] == "evaluation"
    result = call("evaluate", run, "convention=best")
    assert result.exit_code == 2 and "evaluate.convention" in result.output
